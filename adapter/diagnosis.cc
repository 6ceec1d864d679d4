#include "adapter/diagnosis.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/document.h"
#include "base/duration.h"
#include "base/strings.h"

namespace tidewright::adapter {
namespace {

constexpr int64_t kBackMs = 3'600'000;
constexpr int64_t kKeepMs = 10'000;
constexpr size_t kMaxKnown = 2000;
constexpr size_t kShownNames = 8;

// "\"a\", \"b\" and 40 more"
std::string Some(const std::vector<std::string>& names) {
  std::vector<std::string> shown;
  for (size_t i = 0; i < std::min(names.size(), kShownNames); ++i) shown.push_back(base::Quoted(names[i]));
  std::string text = base::Join(shown, ", ");
  if (names.size() > shown.size()) text += " and " + std::to_string(names.size() - shown.size()) + " more";
  return text;
}

std::string Selector(const promql::Matchers& matchers) {
  std::vector<std::string> parts;
  for (const promql::Matcher& matcher : matchers) parts.push_back(matcher.ToString());
  return "{" + base::Join(parts, ",") + "}";
}

// The selector as people write it: the name in front, long alternatives cut.
std::string Shown(const promql::Matchers& matchers) {
  std::string text = matchers[0].value();
  std::vector<std::string> parts;
  for (size_t i = 1; i < matchers.size(); ++i) {
    std::string part = matchers[i].ToString();
    if (part.size() > 100) part = part.substr(0, 100) + "...\"";
    parts.push_back(std::move(part));
  }
  return parts.empty() ? text : text + "{" + base::Join(parts, ",") + "}";
}

std::string Seconds(int64_t ms) { return base::FormatDuration({std::max<int64_t>(1, ms / 1000) * 1000}); }

}  // namespace

Diagnoser::Diagnoser(promql::QueryEngine& engine, base::Clock& clock, int64_t lookback_ms)
    : engine_(engine), clock_(clock), lookback_ms_(lookback_ms) {}

Diagnoser::Names Diagnoser::Remembered(const std::string& key, const std::function<Names(int64_t now)>& ask) {
  int64_t now = clock_.NowMs();
  {
    base::MutexLock lock(mu_);
    auto it = known_.find(key);
    if (it != known_.end() && now - it->second.at_ms < kKeepMs) return it->second.names;
  }
  Names names = ask(now);
  base::MutexLock lock(mu_);
  if (known_.size() >= kMaxKnown) known_.clear();
  known_.insert_or_assign(key, Known{now, names});
  return names;
}

Diagnoser::Names Diagnoser::LabelNames(const promql::Matchers& matchers) {
  return Remembered("names " + Selector(matchers),
                    [&](int64_t now) { return engine_.LabelNames(matchers, now - kBackMs, now); });
}

Diagnoser::Names Diagnoser::LabelValues(const std::string& label, const promql::Matchers& matchers) {
  return Remembered("values " + label + Selector(matchers),
                    [&](int64_t now) { return engine_.LabelValues(label, matchers, now - kBackMs, now); });
}

Diagnosis Diagnoser::Missing(const promql::Matcher& condition, const promql::Matchers& found,
                             const std::vector<std::string>& labels) {
  Diagnosis diagnosis;
  const std::string& label = condition.name();
  if (std::find(labels.begin(), labels.end(), label) == labels.end()) {
    std::vector<std::string> others;
    for (const std::string& name : labels) {
      if (name != "__name__") others.push_back(name);
    }
    diagnosis.text = "series " + Shown(found) + " exist, but lack the label " + label + " (they have " +
                     (others.empty() ? "none" : base::Join(others, ", ")) + ")";
    diagnosis.suggestion = "Map the label that holds this in the rule's resources.overrides, or add " + label +
                           " when scraping, with relabel_configs.";
    return diagnosis;
  }
  Names values = LabelValues(label, found);
  std::string wanted = condition.ToString();
  if (wanted.size() > 200) wanted = wanted.substr(0, 200) + "...\"";
  diagnosis.text = "series " + Shown(found) + " exist, but none has " + wanted;
  if (values.ok() && !values->empty()) diagnosis.text += "; there are " + Some(*values);
  diagnosis.suggestion = "Check that the objects are scraped (the page /targets), and that " + label +
                         " is the label that holds their names: honor_labels and relabelling can move it.";
  return diagnosis;
}

Diagnosis Diagnoser::Age(const promql::Matchers& matchers, int64_t range_s) {
  // A subquery finds the newest sample wherever it is; at the start of each step it looks back by the lookback.
  std::string query = "max(max_over_time(timestamp(" + Selector(matchers) + ")[1h:1m]))";
  int64_t now = clock_.NowMs();
  base::Result<promql::QueryResult> result = engine_.Instant(query, now);
  const auto* vector = result.ok() ? std::get_if<promql::Vector>(&result->value) : nullptr;
  if (vector == nullptr) return {};
  if (vector->empty() || !std::isfinite((*vector)[0].point.v)) {
    return {"series " + Shown(matchers) + " are known, but had no sample in the last hour",
            "Check that they are still scraped: the page /targets says when and with what error."};
  }
  int64_t age = now - static_cast<int64_t>((*vector)[0].point.v * 1000);
  int64_t back = range_s > 0 ? range_s * 1000 : lookback_ms_;
  if (age > back) {
    return {"the last sample of " + Shown(matchers) + " is " + Seconds(age) + " old, and the query looks back " +
                Seconds(back),
            "Scraping has stopped or is slower than the range: see the page /targets."};
  }
  if (range_s > 0) {
    return {"series " + Shown(matchers) + " have samples, the last one " + Seconds(age) + " old, but within " +
                Seconds(back) + " not enough for the query; a rate needs two",
            "Wait for the second scrape, or make the range at least twice, better four times, the scrape interval."};
  }
  return {"series " + Shown(matchers) + " have samples, the last one " + Seconds(age) +
              " old; the query itself leaves them out",
          "Compare the query's own conditions and its by (...) with the labels of the series."};
}

Diagnosis Diagnoser::WhyNoValue(const std::string& series, const promql::Matchers& conditions, int64_t range_s) {
  if (series.empty()) return {};
  promql::Matchers found = {promql::Matcher::Equal("__name__", series)};
  Names labels = LabelNames(found);
  if (!labels.ok()) return {};
  if (labels->empty()) {
    return {"no series " + series + " had a sample in the last hour",
            "Check that its targets are scraped (the page /targets) and that they still expose " + series + "."};
  }
  for (const promql::Matcher& condition : conditions) {
    promql::Matchers next = found;
    next.push_back(condition);
    Names left = LabelNames(next);
    if (!left.ok()) return {};
    if (left->empty()) return Missing(condition, found, *labels);
    found = std::move(next);
    labels = std::move(left);
  }
  return Age(found, range_s);
}

}  // namespace tidewright::adapter
