#include "scrape/config_print.h"

#include <algorithm>
#include <cstdlib>
#include <utility>
#include <vector>

#include "base/duration.h"
#include "base/metrics.h"
#include "base/strings.h"

namespace tidewright::scrape {
namespace {

using base::Node;

enum class Form {
  kAsIs,
  kTrimmed,
  kText,
  kNullableText,  // Of which null is the empty one.
  kNumber,
  kFlag,
  kDuration,
  kBytes,
  kSecret,
  kUrl,
  kSection,
  kSections,
  kSectionMap
};

// What becomes of a value that says nothing: "", 0, false, an empty list or section.
enum class Zero { kLeftOut, kKept, kDefault };

struct Field;
struct Section {
  const Field* fields;
  size_t count;
  const Section* more = nullptr;  // Fields of another section, where these do not name the same.
};

struct Field {
  std::string_view name;
  Form form = Form::kAsIs;
  std::string_view standard = "";  // When it is not given. "": then it is left out. "{}": a section of defaults.
  Zero zero = Zero::kLeftOut;
  const Section* section = nullptr;
};

template <size_t kCount>
constexpr Section Of(const Field (&fields)[kCount], const Section* more = nullptr) {
  return {fields, kCount, more};
}

// A section that is left out when it is empty; a list of such.
constexpr Field One(std::string_view name, const Section& section) {
  return {name, Form::kSection, "", Zero::kLeftOut, &section};
}
constexpr Field Several(std::string_view name, const Section& section) {
  return {name, Form::kSections, "", Zero::kLeftOut, &section};
}
// A section whose defaults are shown when it is not given.
constexpr Field Defaults(std::string_view name, const Section& section) {
  return {name, Form::kSection, "{}", Zero::kLeftOut, &section};
}
// A value that is shown whatever it is.
constexpr Field Shown(std::string_view name, Form form, std::string_view standard) {
  return {name, form, standard, Zero::kKept};
}

constexpr Field kBasicAuthFields[] = {{"username", Form::kText},
                                      {"username_file", Form::kText},
                                      {"password", Form::kSecret},
                                      {"password_file", Form::kText}};
constexpr Section kBasicAuth = Of(kBasicAuthFields);

constexpr Field kAuthorizationFields[] = {
    {"type", Form::kText, "Bearer", Zero::kDefault}, {"credentials", Form::kSecret}, {"credentials_file", Form::kText}};
constexpr Section kAuthorization = Of(kAuthorizationFields);

constexpr Field kTlsFields[] = {{"ca", Form::kText},          {"cert", Form::kText},
                                {"key", Form::kSecret},       {"ca_file", Form::kText},
                                {"cert_file", Form::kText},   {"key_file", Form::kText},
                                {"server_name", Form::kText}, Shown("insecure_skip_verify", Form::kFlag, "false"),
                                {"min_version", Form::kText}, {"max_version", Form::kText}};
constexpr Section kTls = Of(kTlsFields);

constexpr Field kProxyFields[] = {{"proxy_url", Form::kUrl},
                                  {"no_proxy", Form::kText},
                                  {"proxy_from_environment", Form::kFlag},
                                  {"proxy_connect_header", Form::kSecret}};
constexpr Section kProxy = Of(kProxyFields);

constexpr Field kOauth2Fields[] = {{"client_id", Form::kText},
                                   {"client_secret", Form::kSecret},
                                   {"client_secret_file", Form::kText},
                                   {"client_secret_ref", Form::kText},
                                   {"client_certificate_key_id", Form::kText},
                                   {"client_certificate_key", Form::kSecret},
                                   {"client_certificate_key_file", Form::kText},
                                   {"signature_algorithm", Form::kText},
                                   {"iss", Form::kText},
                                   {"audience", Form::kText},
                                   {"claims"},
                                   {"grant_type", Form::kText},
                                   {"scopes"},
                                   {"token_url", Form::kText},
                                   {"endpoint_params"},
                                   One("tls_config", kTls)};
constexpr Section kOauth2 = Of(kOauth2Fields, &kProxy);

constexpr Field kHeaderFields[] = {{"values"}, {"secrets", Form::kSecret}, {"files"}};
constexpr Section kHeader = Of(kHeaderFields);

constexpr Field kHttpFields[] = {{"basic_auth", Form::kSection, "", Zero::kKept, &kBasicAuth},
                                 One("authorization", kAuthorization),
                                 One("oauth2", kOauth2),
                                 One("tls_config", kTls),
                                 Shown("follow_redirects", Form::kFlag, "true"),
                                 Shown("enable_http2", Form::kFlag, "true"),
                                 {"http_headers", Form::kSectionMap, "", Zero::kLeftOut, &kHeader}};
constexpr Section kHttp = Of(kHttpFields, &kProxy);

constexpr Field kRelabelFields[] = {{"source_labels"},
                                    Shown("separator", Form::kNullableText, ";"),
                                    Shown("regex", Form::kNullableText, ""),
                                    {"modulus", Form::kNumber},
                                    {"target_label", Form::kText},
                                    Shown("replacement", Form::kNullableText, "$1"),
                                    {"action", Form::kText, "replace"}};
constexpr Section kRelabel = Of(kRelabelFields);

constexpr Field kStaticFields[] = {Shown("targets", Form::kAsIs, "[]"), {"labels"}, {"source", Form::kText}};
constexpr Section kStatic = Of(kStaticFields);
constexpr Field kFileSdFields[] = {{"files"}, {"refresh_interval", Form::kDuration, "5m"}};
constexpr Section kFileSd = Of(kFileSdFields);
constexpr Field kHttpSdFields[] = {{"refresh_interval", Form::kDuration, "1m"}, {"url", Form::kUrl}};
constexpr Section kHttpSd = Of(kHttpSdFields, &kHttp);
constexpr Field kDnsSdFields[] = {{"names"},
                                  {"refresh_interval", Form::kDuration, "30s"},
                                  {"type", Form::kText, "SRV"},
                                  Shown("port", Form::kNumber, "0")};
constexpr Section kDnsSd = Of(kDnsSdFields);

constexpr Field kNamespacesFields[] = {Shown("own_namespace", Form::kFlag, "false"), Shown("names", Form::kAsIs, "[]")};
constexpr Section kNamespaces = Of(kNamespacesFields);
constexpr Field kSelectorFields[] = {{"role", Form::kText}, {"label", Form::kText}, {"field", Form::kText}};
constexpr Section kSelector = Of(kSelectorFields);
constexpr Field kAttachFields[] = {Shown("node", Form::kFlag, "false"), Shown("namespace", Form::kFlag, "false"),
                                   Shown("deployment", Form::kFlag, "false"), Shown("job", Form::kFlag, "false"),
                                   Shown("cronjob", Form::kFlag, "false")};
constexpr Section kAttach = Of(kAttachFields);
constexpr Field kKubernetesFields[] = {
    {"api_server", Form::kText},    {"role", Form::kText},           Shown("kubeconfig_file", Form::kText, "\"\""),
    One("namespaces", kNamespaces), Several("selectors", kSelector), One("attach_metadata", kAttach)};
constexpr Section kKubernetes = Of(kKubernetesFields, &kHttp);

constexpr Field kDiscoveryFields[] = {Several("static_configs", kStatic), Several("file_sd_configs", kFileSd),
                                      Several("http_sd_configs", kHttpSd), Several("dns_sd_configs", kDnsSd),
                                      Several("kubernetes_sd_configs", kKubernetes)};
constexpr Section kDiscovery = Of(kDiscoveryFields, &kHttp);

// Fields without a default come from the decoded job, which has inherited them.
constexpr Field kScrapeFields[] = {{"job_name", Form::kText},
                                   {"honor_labels", Form::kFlag},
                                   Shown("honor_timestamps", Form::kFlag, "true"),
                                   Shown("track_timestamps_staleness", Form::kFlag, "false"),
                                   {"params"},
                                   {"scrape_interval", Form::kDuration},
                                   {"scrape_timeout", Form::kDuration},
                                   {"scrape_protocols"},
                                   {"fallback_scrape_protocol", Form::kText},
                                   Shown("scrape_native_histograms", Form::kFlag, "false"),
                                   Shown("always_scrape_classic_histograms", Form::kFlag, "false"),
                                   Shown("convert_classic_histograms_to_nhcb", Form::kFlag, "false"),
                                   {"metrics_path", Form::kText, "/metrics"},
                                   {"scheme", Form::kText, "http"},
                                   Shown("enable_compression", Form::kFlag, "true"),
                                   {"body_size_limit", Form::kBytes},
                                   {"sample_limit", Form::kNumber},
                                   {"target_limit", Form::kNumber},
                                   {"label_limit", Form::kNumber},
                                   {"label_name_length_limit", Form::kNumber},
                                   {"label_value_length_limit", Form::kNumber},
                                   {"native_histogram_bucket_limit", Form::kNumber},
                                   {"native_histogram_min_bucket_factor", Form::kNumber},
                                   {"keep_dropped_targets", Form::kNumber},
                                   {"metric_name_validation_scheme", Form::kText},
                                   {"metric_name_escaping_scheme", Form::kText},
                                   Shown("extra_scrape_metrics", Form::kFlag, "false"),
                                   {"scrape_failure_log_file", Form::kText},
                                   Several("relabel_configs", kRelabel),
                                   Several("metric_relabel_configs", kRelabel)};
constexpr Section kScrape = Of(kScrapeFields, &kDiscovery);

constexpr Field kGlobalFields[] = {{"scrape_interval", Form::kDuration},
                                   {"scrape_timeout", Form::kDuration},
                                   {"scrape_protocols"},
                                   {"evaluation_interval", Form::kDuration, "1m", Zero::kDefault},
                                   {"rule_query_offset", Form::kDuration},
                                   {"query_log_file", Form::kText},
                                   {"scrape_failure_log_file", Form::kText},
                                   {"external_labels"},
                                   {"body_size_limit", Form::kBytes},
                                   {"sample_limit", Form::kNumber},
                                   {"target_limit", Form::kNumber},
                                   {"label_limit", Form::kNumber},
                                   {"label_name_length_limit", Form::kNumber},
                                   {"label_value_length_limit", Form::kNumber},
                                   {"keep_dropped_targets", Form::kNumber},
                                   {"metric_name_validation_scheme", Form::kText, "utf8", Zero::kDefault},
                                   {"metric_name_escaping_scheme", Form::kText},
                                   Shown("scrape_native_histograms", Form::kFlag, "false"),
                                   {"convert_classic_histograms_to_nhcb", Form::kFlag},
                                   {"always_scrape_classic_histograms", Form::kFlag},
                                   Shown("extra_scrape_metrics", Form::kFlag, "false")};
constexpr Section kGlobal = Of(kGlobalFields);

constexpr Field kAlertmanagerFields[] = {
    {"scheme", Form::kText, "http"},          {"path_prefix", Form::kText},
    Shown("timeout", Form::kDuration, "10s"), Shown("api_version", Form::kText, "v2"),
    Several("relabel_configs", kRelabel),     Several("alert_relabel_configs", kRelabel)};
constexpr Section kAlertmanager = Of(kAlertmanagerFields, &kDiscovery);
constexpr Field kAlertingFields[] = {Several("alert_relabel_configs", kRelabel),
                                     Several("alertmanagers", kAlertmanager)};
constexpr Section kAlerting = Of(kAlertingFields);

constexpr Field kQueueFields[] = {{"capacity", Form::kNumber, "10000"},
                                  {"max_shards", Form::kNumber, "50"},
                                  {"min_shards", Form::kNumber, "1"},
                                  {"max_samples_per_send", Form::kNumber, "2000"},
                                  {"batch_send_deadline", Form::kDuration, "5s"},
                                  {"min_backoff", Form::kDuration, "30ms"},
                                  {"max_backoff", Form::kDuration, "5s"},
                                  {"retry_on_http_429", Form::kFlag},
                                  {"sample_age_limit", Form::kDuration}};
constexpr Section kQueue = Of(kQueueFields);
constexpr Field kSendMetadataFields[] = {Shown("send", Form::kFlag, "true"),
                                         Shown("send_interval", Form::kDuration, "1m"),
                                         {"max_samples_per_send", Form::kNumber, "2000"}};
constexpr Section kSendMetadata = Of(kSendMetadataFields);
constexpr Field kRemoteWriteFields[] = {{"url", Form::kUrl},
                                        Shown("remote_timeout", Form::kDuration, "30s"),
                                        {"headers"},
                                        Several("write_relabel_configs", kRelabel),
                                        {"name", Form::kText},
                                        {"send_exemplars", Form::kFlag},
                                        {"send_native_histograms", Form::kFlag},
                                        {"round_robin_dns", Form::kFlag},
                                        {"protobuf_message", Form::kText, "prometheus.WriteRequest"},
                                        Shown("enable_http2", Form::kFlag, "false"),
                                        Defaults("queue_config", kQueue),
                                        Defaults("metadata_config", kSendMetadata)};
constexpr Section kRemoteWrite = Of(kRemoteWriteFields, &kHttp);
constexpr Field kRemoteReadFields[] = {{"url", Form::kUrl},
                                       Shown("remote_timeout", Form::kDuration, "1m"),
                                       {"chunked_read_limit", Form::kNumber, "50000000"},
                                       {"headers"},
                                       {"read_recent", Form::kFlag},
                                       {"name", Form::kText},
                                       {"required_matchers"},
                                       {"filter_external_labels", Form::kFlag, "true"}};
constexpr Section kRemoteRead = Of(kRemoteReadFields, &kHttp);

constexpr Field kRetentionFields[] = {{"time", Form::kDuration}, {"size", Form::kBytes}, {"percentage", Form::kNumber}};
constexpr Section kRetention = Of(kRetentionFields);
constexpr Field kChunkFields[] = {{"floats", Form::kText}};
constexpr Section kChunk = Of(kChunkFields);
constexpr Field kTsdbFields[] = {{"out_of_order_time_window", Form::kDuration},
                                 Shown("outofordertimewindow", Form::kNumber, "0"),
                                 {"stale_series_compaction_threshold", Form::kNumber},
                                 One("chunk_encoding", kChunk),
                                 {"retention", Form::kSection, "{}", Zero::kKept, &kRetention}};
constexpr Section kTsdb = Of(kTsdbFields);
constexpr Field kExemplarFields[] = {{"max_exemplars", Form::kNumber}};
constexpr Section kExemplars = Of(kExemplarFields);
constexpr Field kStorageFields[] = {Defaults("tsdb", kTsdb), One("exemplars", kExemplars)};
constexpr Section kStorage = Of(kStorageFields);

constexpr Field kTracingFields[] = {{"client_type", Form::kText, "grpc"},
                                    {"endpoint", Form::kText},
                                    {"sampling_fraction", Form::kNumber},
                                    {"insecure", Form::kFlag},
                                    One("tls_config", kTls),
                                    {"headers"},
                                    {"compression", Form::kText},
                                    {"timeout", Form::kDuration}};
constexpr Section kTracing = Of(kTracingFields);
constexpr Field kOtlpFields[] = {{"promote_all_resource_attributes", Form::kFlag},
                                 {"promote_resource_attributes", Form::kTrimmed},
                                 {"ignore_resource_attributes", Form::kTrimmed},
                                 {"translation_strategy", Form::kText, "UnderscoreEscapingWithSuffixes"},
                                 {"keep_identifying_resource_attributes", Form::kFlag},
                                 {"convert_histograms_to_nhcb", Form::kFlag},
                                 {"promote_scope_metadata", Form::kFlag},
                                 {"label_name_underscore_sanitization", Form::kFlag, "true"},
                                 {"label_name_preserve_multiple_underscores", Form::kFlag, "true"}};
constexpr Section kOtlp = Of(kOtlpFields);
constexpr Field kRuntimeFields[] = {{"gogc", Form::kNumber, "75"}};
constexpr Section kRuntime = Of(kRuntimeFields);

constexpr Field kRootFields[] = {Defaults("global", kGlobal),
                                 Defaults("runtime", kRuntime),
                                 One("alerting", kAlerting),
                                 {"rule_files"},
                                 {"scrape_config_files"},
                                 Several("scrape_configs", kScrape),
                                 Defaults("storage", kStorage),
                                 One("tracing", kTracing),
                                 Several("remote_write", kRemoteWrite),
                                 Several("remote_read", kRemoteRead),
                                 Defaults("otlp", kOtlp)};
constexpr Section kRoot = Of(kRootFields);

constexpr const char* kHidden = "<secret>";

Node TextNode(std::string text, bool plain = true) {
  Node node;
  node.kind = Node::Kind::kScalar;
  node.text = std::move(text);
  node.plain = plain;
  return node;
}

Node MapNode() {
  Node node;
  node.kind = Node::Kind::kMap;
  return node;
}

Node ListNode(const std::vector<std::string>& texts) {
  Node node;
  node.kind = Node::Kind::kList;
  for (const std::string& text : texts) node.items.push_back(TextNode(text));
  return node;
}

void Set(Node* map, const std::string& name, Node value) {
  map->kind = Node::Kind::kMap;
  for (auto& [known, old] : map->members) {
    if (known == name) {
      old = std::move(value);
      return;
    }
  }
  map->members.emplace_back(name, std::move(value));
}

// "1MiB512KiB": the parts that are not 0, from the largest.
std::string SizeText(int64_t bytes) {
  static constexpr std::string_view kUnits[] = {"EiB", "PiB", "TiB", "GiB", "MiB", "KiB", "B"};
  std::string text = bytes < 0 ? "-" : "";
  uint64_t rest = bytes < 0 ? uint64_t{0} - static_cast<uint64_t>(bytes) : static_cast<uint64_t>(bytes);
  for (size_t i = 0; i < std::size(kUnits); ++i) {
    const size_t shift = 10 * (std::size(kUnits) - 1 - i);
    const uint64_t part = i == 0 ? rest >> shift : (rest >> shift) & 1023;
    if (part != 0) text += std::to_string(part) + std::string(kUnits[i]);
  }
  return text.empty() ? "0B" : text;
}

// The password of a URL is a secret.
std::string UrlText(const std::string& url) {
  const size_t scheme = url.find("://");
  const size_t at = url.find('@', scheme == std::string::npos ? 0 : scheme);
  if (scheme == std::string::npos || at == std::string::npos || at > url.find('/', scheme + 3)) return url;
  const size_t colon = url.find(':', scheme + 3);
  return colon < at ? url.substr(0, colon + 1) + "xxxxx" + url.substr(at) : url;
}

Node Hidden(const Node& node) {
  Node hidden = node;
  if (hidden.kind == Node::Kind::kScalar && !hidden.text.empty()) hidden = TextNode(kHidden);
  for (Node& item : hidden.items) item = Hidden(item);
  for (auto& [name, value] : hidden.members) value = Hidden(value);
  return hidden;
}

std::string FlagText(const std::string& text) {
  const std::string lower = base::ToLower(text);
  return lower == "true" || lower == "yes" || lower == "on" || lower == "y" ? "true" : "false";
}

Node Canonical(const Node& node, Form form) {
  double number = 0;
  switch (form) {
    case Form::kSecret: return Hidden(node);
    case Form::kUrl: return TextNode(UrlText(node.text), node.plain);
    case Form::kTrimmed: {
      Node trimmed = node;
      for (Node& item : trimmed.items) item.text = base::TrimSpace(item.text);
      return trimmed;
    }
    case Form::kFlag: return TextNode(FlagText(node.text));
    case Form::kDuration: {
      auto duration = base::ParseDuration(node.text);
      return TextNode(duration.ok() ? base::FormatDuration(*duration) : node.text);
    }
    case Form::kBytes: {
      auto size = ParseByteSize(node.text);
      return TextNode(size.ok() && *size != 0 ? SizeText(*size) : "");
    }
    case Form::kNumber: return TextNode(base::ParseDouble(node.text, &number) ? base::FormatDouble(number) : node.text);
    default: return node;
  }
}

bool IsZero(const Node& node, Form form) {
  if (node.IsNull()) return true;
  if (node.kind != Node::Kind::kScalar) return node.items.empty() && node.members.empty();
  if (form == Form::kFlag) return node.text == "false";
  if (form == Form::kNumber) return node.text == "0";
  return node.text.empty() || (form == Form::kDuration && node.text == "0s");
}

Node StandardNode(std::string_view text) {
  if (text == "[]") return ListNode({});
  return text == "\"\"" ? TextNode("", false) : TextNode(std::string(text));
}

Node Print(const Node& given, const Section& section);

Node PrintList(const Node& given, const Section& section) {
  Node list = ListNode({});
  for (const Node& item : given.items) list.items.push_back(Print(item, section));
  return list;
}

Node PrintSectionMap(const Node& given, const Section& section) {
  Node map = MapNode();
  for (const auto& [name, value] : given.members) Set(&map, name, Print(value, section));
  return map;
}

// The field as it is shown; null when it is left out.
Node PrintField(const Node* given, const Field& field) {
  const Node empty = TextNode("", /*plain=*/false);
  if (field.form == Form::kNullableText && given != nullptr && given->IsNull()) given = &empty;
  const bool absent = given == nullptr || given->IsNull();
  if (absent && (field.standard.empty() || (given != nullptr && field.form == Form::kSection))) return Node();
  switch (field.form) {
    case Form::kSection: {
      Node printed = Print(absent ? MapNode() : *given, *field.section);
      return printed.members.empty() && field.zero != Zero::kKept ? Node() : printed;
    }
    case Form::kSections: return given->items.empty() ? Node() : PrintList(*given, *field.section);
    case Form::kSectionMap: return PrintSectionMap(*given, *field.section);
    default: break;
  }
  if (absent) return StandardNode(field.standard);
  Node value = Canonical(*given, field.form);
  if (!IsZero(value, field.form) || field.zero == Zero::kKept) return value;
  return field.zero == Zero::kDefault ? StandardNode(field.standard) : Node();
}

// The old spelling of an authorization.
Node WithAuthorization(const Node& given) {
  Node with = given;
  for (auto [old, field] : {std::pair("bearer_token", "credentials"), {"bearer_token_file", "credentials_file"}}) {
    const Node* token = given.Find(old);
    if (token == nullptr || token->text.empty()) continue;
    Node authorization = MapNode();
    Set(&authorization, field, *token);
    Set(&with, "authorization", std::move(authorization));
  }
  return with;
}

Node Print(const Node& given, const Section& section) {
  const Node source = WithAuthorization(given);
  Node map = MapNode();
  std::vector<std::string_view> seen;
  for (const Section* part = &section; part != nullptr; part = part->more) {
    for (size_t i = 0; i < part->count; ++i) {
      const Field& field = part->fields[i];
      if (std::find(seen.begin(), seen.end(), field.name) != seen.end()) continue;
      seen.push_back(field.name);
      Node value = PrintField(source.Find(field.name), field);
      if (!value.IsNull()) Set(&map, std::string(field.name), std::move(value));
    }
  }
  return map;
}

void SetLimit(Node* map, const std::string& name, int64_t limit) {
  if (limit != 0) Set(map, name, TextNode(std::to_string(limit)));
}

// Writes what a job inherited, as it was decoded.
void FillJob(const ScrapeConfig& job, const Node* global, Node* map) {
  Set(map, "scrape_interval", TextNode(base::FormatDuration(job.scrape_interval)));
  Set(map, "scrape_timeout", TextNode(base::FormatDuration(job.scrape_timeout)));
  Set(map, "scrape_protocols", ListNode(job.protocols));
  const std::string flags[] = {job.native_histograms ? "true" : "false",
                               job.always_classic_histograms ? "true" : "false",
                               job.convert_classic_histograms ? "true" : "false", job.extra_metrics ? "true" : "false"};
  Set(map, "scrape_native_histograms", TextNode(flags[0]));
  Set(map, "always_scrape_classic_histograms", TextNode(flags[1]));
  Set(map, "convert_classic_histograms_to_nhcb", TextNode(flags[2]));
  Set(map, "extra_scrape_metrics", TextNode(flags[3]));
  Set(map, "metric_name_validation_scheme", TextNode(job.name_scheme == NameScheme::kLegacy ? "legacy" : "utf8"));
  Set(map, "metric_name_escaping_scheme", TextNode(job.escaping));
  if (job.limits.body_size != 0) Set(map, "body_size_limit", TextNode(SizeText(job.limits.body_size)));
  SetLimit(map, "sample_limit", job.limits.samples);
  SetLimit(map, "target_limit", job.limits.targets);
  SetLimit(map, "label_limit", job.limits.labels);
  SetLimit(map, "label_name_length_limit", job.limits.label_name_length);
  SetLimit(map, "label_value_length_limit", job.limits.label_value_length);
  SetLimit(map, "keep_dropped_targets", job.limits.keep_dropped_targets);
  const Node* log = global == nullptr ? nullptr : global->Find("scrape_failure_log_file");
  if (log != nullptr && map->Find("scrape_failure_log_file") == nullptr) Set(map, "scrape_failure_log_file", *log);
}

// Writes what follows from other fields, so that the tables need not know.
void FillIn(const Config& config, Node* root) {
  const Node* written = root->Find("global");
  const bool untouched = written == nullptr || written->IsNull();
  Node global = untouched ? MapNode() : *written;
  Set(&global, "scrape_interval", TextNode(base::FormatDuration(config.global.scrape_interval)));
  Set(&global, "scrape_timeout", TextNode(base::FormatDuration(config.global.scrape_timeout)));
  if (untouched) Set(&global, "metric_name_escaping_scheme", TextNode(config.global.escaping));
  for (const auto& [name, value] : config.global.external_labels) {
    Node labels = global.Find("external_labels") == nullptr ? MapNode() : *global.Find("external_labels");
    Set(&labels, name, TextNode(value, false));
    Set(&global, "external_labels", std::move(labels));
  }
  Node jobs = root->Find("scrape_configs") == nullptr ? Node() : *root->Find("scrape_configs");
  for (size_t i = 0; i < jobs.items.size(); ++i) FillJob(config.scrape_configs[i], written, &jobs.items[i]);
  if (!jobs.items.empty()) Set(root, "scrape_configs", std::move(jobs));
  Set(root, "global", std::move(global));
  if (config.out_of_order_time_window.ms == 0) return;
  Node storage = *root->Find("storage"), tsdb = *storage.Find("tsdb");
  Set(&tsdb, "outofordertimewindow", TextNode(std::to_string(config.out_of_order_time_window.ms)));
  Set(&storage, "tsdb", std::move(tsdb));
  Set(root, "storage", std::move(storage));
}

// Whether a text may stand without quotes and is read as a text again.
bool NeedsQuotes(const Node& node) {
  static constexpr std::string_view kWords[] = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"};
  const std::string& text = node.text;
  if (text.empty()) return true;
  auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '/'; };
  bool safe = letter(text[0]) || text == kHidden || (text[0] >= '0' && text[0] <= '9');
  for (char c : text)
    safe =
        safe && (letter(c) || (c >= '0' && c <= '9') || std::string_view("-.+<>=;,").find(c) != std::string_view::npos);
  const std::string lower = base::ToLower(text);
  const bool word = std::find(std::begin(kWords), std::end(kWords), lower) != std::end(kWords);
  const bool number = text.find_first_not_of("0123456789.eE+-xobXOBabcdfABCDF_") == std::string::npos;
  return !safe || (!node.plain && (word || number));
}

std::string ScalarText(const Node& node) {
  if (!NeedsQuotes(node)) return node.text;
  std::string out = "\"";
  for (char c : node.text) {
    if (c == '"' || c == '\\') out += '\\';
    if (c == '\n') {
      out += "\\n";
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      static constexpr char kHex[] = "0123456789abcdef";
      out += std::string("\\x") + kHex[static_cast<unsigned char>(c) >> 4] + kHex[c & 15];
    } else {
      out += c;
    }
  }
  return out + "\"";
}

// Appends what follows "key:" or "-".
void Write(const Node& node, size_t indent, bool in_list, std::string* out) {
  const std::string margin(indent, ' ');
  if (node.kind == Node::Kind::kMap && !node.members.empty()) {
    bool first = in_list;
    for (const auto& [name, value] : node.members) {
      *out += first ? " " : "\n" + margin;
      first = false;
      *out += ScalarText(TextNode(name, false)) + ":";
      Write(value, indent + (value.kind == Node::Kind::kList ? 0 : 2), false, out);
    }
  } else if (node.kind == Node::Kind::kList && !node.items.empty()) {
    for (const Node& item : node.items) {
      *out += "\n" + margin + "-";
      Write(item, indent + 2, true, out);
    }
  } else if (node.kind == Node::Kind::kScalar) {
    *out += " " + ScalarText(node);
  } else {
    *out += node.kind == Node::Kind::kMap ? " {}" : node.kind == Node::Kind::kList ? " []" : " null";
  }
}

}  // namespace

base::Result<Node> PrintableConfig(std::string_view text, const std::string& origin, const ScrapeDefaults& defaults) {
  TW_ASSIGN_OR_RETURN(Config config, ParseConfig(text, origin, "", defaults));
  TW_ASSIGN_OR_RETURN(Node root, base::ParseYaml(text, origin));
  FillIn(config, &root);
  return Print(root, kRoot);
}

base::Result<std::string> PrintConfig(std::string_view text, const std::string& origin,
                                      const ScrapeDefaults& defaults) {
  TW_ASSIGN_OR_RETURN(Node root, PrintableConfig(text, origin, defaults));
  std::string out;
  Write(root, 0, false, &out);
  return out.substr(1) + "\n";
}

}  // namespace tidewright::scrape
