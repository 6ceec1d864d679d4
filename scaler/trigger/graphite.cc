// The graphite trigger: the latest value of a render query.
#include <utility>

#include "base/json.h"
#include "scaler/trigger/http_source.h"
#include "scaler/trigger/types.h"

namespace tidewright::scaler::trigger {

namespace {

struct GraphiteConfig {
  std::string server;
  std::string query;
  std::string from;
  int64_t target_milli = 100'000;
  int64_t activation_milli = 0;
};

constexpr Field<GraphiteConfig> kFields[] = {
    {"serverAddress", Need::kRequired, From::kAny,
     [](const std::string& value, GraphiteConfig& config) { return ParseHttpAddress(value, &config.server, nullptr); },
     "Graphite's address."},
    {"query", Need::kRequired, From::kMetadata,
     [](const std::string& value, GraphiteConfig& config) { return Keep(value, &config.query); },
     "A target of the render API that gives one series."},
    {"queryTime", Need::kRequired, From::kMetadata,
     [](const std::string& value, GraphiteConfig& config) { return Keep(value, &config.from); },
     "How far to look back: `-10Minutes`."},
    {"threshold", Need::kOptional, From::kDecision,
     [](const std::string& value, GraphiteConfig& config) { return ParsePositiveMilli(value, &config.target_milli); },
     "The value per replica. Default 100."},
    {"activationThreshold", Need::kOptional, From::kDecision,
     [](const std::string& value, GraphiteConfig& config) { return ParseMilli(value, &config.activation_milli); },
     "Active above this value. Default 0."},
};

class GraphiteTrigger : public Trigger {
 public:
  GraphiteTrigger(TriggerInfo info, GraphiteConfig config, HttpAccess access, const TriggerContext& context)
      : Trigger(std::move(info)), config_(std::move(config)), source_(std::move(access), context) {}

  base::Result<Reading> Read() override {
    std::string url = config_.server + "/render?format=json&from=" + http::PercentEncode(config_.from) +
                      "&target=" + http::PercentEncode(config_.query);
    TW_ASSIGN_OR_RETURN(base::Json reply, source_.GetJson(url));
    if (!reply.is_array()) return base::UnavailableError("the reply is not what Graphite sends");
    if (reply.empty()) return Reading{0, "the query has no series, which counts as 0"};
    if (reply.size() > 1) {
      return base::FailedPreconditionError("the query gives " + std::to_string(reply.size()) +
                                           " series; combine them, for example with sumSeries()");
    }
    const base::Json* points = base::Find(reply.front(), {"datapoints"});
    if (points == nullptr || !points->is_array()) return base::UnavailableError("the reply is not what Graphite sends");
    if (points->empty()) return Reading{0, "the query has no points, which counts as 0"};
    for (auto point = points->rbegin(); point != points->rend(); ++point) {
      if (!point->is_array() || point->empty() || !point->front().is_number()) continue;
      TW_ASSIGN_OR_RETURN(int64_t milli, ToMilli(point->front().get<double>()));
      return Reading{milli, "query = " + FormatMilli(milli)};
    }
    return base::FailedPreconditionError("the query has only points without a value");
  }

 private:
  const GraphiteConfig config_;
  HttpSource source_;
};

}  // namespace

std::unique_ptr<Trigger> MakeGraphite(const TriggerSpec& spec, MetadataReader& reader, const TriggerContext* context) {
  GraphiteConfig config = ReadMetadata(kFields, reader);
  HttpAccess access = ReadHttpAccess(reader);
  if (context == nullptr) return nullptr;
  TriggerInfo info = InfoOf(spec, config.query.substr(0, 60), "graphite");
  info.source = ServerOf(config.server);
  info.target_milli = config.target_milli;
  info.activation_milli = config.activation_milli;
  return std::make_unique<GraphiteTrigger>(std::move(info), std::move(config), std::move(access), *context);
}

}  // namespace tidewright::scaler::trigger
