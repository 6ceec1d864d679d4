#include <set>

#include "base/strings.h"
#include "scrape/config_sections.h"

namespace tidewright::scrape {
namespace {

AlertmanagerConfig DecodeAlertmanager(base::ObjectReader& reader, DecodeContext& context) {
  AlertmanagerConfig config;
  std::string api_version = "v2";
  reader.Optional("scheme", &config.scheme);
  reader.Optional("path_prefix", &config.path_prefix);
  reader.Optional("timeout", &config.timeout);
  if (reader.Optional("api_version", &api_version)) OneOf(reader, "api_version", api_version, {"v2"});
  if (reader.Raw("sigv4") != nullptr) context.Warn(reader, "sigv4", "not supported; requests are not signed");
  ScrapeConfig& discovery = config.discovery;
  discovery.http = DecodeHttpClient(reader, context);
  discovery.relabel_rules = DecodeRelabelRules(reader, "relabel_configs", context.scheme);
  config.alert_relabel_rules = DecodeRelabelRules(reader, "alert_relabel_configs", context.scheme);
  DecodeDiscovery(reader, context, &discovery);
  for (const TargetGroup& group : discovery.static_groups) {
    for (const tsdb::Labels& target : group.targets) {
      std::string address(target.Get("__address__"));
      if (discovery.relabel_rules.empty() && address.find('/') != std::string::npos) {
        reader.Error("static_configs", base::Quoted(address) + " is not host:port; use scheme and path_prefix");
      }
    }
  }
  return config;
}

AlertingConfig DecodeAlerting(base::ObjectReader& reader, DecodeContext& context) {
  AlertingConfig config;
  config.alert_relabel_rules = DecodeRelabelRules(reader, "alert_relabel_configs", context.scheme);
  reader.Objects("alertmanagers",
                 [&](base::ObjectReader& r) { config.alertmanagers.push_back(DecodeAlertmanager(r, context)); });
  return config;
}

void CheckRemoteUrl(base::ObjectReader& reader) {
  std::string url;
  if (!reader.Optional("url", &url) || url.empty()) return reader.Error("url", "is missing; name the remote endpoint");
  if (url[0] == ':') reader.Error("url", base::Quoted(url) + " has no scheme; use for example https://host/path");
}

void CheckRemoteName(base::ObjectReader& reader, std::set<std::string>* names) {
  std::string name;
  if (reader.Optional("name", &name) && !name.empty() && !names->insert(name).second) {
    reader.Error("name", base::Quoted(name) + " is used twice; names must be unique");
  }
}

void CheckCustomHeaders(base::ObjectReader& reader) {
  static const std::set<std::string> reserved = {"authorization",
                                                 "host",
                                                 "content-encoding",
                                                 "content-length",
                                                 "content-type",
                                                 "user-agent",
                                                 "connection",
                                                 "keep-alive",
                                                 "proxy-authenticate",
                                                 "proxy-authorization",
                                                 "www-authenticate",
                                                 "accept-encoding",
                                                 "x-prometheus-remote-write-version",
                                                 "x-prometheus-remote-read-version",
                                                 "x-amz-date",
                                                 "x-amz-security-token",
                                                 "x-amz-content-sha256"};
  std::map<std::string, std::string> headers;
  reader.Optional("headers", &headers);
  for (const auto& [name, value] : headers) {
    if (reserved.count(base::ToLower(name)) > 0) {
      reader.Error("headers", base::Quoted(name) + " is reserved and may not be set here");
    }
  }
}

void ReadMs(base::ObjectReader& reader, std::string_view key, int64_t* ms) {
  base::Duration duration{*ms};
  reader.Optional(key, &duration);
  *ms = duration.ms;
}

void DecodeQueue(base::ObjectReader& reader, RemoteWriteConfig* config) {
  int64_t capacity = 10000;
  reader.Optional("capacity", &capacity);
  reader.Optional("max_shards", &config->max_shards);
  reader.Optional("min_shards", &config->min_shards);
  reader.Optional("max_samples_per_send", &config->max_samples_per_send);
  ReadMs(reader, "batch_send_deadline", &config->batch_send_deadline_ms);
  ReadMs(reader, "min_backoff", &config->min_backoff_ms);
  ReadMs(reader, "max_backoff", &config->max_backoff_ms);
  reader.Optional("retry_on_http_429", &config->retry_on_429);
  ReadMs(reader, "sample_age_limit", &config->sample_age_limit_ms);
  auto positive = [&](std::string_view key, int64_t value) {
    if (value <= 0) reader.Error(key, std::to_string(value) + " must be 1 or more");
  };
  positive("capacity", capacity);
  positive("max_shards", config->max_shards);
  positive("min_shards", config->min_shards);
  positive("max_samples_per_send", config->max_samples_per_send);
  if (config->min_shards > config->max_shards) reader.Error("min_shards", "is greater than max_shards");
  if (config->min_backoff_ms > config->max_backoff_ms) reader.Error("max_backoff", "is less than min_backoff");
}

RemoteWriteConfig DecodeRemoteWrite(base::ObjectReader& reader, DecodeContext& context, std::set<std::string>* names) {
  RemoteWriteConfig config;
  bool round_robin = false;
  std::string message = "prometheus.WriteRequest";
  CheckRemoteUrl(reader);
  CheckRemoteName(reader, names);
  CheckCustomHeaders(reader);
  reader.Optional("url", &config.url);
  reader.Optional("name", &config.name);
  reader.Optional("headers", &config.headers);
  ReadMs(reader, "remote_timeout", &config.timeout_ms);
  reader.Optional("send_exemplars", &config.send_exemplars);
  reader.Optional("send_native_histograms", &config.send_native_histograms);
  if (reader.Optional("round_robin_dns", &round_robin) && round_robin) {
    context.Warn(reader, "round_robin_dns", "not supported; connections go to the first address that answers");
  }
  if (reader.Optional("protobuf_message", &message)) {
    OneOf(reader, "protobuf_message", message, {"prometheus.WriteRequest", "io.prometheus.write.v2.Request"});
  }
  config.version2 = message == "io.prometheus.write.v2.Request";
  config.relabel_rules = DecodeRelabelRules(reader, "write_relabel_configs", context.scheme);
  for (auto key : {"sigv4", "azuread", "google_iam"}) {
    if (reader.Has(key)) context.Warn(reader, key, "not supported yet; requests are sent without it");
    reader.Ignore(key);
  }
  config.http = DecodeHttpClient(reader, context);
  reader.Object("queue_config", [&](base::ObjectReader& r) { DecodeQueue(r, &config); });
  reader.Object("metadata_config", [&](base::ObjectReader& r) {
    r.Optional("send", &config.send_metadata);
    ReadMs(r, "send_interval", &config.metadata_interval_ms);
    ReadCount(r, "max_samples_per_send", &config.max_metadata_per_send);
  });
  return config;
}

RemoteReadConfig DecodeRemoteRead(base::ObjectReader& reader, DecodeContext& context, std::set<std::string>* names) {
  RemoteReadConfig config;
  CheckRemoteUrl(reader);
  CheckRemoteName(reader, names);
  CheckCustomHeaders(reader);
  reader.Optional("url", &config.url);
  reader.Optional("name", &config.name);
  reader.Optional("headers", &config.headers);
  ReadMs(reader, "remote_timeout", &config.timeout_ms);
  ReadCount(reader, "chunked_read_limit", &config.chunked_read_limit);
  reader.Optional("read_recent", &config.read_recent);
  reader.Optional("filter_external_labels", &config.filter_external_labels);
  reader.Optional("required_matchers", &config.required_matchers);
  for (const auto& [name, value] : config.required_matchers) {
    if (!IsValidLabelName(name, NameScheme::kUtf8)) {
      reader.Error("required_matchers", base::Quoted(name) + " is not a valid label name");
    }
  }
  config.http = DecodeHttpClient(reader, context);
  return config;
}

void DecodeRetention(base::ObjectReader& reader, DecodeContext& context, Config* config) {
  double percentage = 0;
  reader.Optional("time", &config->retention);
  ReadByteSize(reader, "size", &config->retention_bytes);
  reader.Optional("percentage", &percentage);
  if (config->retention_bytes < 0) reader.Error("size", "is negative; use 0 for no limit");
  if (percentage < 0 || percentage > 100) reader.Error("percentage", "must be between 0 and 100");
  if (percentage > 0) context.Warn(reader, "percentage", "not supported yet; use size and time");
}

void DecodeStorage(base::ObjectReader& reader, DecodeContext& context, Config* config) {
  reader.Object("tsdb", [&](base::ObjectReader& tsdb) {
    double threshold = 0;
    tsdb.Optional("out_of_order_time_window", &config->out_of_order_time_window);
    tsdb.Ignore("outofordertimewindow");
    tsdb.Optional("stale_series_compaction_threshold", &threshold);
    tsdb.Object("chunk_encoding", [](base::ObjectReader& r) {
      std::string floats;
      if (r.Optional("floats", &floats)) OneOf(r, "floats", floats, {"xor", "xor2"});
    });
    tsdb.Object("retention", [&](base::ObjectReader& r) { DecodeRetention(r, context, config); });
  });
  reader.Object("exemplars", [&](base::ObjectReader& r) { r.Optional("max_exemplars", &config->max_exemplars); });
}

void DecodeTracing(base::ObjectReader& reader, DecodeContext& context) {
  std::string endpoint, client_type = "grpc", compression;
  double fraction = 0;
  bool insecure = false;
  base::Duration timeout;
  if (!reader.Optional("endpoint", &endpoint) || endpoint.empty()) reader.Error("endpoint", "is missing; set it");
  if (reader.Optional("client_type", &client_type)) OneOf(reader, "client_type", client_type, {"grpc", "http"});
  if (reader.Optional("compression", &compression) && !compression.empty()) {
    OneOf(reader, "compression", compression, {"gzip"});
  }
  reader.Optional("sampling_fraction", &fraction);
  reader.Optional("insecure", &insecure);
  reader.Optional("timeout", &timeout);
  CheckCustomHeaders(reader);
  HttpClientConfig tls;
  reader.Object("tls_config", [&](base::ObjectReader& r) { DecodeTls(r, context, &tls); });
}

void ReadAttributes(base::ObjectReader& reader, const std::string& key, std::vector<std::string>* out) {
  reader.Optional(key, out);
  std::set<std::string> seen;
  for (const std::string& attribute : *out) {
    std::string name(base::TrimSpace(attribute));
    if (name.empty()) reader.Error(key, "has an empty element; remove it");
    if (!seen.insert(name).second) reader.Error(key, base::Quoted(name) + " is repeated; remove one");
  }
}

void DecodeOtlp(base::ObjectReader& reader, const DecodeContext& context) {
  std::vector<std::string> promoted, ignored;
  bool all = false, flag = false;
  std::string strategy;
  ReadAttributes(reader, "promote_resource_attributes", &promoted);
  ReadAttributes(reader, "ignore_resource_attributes", &ignored);
  reader.Optional("promote_all_resource_attributes", &all);
  for (auto key : {"keep_identifying_resource_attributes", "convert_histograms_to_nhcb", "promote_scope_metadata",
                   "label_name_underscore_sanitization", "label_name_preserve_multiple_underscores"}) {
    reader.Optional(key, &flag);
  }
  if (all && !promoted.empty()) {
    reader.Error("promote_all_resource_attributes", "cannot be used with promote_resource_attributes");
  }
  if (!all && !ignored.empty()) {
    reader.Error("ignore_resource_attributes", "needs promote_all_resource_attributes: true");
  }
  if (!reader.Optional("translation_strategy", &strategy)) return;
  bool known = OneOf(reader, "translation_strategy", strategy,
                     {"UnderscoreEscapingWithSuffixes", "UnderscoreEscapingWithoutSuffixes",
                      "NoUTF8EscapingWithSuffixes", "NoTranslation"});
  bool utf8 = strategy.substr(0, 2) == "No";
  if (known && utf8 && context.scheme == NameScheme::kLegacy) {
    reader.Error("translation_strategy", base::Quoted(strategy) + " needs metric_name_validation_scheme: utf8");
  }
}

}  // namespace

void DecodeOtherSections(base::ObjectReader& root, DecodeContext& context, Config* config) {
  root.Object("alerting", [&](base::ObjectReader& r) { config->alerting = DecodeAlerting(r, context); });
  DecodeContext quiet = context;
  std::set<std::string> writers, readers;
  root.Objects("remote_write",
               [&](base::ObjectReader& r) { config->remote_write.push_back(DecodeRemoteWrite(r, context, &writers)); });
  root.Objects("remote_read",
               [&](base::ObjectReader& r) { config->remote_read.push_back(DecodeRemoteRead(r, context, &readers)); });
  root.Object("storage", [&](base::ObjectReader& r) { DecodeStorage(r, context, config); });
  if (root.Object("tracing", [&](base::ObjectReader& r) { DecodeTracing(r, quiet); })) {
    context.Warn(root, "tracing", "not supported yet; no traces are sent");
  }
  if (root.Object("otlp", [&](base::ObjectReader& r) { DecodeOtlp(r, context); })) {
    context.Warn(root, "otlp", "not supported yet; there is no OTLP receiver");
  }
  root.Object("runtime", [](base::ObjectReader& r) {
    int64_t percentage = 0;
    r.Optional("gogc", &percentage);
  });
}

}  // namespace tidewright::scrape
