// Monitoring objects to scrape configurations, against prometheus-operator.
#include <gtest/gtest.h>

#include <algorithm>
#include <iostream>
#include <map>
#include <set>

#include "base/json.h"
#include "kube/meta.h"
#include "scrape/operator_objects.h"
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
    if (!Supported(test) || NeverAdmitted(test)) continue;
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

}  // namespace
}  // namespace tidewright::scrape
