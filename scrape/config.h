// The configuration file: prometheus.yml, read unchanged and strictly.
//
// Every section and field of Prometheus 3.14 is known. What is implemented is applied; what is accepted but not acted
// upon is listed in Config::warnings, so that nobody believes in a setting that does nothing. Unknown fields, wrong
// types and contradictions are errors, one per line, each with file, line, field, value and remedy. Secrets never
// appear in errors or warnings.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/duration.h"
#include "base/status.h"
#include "scrape/http_config.h"
#include "scrape/relabel.h"
#include "scrape/remote_config.h"
#include "tsdb/labels.h"

namespace tidewright::scrape {

// A set of targets with common labels, as discovery delivers it. A later group with the same source replaces it.
struct TargetGroup {
  std::string source;
  tsdb::Labels labels;
  std::vector<tsdb::Labels> targets;  // Each with at least __address__.
  friend bool operator==(const TargetGroup& a, const TargetGroup& b) {
    return a.source == b.source && a.labels == b.labels && a.targets == b.targets;
  }
};

// file_sd_configs: YAML or JSON files with target groups.
struct FileSdConfig {
  std::vector<std::string> files;  // Paths; the last element may hold one '*'.
  base::Duration refresh_interval{300'000};
  friend bool operator==(const FileSdConfig&, const FileSdConfig&) = default;
};

// http_sd_configs: target groups from a URL.
struct HttpSdConfig {
  std::string url;
  base::Duration refresh_interval{60'000};
  HttpClientConfig http;
  friend bool operator==(const HttpSdConfig&, const HttpSdConfig&) = default;
};

// dns_sd_configs: targets from records of names.
struct DnsSdConfig {
  std::vector<std::string> names;
  std::string type = "SRV";  // SRV, A, AAAA, MX or NS.
  int64_t port = 0;          // Of the targets; SRV records have their own.
  base::Duration refresh_interval{30'000};
  friend bool operator==(const DnsSdConfig&, const DnsSdConfig&) = default;
};

// kubernetes_sd_configs. Only the cluster that the program itself talks to; see Config::warnings.
struct KubernetesSdConfig {
  struct Selector {
    std::string role, label, field;
    friend bool operator==(const Selector&, const Selector&) = default;
  };
  std::string role;                     // pod, node, service, endpoints, endpointslice or ingress.
  std::vector<std::string> namespaces;  // Empty: all.
  bool own_namespace = false;
  std::vector<Selector> selectors;
  bool attach_node = false;
  bool attach_namespace = false;
  bool attach_deployment = false;  // Of pods, also those behind endpoints.
  bool attach_job = false;
  bool attach_cronjob = false;
  friend bool operator==(const KubernetesSdConfig&, const KubernetesSdConfig&) = default;
};

// Upper bounds; 0 is none. In a scrape_config 0 means the global value.
struct Limits {
  int64_t body_size = 0;  // Bytes, after decompression; a body of this size or more fails the scrape.
  int64_t samples = 0;    // After metric relabelling.
  int64_t targets = 0;
  int64_t labels = 0;
  int64_t label_name_length = 0;
  int64_t label_value_length = 0;
  int64_t keep_dropped_targets = 0;
  friend bool operator==(const Limits&, const Limits&) = default;
};

// What Prometheus hides behind --enable-feature, and so does no configuration file set.
struct Features {
  bool start_timestamp_zero_samples = false;  // created-timestamp-zero-ingestion.
  bool type_and_unit_labels = false;          // type-and-unit-labels.
  friend bool operator==(const Features&, const Features&) = default;
};

// The settings that a job inherits from the section `global`.
struct ScrapeDefaults {
  base::Duration scrape_interval{60'000};
  base::Duration scrape_timeout{10'000};
  Limits limits;
  NameScheme name_scheme = NameScheme::kUtf8;
  std::string escaping = "allow-utf-8";  // metric_name_escaping_scheme.
  std::vector<std::string> protocols = {"OpenMetricsText1.0.0", "OpenMetricsText0.0.1", "PrometheusText1.0.0",
                                        "PrometheusText0.0.4"};
  bool protocols_chosen = false;  // By the user. Otherwise PrometheusProto comes first with native_histograms.
  bool native_histograms = false;
  bool always_classic_histograms = false;
  bool convert_classic_histograms = false;
  bool extra_metrics = false;                  // scrape_timeout_seconds, scrape_sample_limit, scrape_body_size_bytes.
  base::Duration out_of_order_time_window{0};  // As Config has it: how old the times may be that targets give.
  Features features;
  friend bool operator==(const ScrapeDefaults&, const ScrapeDefaults&) = default;
};

// One element of scrape_configs, with the global values filled in.
struct ScrapeConfig : ScrapeDefaults {
  std::string job_name;
  std::string fallback_protocol;  // fallback_scrape_protocol, "" for none.
  bool honor_labels = false;
  bool honor_timestamps = true;
  bool track_timestamps_staleness = false;
  bool enable_compression = true;
  int64_t native_histogram_bucket_limit = 0;      // 0 is none.
  double native_histogram_min_bucket_factor = 0;  // 0 is none.
  std::string metrics_path = "/metrics";
  std::string scheme = "http";
  std::map<std::string, std::vector<std::string>> params;
  HttpClientConfig http;
  std::vector<TargetGroup> static_groups;
  std::vector<FileSdConfig> file_sd;
  std::vector<HttpSdConfig> http_sd;
  std::vector<DnsSdConfig> dns_sd;
  std::vector<KubernetesSdConfig> kubernetes_sd;
  std::vector<RelabelRule> relabel_rules;
  std::vector<RelabelRule> metric_relabel_rules;
  friend bool operator==(const ScrapeConfig&, const ScrapeConfig&) = default;
};

// One element of alerting.alertmanagers.
struct AlertmanagerConfig {
  std::string scheme = "http";
  std::string path_prefix;
  base::Duration timeout{10'000};
  ScrapeConfig discovery;  // Of it, http, static_groups, the kinds of discovery and relabel_rules.
  std::vector<RelabelRule> alert_relabel_rules;
  friend bool operator==(const AlertmanagerConfig&, const AlertmanagerConfig&) = default;
};

struct AlertingConfig {
  std::vector<RelabelRule> alert_relabel_rules;
  std::vector<AlertmanagerConfig> alertmanagers;
  friend bool operator==(const AlertingConfig&, const AlertingConfig&) = default;
};

struct GlobalConfig : ScrapeDefaults {
  base::Duration evaluation_interval{60'000};
  base::Duration rule_query_offset{0};
  std::map<std::string, std::string> external_labels;  // ${VARIABLE} expanded.
  std::string query_log_file;                          // Absolute when the file's folder is known; "": none.
  friend bool operator==(const GlobalConfig&, const GlobalConfig&) = default;
};

struct Config {
  GlobalConfig global;
  std::vector<std::string> rule_files;  // Glob patterns, absolute when the file's folder is known; see MatchFiles().
  std::vector<ScrapeConfig> scrape_configs;      // Those of scrape_config_files included.
  std::vector<std::string> scrape_config_files;  // Glob patterns, likewise.
  AlertingConfig alerting;
  base::Duration retention{0};                 // storage.tsdb.retention.time; 0 when not set.
  int64_t retention_bytes = 0;                 // storage.tsdb.retention.size; 0 when not set.
  base::Duration out_of_order_time_window{0};  // storage.tsdb.out_of_order_time_window.
  int64_t max_exemplars = 100'000;             // storage.exemplars.max_exemplars; less than 1 is none.
  std::vector<RemoteWriteConfig> remote_write;
  std::vector<RemoteReadConfig> remote_read;
  // "scrape_configs[2].consul_sd_configs: not supported yet; its targets are not scraped"
  std::vector<std::string> warnings;
};

// Parses `text`. `origin` names it in errors; relative paths resolve against `directory` ("" leaves them alone, and
// scrape_config_files unread). What the section `global` does not say is as in `defaults`.
base::Result<Config> ParseConfig(std::string_view text, const std::string& origin, const std::string& directory = "",
                                 const ScrapeDefaults& defaults = {});

// Reads and parses a file; paths are relative to its folder.
base::Result<Config> LoadConfig(const std::string& path, const ScrapeDefaults& defaults = {});

// Puts the protobuf format first, unless protocols have been chosen.
void PreferProtobuf(ScrapeDefaults* defaults);

// The target groups of a file_sd file (YAML or JSON). `path` becomes __meta_filepath and the source.
base::Result<std::vector<TargetGroup>> ParseTargetFile(std::string_view text, const std::string& path);

// The target groups of an http_sd reply (JSON). `url` becomes __meta_url and the source.
base::Result<std::vector<TargetGroup>> ParseTargetReply(std::string_view text, const std::string& url);

// The existing files that match glob patterns, sorted, each once. A pattern without '*' that matches nothing is left
// out.
std::vector<std::string> MatchFiles(const std::vector<std::string>& patterns);

// "10MB": a number and B, KB, MB, GB, TB, PB, EB or KiB..., powers of 1024.
base::Result<int64_t> ParseByteSize(std::string_view text);

}  // namespace tidewright::scrape
