// Labels: what identifies a series. Samples. Matchers: what selects series.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"

namespace tidewright::tsdb {

inline constexpr std::string_view kMetricName = "__name__";

// One name="value" pair.
struct Label {
  std::string name;
  std::string value;
  friend bool operator==(const Label& a, const Label& b) { return a.name == b.name && a.value == b.value; }
  friend bool operator<(const Label& a, const Label& b) {
    return a.name != b.name ? a.name < b.name : a.value < b.value;
  }
};

// A set of labels, sorted by name, names unique, values not empty. Value type; thread-compatible.
class Labels {
 public:
  Labels() = default;
  // Sorts; drops labels with empty values; of a repeated name the last wins.
  static Labels FromPairs(std::vector<Label> labels);
  // Takes pairs that are sorted by name already, names unique, values not empty.
  static Labels FromSorted(std::vector<Label> labels) {
    Labels result;
    result.labels_ = std::move(labels);
    return result;
  }
  // For tests and literals: Labels::Of({{"__name__", "up"}, {"job", "node"}}).
  static Labels Of(std::initializer_list<std::pair<std::string_view, std::string_view>> pairs);

  // The value of `name`, or "" when absent: PromQL does not tell the two apart.
  std::string_view Get(std::string_view name) const;
  bool Has(std::string_view name) const;
  std::string_view MetricName() const { return Get(kMetricName); }
  bool empty() const { return labels_.empty(); }
  size_t size() const { return labels_.size(); }
  auto begin() const { return labels_.begin(); }
  auto end() const { return labels_.end(); }

  // A stable 64-bit hash of all labels.
  uint64_t Hash() const;
  // {__name__="up", job="node"} as PromQL prints it: up{job="node"}.
  std::string ToString() const;

  friend bool operator==(const Labels& a, const Labels& b) { return a.labels_ == b.labels_; }
  friend bool operator<(const Labels& a, const Labels& b) { return a.labels_ < b.labels_; }

 private:
  friend class LabelsBuilder;
  std::vector<Label> labels_;
};

// Changes a set of labels. Not thread-safe.
class LabelsBuilder {
 public:
  LabelsBuilder() = default;
  explicit LabelsBuilder(const Labels& base) : labels_(base.labels_) {}
  LabelsBuilder& Set(std::string_view name, std::string_view value);  // An empty value removes.
  LabelsBuilder& Remove(std::string_view name);
  std::string_view Get(std::string_view name) const;
  Labels Build() const;

 private:
  std::vector<Label> labels_;  // Sorted.
};

// A value at a time: milliseconds since the epoch.
struct Sample {
  int64_t t = 0;
  double v = 0;
};

// The NaN that marks the end of a series (Prometheus' staleness marker), told apart from other NaNs by its bits.
inline constexpr uint64_t kStaleNanBits = 0x7ff0000000000002;
// The NaN that stands for every NaN read from a target, so that none is taken for a staleness marker.
inline constexpr uint64_t kNormalNanBits = 0x7ff8000000000001;
double StaleNan();
double NormalNan();
bool IsStaleNan(double value);

// name op "value". Regular expressions are RE2, anchored at both ends, and '.' matches newlines. Copyable, immutable,
// thread-safe.
class Matcher {
 public:
  enum class Type { kEqual, kNotEqual, kRegex, kNotRegex };
  // kInvalidArgument with RE2's reason when `value` is not a valid expression.
  static base::Result<Matcher> Create(Type type, std::string name, std::string value);
  static Matcher Equal(std::string name, std::string value);

  Type type() const { return type_; }
  const std::string& name() const { return name_; }
  const std::string& value() const { return value_; }
  // An absent label is the empty string.
  bool Matches(std::string_view label_value) const;
  bool MatchesEmpty() const { return Matches(""); }
  std::string ToString() const;  // name=~"value"

  // For an index. When the values that satisfy the expression itself (without the negation of kNotEqual and kNotRegex)
  // are a finite set that the expression spells out, such as "a|b", that set, sorted; else nullptr.
  const std::vector<std::string>* Literals() const;
  // A prefix that every value satisfying the expression itself has; "" when none is known.
  std::string_view Prefix() const;

 private:
  struct Pattern;
  Matcher() = default;
  Type type_ = Type::kEqual;
  std::string name_;
  std::string value_;
  std::shared_ptr<const Pattern> pattern_;  // Of regular expressions; shared by copies.
};

using Matchers = std::vector<Matcher>;

}  // namespace tidewright::tsdb
