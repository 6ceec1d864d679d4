#include "kube/client.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include "base/clock.h"
#include "base/document.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mutex.h"
#include "base/strings.h"

namespace tidewright::kube {

namespace {

constexpr int64_t kTokenReloadMs = 60'000;
constexpr int64_t kRequestTimeoutMs = 15'000;
// The server sends bookmarks about once a minute, so two silent minutes mean that the watch is dead.
constexpr int64_t kWatchIdleMs = 120'000;
constexpr int64_t kPageSize = 500;
constexpr size_t kMaxWatchLineBytes = 16u << 20;

std::string_view ContentType(PatchType type) {
  switch (type) {
    case PatchType::kMerge: return "application/merge-patch+json";
    case PatchType::kJson: return "application/json-patch+json";
    case PatchType::kStrategic: return "application/strategic-merge-patch+json";
  }
  return "";
}

base::Code CodeForStatus(int status, std::string_view reason) {
  if (reason == "AlreadyExists") return base::Code::kAlreadyExists;
  switch (status) {
    case 400:
    case 415:
    case 422: return base::Code::kInvalidArgument;
    case 401: return base::Code::kUnauthenticated;
    case 403: return base::Code::kPermissionDenied;
    case 404: return base::Code::kNotFound;
    case 405: return base::Code::kUnimplemented;
    case 409: return base::Code::kAborted;
    case 410: return base::Code::kOutOfRange;
    case 429: return base::Code::kResourceExhausted;
    case 504: return base::Code::kDeadlineExceeded;
    default: return base::Code::kUnavailable;
  }
}

// The error of a reply that is not 2xx: the API server's Status object says more than the number.
base::Status ErrorFromReply(int status, const std::string& body) {
  auto json = base::ParseJson(body);
  std::string message;
  std::string reason;
  if (json.ok()) {
    message = base::FindString(*json, {"message"});
    reason = base::FindString(*json, {"reason"});
  }
  if (message.empty()) message = "HTTP " + std::to_string(status) + " " + body.substr(0, 200);
  return base::Status(CodeForStatus(status, reason), message);
}

std::string ListQuery(const ListOptions& options) {
  std::string query;
  auto add = [&query](std::string_view name, std::string_view value) {
    if (value.empty()) return;
    query += query.empty() ? '?' : '&';
    query += name;
    query += '=';
    query += http::PercentEncode(value);
  };
  add("labelSelector", options.label_selector);
  add("fieldSelector", options.field_selector);
  add("resourceVersion", options.resource_version);
  if (options.limit > 0) add("limit", std::to_string(options.limit));
  return query;
}

// Where the bearer token comes from: fixed, or a file that rotates. Thread-safe.
class TokenSource {
 public:
  TokenSource(std::string token, std::string file) : file_(std::move(file)), token_(std::move(token)) {}

  base::Result<std::string> Get() {
    base::MutexLock lock(mu_);
    int64_t now = base::SystemClock::Get().NowMs();
    if (file_.empty() || now - read_at_ms_ < kTokenReloadMs) return token_;
    auto content = base::ReadFile(file_);
    if (!content.ok() && token_.empty()) return content.status().Annotate("service account token");
    // While a token file is being replaced the old token still is the best one.
    if (content.ok()) token_ = std::string(base::TrimSpace(*content));
    read_at_ms_ = now;
    return token_;
  }

 private:
  const std::string file_;
  base::Mutex mu_;
  std::string token_ GUARDED_BY(mu_);
  int64_t read_at_ms_ GUARDED_BY(mu_) = -kTokenReloadMs;
};

// Joins the pieces of a watch into lines, one JSON document each.
class WatchLines {
 public:
  explicit WatchLines(const WatchHandler& handler) : handler_(handler) {}

  base::Status Feed(std::string_view data) {
    while (!data.empty()) {
      size_t end = data.find('\n');
      line_ += data.substr(0, end);
      if (line_.size() > kMaxWatchLineBytes) {
        return base::ResourceExhaustedError("a watch event has more than 16 MiB");
      }
      if (end == std::string_view::npos) return base::Status::Ok();
      data.remove_prefix(end + 1);
      std::string line = std::exchange(line_, "");
      TW_RETURN_IF_ERROR(HandleLine(line));
    }
    return base::Status::Ok();
  }

 private:
  base::Status HandleLine(const std::string& line) {
    if (base::TrimSpace(line).empty()) return base::Status::Ok();
    auto event = base::ParseJson(line);
    if (!event.ok()) return base::UnavailableError("watch event: " + event.status().message());
    const base::Json* object = base::Find(*event, {"object"});
    std::string type = base::FindString(*event, {"type"});
    if (object == nullptr) return base::UnavailableError("watch event without an object");
    if (type == "ERROR") {
      return base::Status(CodeForStatus(static_cast<int>(base::FindInt(*object, {"code"})), ""),
                          base::FindString(*object, {"message"}, "watch ended with an error"));
    }
    return handler_(type, *object);
  }

  const WatchHandler& handler_;
  std::string line_;
};

class HttpKubeClient : public Client {
 public:
  HttpKubeClient(const ClientConfig& config, std::unique_ptr<http::Client> client)
      : server_(config.server),
        field_manager_(config.field_manager),
        token_(config.bearer_token, config.bearer_token_file),
        client_(std::move(client)) {}

  base::Result<base::Json> Get(const Resource& resource, std::string_view ns, std::string_view name,
                               std::string_view subresource) override {
    return Call("GET", resource.Path(ns, name, subresource));
  }

  base::Result<base::Json> List(const Resource& resource, std::string_view ns, const ListOptions& options) override {
    base::Json all;
    std::string next;
    do {
      ListOptions page = options;
      if (page.limit == 0) page.limit = kPageSize;
      std::string path = resource.Path(ns, "") + ListQuery(page);
      if (!next.empty()) path += "&continue=" + http::PercentEncode(next);
      TW_ASSIGN_OR_RETURN(base::Json list, Call("GET", path));
      base::Json& items = list["items"];
      if (!items.is_array()) items = base::Json::array();
      next = base::FindString(list, {"metadata", "continue"});
      if (all.is_null()) {
        all = std::move(list);
      } else {
        for (base::Json& item : items) all["items"].push_back(std::move(item));
        all["metadata"] = list["metadata"];
      }
    } while (!next.empty());
    // The items of a typed list carry no apiVersion and kind of their own.
    for (base::Json& item : all["items"]) {
      if (!item.is_object()) continue;
      item["apiVersion"] = resource.ApiVersion();
      item["kind"] = resource.kind;
    }
    return all;
  }

  base::Result<base::Json> Create(const Resource& resource, std::string_view ns, const base::Json& object) override {
    return Call("POST", resource.Path(ns, "") + ManagerQuery(), base::DumpJson(object), "application/json");
  }

  base::Result<base::Json> Update(const Resource& resource, std::string_view ns, std::string_view name,
                                  const base::Json& object, std::string_view subresource) override {
    return Call("PUT", resource.Path(ns, name, subresource) + ManagerQuery(), base::DumpJson(object),
                "application/json");
  }

  base::Result<base::Json> Patch(const Resource& resource, std::string_view ns, std::string_view name, PatchType type,
                                 const base::Json& patch, std::string_view subresource) override {
    return Call("PATCH", resource.Path(ns, name, subresource) + ManagerQuery(), base::DumpJson(patch),
                ContentType(type));
  }

  base::Status Delete(const Resource& resource, std::string_view ns, std::string_view name) override {
    return Call("DELETE", resource.Path(ns, name)).status();
  }

  base::Result<base::Json> GetRaw(const std::string& path_and_query) override { return Call("GET", path_and_query); }

  base::Status Watch(const Resource& resource, std::string_view ns, const ListOptions& options,
                     const WatchHandler& handler, http::CancelToken* cancel) override {
    std::string query = ListQuery(options);
    query += query.empty() ? '?' : '&';
    query += "watch=true&allowWatchBookmarks=true&timeoutSeconds=300";
    std::string path = resource.Path(ns, "") + query;
    TW_ASSIGN_OR_RETURN(http::ClientRequest request, NewRequest("GET", path));
    request.total_timeout_ms = 0;
    request.idle_timeout_ms = kWatchIdleMs;
    request.max_body_bytes = SIZE_MAX;
    request.accept_gzip = false;  // Compression would hold events back.

    WatchLines lines(handler);
    int status = 200;
    std::string error_body;
    http::StreamHandler stream;
    stream.on_headers = [&status](int code, const http::Headers&) {
      status = code;
      return base::Status::Ok();
    };
    stream.on_data = [&](std::string_view data) {
      if (status == 200) return lines.Feed(data);
      error_body += data.substr(0, 4096);
      return base::Status::Ok();
    };
    base::Status ended = client_->Stream(request, stream, cancel);
    if (status != 200) return ErrorFromReply(status, error_body).Annotate("watch " + resource.plural);
    return ended.Annotate("watch " + resource.plural);
  }

 private:
  std::string ManagerQuery() const { return "?fieldManager=" + http::PercentEncode(field_manager_); }

  base::Result<http::ClientRequest> NewRequest(std::string_view method, const std::string& path) {
    http::ClientRequest request;
    request.method = method;
    request.url = server_ + path;
    request.headers.Set("Accept", "application/json");
    request.total_timeout_ms = kRequestTimeoutMs;
    TW_ASSIGN_OR_RETURN(std::string token, token_.Get());
    if (!token.empty()) request.headers.Set("Authorization", "Bearer " + token);
    return request;
  }

  base::Result<base::Json> Call(std::string_view method, const std::string& path, std::string body = "",
                                std::string_view content_type = "") {
    TW_ASSIGN_OR_RETURN(http::ClientRequest request, NewRequest(method, path));
    request.body = std::move(body);
    if (!content_type.empty()) request.headers.Set("Content-Type", std::string(content_type));
    std::string what = std::string(method) + " " + path.substr(0, path.find('?'));
    auto reply = client_->Send(request);
    if (!reply.ok()) return reply.status().Annotate(what);
    if (reply->status < 200 || reply->status > 299) return ErrorFromReply(reply->status, reply->body).Annotate(what);
    auto json = base::ParseJson(reply->body);
    if (!json.ok()) return base::UnavailableError(what + ": " + json.status().message());
    return json;
  }

  const std::string server_;
  const std::string field_manager_;
  TokenSource token_;
  std::unique_ptr<http::Client> client_;
};

}  // namespace

base::Result<std::unique_ptr<Client>> NewClient(const ClientConfig& config, const ClientOptions& options) {
  http::ClientOptions http_options;
  http_options.tls = config.tls;
  http_options.user_agent = options.user_agent;
  TW_ASSIGN_OR_RETURN(std::unique_ptr<http::Client> client, http::NewCpprestClient(http_options));
  ClientConfig trimmed = config;
  while (!trimmed.server.empty() && trimmed.server.back() == '/') trimmed.server.pop_back();
  return std::unique_ptr<Client>(std::make_unique<HttpKubeClient>(trimmed, std::move(client)));
}

}  // namespace tidewright::kube
