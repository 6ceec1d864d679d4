#include "http/responder.h"

#include <boost/asio/post.hpp>
#include <utility>

#include "base/clock.h"
#include "http/connection.h"

namespace tidewright::http {
namespace {

// Runs `action(connection)` on the connection's thread, if both still exist then.
template <typename Action>
void PostTo(const ConnectionRef& ref, Action action) {
  if (ref.loop->context.stopped()) return;
  boost::asio::post(ref.loop->context, [weak = ref.connection, action = std::move(action)]() mutable {
    if (auto connection = weak.lock()) action(*connection);
  });
}

// What a handler holds: the stream ends when the last copy goes.
class StreamHandle : public ResponseStream {
 public:
  explicit StreamHandle(std::shared_ptr<StreamQueue> queue) : queue_(std::move(queue)) {}
  ~StreamHandle() override { queue_->End(); }
  bool Write(std::string_view piece) override { return queue_->Write(piece); }
  void End() override { queue_->End(); }
  bool closed() const override { return queue_->closed(); }

 private:
  const std::shared_ptr<StreamQueue> queue_;
};

class ConnectionResponder : public Responder {
 public:
  ConnectionResponder(ConnectionRef connection, const ReplyContext& context, size_t max_stream_bytes,
                      std::shared_ptr<DirectReply> direct)
      : connection_(std::move(connection)),
        context_(context),
        max_stream_bytes_(max_stream_bytes),
        direct_(std::move(direct)) {}

  ~ConnectionResponder() override {
    Reply({500, {{"Content-Type", "text/plain; charset=utf-8"}}, "the request was not answered\n"});
  }

  void Reply(Response response) override {
    if (answered_.exchange(true)) return;
    ReplyBytes bytes = EncodeReply(std::move(response), context_, base::SystemClock::Get().NowMs());
    if (direct_ != nullptr && !bytes.close && direct_->Send(&bytes)) return;
    PostTo(connection_,
           [bytes = std::move(bytes)](Connection& connection) mutable { connection.SendReply(std::move(bytes)); });
  }

  std::shared_ptr<ResponseStream> StartStream(int status, Headers headers) override {
    bool chunked = false;
    ReplyBytes head = EncodeStreamHead(status, headers, context_, base::SystemClock::Get().NowMs(), &chunked);
    auto queue = std::make_shared<StreamQueue>(connection_, std::move(head), chunked, context_.head, max_stream_bytes_);
    auto handle = std::make_shared<StreamHandle>(queue);
    if (answered_.exchange(true)) {
      queue->Close();  // A second answer: nobody will ever read it.
      return handle;
    }
    if (connection_.loop->context.stopped()) {
      queue->Close();
      return handle;
    }
    boost::asio::post(connection_.loop->context, [queue, weak = connection_.connection] {
      auto connection = weak.lock();
      if (connection) return connection->SendStream(queue);
      queue->Close();
    });
    return handle;
  }

 private:
  const ConnectionRef connection_;
  const ReplyContext context_;
  const size_t max_stream_bytes_;
  const std::shared_ptr<DirectReply> direct_;
  std::atomic<bool> answered_{false};
};

}  // namespace

StreamQueue::StreamQueue(ConnectionRef connection, ReplyBytes head, bool chunked, bool discard_body, size_t max_bytes)
    : connection_(std::move(connection)),
      chunked_(chunked),
      discard_body_(discard_body),
      close_connection_(head.close),
      max_bytes_(max_bytes),
      pending_(std::move(head.head)),
      queued_(pending_.size()) {}

bool StreamQueue::Write(std::string_view piece) {
  base::MutexLock lock(mu_);
  if (closed_ || ended_) return false;
  if (piece.empty() || discard_body_) return true;
  if (queued_ + piece.size() > max_bytes_) {
    closed_ = true;
    pending_.clear();
    PostTo(connection_, [](Connection& connection) { connection.Close(); });
    return false;
  }
  size_t before = pending_.size();
  if (chunked_) {
    AppendChunk(piece, &pending_);
  } else {
    pending_.append(piece);
  }
  queued_ += pending_.size() - before;
  Schedule();
  return true;
}

void StreamQueue::End() {
  base::MutexLock lock(mu_);
  if (closed_ || ended_) return;
  ended_ = true;
  if (chunked_ && !discard_body_) {
    pending_.append(kLastChunk);
    queued_ += kLastChunk.size();
  }
  Schedule();
}

bool StreamQueue::closed() const {
  base::MutexLock lock(mu_);
  return closed_ || ended_;
}

void StreamQueue::Schedule() {
  if (std::exchange(scheduled_, true)) return;
  PostTo(connection_, [](Connection& connection) { connection.Pump(); });
}

bool StreamQueue::Take(std::string* bytes, bool* ended) {
  base::MutexLock lock(mu_);
  *ended = ended_;
  bytes->clear();
  if (pending_.empty()) {
    scheduled_ = false;
    return false;
  }
  bytes->swap(pending_);
  return true;
}

void StreamQueue::Sent(size_t bytes) {
  base::MutexLock lock(mu_);
  queued_ -= bytes;
}

void StreamQueue::Close() {
  base::MutexLock lock(mu_);
  closed_ = true;
  pending_.clear();
}

std::shared_ptr<Responder> NewResponder(ConnectionRef connection, const ReplyContext& context, size_t max_stream_bytes,
                                        std::shared_ptr<DirectReply> direct) {
  return std::make_shared<ConnectionResponder>(std::move(connection), context, max_stream_bytes, std::move(direct));
}

}  // namespace tidewright::http
