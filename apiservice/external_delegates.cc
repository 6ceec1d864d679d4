#include "apiservice/external_delegates.h"

#include <utility>

#include "apiservice/route.h"
#include "base/document.h"
#include "base/duration.h"
#include "base/file.h"
#include "base/json.h"
#include "base/strings.h"

namespace tidewright::apiservice {
namespace {

using base::Json;

constexpr int64_t kAvoidMs = 10'000;
constexpr size_t kMaxBodyBytes = 8 << 20;

base::Result<ExternalMetricValue> ReadItem(const Json& item) {
  ExternalMetricValue value;
  value.metric = base::FindString(item, {"metricName"});
  const Json* labels = base::Find(item, {"metricLabels"});
  if (labels != nullptr && labels->is_object()) {
    for (const auto& [name, text] : labels->items()) {
      if (!text.is_string()) return base::UnavailableError("metricLabels." + name + " is not a string");
      value.labels[name] = text.get<std::string>();
    }
  }
  TW_ASSIGN_OR_RETURN(value.timestamp_ms, base::ParseTime(base::FindString(item, {"timestamp"})));
  const Json* window = base::Find(item, {"window"});
  if (window != nullptr && window->is_number_integer()) value.window_s = window->get<int64_t>();
  TW_ASSIGN_OR_RETURN(value.value, base::Quantity::Parse(base::FindString(item, {"value"})));
  return value;
}

base::Result<std::vector<ExternalMetricValue>> ReadReply(const http::Response& reply) {
  base::Result<Json> json = base::ParseJson(reply.body);
  std::string message = json.ok() ? base::FindString(*json, {"message"}) : "";
  if (message.empty()) message = "status " + std::to_string(reply.status);
  if (reply.status == 404) return base::NotFoundError(message);
  if (reply.status != 200) return base::UnavailableError(message);
  const Json* items = json.ok() ? base::Find(*json, {"items"}) : nullptr;
  if (items == nullptr || !items->is_array()) return base::UnavailableError("the reply is no ExternalMetricValueList");
  std::vector<ExternalMetricValue> values;
  for (const Json& item : *items) {
    base::Result<ExternalMetricValue> value = ReadItem(item);
    if (!value.ok())
      return base::UnavailableError("the reply is no ExternalMetricValueList: " + value.status().message());
    values.push_back(*std::move(value));
  }
  return values;
}

}  // namespace

bool MatchesPattern(std::string_view pattern, std::string_view name) {
  size_t star = pattern.find('*');
  if (star == std::string_view::npos) return pattern == name;
  if (name.substr(0, star) != pattern.substr(0, star)) return false;
  name.remove_prefix(star);
  // Each part between two stars where it first fits; the last part at the end.
  for (pattern.remove_prefix(star + 1);; pattern.remove_prefix(star + 1)) {
    star = pattern.find('*');
    if (star == std::string_view::npos) return name.ends_with(pattern);
    size_t at = name.find(pattern.substr(0, star));
    if (at == std::string_view::npos) return false;
    name.remove_prefix(at + star);
  }
}

base::Result<ExternalDelegate> ParseExternalDelegate(const std::string& text) {
  size_t equals = text.find('=');
  std::string what = text.substr(0, equals);
  bool pattern = what.starts_with("external/");
  if (equals == std::string::npos || (what != "external" && !pattern) || what == "external/") {
    return base::InvalidArgumentError(base::Quoted(text) +
                                      " is no delegate; write external=https://server or "
                                      "external/name-*=https://server");
  }
  ExternalDelegate delegate{pattern ? what.substr(sizeof("external/") - 1) : "", text.substr(equals + 1)};
  base::Result<http::Url> url = http::Url::Parse(delegate.url);
  if (!url.ok()) return url.status();
  if (url->scheme != "https")
    return base::InvalidArgumentError(base::Quoted(text) + ": our token goes over https only");
  while (delegate.url.ends_with('/')) delegate.url.pop_back();
  return delegate;
}

base::Result<std::unique_ptr<ExternalDelegates>> ExternalDelegates::Create(ExternalDelegateOptions options, Own own,
                                                                           base::Clock& clock,
                                                                           base::MetricRegistry& metrics) {
  http::ClientOptions client_options;
  client_options.tls = options.tls;
  TW_ASSIGN_OR_RETURN(std::unique_ptr<http::Client> client, http::NewCurlClient(client_options));
  return std::unique_ptr<ExternalDelegates>(
      new ExternalDelegates(std::move(options), std::move(own), std::move(client), clock, metrics));
}

ExternalDelegates::ExternalDelegates(ExternalDelegateOptions options, Own own, std::unique_ptr<http::Client> client,
                                     base::Clock& clock, base::MetricRegistry& metrics)
    : options_(std::move(options)),
      own_(std::move(own)),
      client_(std::move(client)),
      clock_(clock),
      ok_(metrics.GetCounter("tidewright_apiservice_delegated_requests_total",
                             "Requests for external metrics that other servers were asked for, by outcome.",
                             {{"result", "success"}})),
      failed_(metrics.GetCounter("tidewright_apiservice_delegated_requests_total",
                                 "Requests for external metrics that other servers were asked for, by outcome.",
                                 {{"result", "error"}})),
      avoid_until_ms_(options_.delegates.size(), 0) {}

std::vector<std::string> ExternalDelegates::ListMetrics() {
  ExternalMetricsProvider* own = own_();
  return own != nullptr ? own->ListMetrics() : std::vector<std::string>();
}

uint64_t ExternalDelegates::ListVersion() {
  ExternalMetricsProvider* own = own_();
  return own != nullptr ? own->ListVersion() : 1;
}

base::Result<std::vector<ExternalMetricValue>> ExternalDelegates::Get(const std::string& ns, const std::string& metric,
                                                                      const kube::LabelSelector& selector) {
  for (size_t i = 0; i < options_.delegates.size(); ++i) {
    const std::string& pattern = options_.delegates[i].pattern;
    if (!pattern.empty() && MatchesPattern(pattern, metric)) return Ask(i, ns, metric, selector);
  }
  ExternalMetricsProvider* own = own_();
  base::Result<std::vector<ExternalMetricValue>> result = base::NotFoundError(
      "the server could not find the external metric " + metric + ": no externalRules are configured");
  if (own != nullptr) result = own->Get(ns, metric, selector);
  for (size_t i = 0; i < options_.delegates.size(); ++i) {
    if (result.ok() || result.status().code() != base::Code::kNotFound) return result;
    if (!options_.delegates[i].pattern.empty()) continue;
    base::Result<std::vector<ExternalMetricValue>> theirs = Ask(i, ns, metric, selector);
    bool absent = theirs.status().code() == base::Code::kNotFound;
    result =
        absent ? base::NotFoundError(result.status().message() + "; " + theirs.status().message()) : std::move(theirs);
  }
  return result;
}

base::Result<std::vector<ExternalMetricValue>> ExternalDelegates::Ask(size_t index, const std::string& ns,
                                                                      const std::string& metric,
                                                                      const kube::LabelSelector& selector) {
  const std::string& server = options_.delegates[index].url;
  {
    base::MutexLock lock(mu_);
    if (clock_.NowMs() < avoid_until_ms_[index]) {
      return base::UnavailableError(server + " could not be reached a moment ago; it is asked again soon");
    }
  }
  std::string path = "/apis/" + std::string(kExternalGroup) + "/v1beta1/namespaces/" + http::PercentEncode(ns) + "/" +
                     http::PercentEncode(metric);
  if (!selector.empty()) path += "?labelSelector=" + http::PercentEncode(selector.ToString());
  base::Result<std::vector<ExternalMetricValue>> values = Send(server + path);
  bool reached = values.ok() || values.status().code() == base::Code::kNotFound;
  (reached ? ok_ : failed_).Add();
  if (!reached) {
    base::MutexLock lock(mu_);
    avoid_until_ms_[index] = clock_.NowMs() + kAvoidMs;
  }
  if (!values.ok()) return values.status().Annotate(server);
  if (values->empty()) return base::NotFoundError(server + " has no value of " + metric);
  return values;
}

base::Result<std::vector<ExternalMetricValue>> ExternalDelegates::Send(const std::string& url) {
  http::ClientRequest request;
  request.url = url;
  request.headers.Set("Accept", "application/json");
  request.total_timeout_ms = options_.timeout_ms;
  request.max_body_bytes = kMaxBodyBytes;
  if (!options_.token_file.empty()) {
    TW_ASSIGN_OR_RETURN(std::string token, base::ReadFile(options_.token_file));
    request.headers.Set("Authorization", "Bearer " + std::string(base::TrimSpace(token)));
  }
  base::Result<http::Response> reply = client_->Send(request);
  if (!reply.ok()) return base::UnavailableError(reply.status().message());
  return ReadReply(*reply);
}

}  // namespace tidewright::apiservice
