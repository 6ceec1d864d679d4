// Monitoring objects to scrape configurations, against prometheus-operator.
#include <gtest/gtest.h>

#include <algorithm>
#include <iostream>
#include <map>
#include <set>

#include "base/duration.h"
#include "base/json.h"
#include "kube/meta.h"
#include "scrape/kubernetes_targets.h"
#include "scrape/operator_objects.h"
#include "scrape/target.h"
#include "tests/conformance/scrape_data.h"

namespace tidewright::scrape {
namespace {

// Secrets and config maps of a case.
ReferenceLookup LookupIn(const base::Json& objects) {
  return [&objects](const std::string& kind, const std::string& ns, const std::string& name,
                    const std::string& key) -> base::Result<std::string> {
    for (const auto& object : objects) {
      if (object["kind"] != kind || kube::NameOf(object) != name || kube::NamespaceOf(object) != ns) continue;
      if (object.contains("stringData") && object["stringData"].contains(key)) {
        return object["stringData"][key].get<std::string>();
      }
      if (!object.contains("data") || !object["data"].contains(key)) break;
      std::string text = object["data"][key], decoded;
      if (kind == "ConfigMap") return text;
      EXPECT_TRUE(base::Base64Decode(text, &decoded));
      return decoded;
    }
    return base::NotFoundError(kind + " " + ns + "/" + name + " has no key " + key);
  };
}

// As texts, with numbers that stand for regular expressions as such.
std::set<std::string> Sorted(base::Json list) {
  std::set<std::string> out;
  for (auto& item : list) {
    for (auto& rule : item["relabel_configs"]) {
      if (rule.contains("regex") && rule["regex"].is_number()) rule["regex"] = rule["regex"].dump();
    }
    out.insert(item.dump());
  }
  return out;
}

// Discovery that is not supported: such an object is refused, with a message that says so.
bool Supported(const base::Json& test) {
  static const std::set<std::string> kinds = {"kubernetesSDConfigs", "httpSDConfigs", "dnsSDConfigs", "fileSDConfigs"};
  const base::Json needed = test.value("discovery", base::Json::array());
  return std::all_of(needed.begin(), needed.end(), [](const base::Json& kind) { return kinds.count(kind) > 0; });
}

// Objects that the API server or the operator's own admission refuse, as these data's README says, and that some unit
// tests of the operator hand on nevertheless: an empty prober.url, an unknown relabelling action or role.
bool NeverAdmitted(const base::Json& test) {
  if (test["name"] == "service monitor, bad relabeling action") return true;
  if (test["name"] == "scrape config, kubernetes role Foo") return true;
  return std::any_of(test["objects"].begin(), test["objects"].end(), [&](const base::Json& object) {
    return test["source"] == "upstream" && object["kind"] == "Probe" && object["spec"]["prober"]["url"] == "";
  });
}

// Why a case is decided against; null for all others.
const char* LeftOut(const base::Json& test) {
  if (!Supported(test)) return "its discovery is refused by name, as of every kind but Kubernetes, HTTP, DNS and files";
  return NeverAdmitted(test) ? "the API server, or the operator's admission, refuses the object" : nullptr;
}

// The differences of two sets, one line each.
std::string Difference(const std::set<std::string>& actual, const std::set<std::string>& expected) {
  std::string out;
  for (const std::string& text : actual) out += expected.count(text) == 0 ? "\n    + " + text : "";
  for (const std::string& text : expected) out += actual.count(text) == 0 ? "\n    - " + text : "";
  return out;
}

TEST(OperatorObjects, ScrapeConfigs) {
  base::Json cases = LoadCases("prometheus-operator/monitors.json");
  if (cases.is_null()) GTEST_SKIP() << "conformance data is not here";
  Tally tally("prometheus-operator/monitors");
  for (const auto& test : cases) {
    if (const char* reason = LeftOut(test)) {
      std::cerr << "[ LEFT OUT ] " << test["name"] << ": " << reason << "\n";
      continue;
    }
    OperatorConverter converter(test["prometheus"], LookupIn(test["objects"]));
    base::Json converted = base::Json::array();
    std::set<std::string> rejected, expected_rejected;
    std::string reasons;
    for (const auto& object : test["objects"]) {
      if (object["kind"] == "Secret" || object["kind"] == "ConfigMap") continue;
      auto configs = converter.Convert(object);
      const std::string name =
          object["kind"].get<std::string>() + " " + kube::NamespaceOf(object) + "/" + kube::NameOf(object);
      if (!configs.ok()) {
        rejected.insert(name);
        reasons += "\n    " + configs.status().ToString();
        continue;
      }
      for (auto& config : *configs) converted.push_back(config);
    }
    // What was made can be read.
    auto decoded = DecodeConverted({converted.begin(), converted.end()}, "converted", GlobalConfig(), nullptr);
    if (!decoded.ok()) reasons += "\n    does not decode: " + decoded.status().ToString();
    const base::Json reasons_given = test["expect"].value("rejected", base::Json::object());
    for (const auto& [name, reason] : reasons_given.items()) expected_rejected.insert(name);
    std::set<std::string> actual = Sorted(converted);
    std::set<std::string> expected = Sorted(test["expect"].value("scrape_configs", base::Json::array()));
    tally.Count(actual == expected && rejected == expected_rejected && decoded.ok(),
                std::to_string(test["id"].get<int>()) + " " + test["name"].get<std::string>(),
                Difference(actual, expected) + Difference(rejected, expected_rejected) + reasons);
  }
  EXPECT_EQ(tally.passed(), tally.total());
}

// The objects of a cluster as one kubernetes_sd_config sees them.
class ClusterView {
 public:
  ClusterView(const base::Json& cluster, const KubernetesSdConfig& sd) : cluster_(cluster), sd_(sd) {}

  std::vector<TargetGroup> Groups() const {
    static const std::map<std::string, std::string> kKinds = {{"pod", "Pod"},
                                                              {"node", "Node"},
                                                              {"service", "Service"},
                                                              {"endpoints", "Endpoints"},
                                                              {"endpointslice", "EndpointSlice"},
                                                              {"ingress", "Ingress"}};
    KubernetesLookup lookup;
    lookup.pod = ByKind("Pod", "pod");
    lookup.service = ByKind("Service", "service");
    if (sd_.attach_node) lookup.node = ByKind("Node", "node");
    if (sd_.attach_namespace) lookup.namespaces = ByKind("Namespace", "");
    std::vector<TargetGroup> groups;
    for (const auto& object : cluster_) {
      const std::string ns = kube::NamespaceOf(object);
      const bool in_namespaces = sd_.namespaces.empty() || ns.empty() ||
                                 std::find(sd_.namespaces.begin(), sd_.namespaces.end(), ns) != sd_.namespaces.end();
      if (object["kind"] != kKinds.at(sd_.role) || !in_namespaces || !Selected(object, sd_.role)) continue;
      if (auto group = KubernetesGroup(sd_.role, object, lookup)) groups.push_back(*std::move(group));
    }
    return groups;
  }

 private:
  std::function<std::shared_ptr<const base::Json>(const std::string&, const std::string&)> ByKind(
      const std::string& kind, const std::string& role) const {
    return [this, kind, role](const std::string& ns, const std::string& name) -> std::shared_ptr<const base::Json> {
      for (const auto& object : cluster_) {
        const bool same = object["kind"] == kind && kube::NameOf(object) == name && kube::NamespaceOf(object) == ns;
        if (same && Selected(object, role)) return std::make_shared<const base::Json>(object);
      }
      return nullptr;
    };
  }

  bool Selected(const base::Json& object, const std::string& role) const {
    std::map<std::string, std::string> labels;
    if (object["metadata"].contains("labels")) labels = object["metadata"]["labels"];
    for (const auto& selector : sd_.selectors) {
      if (selector.role == role && !kube::LabelSelector::Parse(selector.label)->Matches(labels)) return false;
    }
    return true;
  }

  const base::Json& cluster_;
  const KubernetesSdConfig& sd_;
};

// Active targets of a job, each once, and how many make no sense.
base::Json PoolOf(const ScrapeConfig& job, const base::Json& cluster) {
  std::vector<TargetGroup> groups = job.static_groups;
  for (const KubernetesSdConfig& sd : job.kubernetes_sd) {
    for (TargetGroup& group : ClusterView(cluster, sd).Groups()) groups.push_back(std::move(group));
  }
  std::set<std::string> active;
  bool errors = false;
  for (const TargetGroup& group : groups) {
    for (const tsdb::Labels& labels : group.targets) {
      TargetResult result = BuildTarget(job, labels, group.labels);
      errors = errors || !result.error.ok();
      if (!result.target) continue;
      base::Json target = {{"url", result.target->url},
                           {"interval", base::FormatDuration(result.target->interval)},
                           {"timeout", base::FormatDuration(result.target->timeout)},
                           {"labels", base::Json::object()}};
      for (const tsdb::Label& label : result.target->labels) target["labels"][label.name] = label.value;
      active.insert(target.dump());
    }
  }
  return {{"job", job.job_name}, {"active", active}, {"errors", errors}};
}

base::Json ExpectedPool(const base::Json& pool) {
  std::set<std::string> active;
  for (const auto& target : pool["active"]) active.insert(target.dump());
  return {{"job", pool["job"]}, {"active", active}, {"errors", pool.contains("errors")}};
}

TEST(OperatorObjects, Targets) {
  base::Json document = LoadDocument("prometheus-operator/targets.json");
  if (!document.contains("cases")) GTEST_SKIP() << "conformance data is not here";
  Tally tally("prometheus-operator/targets");
  for (const auto& test : document["cases"]) {
    OperatorConverter converter(test["prometheus"], LookupIn(test["objects"]));
    auto global = InstanceDefaults(test["prometheus"]);
    ASSERT_TRUE(global.ok()) << global.status().ToString();
    std::set<std::string> actual, expected;
    for (const auto& object : test["objects"]) {
      if (object["kind"] == "Secret" || object["kind"] == "ConfigMap") continue;
      auto configs = converter.Convert(object);
      if (!configs.ok()) continue;
      auto jobs = DecodeConverted(*configs, "converted", *global, nullptr);
      ASSERT_TRUE(jobs.ok()) << test["name"] << ": " << jobs.status().ToString();
      for (const ScrapeConfig& job : *jobs) actual.insert(PoolOf(job, document["cluster"]).dump());
    }
    for (const auto& pool : test["expect"]["pools"]) expected.insert(ExpectedPool(pool).dump());
    tally.Count(actual == expected, test["name"], Difference(actual, expected));
  }
  EXPECT_EQ(tally.passed(), tally.total());
}

}  // namespace
}  // namespace tidewright::scrape
