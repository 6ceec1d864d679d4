#include "scrape/operator_objects.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "base/document.h"
#include "base/duration.h"
#include "base/strings.h"
#include "kube/meta.h"
#include "scrape/config_sections.h"
#include "scrape/operator_sections.h"

namespace tidewright::scrape {
namespace {

const base::Json kNull;

// The scrape class by name, or the default one; null for none.
base::Result<const base::Json*> FindScrapeClass(const base::Json& prometheus, const std::string& name) {
  for (const auto& one : ObjectAt(prometheus, "scrapeClasses")) {
    if (name.empty() ? BoolAt(one, "default", false) : TextAt(one, "name") == name) return &one;
  }
  if (name.empty()) return &kNull;
  return base::InvalidArgumentError("scrapeClass " + base::Quoted(name) +
                                    " is not among the scrape classes of the instance");
}

int64_t CountAt(const base::Json& object, std::string_view key) {
  const base::Json& value = ObjectAt(object, key);
  return value.is_number_integer() ? value.get<int64_t>() : 0;
}

// "sampleLimit" -> "enforcedSampleLimit"
std::string Enforced(std::string field) {
  field[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(field[0])));
  return "enforced" + field;
}

constexpr std::pair<const char*, const char*> kCounts[] = {{"sampleLimit", "sample_limit"},
                                                           {"targetLimit", "target_limit"},
                                                           {"labelLimit", "label_limit"},
                                                           {"labelNameLengthLimit", "label_name_length_limit"},
                                                           {"labelValueLengthLimit", "label_value_length_limit"},
                                                           {"keepDroppedTargets", "keep_dropped_targets"}};

// The lower of the user's limit and the instance's. Where the user has none the job has none of its own, and the global
// one applies.
void AddCount(const OperatorObject& context, const std::string& field, const std::string& as, base::Json* config) {
  const int64_t user = CountAt(context.spec, field), enforced = CountAt(context.prometheus, Enforced(field));
  if (!HasValue(context.spec, field) || (user == 0 && enforced > 0)) return;
  (*config)[as] = enforced > 0 ? std::min(user, enforced) : user;
}

void AddBodySize(const OperatorObject& context, base::Json* config) {
  const std::string user = TextAt(context.spec, "bodySizeLimit");
  const std::string enforced = TextAt(context.prometheus, "enforcedBodySizeLimit");
  auto bytes = [](const std::string& text) {
    auto size = ParseByteSize(text);
    return size.ok() ? *size : 0;
  };
  const bool lower = bytes(user) == 0 || (bytes(enforced) > 0 && bytes(enforced) < bytes(user));
  const std::string& chosen = !enforced.empty() && lower ? enforced : user;
  if (!chosen.empty()) (*config)["body_size_limit"] = chosen;
}

// One instance is one shard, whose number is 0.
base::Json OfOneShard(base::Json config) {
  constexpr std::string_view kShard = "$(SHARD)";
  for (auto& rule : config["relabel_configs"]) {
    std::string regex = TextAt(rule, "regex");
    const size_t at = regex.find(kShard);
    if (at != std::string::npos) rule["regex"] = regex.replace(at, kShard.size(), "0");
  }
  return config;
}

base::Result<std::vector<base::Json>> ConvertEndpoints(const OperatorObject& context) {
  const bool service = context.kind == "ServiceMonitor";
  const std::string field = service ? "endpoints" : "podMetricsEndpoints";
  std::vector<base::Json> out;
  for (const auto& endpoint : ObjectAt(context.spec, field)) {
    auto converted = service ? ConvertServiceEndpoint(context, endpoint, out.size())
                             : ConvertPodEndpoint(context, endpoint, out.size());
    if (!converted.ok()) return converted.status().Annotate(field + "[" + std::to_string(out.size()) + "]");
    out.push_back(std::move(*converted));
  }
  return out;
}

}  // namespace

std::string TextAt(const base::Json& object, std::string_view key) {
  const base::Json& value = ObjectAt(object, key);
  return value.is_string() ? value.get<std::string>() : "";
}

bool BoolAt(const base::Json& object, std::string_view key, bool otherwise) {
  const base::Json& value = ObjectAt(object, key);
  return value.is_boolean() ? value.get<bool>() : otherwise;
}

const base::Json& ObjectAt(const base::Json& object, std::string_view key) {
  if (!object.is_object()) return kNull;
  auto member = object.find(key);
  return member == object.end() ? kNull : *member;
}

bool HasValue(const base::Json& object, std::string_view key) { return !ObjectAt(object, key).is_null(); }

void CopyMember(const base::Json& from, std::string_view key, base::Json* to, std::string_view as) {
  if (HasValue(from, key)) (*to)[std::string(as)] = ObjectAt(from, key);
}

base::Status AddTiming(const OperatorObject& context, const base::Json& from, const std::string& interval_key,
                       base::Json* config) {
  const std::string interval = TextAt(from, interval_key), timeout = TextAt(from, "scrapeTimeout");
  if (!interval.empty()) (*config)["scrape_interval"] = interval;
  if (timeout.empty()) return base::Status::Ok();
  (*config)["scrape_timeout"] = timeout;
  std::string effective = interval.empty() ? TextAt(context.prometheus, "scrapeInterval") : interval;
  if (effective.empty()) effective = "30s";
  TW_ASSIGN_OR_RETURN(base::Duration longest, base::ParseDuration(effective));
  TW_ASSIGN_OR_RETURN(base::Duration wanted, base::ParseDuration(timeout));
  if (wanted.ms <= longest.ms) return base::Status::Ok();
  return base::InvalidArgumentError("scrapeTimeout " + base::Quoted(timeout) + " is longer than the interval of " +
                                    effective + "; use at most that");
}

void AddHonor(const OperatorObject& context, const base::Json& from, bool always_labels, base::Json* config) {
  if (always_labels || HasValue(from, "honorLabels")) {
    (*config)["honor_labels"] =
        BoolAt(from, "honorLabels", false) && !BoolAt(context.prometheus, "overrideHonorLabels", false);
  }
  const bool overridden = BoolAt(context.prometheus, "overrideHonorTimestamps", false);
  if (overridden || HasValue(from, "honorTimestamps")) {
    (*config)["honor_timestamps"] = BoolAt(from, "honorTimestamps", true) && !overridden;
  }
  CopyMember(from, "trackTimestampsStaleness", config, "track_timestamps_staleness");
}

void AddLimits(const OperatorObject& context, base::Json* config) {
  for (auto [field, as] : kCounts) AddCount(context, field, as, config);
  AddBodySize(context, config);
}

void AddFormats(const OperatorObject& context, base::Json* config) {
  CopyMember(context.spec, "scrapeProtocols", config, "scrape_protocols");
  CopyMember(context.spec, HasValue(context.spec, "fallbackScrapeProtocol") ? "fallbackScrapeProtocol" : "", config,
             "fallback_scrape_protocol");
  if (!config->contains("fallback_scrape_protocol")) {
    CopyMember(context.scrape_class, "fallbackScrapeProtocol", config, "fallback_scrape_protocol");
  }
  CopyMember(context.spec, "scrapeNativeHistograms", config, "scrape_native_histograms");
  CopyMember(context.spec, "scrapeClassicHistograms", config, "always_scrape_classic_histograms");
  CopyMember(context.spec, "convertClassicHistogramsToNHCB", config, "convert_classic_histograms_to_nhcb");
  CopyMember(context.spec, "nativeHistogramBucketLimit", config, "native_histogram_bucket_limit");
  const base::Json& factor = ObjectAt(context.spec, "nativeHistogramMinBucketFactor");
  double number = 0;
  if (factor.is_string() && base::ParseDouble(factor.get<std::string>(), &number)) {
    (*config)["native_histogram_min_bucket_factor"] = number;
  } else if (factor.is_number()) {
    (*config)["native_histogram_min_bucket_factor"] = factor;
  }
}

base::Json KubernetesDiscovery(const OperatorObject& context, const std::string& role, const base::Json& selector) {
  base::Json sd = {{"role", role}};
  base::Json names = base::Json::array({context.ns});
  if (HasValue(selector, "matchNames") && !selector["matchNames"].empty()) names = selector["matchNames"];
  const bool everywhere = BoolAt(selector, "any", false);
  if (BoolAt(context.prometheus, "ignoreNamespaceSelectors", false)) {
    sd["namespaces"]["names"] = {context.ns};
  } else if (!everywhere) {
    sd["namespaces"]["names"] = std::move(names);
  }
  const base::Json& own = ObjectAt(context.spec, "attachMetadata");
  const base::Json& attach = own.is_null() ? ObjectAt(context.scrape_class, "attachMetadata") : own;
  if (HasValue(attach, "node") && role != "ingress") sd["attach_metadata"]["node"] = attach["node"];
  return sd;
}

OperatorConverter::OperatorConverter(const base::Json& prometheus, ReferenceLookup lookup)
    : prometheus_(std::make_unique<const base::Json>(prometheus)), lookup_(std::move(lookup)) {}

OperatorConverter::~OperatorConverter() = default;

base::Result<std::vector<base::Json>> OperatorConverter::Convert(const base::Json& object) const {
  const base::Json& spec = ObjectAt(object, "spec");
  auto scrape_class = FindScrapeClass(*prometheus_, TextAt(spec, "scrapeClass"));
  TW_RETURN_IF_ERROR(scrape_class.status());
  OperatorObject context{
      *prometheus_,        object, spec, **scrape_class, lookup_, TextAt(object, "kind"), kube::NamespaceOf(object),
      kube::NameOf(object)};
  if (context.kind == "ServiceMonitor" || context.kind == "PodMonitor") return ConvertEndpoints(context);
  if (context.kind != "Probe" && context.kind != "ScrapeConfig") {
    return base::InvalidArgumentError(base::Quoted(context.kind) + " is not a kind that describes scraping");
  }
  TW_ASSIGN_OR_RETURN(base::Json config,
                      context.kind == "Probe" ? ConvertProbe(context) : ConvertScrapeConfig(context));
  return std::vector<base::Json>{std::move(config)};
}

base::Result<GlobalConfig> InstanceDefaults(const base::Json& prometheus) {
  base::Json global = {{"scrape_interval", "30s"}, {"evaluation_interval", "30s"}};
  for (auto [field, as] : {std::pair{"scrapeInterval", "scrape_interval"},
                           {"scrapeTimeout", "scrape_timeout"},
                           {"evaluationInterval", "evaluation_interval"}}) {
    if (!TextAt(prometheus, field).empty()) global[as] = TextAt(prometheus, field);
  }
  CopyMember(prometheus, "scrapeProtocols", &global, "scrape_protocols");
  for (auto [field, as] : kCounts) {
    const int64_t own = CountAt(prometheus, field), enforced = CountAt(prometheus, Enforced(field));
    global[as] = own > 0 && enforced > 0 ? std::min(own, enforced) : std::max(own, enforced);
  }
  for (auto field : {"bodySizeLimit", "enforcedBodySizeLimit"}) {
    if (!TextAt(prometheus, field).empty()) global["body_size_limit"] = TextAt(prometheus, field);
  }
  base::Json document = {{"global", std::move(global)}};
  TW_ASSIGN_OR_RETURN(Config config, ParseConfig(document.dump(), "Prometheus"));
  return config.global;
}

base::Result<std::vector<ScrapeConfig>> DecodeConverted(const std::vector<base::Json>& scrape_configs,
                                                        const std::string& origin, const GlobalConfig& global,
                                                        std::vector<std::string>* warnings) {
  base::Json document = {{"scrape_configs", base::Json::array()}};
  for (const base::Json& config : scrape_configs) document["scrape_configs"].push_back(OfOneShard(config));
  // Not through a text: secrets may be any bytes.
  const base::Node node = base::NodeFromJson(document);
  base::ErrorList errors(origin);
  base::ObjectReader root(node, "", errors);
  DecodeContext context;
  context.scheme = global.name_scheme;
  std::vector<ScrapeConfig> configs = DecodeScrapeConfigList(root, context, global);
  root.Finish();
  TW_RETURN_IF_ERROR(errors.ToStatus());
  if (warnings != nullptr) warnings->insert(warnings->end(), context.warnings.begin(), context.warnings.end());
  return configs;
}

}  // namespace tidewright::scrape
