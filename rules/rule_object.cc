#include "rules/rule_object.h"

#include <string>
#include <utility>

#include "base/document.h"
#include "base/json.h"
#include "rules/rule_document.h"

namespace tidewright::rules {

namespace {

constexpr size_t kMaxBytes = 512u << 10;

void RemoveEmpty(base::Json* object, std::initializer_list<const char*> keys) {
  for (const char* key : keys) {
    auto it = object->find(key);
    if (it != object->end() && *it == "") object->erase(it);
  }
}

// In the form of a rule file, which has no field of Thanos.
base::Json FileOf(const base::Json& object) {
  const base::Json* groups = base::Find(object, {"spec", "groups"});
  base::Json file = {{"groups", groups != nullptr ? *groups : base::Json::array()}};
  if (!file["groups"].is_array()) return file;
  for (base::Json& group : file["groups"]) {
    if (!group.is_object()) continue;
    group.erase("partial_response_strategy");
    RemoveEmpty(&group, {"interval", "query_offset"});
    auto rules = group.find("rules");
    if (rules == group.end() || !rules->is_array()) continue;
    for (base::Json& rule : *rules) {
      if (!rule.is_object()) continue;
      RemoveEmpty(&rule, {"for", "keep_firing_for", "record", "alert"});
      auto expr = rule.find("expr");
      if (expr != rule.end() && expr->is_number_integer()) *expr = expr->dump();
    }
  }
  return file;
}

}  // namespace

base::Result<std::vector<GroupSpec>> ReadRuleObject(const base::Json& object, const RuleFileOptions& options) {
  const std::string ns = base::FindString(object, {"metadata", "namespace"});
  const std::string name = base::FindString(object, {"metadata", "name"});
  const std::string origin = "PrometheusRule " + ns + "/" + name;
  const base::Json file = FileOf(object);
  const size_t size = file.dump(-1, ' ', false, base::Json::error_handler_t::replace).size();
  if (size > kMaxBytes) {
    return base::InvalidArgumentError(origin + ": its groups are " + std::to_string(size) + " bytes, more than " +
                                      std::to_string(kMaxBytes) + "; divide them among several objects");
  }
  const std::string path = ns + "-" + name + "-" + base::FindString(object, {"metadata", "uid"}) + ".yaml";
  return ReadRuleDocument(base::NodeFromJson(file), {.origin = origin, .file = path}, options);
}

}  // namespace tidewright::rules
