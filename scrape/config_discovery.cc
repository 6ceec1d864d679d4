#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "base/json.h"
#include "base/strings.h"
#include "kube/meta.h"
#include "scrape/config_sections.h"

namespace tidewright::scrape {
namespace {

constexpr std::string_view kUnsupported[] = {
    "consul_sd_configs",      "azure_sd_configs",    "gce_sd_configs",       "ec2_sd_configs",
    "lightsail_sd_configs",   "ecs_sd_configs",      "msk_sd_configs",       "rds_sd_configs",
    "elasticache_sd_configs", "aws_sd_configs",      "docker_sd_configs",    "digitalocean_sd_configs",
    "dockerswarm_sd_configs", "eureka_sd_configs",   "hetzner_sd_configs",   "ionos_sd_configs",
    "kuma_sd_configs",        "linode_sd_configs",   "marathon_sd_configs",  "nerve_sd_configs",
    "nomad_sd_configs",       "oci_sd_configs",      "openstack_sd_configs", "outscale_sd_configs",
    "ovhcloud_sd_configs",    "puppetdb_sd_configs", "scaleway_sd_configs",  "serverset_sd_configs",
    "stackit_sd_configs",     "triton_sd_configs",   "uyuni_sd_configs",     "vultr_sd_configs",
};

// {targets: [...], labels: {...}}: the members of static_configs and of target files.
TargetGroup DecodeTargetGroup(base::ObjectReader& reader, NameScheme scheme) {
  TargetGroup group;
  std::vector<std::string> addresses;
  std::map<std::string, std::string> labels;
  reader.Optional("targets", &addresses);
  reader.Optional("labels", &labels);
  for (const std::string& address : addresses) group.targets.push_back(tsdb::Labels::Of({{"__address__", address}}));
  std::vector<tsdb::Label> pairs;
  for (auto& [name, value] : labels) {
    if (!IsValidLabelName(name, scheme)) reader.Error("labels", base::Quoted(name) + " is not a valid label name");
    if (!base::IsValidUtf8(value)) reader.Error("labels", name + " has a value that is not UTF-8");
    pairs.push_back({name, value});
  }
  group.labels = tsdb::Labels::FromPairs(std::move(pairs));
  return group;
}

void DecodeStatic(base::ObjectReader& reader, DecodeContext& context, ScrapeConfig* config) {
  reader.Objects("static_configs", [&](base::ObjectReader& r) {
    TargetGroup group = DecodeTargetGroup(r, context.scheme);
    group.source = std::to_string(config->static_groups.size());
    config->static_groups.push_back(std::move(group));
  });
}

bool IsTargetFileName(std::string_view path) {
  size_t dot = path.rfind('.');
  if (dot == std::string_view::npos) return false;
  std::string extension(path.substr(dot + 1));
  return extension == "json" || extension == "yml" || extension == "yaml" || extension == "JSON" ||
         extension == "YML" || extension == "YAML";
}

void DecodeFileSd(base::ObjectReader& reader, DecodeContext& context, ScrapeConfig* config) {
  reader.Objects("file_sd_configs", [&](base::ObjectReader& r) {
    FileSdConfig sd;
    r.Optional("files", &sd.files);
    r.Optional("refresh_interval", &sd.refresh_interval);
    if (sd.files.empty()) r.Error("files", "is empty; name at least one file");
    for (std::string& file : sd.files) {
      size_t star = file.find('*');
      bool one_star = star == std::string::npos || file.find('*', star + 1) == std::string::npos;
      bool last = star == std::string::npos || file.find('/', star) == std::string::npos;
      if (!IsTargetFileName(file) || !one_star || !last) {
        r.Error("files", base::Quoted(file) + " must end in .json, .yml or .yaml, with at most one * in the file name");
      }
      file = context.Resolve(file);
    }
    config->file_sd.push_back(std::move(sd));
  });
}

// Which objects each role watches, and so may select.
const std::map<std::string, std::vector<std::string>>& SelectorRoles() {
  static const std::map<std::string, std::vector<std::string>> roles = {
      {"pod", {"pod", "node"}},
      {"service", {"service"}},
      {"endpoints", {"pod", "service", "endpoints"}},
      {"endpointslice", {"pod", "service", "endpointslice"}},
      {"node", {"node"}},
      {"ingress", {"ingress"}},
  };
  return roles;
}

// "metadata.name=web,status.phase!=Running"
bool IsFieldSelector(const std::string& text) {
  for (const std::string& part : base::Split(text, ',')) {
    if (!part.empty() && part.find('=') == std::string::npos) return false;
  }
  return true;
}

void DecodeSelectors(base::ObjectReader& reader, KubernetesSdConfig* sd) {
  std::set<std::string> seen;
  reader.Objects("selectors", [&](base::ObjectReader& r) {
    KubernetesSdConfig::Selector selector;
    r.Optional("role", &selector.role);
    r.Optional("label", &selector.label);
    r.Optional("field", &selector.field);
    auto allowed = SelectorRoles().find(sd->role);
    if (allowed != SelectorRoles().end()) OneOf(r, "role", selector.role, allowed->second);
    if (!seen.insert(selector.role).second) r.Error("role", base::Quoted(selector.role) + " has two selectors");
    if (auto parsed = kube::LabelSelector::Parse(selector.label); !parsed.ok()) {
      r.Error("label", parsed.status().message());
    }
    if (!IsFieldSelector(selector.field)) {
      r.Error("field", base::Quoted(selector.field) + " is not a field selector; use for example status.phase=Running");
    }
    sd->selectors.push_back(std::move(selector));
  });
}

void DecodeAttachMetadata(base::ObjectReader& reader, KubernetesSdConfig* sd) {
  reader.Object("attach_metadata", [&](base::ObjectReader& r) {
    r.Optional("node", &sd->attach_node);
    r.Optional("namespace", &sd->attach_namespace);
    r.Optional("deployment", &sd->attach_deployment);
    r.Optional("job", &sd->attach_job);
    r.Optional("cronjob", &sd->attach_cronjob);
  });
}

// How to reach another cluster than our own: checked as Prometheus does, not supported.
void DecodeClusterAccess(base::ObjectReader& reader, DecodeContext& context, const KubernetesSdConfig& sd) {
  std::string server, kubeconfig;
  reader.Optional("api_server", &server);
  reader.Optional("kubeconfig_file", &kubeconfig);
  HttpClientConfig http = DecodeHttpClient(reader, context);
  bool custom = http.customized && !(http == HttpClientConfig{});
  if (!kubeconfig.empty() && !server.empty())
    reader.Error("kubeconfig_file", "use either kubeconfig_file or api_server");
  if (!kubeconfig.empty() && custom) reader.Error("kubeconfig_file", "allows no HTTP client settings beside it");
  if (server.empty() && kubeconfig.empty() && custom) reader.Error("api_server", "is needed for HTTP client settings");
  if (sd.own_namespace && !server.empty()) reader.Error("api_server", "cannot be used with namespaces.own_namespace");
  if (sd.own_namespace && !kubeconfig.empty()) {
    reader.Error("kubeconfig_file", "cannot be used with namespaces.own_namespace");
  }
  if (!server.empty() || !kubeconfig.empty()) {
    context.Warn(reader, server.empty() ? "kubeconfig_file" : "api_server",
                 "not supported yet; targets are discovered in the cluster that this program is connected to");
  }
}

void DecodeKubernetesSd(base::ObjectReader& reader, DecodeContext& context, ScrapeConfig* config) {
  reader.Objects("kubernetes_sd_configs", [&](base::ObjectReader& r) {
    KubernetesSdConfig sd;
    std::vector<std::string> roles;
    for (const auto& [role, selectors] : SelectorRoles()) roles.push_back(role);
    if (r.Required("role", &sd.role)) OneOf(r, "role", sd.role, roles);
    r.Object("namespaces", [&](base::ObjectReader& names) {
      names.Optional("names", &sd.namespaces);
      names.Optional("own_namespace", &sd.own_namespace);
    });
    DecodeSelectors(r, &sd);
    DecodeAttachMetadata(r, &sd);
    DecodeClusterAccess(r, context, sd);
    config->kubernetes_sd.push_back(std::move(sd));
  });
}

void DecodeHttpSd(base::ObjectReader& reader, DecodeContext& context, ScrapeConfig* config) {
  reader.Objects("http_sd_configs", [&](base::ObjectReader& r) {
    HttpSdConfig sd;
    base::Duration interval{0};
    if (r.Optional("refresh_interval", &interval) && interval.ms > 0) sd.refresh_interval = interval;
    if (r.Required("url", &sd.url)) {
      bool scheme = sd.url.substr(0, 7) == "http://" || sd.url.substr(0, 8) == "https://";
      if (!scheme) r.Error("url", base::Quoted(sd.url) + " must start with http:// or https://");
      if (scheme && !http::Url::Parse(sd.url).ok()) r.Error("url", base::Quoted(sd.url) + " has no host");
    }
    sd.http = DecodeHttpClient(r, context);
    config->http_sd.push_back(std::move(sd));
  });
}

std::string Upper(std::string text) {
  for (char& c : text) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return text;
}

void DecodeDnsSd(base::ObjectReader& reader, ScrapeConfig* config) {
  reader.Objects("dns_sd_configs", [&](base::ObjectReader& r) {
    DnsSdConfig sd;
    base::Duration interval{0};
    r.Optional("names", &sd.names);
    r.Optional("type", &sd.type);
    sd.type = Upper(sd.type);
    ReadCount(r, "port", &sd.port);
    if (r.Optional("refresh_interval", &interval) && interval.ms > 0) sd.refresh_interval = interval;
    if (sd.names.empty()) r.Error("names", "is empty; name at least one domain");
    if (!OneOf(r, "type", sd.type, {"SRV", "A", "AAAA", "MX", "NS"})) return;
    if (sd.type != "SRV" && sd.port == 0) r.Error("port", "is needed for records of type " + sd.type);
    config->dns_sd.push_back(std::move(sd));
  });
}

// Names `source`:0, 1, ... and adds a label to each group of a list.
base::Result<std::vector<TargetGroup>> ParseTargetGroups(base::Node document, const std::string& source,
                                                         const std::string& meta_label) {
  std::vector<TargetGroup> groups;
  if (document.IsNull()) return groups;
  base::ErrorList errors(source);
  base::Node wrapper;
  wrapper.kind = base::Node::Kind::kMap;
  wrapper.at = document.at;
  wrapper.members.emplace_back("groups", std::move(document));
  base::ObjectReader reader(wrapper, "", errors);
  reader.Objects("groups", [&](base::ObjectReader& r) {
    TargetGroup group = DecodeTargetGroup(r, NameScheme::kUtf8);
    group.source = source + ":" + std::to_string(groups.size());
    std::vector<tsdb::Label> labels(group.labels.begin(), group.labels.end());
    labels.push_back({meta_label, source});
    group.labels = tsdb::Labels::FromPairs(std::move(labels));
    groups.push_back(std::move(group));
  });
  TW_RETURN_IF_ERROR(errors.ToStatus());
  return groups;
}

}  // namespace

void DecodeDiscovery(base::ObjectReader& reader, DecodeContext& context, ScrapeConfig* config) {
  DecodeStatic(reader, context, config);
  DecodeFileSd(reader, context, config);
  DecodeKubernetesSd(reader, context, config);
  DecodeHttpSd(reader, context, config);
  DecodeDnsSd(reader, config);
  for (std::string_view key : kUnsupported) {
    const base::Node* node = reader.Raw(key);
    if (node == nullptr) continue;
    if (node->kind != base::Node::Kind::kList) {
      reader.Error(key, "is not a list");
    } else if (!node->items.empty()) {
      context.Warn(reader, key,
                   "not supported; its targets are not scraped. Supported are static, file, http, dns and kubernetes");
    }
  }
}

base::Result<std::vector<TargetGroup>> ParseTargetFile(std::string_view text, const std::string& path) {
  TW_ASSIGN_OR_RETURN(base::Node document, base::ParseYaml(text, path));  // JSON is YAML, too.
  return ParseTargetGroups(std::move(document), path, "__meta_filepath");
}

base::Result<std::vector<TargetGroup>> ParseTargetReply(std::string_view text, const std::string& url) {
  TW_ASSIGN_OR_RETURN(base::Json document, base::ParseJson(text));
  return ParseTargetGroups(base::NodeFromJson(document), url, "__meta_url");
}

}  // namespace tidewright::scrape
