#include <algorithm>
#include <map>

#include "base/document.h"
#include "base/strings.h"
#include "scrape/operator_sections.h"
#include "scrape/relabel.h"

namespace tidewright::scrape {
namespace {

const std::string kMeta = "__meta_kubernetes_";

base::Status BadOperator(const std::string& op) {
  return base::InvalidArgumentError("selector operator " + base::Quoted(op) +
                                    " is not known; use In, NotIn, Exists or DoesNotExist");
}

std::vector<std::string> Strings(const base::Json& list) {
  std::vector<std::string> out;
  for (const auto& item : list) {
    if (item.is_string()) out.push_back(item.get<std::string>());
  }
  return out;
}

base::Status CheckExpression(const base::Json& expression) {
  const std::string op = TextAt(expression, "operator");
  if (op != "In" && op != "NotIn" && op != "Exists" && op != "DoesNotExist") return BadOperator(op);
  const bool needs_values = op == "In" || op == "NotIn";
  if (needs_values == ObjectAt(expression, "values").empty()) {
    return base::InvalidArgumentError("selector key " + base::Quoted(TextAt(expression, "key")) + ": operator " + op +
                                      (needs_values ? " needs values" : " takes no values"));
  }
  return base::Status::Ok();
}

bool HasHashMod(const base::Json& rules) {
  return std::any_of(rules.begin(), rules.end(),
                     [](const base::Json& rule) { return base::ToLower(TextAt(rule, "action")) == "hashmod"; });
}

bool Excluded(const OperatorObject& context) {
  static const std::map<std::string, std::string> kResources = {{"ServiceMonitor", "servicemonitors"},
                                                                {"PodMonitor", "podmonitors"},
                                                                {"Probe", "probes"},
                                                                {"ScrapeConfig", "scrapeconfigs"}};
  const base::Json& list = ObjectAt(context.prometheus, "excludedFromEnforcement");
  return std::any_of(list.begin(), list.end(), [&](const base::Json& one) {
    const std::string name = TextAt(one, "name");
    return TextAt(one, "resource") == kResources.at(context.kind) && TextAt(one, "namespace") == context.ns &&
           (name.empty() || name == context.name);
  });
}

void AddEnforcedNamespace(const OperatorObject& context, base::Json* rules) {
  const std::string label = TextAt(context.prometheus, "enforcedNamespaceLabel");
  if (label.empty() || Excluded(context)) return;
  rules->push_back(RelabelJson({}, "", label, context.ns));
}

void AddSharding(const OperatorObject& context, const std::string& label, base::Json* rules) {
  const base::Json& given = ObjectAt(context.prometheus, "shards");
  const int64_t shards = given.is_number_integer() ? std::max<int64_t>(given.get<int64_t>(), 1) : 1;
  rules->push_back(RelabelJson({label, "__tmp_hash"}, "(.+);", "__tmp_hash", "$1", "replace"));
  rules->push_back(
      {{"action", "hashmod"}, {"modulus", shards}, {"source_labels", {"__tmp_hash"}}, {"target_label", "__tmp_hash"}});
  rules->push_back(
      {{"action", "keep"}, {"regex", "$(SHARD);|.+;.+"}, {"source_labels", {"__tmp_hash", "__tmp_disable_sharding"}}});
}

}  // namespace

std::string SanitizedName(std::string_view name) {
  std::string out(name);
  for (char& c : out) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
  }
  return out;
}

base::Json RelabelJson(std::vector<std::string> sources, const std::string& regex, const std::string& target,
                       const std::string& replacement, const std::string& action) {
  base::Json rule = base::Json::object();
  if (!sources.empty()) rule["source_labels"] = std::move(sources);
  if (!regex.empty()) rule["regex"] = regex;
  if (!target.empty()) rule["target_label"] = target;
  if (!replacement.empty()) rule["replacement"] = replacement;
  if (!action.empty()) rule["action"] = action;
  return rule;
}

base::Json RelabelRulesJson(const base::Json& rules) {
  base::Json out = base::Json::array();
  for (const auto& rule : rules) {
    base::Json one = base::Json::object();
    if (!ObjectAt(rule, "sourceLabels").empty()) one["source_labels"] = rule["sourceLabels"];
    CopyMember(rule, "separator", &one, "separator");
    if (!TextAt(rule, "targetLabel").empty()) one["target_label"] = rule["targetLabel"];
    if (!TextAt(rule, "regex").empty()) one["regex"] = rule["regex"];
    if (HasValue(rule, "modulus") && rule["modulus"] != 0) one["modulus"] = rule["modulus"];
    CopyMember(rule, "replacement", &one, "replacement");
    if (!TextAt(rule, "action").empty()) one["action"] = base::ToLower(TextAt(rule, "action"));
    out.push_back(std::move(one));
  }
  return out;
}

base::Status CheckRules(const base::Json& rules, const std::string& place) {
  const base::Node document = base::NodeFromJson({{place, RelabelRulesJson(rules)}});
  base::ErrorList errors("");
  base::ObjectReader reader(document, "", errors);
  DecodeRelabelRules(reader, place, NameScheme::kUtf8);
  return errors.empty() ? base::Status::Ok() : base::InvalidArgumentError(errors.errors().front());
}

base::Status AddSelectorRules(const base::Json& selector, const std::string& role, base::Json* rules) {
  auto sources = [&](const std::string& key, bool value) {
    const std::string name = SanitizedName(key);
    std::vector<std::string> labels;
    if (value) labels.push_back(kMeta + role + "_label_" + name);
    labels.push_back(kMeta + role + "_labelpresent_" + name);
    return labels;
  };
  if (const base::Json& labels = ObjectAt(selector, "matchLabels"); labels.is_object()) {
    for (const auto& [key, value] : labels.items()) {
      rules->push_back(RelabelJson(sources(key, true), "(" + TextAt(labels, key) + ");true", "", "", "keep"));
    }
  }
  for (const auto& expression : ObjectAt(selector, "matchExpressions")) {
    TW_RETURN_IF_ERROR(CheckExpression(expression));
    const std::string op = TextAt(expression, "operator"), key = TextAt(expression, "key");
    const std::string action = op == "In" || op == "Exists" ? "keep" : "drop";
    if (op == "In" || op == "NotIn") {
      const std::string values = base::Join(Strings(expression["values"]), "|");
      rules->push_back(RelabelJson(sources(key, true), "(" + values + ");true", "", "", action));
    } else {
      rules->push_back(RelabelJson(sources(key, false), "true", "", "", action));
    }
  }
  return base::Status::Ok();
}

base::Result<std::string> SelectorText(const base::Json& selector) {
  std::multimap<std::string, std::string> requirements;
  if (const base::Json& labels = ObjectAt(selector, "matchLabels"); labels.is_object()) {
    for (const auto& [key, value] : labels.items()) requirements.emplace(key, key + "=" + TextAt(labels, key));
  }
  for (const auto& expression : ObjectAt(selector, "matchExpressions")) {
    TW_RETURN_IF_ERROR(CheckExpression(expression));
    const std::string op = TextAt(expression, "operator"), key = TextAt(expression, "key");
    std::vector<std::string> values = Strings(ObjectAt(expression, "values"));
    std::sort(values.begin(), values.end());
    const std::string list = "(" + base::Join(values, ",") + ")";
    requirements.emplace(key, op == "Exists"         ? key
                              : op == "DoesNotExist" ? "!" + key
                              : op == "In"           ? key + " in " + list
                                                     : key + " notin " + list);
  }
  std::vector<std::string> texts;
  for (const auto& [key, text] : requirements) texts.push_back(text);
  return base::Join(texts, ",");
}

base::Status AddFinalRules(const OperatorObject& context, const base::Json& user_rules, const std::string& shard_label,
                           base::Json* rules) {
  // In a ScrapeConfig they come before the job's name.
  const bool class_rules = context.kind != "ScrapeConfig";
  for (auto& rule : RelabelRulesJson(ObjectAt(context.scrape_class, "relabelings"))) {
    if (class_rules) rules->push_back(rule);
  }
  TW_RETURN_IF_ERROR(CheckRules(user_rules, "relabelings"));
  for (auto& rule : RelabelRulesJson(user_rules)) rules->push_back(rule);
  // The rules of a ScrapeConfig are all the user's; without any there is nothing to protect the label from.
  if (context.kind != "ScrapeConfig" || !user_rules.empty()) AddEnforcedNamespace(context, rules);
  // A ScrapeConfig is only divided among shards when there are several, and does so itself if it has a rule for it.
  const bool several = ObjectAt(context.prometheus, "shards").is_number_integer() && context.prometheus["shards"] > 1;
  if (context.kind != "ScrapeConfig" || (several && !HasHashMod(user_rules))) AddSharding(context, shard_label, rules);
  return base::Status::Ok();
}

base::Status AddMetricRules(const OperatorObject& context, const base::Json& user_rules, base::Json* config) {
  base::Json rules = RelabelRulesJson(ObjectAt(context.scrape_class, "metricRelabelings"));
  TW_RETURN_IF_ERROR(CheckRules(user_rules, "metricRelabelings"));
  for (auto& rule : RelabelRulesJson(user_rules)) rules.push_back(rule);
  AddEnforcedNamespace(context, &rules);
  if (!rules.empty()) (*config)["metric_relabel_configs"] = std::move(rules);
  return base::Status::Ok();
}

}  // namespace tidewright::scrape
