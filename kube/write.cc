#include "kube/write.h"

#include <random>
#include <utility>

#include "base/json.h"
#include "kube/meta.h"

namespace tidewright::kube {

namespace {

constexpr int kAttempts = 5;
constexpr int64_t kFirstDelayMs = 10;
constexpr int64_t kDelayGrowth = 4;

// Sends the changed object; `before` is what was read.
using Send = std::function<base::Result<base::Json>(const base::Json& before, base::Json after)>;

base::Result<base::Json> ReadChangeWrite(Client& client, base::Clock& clock, const Resource& resource,
                                         std::string_view ns, std::string_view name, const Mutate& mutate,
                                         std::string_view subresource, const Send& send) {
  std::minstd_rand random{std::random_device{}()};
  std::string_view read_from = subresource == "status" ? "" : subresource;  // Status is read with the whole object.
  int64_t delay_ms = kFirstDelayMs;
  for (int attempt = 1;; ++attempt) {
    TW_ASSIGN_OR_RETURN(base::Json before, client.Get(resource, ns, name, read_from));
    base::Json after = before;
    TW_RETURN_IF_ERROR(mutate(after));
    if (after == before) return before;
    auto written = send(before, std::move(after));
    if (written.status().code() != base::Code::kAborted || attempt == kAttempts) return written;
    base::StopSignal never;
    clock.SleepFor(std::uniform_int_distribution<int64_t>(delay_ms, 2 * delay_ms)(random), never);
    delay_ms *= kDelayGrowth;
  }
}

}  // namespace

base::Json MergePatch(const base::Json& from, const base::Json& to) {
  base::Json patch = base::Json::object();
  for (const auto& [key, value] : from.items()) {
    if (!to.contains(key)) patch[key] = nullptr;
  }
  for (const auto& [key, value] : to.items()) {
    auto old = from.find(key);
    if (old != from.end() && *old == value) continue;
    const bool both_objects = old != from.end() && old->is_object() && value.is_object();
    patch[key] = both_objects ? MergePatch(*old, value) : value;
  }
  return patch;
}

base::Result<base::Json> UpdateWithRetry(Client& client, base::Clock& clock, const Resource& resource,
                                         std::string_view ns, std::string_view name, const Mutate& mutate,
                                         std::string_view subresource) {
  return ReadChangeWrite(client, clock, resource, ns, name, mutate, subresource,
                         [&](const base::Json& /*before*/, base::Json after) {
                           return client.Update(resource, ns, name, after, subresource);
                         });
}

base::Result<base::Json> PatchWithRetry(Client& client, base::Clock& clock, const Resource& resource,
                                        std::string_view ns, std::string_view name, const Mutate& mutate,
                                        std::string_view subresource) {
  return ReadChangeWrite(
      client, clock, resource, ns, name, mutate, subresource, [&](const base::Json& before, base::Json after) {
        if (!before.is_object() || !after.is_object()) {
          return base::Result<base::Json>(base::DataLossError("the API server's reply is no object"));
        }
        base::Json patch = MergePatch(before, after);
        patch["metadata"]["resourceVersion"] = ResourceVersionOf(before);
        return client.Patch(resource, ns, name, PatchType::kMerge, patch, subresource);
      });
}

}  // namespace tidewright::kube
