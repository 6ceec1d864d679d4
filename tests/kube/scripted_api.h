// ScriptedApi: an HTTP server of the test's own that says what it is told to, whatever it is asked, and remembers what
// it was asked. For what goes over the wire; it knows nothing of Kubernetes.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "http/server.h"
#include "kube/client.h"

namespace tidewright::kube {

class ScriptedApi {
 public:
  using Reply = std::function<void(const http::ServerRequest& request, std::shared_ptr<http::Responder> responder)>;

  explicit ScriptedApi(ClientOptions options = {}, ClientConfig config = TokenConfig()) {
    http::ServerOptions server_options;
    server_options.worker_threads = 8;
    server_ = *http::Server::Create(server_options, [this](const http::ServerRequest& request, auto responder) {
      Handle(request, std::move(responder));
    });
    url_ = "http://127.0.0.1:" + std::to_string(*server_->Listen("127.0.0.1", 0)) + "/";
    config.server = url_;
    client_ = *NewClient(config, options);
  }
  ~ScriptedApi() {
    server_->Stop();
    client_ = nullptr;
  }

  static ClientConfig TokenConfig() {
    ClientConfig config;
    config.bearer_token = "t0ken";
    return config;
  }

  // The next reply; when they are used up, `otherwise`, which is 200 without a body unless set.
  void Answer(int status, const std::string& body, const http::Headers& headers = {}) {
    Answer([=](const http::ServerRequest&, std::shared_ptr<http::Responder> responder) {
      http::Response reply{status, headers, body};
      reply.headers.Set("Content-Type", "application/json");
      responder->Reply(reply);
    });
  }
  void Answer(Reply reply) {
    base::MutexLock lock(mu_);
    replies_.push_back(std::move(reply));
  }
  void AnswerAlways(Reply reply) {
    base::MutexLock lock(mu_);
    otherwise_ = std::move(reply);
  }
  // Takes the next request and never answers it.
  void Hang() {
    Answer([this](const http::ServerRequest&, std::shared_ptr<http::Responder> responder) {
      base::MutexLock lock(mu_);
      held_.push_back(std::move(responder));
    });
  }
  // Sends the beginning of a watch and then nothing more.
  void StallWatch(const std::string& lines) {
    Answer([this, lines](const http::ServerRequest&, std::shared_ptr<http::Responder> responder) {
      auto stream = responder->StartStream(200, {{"Content-Type", "application/json"}});
      stream->Write(lines);
      base::MutexLock lock(mu_);
      streams_.push_back(std::move(stream));
    });
  }

  std::vector<http::ServerRequest> requests() {
    base::MutexLock lock(mu_);
    return requests_;
  }
  // Waits until that many requests have come.
  bool WaitForRequests(size_t count) {
    int64_t deadline = base::SystemClock::Get().NowMs() + 20'000;
    base::MutexLock lock(mu_);
    while (requests_.size() < count && base::SystemClock::Get().NowMs() < deadline) {
      changed_.WaitFor(mu_, std::chrono::milliseconds(100));
    }
    return requests_.size() >= count;
  }
  Client& client() { return *client_; }
  const std::string& url() const { return url_; }

 private:
  void Handle(const http::ServerRequest& request, std::shared_ptr<http::Responder> responder) {
    Reply reply;
    {
      base::MutexLock lock(mu_);
      requests_.push_back(request);
      changed_.NotifyAll();
      reply = otherwise_;
      if (!replies_.empty()) {
        reply = std::move(replies_.front());
        replies_.pop_front();
      }
    }
    if (reply) return reply(request, std::move(responder));
    responder->Reply({});
  }

  std::string url_;
  base::Mutex mu_;
  base::CondVar changed_;
  std::deque<Reply> replies_ GUARDED_BY(mu_);
  Reply otherwise_ GUARDED_BY(mu_);
  std::vector<http::ServerRequest> requests_ GUARDED_BY(mu_);
  std::vector<std::shared_ptr<http::Responder>> held_ GUARDED_BY(mu_);
  std::vector<std::shared_ptr<http::ResponseStream>> streams_ GUARDED_BY(mu_);
  std::unique_ptr<http::Server> server_;
  std::unique_ptr<Client> client_;
};

}  // namespace tidewright::kube
