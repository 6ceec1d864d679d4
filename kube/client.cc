#include "kube/client.h"

#include <algorithm>
#include <utility>

#include "base/document.h"
#include "base/json.h"
#include "base/strings.h"
#include "kube/transport.h"

namespace tidewright::kube {

namespace {

constexpr int64_t kPageSize = 500;
constexpr int kMaxPages = 10'000;
constexpr size_t kMaxRefusalBytes = 4096;
constexpr const char* kJson = "application/json";
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

// Joins the pieces of a watch into lines, one JSON document each.
class WatchLines {
 public:
  explicit WatchLines(const WatchHandler& handler) : handler_(handler) {}

  base::Status Feed(std::string_view data) {
    while (!data.empty()) {
      size_t end = data.find('\n');
      line_ += data.substr(0, end);
      if (line_.size() > kMaxWatchLineBytes) {
        return base::DataLossError("a watch event has more than 16 MiB");
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
    // What was in a line that cannot be read is unknown, so the changes are incomplete from here on.
    auto event = base::ParseJson(line);
    if (!event.ok()) return base::DataLossError("watch event: " + event.status().message());
    const base::Json* object = base::Find(*event, {"object"});
    std::string type = base::FindString(*event, {"type"});
    if (object == nullptr) return base::DataLossError("watch event without an object");
    if (type != "ERROR") return handler_(type, *object);
    const auto code = static_cast<int>(base::FindInt(*object, {"code"}));
    const std::string message = base::FindString(*object, {"message"}, "watch ended with an error");
    // Whatever happened to the server's side of this watch, it may have lost events.
    return code == 410 ? base::OutOfRangeError(message) : base::DataLossError(message);
  }

  const WatchHandler& handler_;
  std::string line_;
};

class HttpKubeClient : public Client {
 public:
  HttpKubeClient(std::shared_ptr<Transport> transport, std::string field_manager, RequestGuard* guard)
      : transport_(std::move(transport)), field_manager_(std::move(field_manager)), guard_(guard) {}

  base::Result<base::Json> Get(const Resource& resource, std::string_view ns, std::string_view name,
                               std::string_view subresource) override {
    return Call({.method = "GET", .path = resource.Path(ns, name, subresource)});
  }

  base::Result<base::Json> List(const Resource& resource, std::string_view ns, const ListOptions& options) override {
    ListOptions pages = options;
    if (pages.limit == 0) pages.limit = kPageSize;
    bool expired = false;
    auto list = ListPages(resource, ns, pages, &expired);
    if (!expired) return list;
    // The server has forgotten the version that the pages were of. In one piece nothing can be forgotten under way.
    pages.limit = 0;
    return ListPages(resource, ns, pages, &expired);
  }

  base::Result<base::Json> Create(const Resource& resource, std::string_view ns, const base::Json& object) override {
    return Call({"POST", resource.Path(ns, "") + ManagerQuery(), base::DumpJson(object), kJson, false});
  }

  base::Result<base::Json> Update(const Resource& resource, std::string_view ns, std::string_view name,
                                  const base::Json& object, std::string_view subresource) override {
    return Call({"PUT", resource.Path(ns, name, subresource) + ManagerQuery(), base::DumpJson(object), kJson});
  }

  base::Result<base::Json> Patch(const Resource& resource, std::string_view ns, std::string_view name, PatchType type,
                                 const base::Json& patch, std::string_view subresource) override {
    return Call({"PATCH", resource.Path(ns, name, subresource) + ManagerQuery(), base::DumpJson(patch),
                 std::string(ContentType(type)), type == PatchType::kMerge});
  }

  base::Status Delete(const Resource& resource, std::string_view ns, std::string_view name,
                      Propagation propagation) override {
    // Always asked for by name: Jobs would leave their pods behind otherwise.
    const char* policy = propagation == Propagation::kForeground ? "Foreground" : "Background";
    return Call({.method = "DELETE", .path = resource.Path(ns, name) + "?propagationPolicy=" + policy}).status();
  }

  base::Result<base::Json> GetRaw(const std::string& path_and_query) override {
    return Call({.method = "GET", .path = path_and_query});
  }

  base::Status Watch(const Resource& resource, std::string_view ns, const ListOptions& options,
                     const WatchHandler& handler, http::CancelToken* cancel) override {
    std::string query = ListQuery(options);
    query += query.empty() ? '?' : '&';
    query += "watch=true&allowWatchBookmarks=true&timeoutSeconds=" + std::to_string(options.timeout_seconds);
    WatchLines lines(handler);
    int status = 0;
    std::string refusal;
    auto on_data = [&](std::string_view data) {
      if (status == 200) return lines.Feed(data);
      refusal += data.substr(0, kMaxRefusalBytes - std::min(kMaxRefusalBytes, refusal.size()));
      return base::Status::Ok();
    };
    auto on_status = [&](int code) {
      status = code;
      if (status == 200 && options.on_open) options.on_open();
    };
    base::Status ended = transport_->Stream({.method = "GET", .path = resource.Path(ns, "") + query},
                                            options.idle_timeout_ms, guard_, {on_status, on_data}, cancel);
    if (status != 0 && status != 200) ended = ErrorFromReply(status, refusal);
    return ended.Annotate("watch " + resource.plural);
  }

  std::unique_ptr<Client> Guarded(RequestGuard& guard) override {
    return std::make_unique<HttpKubeClient>(transport_, field_manager_, &guard);
  }

  void BeginStop() override { transport_->BeginStop(); }

 private:
  // Every write names who it is from, for the object's managedFields.
  std::string ManagerQuery() const { return "?fieldManager=" + http::PercentEncode(field_manager_); }

  // `*expired`: a page but the first got 410.
  base::Result<base::Json> ListPages(const Resource& resource, std::string_view ns, const ListOptions& options,
                                     bool* expired) {
    base::Json all;
    std::string next;
    *expired = false;
    for (int page = 0; page < kMaxPages; ++page) {
      ListOptions request = options;
      if (!next.empty()) request.resource_version.clear();  // The continue token stands for it.
      std::string path = resource.Path(ns, "") + ListQuery(request);
      if (!next.empty()) {
        path += path.find('?') == std::string::npos ? '?' : '&';
        path += "continue=" + http::PercentEncode(next);
      }
      auto list = Call({.method = "GET", .path = std::move(path)});
      *expired = page > 0 && list.status().code() == base::Code::kOutOfRange;
      if (!list.ok()) return list;
      next = base::FindString(*list, {"metadata", "continue"});
      if (!list->is_object()) return base::UnavailableError("list " + resource.plural + ": the reply is no list");
      Join(resource, *std::move(list), &all);
      if (next.empty()) return all;
    }
    return base::ResourceExhaustedError("list " + resource.plural + ": more than " + std::to_string(kMaxPages) +
                                        " pages");
  }

  // Appends a page. The items of a typed list carry no apiVersion and kind of their own.
  static void Join(const Resource& resource, base::Json page, base::Json* all) {
    base::Json items = std::move(page["items"]);
    if (!items.is_array()) items = base::Json::array();
    if (all->is_null()) {
      *all = std::move(page);
      (*all)["items"] = base::Json::array();
    } else {
      (*all)["metadata"] = std::move(page["metadata"]);
    }
    for (base::Json& item : items) {
      if (!item.is_object()) continue;
      item["apiVersion"] = resource.ApiVersion();
      item["kind"] = resource.kind;
      (*all)["items"].push_back(std::move(item));
    }
  }

  base::Result<base::Json> Call(const ApiRequest& request) {
    const std::string what = request.method + " " + request.path.substr(0, request.path.find('?'));
    auto reply = transport_->Send(request, guard_);
    if (!reply.ok()) return reply.status().Annotate(what);
    if (reply->status < 200 || reply->status > 299) return ErrorFromReply(reply->status, reply->body).Annotate(what);
    auto json = base::ParseJson(reply->body);
    if (!json.ok()) return base::UnavailableError(what + ": " + json.status().message());
    return json;
  }

  const std::shared_ptr<Transport> transport_;
  const std::string field_manager_;
  RequestGuard* const guard_;  // May be null.
};

}  // namespace

base::Result<std::unique_ptr<Client>> NewClient(const ClientConfig& config, const ClientOptions& options) {
  TW_ASSIGN_OR_RETURN(std::shared_ptr<Transport> transport, Transport::Create(config, options));
  return std::unique_ptr<Client>(std::make_unique<HttpKubeClient>(std::move(transport), config.field_manager, nullptr));
}

}  // namespace tidewright::kube
