#include "scrape/config.h"

#include <glob.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <set>

#include "base/file.h"
#include "base/strings.h"
#include "scrape/config_sections.h"

namespace tidewright::scrape {
namespace {

const std::vector<std::string>& KnownProtocols() {
  static const std::vector<std::string> protocols = {"OpenMetricsText0.0.1", "OpenMetricsText1.0.0", "PrometheusProto",
                                                     "PrometheusText0.0.4", "PrometheusText1.0.0"};
  return protocols;
}

// Native histograms come by protobuf only, so that it is asked for first unless the user lists protocols.
void ReadProtocols(base::ObjectReader& reader, ScrapeDefaults* defaults) {
  std::vector<std::string>* out = &defaults->protocols;
  if (!reader.Optional("scrape_protocols", out)) return;
  defaults->protocols_chosen = true;
  if (out->empty()) reader.Error("scrape_protocols", "is empty; remove it to use the default");
  std::set<std::string> seen;
  for (const std::string& protocol : *out) {
    OneOf(reader, "scrape_protocols", protocol, KnownProtocols());
    if (!seen.insert(protocol).second) reader.Error("scrape_protocols", base::Quoted(protocol) + " is repeated");
  }
}

void ReadNameScheme(base::ObjectReader& reader, ScrapeDefaults* defaults) {
  std::string scheme;
  if (reader.Optional("metric_name_validation_scheme", &scheme) && !scheme.empty() &&
      OneOf(reader, "metric_name_validation_scheme", scheme, {"utf8", "legacy"})) {
    defaults->name_scheme = scheme == "legacy" ? NameScheme::kLegacy : NameScheme::kUtf8;
    defaults->escaping = scheme == "legacy" ? "underscores" : "allow-utf-8";
  }
  std::string escaping;
  if (!reader.Optional("metric_name_escaping_scheme", &escaping) || escaping.empty()) return;
  if (!OneOf(reader, "metric_name_escaping_scheme", escaping, {"allow-utf-8", "underscores", "dots", "values"})) return;
  if (escaping == "allow-utf-8" && defaults->name_scheme == NameScheme::kLegacy) {
    reader.Error("metric_name_escaping_scheme",
                 "\"allow-utf-8\" contradicts metric_name_validation_scheme: legacy; use underscores");
  }
  defaults->escaping = escaping;
}

void ReadHistogramSwitches(base::ObjectReader& reader, ScrapeDefaults* defaults) {
  reader.Optional("scrape_native_histograms", &defaults->native_histograms);
  reader.Optional("always_scrape_classic_histograms", &defaults->always_classic_histograms);
  reader.Optional("convert_classic_histograms_to_nhcb", &defaults->convert_classic_histograms);
  reader.Optional("extra_scrape_metrics", &defaults->extra_metrics);
}

// The fields that global and scrape_configs share. `defaults` comes in with the inherited values.
void DecodeDefaults(base::ObjectReader& reader, DecodeContext& context, ScrapeDefaults* defaults) {
  auto inherit = [&](auto read, std::string_view key, int64_t* value) {
    int64_t own = 0;
    read(reader, key, &own);
    if (own != 0) *value = own;
  };
  Limits& limits = defaults->limits;
  inherit(ReadByteSize, "body_size_limit", &limits.body_size);
  inherit(ReadCount, "sample_limit", &limits.samples);
  inherit(ReadCount, "target_limit", &limits.targets);
  inherit(ReadCount, "label_limit", &limits.labels);
  inherit(ReadCount, "label_name_length_limit", &limits.label_name_length);
  inherit(ReadCount, "label_value_length_limit", &limits.label_value_length);
  inherit(ReadCount, "keep_dropped_targets", &limits.keep_dropped_targets);
  ReadNameScheme(reader, defaults);
  ReadProtocols(reader, defaults);
  ReadHistogramSwitches(reader, defaults);
  std::string file;
  if (reader.Optional("scrape_failure_log_file", &file) && !file.empty()) {
    context.Warn(reader, "scrape_failure_log_file", "not supported yet; failures go to the program's log");
  }
}

// A timeout that was not written follows the interval; one that was must fit into it.
void DecodeTiming(base::ObjectReader& reader, ScrapeDefaults* defaults) {
  base::Duration interval{0}, timeout{0};
  reader.Optional("scrape_interval", &interval);
  reader.Optional("scrape_timeout", &timeout);
  if (interval.ms > 0) defaults->scrape_interval = interval;
  if (timeout.ms > defaults->scrape_interval.ms) {
    reader.Error("scrape_timeout", base::Quoted(base::FormatDuration(timeout)) +
                                       " is longer than the scrape interval of " +
                                       base::FormatDuration(defaults->scrape_interval) + "; use at most that");
  }
  defaults->scrape_timeout =
      timeout.ms > 0 ? timeout : base::Duration{std::min(defaults->scrape_timeout.ms, defaults->scrape_interval.ms)};
}

// Replaces $NAME and ${NAME} by environment variables; $$ is a dollar sign.
std::string ExpandEnvironment(std::string_view text, std::vector<std::string>* unset) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    if (text[i] != '$' || i + 1 == text.size()) {
      out.push_back(text[i++]);
      continue;
    }
    if (text[i + 1] == '$') {
      out.push_back('$');
      i += 2;
      continue;
    }
    bool braces = text[i + 1] == '{';
    size_t start = i + (braces ? 2 : 1);
    size_t end = start;
    while (end < text.size() &&
           (braces ? text[end] != '}' : std::isalnum(static_cast<unsigned char>(text[end])) || text[end] == '_'))
      ++end;
    std::string name(text.substr(start, end - start));
    const char* value = name.empty() ? nullptr : std::getenv(name.c_str());
    if (value != nullptr) out += value;
    if (value == nullptr) unset->push_back(name);
    i = end + (braces && end < text.size() ? 1 : 0);
  }
  return out;
}

void DecodeExternalLabels(base::ObjectReader& reader, DecodeContext& context, GlobalConfig* global) {
  reader.Optional("external_labels", &global->external_labels);
  for (auto& [name, value] : global->external_labels) {
    if (!IsValidLabelName(name, global->name_scheme)) {
      reader.Error("external_labels", base::Quoted(name) + " is not a valid label name");
    }
    if (!base::IsValidUtf8(value)) reader.Error("external_labels", name + " has a value that is not UTF-8");
    std::vector<std::string> unset;
    value = ExpandEnvironment(value, &unset);
    for (const std::string& variable : unset) {
      context.Warn(reader, "external_labels", "the environment variable " + variable + " is not set");
    }
  }
}

void DecodeGlobal(base::ObjectReader& reader, DecodeContext& context, GlobalConfig* global) {
  DecodeTiming(reader, global);
  base::Duration evaluation{0};
  if (reader.Optional("evaluation_interval", &evaluation) && evaluation.ms > 0)
    global->evaluation_interval = evaluation;
  reader.Optional("rule_query_offset", &global->rule_query_offset);
  DecodeDefaults(reader, context, global);
  DecodeExternalLabels(reader, context, global);
  if (reader.Optional("query_log_file", &global->query_log_file)) {
    global->query_log_file = context.Resolve(global->query_log_file);
  }
}

void DecodeParams(base::ObjectReader& reader, ScrapeConfig* config) {
  const base::Node* node = reader.Raw("params");
  if (node == nullptr) return;
  if (node->kind != base::Node::Kind::kMap) return reader.Error("params", "is not a mapping of names to lists");
  for (const auto& [name, values] : node->members) {
    std::vector<std::string>& list = config->params[name];
    if (values.kind != base::Node::Kind::kList && !values.IsNull()) {
      reader.Error("params", base::Quoted(name) + " is not a list; write [value]");
    }
    for (const base::Node& value : values.items) list.push_back(value.text);
  }
}

// A static target with a slash is a URL in the wrong place, unless relabelling may still take it apart.
void CheckStaticTargets(base::ObjectReader& reader, const ScrapeConfig& config) {
  if (!config.relabel_rules.empty()) return;
  for (const TargetGroup& group : config.static_groups) {
    for (const tsdb::Labels& target : group.targets) {
      std::string address(target.Get("__address__"));
      if (address.find('/') == std::string::npos) continue;
      reader.Error("static_configs",
                   base::Quoted(address) + " is not host:port; use scheme and metrics_path for the rest");
    }
  }
}

ScrapeConfig DecodeScrapeConfig(base::ObjectReader& reader, DecodeContext& context, const GlobalConfig& global) {
  ScrapeConfig config;
  static_cast<ScrapeDefaults&>(config) = global;
  if (!reader.Optional("job_name", &config.job_name) || config.job_name.empty()) {
    reader.Error("job_name", "is missing; give every scrape config a unique name");
  }
  DecodeTiming(reader, &config);
  DecodeDefaults(reader, context, &config);
  if (reader.Optional("fallback_scrape_protocol", &config.fallback_protocol) && !config.fallback_protocol.empty()) {
    OneOf(reader, "fallback_scrape_protocol", config.fallback_protocol, KnownProtocols());
  }
  reader.Optional("honor_labels", &config.honor_labels);
  reader.Optional("honor_timestamps", &config.honor_timestamps);
  reader.Optional("track_timestamps_staleness", &config.track_timestamps_staleness);
  reader.Optional("enable_compression", &config.enable_compression);
  reader.Optional("metrics_path", &config.metrics_path);
  reader.Optional("scheme", &config.scheme);
  DecodeParams(reader, &config);
  ReadCount(reader, "native_histogram_bucket_limit", &config.native_histogram_bucket_limit);
  reader.Optional("native_histogram_min_bucket_factor", &config.native_histogram_min_bucket_factor);
  if (config.native_histograms) PreferProtobuf(&config);
  config.http = DecodeHttpClient(reader, context);
  NameScheme outer = std::exchange(context.scheme, config.name_scheme);
  config.relabel_rules = DecodeRelabelRules(reader, "relabel_configs", config.name_scheme);
  config.metric_relabel_rules = DecodeRelabelRules(reader, "metric_relabel_configs", config.name_scheme);
  DecodeDiscovery(reader, context, &config);
  context.scheme = outer;
  CheckStaticTargets(reader, config);
  return config;
}

// Reads the list `scrape_configs` of `root`. Job names are unique over all files.
void DecodeScrapeConfigs(base::ObjectReader& root, DecodeContext& context, std::set<std::string>* jobs,
                         Config* config) {
  root.Objects("scrape_configs", [&](base::ObjectReader& reader) {
    ScrapeConfig job = DecodeScrapeConfig(reader, context, config->global);
    if (!job.job_name.empty() && !jobs->insert(job.job_name).second) {
      reader.Error("job_name", base::Quoted(job.job_name) + " is used twice; job names must be unique");
    }
    config->scrape_configs.push_back(std::move(job));
  });
}

base::Status ReadScrapeConfigFile(const std::string& path, DecodeContext& context, std::set<std::string>* jobs,
                                  Config* config) {
  TW_ASSIGN_OR_RETURN(std::string text, base::ReadFile(path));
  TW_ASSIGN_OR_RETURN(base::Node document, base::ParseYaml(text, path));
  base::ErrorList errors(path);
  DecodeContext own;
  own.directory = std::filesystem::path(path).parent_path().string();
  own.scheme = context.scheme;
  base::ObjectReader root(document, "", errors);
  DecodeScrapeConfigs(root, own, jobs, config);
  root.Finish();
  for (std::string& warning : own.warnings) context.warnings.push_back(path + ": " + warning);
  return errors.ToStatus();
}

void ReadPatterns(base::ObjectReader& root, const std::string& key, DecodeContext& context,
                  std::vector<std::string>* out) {
  root.Optional(key, out);
  for (std::string& pattern : *out) {
    CheckGlob(root, key, pattern);
    pattern = context.Resolve(pattern);
  }
}

}  // namespace

std::vector<ScrapeConfig> DecodeScrapeConfigList(base::ObjectReader& root, DecodeContext& context,
                                                 const GlobalConfig& global) {
  std::vector<ScrapeConfig> configs;
  root.Objects("scrape_configs",
               [&](base::ObjectReader& reader) { configs.push_back(DecodeScrapeConfig(reader, context, global)); });
  return configs;
}

void ReadCount(base::ObjectReader& reader, std::string_view key, int64_t* out) {
  int64_t value = 0;
  if (!reader.Optional(key, &value)) return;
  if (value < 0) return reader.Error(key, std::to_string(value) + " is negative; use 0 for no limit");
  *out = value;
}

void ReadByteSize(base::ObjectReader& reader, std::string_view key, int64_t* out) {
  std::string text;
  if (!reader.Optional(key, &text)) return;
  auto size = ParseByteSize(text);
  if (!size.ok()) return reader.Error(key, size.status().message());
  *out = *size;
}

bool OneOf(base::ObjectReader& reader, std::string_view key, const std::string& value,
           const std::vector<std::string>& allowed) {
  if (std::find(allowed.begin(), allowed.end(), value) != allowed.end()) return true;
  reader.Error(key, base::Quoted(value) + " is not known; use " + base::Join(allowed, ", "));
  return false;
}

void CheckGlob(base::ObjectReader& reader, std::string_view key, const std::string& pattern) {
  size_t slash = pattern.rfind('/');
  if (slash != std::string::npos && pattern.find_first_of("*?[") < slash) {
    reader.Error(key, base::Quoted(pattern) + " has a wildcard in a folder name; use wildcards in the file name only");
  }
}

base::Result<int64_t> ParseByteSize(std::string_view text) {
  static constexpr std::string_view kPrefixes = "KMGTPE";
  auto error = [&] {
    return base::InvalidArgumentError(base::Quoted(text) + " is not a size; use for example 10MB or 1GiB");
  };
  if (text == "0") return int64_t{0};
  std::string_view rest = text;
  bool negative = !rest.empty() && rest[0] == '-';
  if (negative || (!rest.empty() && rest[0] == '+')) rest.remove_prefix(1);
  if (rest.empty()) return error();
  double total = 0;
  while (!rest.empty()) {
    size_t digits = std::min(rest.find_first_not_of("0123456789."), rest.size());
    double number = 0;
    if (digits == 0 || !base::ParseDouble(rest.substr(0, digits), &number)) return error();
    rest.remove_prefix(digits);
    size_t prefix = rest.empty() ? std::string_view::npos : kPrefixes.find(rest[0]);
    if (prefix != std::string_view::npos) {
      number *= std::pow(1024.0, static_cast<double>(prefix + 1));
      rest.remove_prefix(rest.size() > 1 && rest[1] == 'i' ? 2 : 1);
    }
    if (rest.empty() || rest[0] != 'B') return error();
    rest.remove_prefix(1);
    total += number;
  }
  if (total >= 9.2e18) return error();
  return static_cast<int64_t>(negative ? -total : total);
}

std::vector<std::string> MatchFiles(const std::vector<std::string>& patterns) {
  std::set<std::string> files;
  for (const std::string& pattern : patterns) {
    glob_t matches{};
    if (glob(pattern.c_str(), 0, nullptr, &matches) == 0) {
      for (size_t i = 0; i < matches.gl_pathc; ++i) files.insert(matches.gl_pathv[i]);
    }
    globfree(&matches);
  }
  return {files.begin(), files.end()};
}

base::Result<Config> ParseConfig(std::string_view text, const std::string& origin, const std::string& directory,
                                 const ScrapeDefaults& defaults) {
  TW_ASSIGN_OR_RETURN(base::Node document, base::ParseYaml(text, origin));
  base::ErrorList errors(origin);
  DecodeContext context;
  context.directory = directory;
  Config config;
  static_cast<ScrapeDefaults&>(config.global) = defaults;
  std::set<std::string> jobs;
  base::ObjectReader root(document, "", errors);
  root.Object("global", [&](base::ObjectReader& reader) { DecodeGlobal(reader, context, &config.global); });
  context.scheme = config.global.name_scheme;
  ReadPatterns(root, "rule_files", context, &config.rule_files);
  ReadPatterns(root, "scrape_config_files", context, &config.scrape_config_files);
  DecodeScrapeConfigs(root, context, &jobs, &config);
  DecodeOtherSections(root, context, &config);
  root.Finish();
  TW_RETURN_IF_ERROR(errors.ToStatus());
  if (!directory.empty()) {
    for (const std::string& path : MatchFiles(config.scrape_config_files)) {
      TW_RETURN_IF_ERROR(ReadScrapeConfigFile(path, context, &jobs, &config));
    }
  }
  config.global.out_of_order_time_window = config.out_of_order_time_window;
  for (ScrapeConfig& job : config.scrape_configs) job.out_of_order_time_window = config.out_of_order_time_window;
  config.warnings = std::move(context.warnings);
  return config;
}

void PreferProtobuf(ScrapeDefaults* defaults) {
  static const std::string protobuf = "PrometheusProto";
  std::vector<std::string>& protocols = defaults->protocols;
  if (!defaults->protocols_chosen && protocols[0] != protobuf) protocols.insert(protocols.begin(), protobuf);
}

base::Result<Config> LoadConfig(const std::string& path, const ScrapeDefaults& defaults) {
  TW_ASSIGN_OR_RETURN(std::string text, base::ReadFile(path));
  std::string folder = std::filesystem::path(path).parent_path().string();
  return ParseConfig(text, path, folder.empty() ? "." : folder, defaults);
}

}  // namespace tidewright::scrape
