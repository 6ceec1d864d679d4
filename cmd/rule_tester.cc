#include "cmd/rule_tester.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <set>
#include <utility>
#include <variant>

#include "base/duration.h"
#include "base/go_text.h"
#include "base/metrics.h"
#include "base/mutex.h"
#include "base/strings.h"
#include "promql/engine.h"
#include "promql/histogram.h"
#include "promqltest/storage.h"
#include "rules/group.h"
#include "tsdb/appender.h"

namespace tidewright::cmd {

namespace {

using tsdb::Labels;

// Writes to a store of the tester at once; what it refuses, it refuses as the real one does.
class MemoryAppender : public tsdb::Appender {
 public:
  explicit MemoryAppender(promqltest::MemoryStorage& storage) : storage_(storage) {}

  base::Result<tsdb::SeriesRef> Append(tsdb::SeriesRef, const Labels& labels, int64_t t, double value) override {
    return Add(labels, {.t = t, .v = value});
  }
  base::Result<tsdb::SeriesRef> AppendFloatHistogram(tsdb::SeriesRef, const Labels& labels, int64_t t,
                                                     const tsdb::FloatHistogram& histogram) override {
    return Add(labels, {.t = t, .v = histogram.sum, .histogram = std::make_shared<promql::Histogram>(histogram)});
  }
  void UpdateMetadata(const std::string&, const tsdb::Metadata&) override {}
  base::Status Commit() override { return base::Status::Ok(); }
  void Rollback() override {}

 private:
  base::Result<tsdb::SeriesRef> Add(const Labels& labels, promqltest::StoredSample sample) {
    TW_RETURN_IF_ERROR(storage_.Append(labels, std::move(sample)));
    return tsdb::SeriesRef{1};
  }

  promqltest::MemoryStorage& storage_;
};

class MemoryAppendable : public tsdb::Appendable {
 public:
  explicit MemoryAppendable(promqltest::MemoryStorage& storage) : storage_(storage) {}
  std::unique_ptr<tsdb::Appender> NewAppender() override { return std::make_unique<MemoryAppender>(storage_); }

 private:
  promqltest::MemoryStorage& storage_;
};

// {__name__="test"} as a Go program prints labels.
std::string LabelText(const std::map<std::string, std::string>& labels) {
  std::string text;
  for (const auto& [name, value] : labels) text += (text.empty() ? "" : ", ") + name + "=" + base::GoQuote(value);
  return "{" + text + "}";
}

std::map<std::string, std::string> MapOf(const Labels& labels) {
  std::map<std::string, std::string> map;
  for (const tsdb::Label& label : labels) map.emplace(label.name, label.value);
  return map;
}

using FiringAlert = std::pair<std::map<std::string, std::string>, std::map<std::string, std::string>>;

std::string AlertsText(const std::vector<FiringAlert>& alerts) {
  if (alerts.empty()) return "[]";
  std::string text = "[\n";
  for (size_t i = 0; i < alerts.size(); ++i) {
    text += "            " + std::to_string(i) + ":\n              Labels:" + LabelText(alerts[i].first) +
            "\n              Annotations:" + LabelText(alerts[i].second) + (i + 1 < alerts.size() ? ",\n" : "\n");
  }
  return text + "            ]";
}

// A sample of a result or of what is expected; histograms as text, with the counter reset hint.
struct Sample {
  std::map<std::string, std::string> labels;
  double value = 0;
  std::string histogram;
};

std::string HistogramText(const promql::HistogramPtr& histogram) {
  constexpr const char* kHints[] = {"", " reset", " not_reset", " gauge"};
  if (histogram == nullptr) return "";
  return promql::ToText(*histogram) + kHints[static_cast<int>(histogram->hint)];
}

// 1.5E+00, as strconv.FormatFloat prints it with 'E'.
std::string ExponentText(double value) {
  if (!std::isfinite(value)) return base::FormatDouble(value);
  char text[40];
  for (int digits = 0; digits <= 16; ++digits) {
    std::snprintf(text, sizeof text, "%.*E", digits, value);
    double back = 0;
    if (base::ParseDouble(text, &back) && back == value) break;
  }
  return text;
}

std::string SamplesText(const std::vector<Sample>& samples) {
  if (samples.empty()) return "nil";
  std::string text;
  for (const Sample& sample : samples) {
    text += (text.empty() ? "" : ", ") + LabelText(sample.labels) + " " +
            (sample.histogram.empty() ? ExponentText(sample.value) : sample.histogram);
  }
  return text;
}

bool SameValue(double a, double b, bool fuzzy) {
  if (std::isnan(a) || std::isnan(b)) return std::isnan(a) && std::isnan(b);
  return a == b || (fuzzy && (std::nextafter(a, INFINITY) == b || std::nextafter(a, -INFINITY) == b));
}

void SortByLabels(std::vector<Sample>* samples) {
  std::stable_sort(samples->begin(), samples->end(),
                   [](const Sample& a, const Sample& b) { return a.labels < b.labels; });
}

class Tester {
 public:
  Tester(const RuleTestFile& file, const RuleTestGroup& group, const std::vector<rules::GroupSpec>& rules)
      : file_(file), group_(group), next_item_(group.input.size(), 0) {
    promql::EngineOptions engine;
    engine.default_subquery_step_ms = file.evaluation_interval_ms;
    engine_ = promql::NewEmbeddedEngine(storage_, engine, nullptr);
    rules::ManagerOptions options;
    options.default_interval_ms = group.interval_ms;
    options.external_labels = group.external_labels;
    options.external_url = group.external_url;
    for (const rules::GroupSpec& spec : InOrder(rules)) {
      groups_.push_back(std::make_unique<rules::Group>(spec, options, *engine_, appendable_, instruments_));
      groups_.back()->Restore(
          group.start_ms);  // There is nothing, and alerts are recorded from the first evaluation on.
    }
  }

  std::vector<std::string> Run() {
    const int64_t end = group_.start_ms + group_.LastEvaluationMs();
    for (int64_t t = group_.start_ms; t <= end; t += file_.evaluation_interval_ms) {
      LoadUntil(t);
      if (!Evaluate(t)) return std::move(failures_);
      for (const AlertTest& test : group_.alerts) {
        const int64_t at = group_.start_ms + test.eval_time_ms;
        if (at >= t && at < t + file_.evaluation_interval_ms) CompareAlerts(test);
      }
    }
    LoadUntil(end);
    for (const ExpressionTest& test : group_.expressions) CompareExpression(test);
    return std::move(failures_);
  }

 private:
  // The groups that the file orders come first.
  std::vector<rules::GroupSpec> InOrder(std::vector<rules::GroupSpec> specs) const {
    const auto& order = file_.group_order;
    auto rank = [&](const rules::GroupSpec& spec) {
      return std::find(order.begin(), order.end(), spec.name) - order.begin();
    };
    std::stable_sort(specs.begin(), specs.end(), [&](const auto& a, const auto& b) { return rank(a) < rank(b); });
    return specs;
  }

  void LoadUntil(int64_t t) {
    for (size_t i = 0; i < group_.input.size(); ++i) {
      const promqltest::SeriesLine& series = group_.input[i];
      for (size_t& next = next_item_[i]; next < series.items.size(); ++next) {
        const int64_t at = group_.start_ms + static_cast<int64_t>(next) * group_.interval_ms;
        if (at > t) break;
        const promqltest::Item& item = series.items[next];
        if (item.kind == promqltest::Item::Kind::kNone) continue;
        base::Status added = storage_.Append(series.labels, {.t = at, .v = item.value, .histogram = item.histogram});
        if (!added.ok()) Fail("    series " + series.labels.ToString() + ": " + added.message());
      }
    }
  }

  bool Evaluate(int64_t t) {
    bool fine = true;
    for (auto& group : groups_) {
      group->Evaluate(t);
      for (const rules::RuleStatus& rule : group->Status().rules) {
        if (rule.last_error.ok()) continue;
        Fail("    rule: " + rule.spec.name + ", time: " + base::GoDuration(t) + ", err: " + rule.last_error.message());
        fine = false;
      }
    }
    return fine;
  }

  void CompareAlerts(const AlertTest& test) {
    std::vector<FiringAlert> expected, firing;
    for (const AlertTest::Expected& alert : test.expected) expected.emplace_back(alert.labels, alert.annotations);
    for (const auto& group : groups_) {
      for (const rules::RuleStatus& rule : group->Status().rules) {
        if (rule.spec.kind != rules::RuleKind::kAlerting || rule.spec.name != test.alert) continue;
        for (const rules::Alert& alert : rule.alerts) {
          if (alert.state == rules::AlertState::kFiring) firing.emplace_back(MapOf(alert.labels), alert.annotations);
        }
      }
    }
    std::sort(expected.begin(), expected.end());
    std::sort(firing.begin(), firing.end());
    if (expected == firing) return;
    Fail("    alertname: " + test.alert + ", time: " + base::FormatDuration({test.eval_time_ms}) +
         ", \n        exp:" + AlertsText(expected) + ", \n        got:" + AlertsText(firing));
  }

  base::Result<std::vector<Sample>> Answer(const ExpressionTest& test) {
    TW_ASSIGN_OR_RETURN(promql::QueryResult result, engine_->Instant(test.expr, group_.start_ms + test.eval_time_ms));
    std::vector<Sample> samples;
    if (const auto* vector = std::get_if<promql::Vector>(&result.value)) {
      for (const promql::VectorSample& sample : *vector) {
        samples.push_back({MapOf(sample.labels), sample.point.v, HistogramText(sample.histogram)});
      }
      return samples;
    }
    if (const auto* scalar = std::get_if<promql::Scalar>(&result.value)) {
      samples.push_back({{}, scalar->point.v, ""});
      return samples;
    }
    return base::InvalidArgumentError("rule result is not a vector or scalar");
  }

  void CompareExpression(const ExpressionTest& test) {
    const std::string head =
        "    expr: " + base::GoQuote(test.expr) + ", time: " + base::FormatDuration({test.eval_time_ms}) + ",";
    auto answer = Answer(test);
    if (!answer.ok()) return Fail(head + " err: " + answer.status().message());
    std::vector<Sample> expected;
    for (const ExpressionTest::Expected& sample : test.expected) {
      expected.push_back({MapOf(sample.labels), sample.value, HistogramText(sample.histogram)});
    }
    SortByLabels(&expected);
    SortByLabels(&*answer);
    const bool same = std::equal(
        expected.begin(), expected.end(), answer->begin(), answer->end(), [&](const Sample& a, const Sample& b) {
          const bool values = a.histogram.empty() ? SameValue(a.value, b.value, file_.fuzzy) : true;
          return a.labels == b.labels && a.histogram == b.histogram && values;
        });
    if (!same) Fail(head + "\n        exp: " + SamplesText(expected) + "\n        got: " + SamplesText(*answer));
  }

  void Fail(const std::string& text) {
    failures_.push_back((group_.name.empty() ? "" : "    name: " + group_.name + ",\n") + text);
  }

  const RuleTestFile& file_;
  const RuleTestGroup& group_;
  promqltest::MemoryStorage storage_;
  MemoryAppendable appendable_{storage_};
  base::MetricRegistry metrics_;
  rules::Instruments instruments_{metrics_};
  std::unique_ptr<promql::QueryEngine> engine_;
  std::vector<std::unique_ptr<rules::Group>> groups_;
  std::vector<size_t> next_item_;  // Of each input series.
  std::vector<std::string> failures_;
};

}  // namespace

std::vector<std::string> RunRuleTestGroup(const RuleTestFile& file, const RuleTestGroup& group,
                                          const std::vector<rules::GroupSpec>& rules) {
  return Tester(file, group, rules).Run();
}

}  // namespace tidewright::cmd
