// Kubernetes objects to target groups, against Prometheus 3.14.
#include <gtest/gtest.h>

#include <algorithm>
#include <iostream>
#include <map>
#include <set>

#include "kube/meta.h"
#include "scrape/kubernetes_targets.h"
#include "tests/conformance/scrape_data.h"

namespace tidewright::scrape {
namespace {

const std::map<std::string, std::string> kKinds = {
    {"pod", "Pod"}, {"node", "Node"}, {"service", "Service"}, {"endpoints", "Endpoints"}};

KubernetesLookup LookupIn(const base::Json& test) {
  auto by_kind = [&test](const std::string& kind) {
    return [&test, kind](const std::string& ns, const std::string& name) -> std::shared_ptr<const base::Json> {
      for (const auto& object : test["objects"]) {
        if (object["kind"] == kind && kube::NameOf(object) == name && kube::NamespaceOf(object) == ns) {
          return std::make_shared<const base::Json>(object);
        }
      }
      return nullptr;
    };
  };
  KubernetesLookup lookup;
  lookup.pod = by_kind("Pod");
  lookup.service = by_kind("Service");
  base::Json attach = test["config"].value("attach_metadata", base::Json::object());
  if (attach.value("node", false)) lookup.node = by_kind("Node");
  if (attach.value("namespace", false)) lookup.namespaces = by_kind("Namespace");
  return lookup;
}

bool InNamespaces(const base::Json& config, const std::string& own, const std::string& ns) {
  if (!config.contains("namespaces") || ns.empty()) return true;
  const base::Json& namespaces = config["namespaces"];
  bool own_wanted = namespaces.value("own_namespace", false);
  base::Json names = namespaces.value("names", base::Json::array());
  if (!own_wanted && names.empty()) return true;
  return (own_wanted && ns == own) || std::find(names.begin(), names.end(), ns) != names.end();
}

// Merged labels of each target, as texts by source; groups without targets are left out.
using Groups = std::map<std::string, std::multiset<std::string>>;

void AddTarget(const std::string& source, const tsdb::Labels& group, const tsdb::Labels& target, Groups* out) {
  tsdb::LabelsBuilder merged(target);
  for (const auto& label : group) merged.Set(label.name, label.value);
  (*out)[source].insert(merged.Build().ToString());
}

tsdb::Labels FromObject(const base::Json& object) {
  std::vector<tsdb::Label> labels;
  for (const auto& [name, value] : object.items()) labels.push_back({name, value});
  return tsdb::Labels::FromPairs(std::move(labels));
}

Groups Actual(const base::Json& test, const std::string& own) {
  Groups out;
  std::string role = test["config"]["role"];
  KubernetesLookup lookup = LookupIn(test);
  for (const auto& object : test["objects"]) {
    if (object["kind"] != kKinds.at(role) || !InNamespaces(test["config"], own, kube::NamespaceOf(object))) continue;
    TargetGroup group = KubernetesGroup(role, object, lookup);
    for (const auto& target : group.targets) AddTarget(group.source, group.labels, target, &out);
  }
  return out;
}

Groups Expected(const base::Json& groups) {
  Groups out;
  for (const auto& group : groups) {
    base::Json labels = group.value("labels", base::Json::object());
    if (!group.contains("targets") || group["targets"].is_null()) continue;
    for (const auto& target : group["targets"]) {
      AddTarget(group["source"], labels.is_null() ? tsdb::Labels() : FromObject(labels), FromObject(target), &out);
    }
  }
  return out;
}

std::string Print(const Groups& groups) {
  std::string out;
  for (const auto& [source, targets] : groups) {
    for (const std::string& target : targets) out += "\n    " + source + " " + target;
  }
  return out;
}

TEST(ScrapeConformance, KubernetesDiscovery) {
  base::Json cases = LoadCases("kubernetes-sd/discovery.json");
  if (cases.is_null()) GTEST_SKIP() << "conformance data is not here";
  Tally tally("kubernetes-sd, roles pod, node, service, endpoints");
  for (const auto& test : cases) {
    if (kKinds.count(test["config"]["role"]) == 0) continue;
    Groups actual = Actual(test, "own-ns"), expected = Expected(test["groups"]);
    tally.Count(actual == expected, test["name"], Print(actual) + "\n  not" + Print(expected));
  }
  EXPECT_GE(tally.passed(), 149);
}

}  // namespace
}  // namespace tidewright::scrape
