#include "adapter/metric_query.h"

#include <algorithm>
#include <utility>

#include "base/document.h"
#include "base/duration.h"
#include "base/go_text.h"
#include "base/strings.h"

namespace tidewright::adapter {
namespace {

std::string EscapeRegex(const std::string& text) {
  std::string out;
  for (char c : text) {
    if (std::string_view("\\.+*?()|[]{}^$").find(c) != std::string_view::npos) out += '\\';
    out += c;
  }
  return out;
}

}  // namespace

void MetricQuery::Add(const std::string& label, promql::Matcher::Type type, const std::string& value,
                      const std::string& raw) {
  static constexpr const char* kOperators[] = {"=", "!=", "=~", "!~"};
  matchers_.push_back(label + kOperators[static_cast<int>(type)] + base::GoQuote(value));
  conditions_.push_back({type, label, value});
  values_by_name_[label] = raw;
}

base::Status MetricQuery::AddSelector(const kube::LabelSelector& selector) {
  using Op = kube::Requirement::Op;
  using Type = promql::Matcher::Type;
  for (const kube::Requirement& requirement : selector.requirements()) {
    std::string joined = base::Join(requirement.values, "|");
    bool many = requirement.values.size() > 1;
    switch (requirement.op) {
      case Op::kEquals: Add(requirement.key, many ? Type::kRegex : Type::kEqual, joined, joined); break;
      case Op::kNotEquals: Add(requirement.key, many ? Type::kNotRegex : Type::kNotEqual, joined, joined); break;
      case Op::kIn: Add(requirement.key, Type::kRegex, joined, joined); break;
      case Op::kNotIn: Add(requirement.key, Type::kNotRegex, joined, joined); break;
      case Op::kExists: Add(requirement.key, Type::kNotEqual, "", ""); break;
      case Op::kDoesNotExist: Add(requirement.key, Type::kEqual, "", ""); break;
      case Op::kGreaterThan:
      case Op::kLessThan:
        return base::InvalidArgumentError("the metric selector compares " + base::Quoted(requirement.key) +
                                          " with > or <, which a label matcher cannot; use =, !=, in or notin");
    }
  }
  return base::Status::Ok();
}

void MetricQuery::AddEqual(const std::string& label, const std::string& value) {
  Add(label, promql::Matcher::Type::kEqual, value, value);
}

void MetricQuery::AddNames(const std::string& label, const std::vector<std::string>& names) {
  if (names.size() == 1) return AddEqual(label, names[0]);
  std::vector<std::string> escaped;
  for (const std::string& name : names) escaped.push_back(EscapeRegex(name));
  Add(label, promql::Matcher::Type::kRegex, base::Join(escaped, "|"), base::Join(names, "|"));
}

promql::Matchers MetricQuery::Conditions() const {
  promql::Matchers matchers;
  for (const Condition& condition : conditions_) {
    auto matcher = promql::Matcher::Create(condition.type, condition.label, condition.value);
    if (matcher.ok()) matchers.push_back(*std::move(matcher));
  }
  return matchers;
}

base::Result<std::string> MetricQuery::Render(const base::GoTemplate& query) const {
  base::TemplateValue::Map values;
  for (const auto& [label, value] : values_by_name_) values[label] = base::TemplateValue::String(value);
  base::TemplateValue data =
      base::TemplateValue::Record({{"Series", base::TemplateValue::String(series_)},
                                   {"LabelMatchers", base::TemplateValue::String(base::Join(matchers_, ","))},
                                   {"LabelValuesByName", base::TemplateValue::FromMap(std::move(values))},
                                   {"GroupBy", base::TemplateValue::String(base::Join(group_by_, ","))},
                                   {"GroupBySlice", base::TemplateValue::Strings(group_by_)}});
  TW_ASSIGN_OR_RETURN(std::string text, query.Execute(data));
  if (base::TrimSpace(text).empty()) return base::InvalidArgumentError("metricsQuery renders to nothing");
  return text;
}

std::string ShownQuery(const std::string& query) {
  constexpr size_t kHead = 300;
  constexpr size_t kTail = 100;
  if (query.size() <= kHead + kTail) return base::GoQuote(query);
  return base::GoQuote(query.substr(0, kHead)) + "..." + base::GoQuote(query.substr(query.size() - kTail));
}

std::optional<int64_t> WindowSeconds(const std::string& query) {
  std::optional<int64_t> window;
  char quote = 0;
  for (size_t i = 0; i < query.size(); ++i) {
    char c = query[i];
    if (quote != 0) {
      if (c == '\\' && quote != '`') ++i;
      if (c == quote) quote = 0;
      continue;
    }
    if (c == '"' || c == '\'' || c == '`') quote = c;
    if (c != '[') continue;
    size_t end = query.find_first_of(":]", i);
    if (end == std::string::npos) break;
    base::Result<base::Duration> range =
        base::ParseDuration(base::TrimSpace(std::string_view(query).substr(i + 1, end - i - 1)));
    if (range.ok() && range->ms >= 1000) window = std::max(window.value_or(0), range->ms / 1000);
  }
  return window;
}

int64_t TimeOf(int64_t sampled_ms, int64_t now_ms) { return sampled_ms > 0 ? std::min(sampled_ms, now_ms) : now_ms; }

base::Status QueryFailure(const std::string& title, const std::string& query, const base::Status& status) {
  base::Status failure = status.Annotate(title + ": the query " + ShownQuery(query) + " failed");
  bool of_the_rule = failure.code() == base::Code::kInvalidArgument || failure.code() == base::Code::kNotFound;
  return of_the_rule ? base::InternalError(failure.message()) : failure;
}

base::Result<promql::Value> EvaluateQuery(promql::QueryEngine& engine, const std::string& title,
                                          const std::string& query, int64_t now_ms) {
  base::Result<promql::QueryResult> result = engine.Instant(query, now_ms);
  if (result.ok()) return std::move(result->value);
  return QueryFailure(title, query, result.status());
}

}  // namespace tidewright::adapter
