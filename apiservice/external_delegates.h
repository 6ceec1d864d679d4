// External metrics of other servers of the same API. A cluster has one provider of external.metrics.k8s.io; with this
// one in front, others serve behind it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "apiservice/provider.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "base/mutex.h"
#include "base/status.h"
#include "http/client.h"

namespace tidewright::apiservice {

// Another server.
struct ExternalDelegate {
  // Names of metrics, with * for any characters: these are asked of it alone. "": it is asked for what nobody else has.
  std::string pattern;
  std::string url;  // https://host:port
};

// Reads "external=https://host:port" or "external/kafka-*=https://host:port".
base::Result<ExternalDelegate> ParseExternalDelegate(const std::string& text);

// Whether `name` fits `pattern`, in which * stands for any characters.
bool MatchesPattern(std::string_view pattern, std::string_view name);

struct ExternalDelegateOptions {
  std::vector<ExternalDelegate> delegates;  // Asked in this order.
  http::ClientTls tls;
  std::string token_file;  // Its content authenticates us: the token of our service account. "": nothing does.
  int64_t timeout_ms = 5'000;
};

// Asks the own provider first, except for names that a delegate's pattern claims. The request goes on with our
// identity: who may ask has been decided before. A delegate that cannot be reached is an error and not an absence, and
// for ten seconds it is not asked again, so that it cannot hold up requests for other metrics. Discovery lists our own
// metrics only. Counts tidewright_apiservice_delegated_requests_total{result}. Thread-safe. Borrows clock and metrics.
class ExternalDelegates : public ExternalMetricsProvider {
 public:
  using Own = std::function<ExternalMetricsProvider*()>;  // May be null.

  static base::Result<std::unique_ptr<ExternalDelegates>> Create(ExternalDelegateOptions options, Own own,
                                                                 base::Clock& clock, base::MetricRegistry& metrics);

  std::vector<std::string> ListMetrics() override;
  uint64_t ListVersion() override;
  base::Result<std::vector<ExternalMetricValue>> Get(const std::string& ns, const std::string& metric,
                                                     const kube::LabelSelector& selector) override;

 private:
  ExternalDelegates(ExternalDelegateOptions options, Own own, std::unique_ptr<http::Client> client, base::Clock& clock,
                    base::MetricRegistry& metrics);
  base::Result<std::vector<ExternalMetricValue>> Ask(size_t index, const std::string& ns, const std::string& metric,
                                                     const kube::LabelSelector& selector);
  base::Result<std::vector<ExternalMetricValue>> Send(const std::string& url);

  const ExternalDelegateOptions options_;
  const Own own_;
  const std::unique_ptr<http::Client> client_;
  base::Clock& clock_;
  base::Counter& ok_;
  base::Counter& failed_;
  base::Mutex mu_;
  std::vector<int64_t> avoid_until_ms_ GUARDED_BY(mu_);  // By delegate.
};

}  // namespace tidewright::apiservice
