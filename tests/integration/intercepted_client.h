// A kube::Client with an ear and a switch on the line: tests see every request, and may refuse it.
#pragma once

#include <functional>
#include <string>
#include <utility>

#include "base/json.h"
#include "kube/client.h"

namespace tidewright::testing {

// One request. GetRaw has the verb "raw" and its path as the name.
struct Call {
  std::string verb;
  kube::Resource resource;
  std::string ns, name, subresource;
};

// Thread-safe when its hooks are. Borrows the client behind it.
class InterceptedClient : public kube::Client {
 public:
  explicit InterceptedClient(kube::Client& inner) : inner_(inner) {}

  // Asked first; an error is the answer. Also asked for each event of a watch, which it ends then. Set before use.
  std::function<base::Status(const Call& call)> before = [](const Call&) { return base::Status::Ok(); };
  // Told how it ended.
  std::function<void(const Call& call, const base::Status& status)> after = [](const Call&, const base::Status&) {};

  base::Result<base::Json> Get(const kube::Resource& resource, std::string_view ns, std::string_view name,
                               std::string_view subresource) override {
    return Pass(Make("get", resource, ns, name, subresource),
                [&] { return inner_.Get(resource, ns, name, subresource); });
  }
  base::Result<base::Json> List(const kube::Resource& resource, std::string_view ns,
                                const kube::ListOptions& options) override {
    return Pass(Make("list", resource, ns, "", ""), [&] { return inner_.List(resource, ns, options); });
  }
  base::Result<base::Json> Create(const kube::Resource& resource, std::string_view ns,
                                  const base::Json& object) override {
    return Pass(Make("create", resource, ns, "", ""), [&] { return inner_.Create(resource, ns, object); });
  }
  base::Result<base::Json> Update(const kube::Resource& resource, std::string_view ns, std::string_view name,
                                  const base::Json& object, std::string_view subresource) override {
    return Pass(Make("update", resource, ns, name, subresource),
                [&] { return inner_.Update(resource, ns, name, object, subresource); });
  }
  base::Result<base::Json> Patch(const kube::Resource& resource, std::string_view ns, std::string_view name,
                                 kube::PatchType type, const base::Json& patch, std::string_view subresource) override {
    return Pass(Make("patch", resource, ns, name, subresource),
                [&] { return inner_.Patch(resource, ns, name, type, patch, subresource); });
  }
  base::Status Delete(const kube::Resource& resource, std::string_view ns, std::string_view name,
                      kube::Propagation propagation) override {
    Call call = Make("delete", resource, ns, name, "");
    TW_RETURN_IF_ERROR(before(call));
    base::Status status = inner_.Delete(resource, ns, name, propagation);
    after(call, status);
    return status;
  }
  base::Status Watch(const kube::Resource& resource, std::string_view ns, const kube::ListOptions& options,
                     const kube::WatchHandler& handler, http::CancelToken* cancel) override {
    Call call = Make("watch", resource, ns, "", "");
    TW_RETURN_IF_ERROR(before(call));
    after(call, base::Status::Ok());
    return inner_.Watch(
        resource, ns, options,
        [&](std::string_view type, const base::Json& object) {
          TW_RETURN_IF_ERROR(before(call));
          return handler(type, object);
        },
        cancel);
  }
  base::Result<base::Json> GetRaw(const std::string& path_and_query) override {
    return Pass(Make("raw", {}, "", path_and_query, ""), [&] { return inner_.GetRaw(path_and_query); });
  }

 private:
  static Call Make(const char* verb, const kube::Resource& resource, std::string_view ns, std::string_view name,
                   std::string_view subresource) {
    return {verb, resource, std::string(ns), std::string(name), std::string(subresource)};
  }
  template <typename Send>
  base::Result<base::Json> Pass(const Call& call, const Send& send) {
    TW_RETURN_IF_ERROR(before(call));
    base::Result<base::Json> answer = send();
    after(call, answer.status());
    return answer;
  }

  kube::Client& inner_;
};

}  // namespace tidewright::testing
