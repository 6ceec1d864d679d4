#include "rules/dependencies.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <string_view>

#include "promql/ast.h"
#include "promql/functions.h"
#include "promql/parser.h"
#include "tsdb/labels.h"

namespace tidewright::rules {

namespace {

constexpr std::string_view kAlerts = "ALERTS";
constexpr std::string_view kAlertsForState = "ALERTS_FOR_STATE";

struct Reach {
  bool reads_anything = false;
  std::set<std::string, std::less<>> reads;
  bool alerts = false;  // Otherwise it records.
  std::string name;     // Of the metric, or of the alert.

  bool Reads(const Reach& other) const {
    if (reads_anything) return true;
    if (other.alerts) return reads.contains(kAlerts) || reads.contains(kAlertsForState);
    return reads.contains(other.name);
  }
  bool WritesLike(const Reach& other) const { return alerts == other.alerts && name == other.name; }
};

void CollectReads(promql::Expr& expr, Reach* reach) {
  if (expr.kind == promql::NodeKind::kVectorSelector) {
    const auto& matchers = promql::As<promql::VectorSelector>(expr).matchers;
    auto named = std::find_if(matchers.begin(), matchers.end(), [](const tsdb::Matcher& matcher) {
      return matcher.name() == tsdb::kMetricName && matcher.type() == tsdb::Matcher::Type::kEqual;
    });
    if (named == matchers.end()) {
      reach->reads_anything = true;
    } else {
      reach->reads.insert(named->value());
    }
  }
  // info() selects by itself, too.
  if (expr.kind == promql::NodeKind::kCall && promql::As<promql::Call>(expr).function->name == "info") {
    reach->reads_anything = true;
  }
  promql::ForEachChild(expr, [reach](promql::Expr& child) { CollectReads(child, reach); });
}

bool Queries(const std::map<std::string, std::string>& templates) {
  return std::any_of(templates.begin(), templates.end(), [](const auto& member) {
    return member.second.find("{{") != std::string::npos && member.second.find("query") != std::string::npos;
  });
}

Reach ReachOf(const RuleSpec& rule) {
  Reach reach;
  reach.alerts = rule.kind == RuleKind::kAlerting;
  reach.name = rule.name;
  auto expr = promql::ParseExpression(rule.expr, promql::ParserOptions::All());
  if (!expr.ok()) {
    reach.reads_anything = true;
    return reach;
  }
  CollectReads(**expr, &reach);
  if (reach.alerts && (Queries(rule.labels) || Queries(rule.annotations))) reach.reads_anything = true;
  return reach;
}

}  // namespace

std::vector<std::vector<size_t>> StepsOf(const std::vector<RuleSpec>& rules) {
  std::vector<Reach> reaches;
  std::vector<size_t> step_of;
  std::vector<std::vector<size_t>> steps;
  for (size_t i = 0; i < rules.size(); ++i) {
    reaches.push_back(ReachOf(rules[i]));
    const Reach& reach = reaches.back();
    size_t step = 0;
    for (size_t j = 0; j < i; ++j) {
      const bool ordered = reach.Reads(reaches[j]) || reaches[j].Reads(reach) || reach.WritesLike(reaches[j]);
      if (ordered) step = std::max(step, step_of[j] + 1);
    }
    step_of.push_back(step);
    if (steps.size() <= step) steps.resize(step + 1);
    steps[step].push_back(i);
  }
  return steps;
}

}  // namespace tidewright::rules
