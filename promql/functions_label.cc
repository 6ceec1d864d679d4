// Functions that change labels or order.
#include <re2/re2.h>

#include <algorithm>
#include <cmath>

#include "base/strings.h"
#include "promql/evaluator.h"
#include "promql/functions.h"
#include "promql/lexer.h"

namespace tidewright::promql {
namespace {

// Calls can be nested, each of which could double a value.
constexpr size_t kMaxValueBytes = 1 << 20;

// A replacement template in Go's syntax: $1, ${1}, $name, ${name}, $$. A name is as long as it can be.
class Template {
 public:
  Template(std::string_view text, const re2::RE2& regex);
  // False when the text would be longer than a label's value may be.
  bool Expand(const std::vector<re2::StringPiece>& groups, std::string* text) const;

 private:
  struct Part {
    std::string text;
    int group = -1;  // Follows the text; -1: none.
  };
  static int GroupNamed(const std::string& name, const re2::RE2& regex);
  std::vector<Part> parts_;
};

bool IsWordChar(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

int Template::GroupNamed(const std::string& name, const re2::RE2& regex) {
  int64_t number = 0;
  if (base::ParseInt64(name, &number)) return number <= regex.NumberOfCapturingGroups() ? static_cast<int>(number) : -1;
  auto found = regex.NamedCapturingGroups().find(name);
  return found == regex.NamedCapturingGroups().end() ? -1 : found->second;
}

Template::Template(std::string_view text, const re2::RE2& regex) {
  Part part;
  for (size_t pos = 0; pos < text.size();) {
    if (text[pos] != '$' || pos + 1 == text.size()) {
      part.text += text[pos++];
      continue;
    }
    if (text[pos + 1] == '$') {
      part.text += '$';
      pos += 2;
      continue;
    }
    bool braces = text[pos + 1] == '{';
    size_t begin = pos + (braces ? 2 : 1);
    size_t end = begin;
    while (end < text.size() && IsWordChar(text[end])) ++end;
    bool complete = end > begin && (!braces || (end < text.size() && text[end] == '}'));
    if (!complete) {  // Not a reference after all.
      part.text += text[pos++];
      continue;
    }
    part.group = GroupNamed(std::string(text.substr(begin, end - begin)), regex);
    parts_.push_back(std::move(part));
    part = Part();
    pos = end + (braces ? 1 : 0);
  }
  parts_.push_back(std::move(part));
}

bool Template::Expand(const std::vector<re2::StringPiece>& groups, std::string* text) const {
  text->clear();
  for (const Part& part : parts_) {
    *text += part.text;
    if (part.group >= 0) text->append(groups[static_cast<size_t>(part.group)]);
    if (text->size() > kMaxValueBytes) return false;
  }
  return true;
}

base::Status TooLong(const char* function) {
  return base::ResourceExhaustedError(std::string(function) + "() makes a label value longer than " +
                                      std::to_string(kMaxValueBytes) + " bytes; join or repeat less text");
}

base::Status CheckLabelName(const Expr& at, Evaluator& evaluator, const std::string& name, const char* function) {
  if (!name.empty() && base::IsValidUtf8(name)) return base::Status::Ok();
  return base::InvalidArgumentError(LineColumn(evaluator.state().text(), at.span.begin) +
                                    ": invalid destination label name " + Quote(name) + " in " + function + "()");
}

base::Status SetLabel(Evaluator& evaluator, EvalSeries& series, const std::string& name, const std::string& value) {
  tsdb::LabelsBuilder builder(series.labels.Copy());
  builder.Set(name, value);
  series.labels = evaluator.state().Own(builder.Build());
  if (name == tsdb::kMetricName) series.drop_name = false;  // A name that was given stays.
  return evaluator.state().AddSamples(0);                   // What the labels take counts.
}

base::Result<EvalMatrix> LabelReplace(Evaluator& evaluator, const Call& call) {
  const std::string& target = Evaluator::StringOf(*call.args[1]);
  const std::string& source = Evaluator::StringOf(*call.args[3]);
  const std::string& pattern = Evaluator::StringOf(*call.args[4]);
  TW_RETURN_IF_ERROR(CheckLabelName(*call.args[1], evaluator, target, "label_replace"));
  // Nested calls do not hold their expressions at the same time.
  auto result = evaluator.Eval(*call.args[0]);
  if (!result.ok()) return result;
  re2::RE2::Options options;
  options.set_log_errors(false);
  options.set_dot_nl(true);
  re2::RE2 regex(pattern, options);
  if (!regex.ok()) {
    return base::InvalidArgumentError(LineColumn(evaluator.state().text(), call.args[4]->span.begin) +
                                      ": invalid regular expression in label_replace(): " + regex.error());
  }
  Template replacement(Evaluator::StringOf(*call.args[2]), regex);
  std::string replaced;
  std::vector<re2::StringPiece> groups(static_cast<size_t>(regex.NumberOfCapturingGroups()) + 1);
  for (auto& series : *result) {
    std::string value(series.labels.Get(source));
    int count = static_cast<int>(groups.size());
    if (!regex.Match(value, 0, value.size(), re2::RE2::ANCHOR_BOTH, groups.data(), count)) continue;
    if (!replacement.Expand(groups, &replaced)) return TooLong("label_replace");
    TW_RETURN_IF_ERROR(SetLabel(evaluator, series, target, replaced));
  }
  TW_RETURN_IF_ERROR(evaluator.JoinEqual(*result));
  return result;
}

base::Result<EvalMatrix> LabelJoin(Evaluator& evaluator, const Call& call) {
  const std::string& target = Evaluator::StringOf(*call.args[1]);
  const std::string& separator = Evaluator::StringOf(*call.args[2]);
  TW_RETURN_IF_ERROR(CheckLabelName(*call.args[1], evaluator, target, "label_join"));
  for (size_t i = 3; i < call.args.size(); ++i) {
    TW_RETURN_IF_ERROR(CheckLabelName(*call.args[i], evaluator, Evaluator::StringOf(*call.args[i]), "label_join"));
  }
  auto result = evaluator.Eval(*call.args[0]);
  if (!result.ok()) return result;
  for (auto& series : *result) {
    std::string value;
    for (size_t i = 3; i < call.args.size(); ++i) {
      if (i > 3) value += separator;
      value += series.labels.Get(Evaluator::StringOf(*call.args[i]));
      if (value.size() > kMaxValueBytes) return TooLong("label_join");
    }
    TW_RETURN_IF_ERROR(SetLabel(evaluator, series, target, value));
  }
  TW_RETURN_IF_ERROR(evaluator.JoinEqual(*result));
  return result;
}

// Range queries are ordered by labels at the end, whatever is done here.
bool IsIneffective(Evaluator& evaluator, const Call& call) {
  if (!evaluator.steps().range) return false;
  evaluator.state().Warn(call, "sort is ineffective for range queries since results are always ordered by labels");
  return true;
}

// By value; histograms have none to sort by and are left out.
template <bool kDescending>
base::Result<EvalMatrix> Sort(Evaluator& evaluator, const Call& call) {
  auto result = evaluator.Eval(*call.args[0]);
  if (!result.ok()) return result;
  for (auto& series : *result) series.DropHistograms();
  std::erase_if(*result, [](const EvalSeries& series) { return series.IsEmpty(); });
  if (IsIneffective(evaluator, call)) return result;
  std::stable_sort(result->begin(), result->end(), [](const EvalSeries& a, const EvalSeries& b) {
    double x = a.values[0];
    double y = b.values[0];
    if (std::isnan(x) || std::isnan(y)) return !std::isnan(x) && std::isnan(y);  // NaN last in either direction.
    return kDescending ? x > y : x < y;
  });
  return result;
}

// Compares digits by the number they form, everything else by bytes: "a9" before "a10".
int CompareNaturally(std::string_view a, std::string_view b) {
  auto digit = [](char c) { return c >= '0' && c <= '9'; };
  size_t i = 0, j = 0;
  while (i < a.size() && j < b.size()) {
    if (!digit(a[i]) || !digit(b[j])) {
      if (a[i] != b[j]) return static_cast<unsigned char>(a[i]) < static_cast<unsigned char>(b[j]) ? -1 : 1;
      ++i, ++j;
      continue;
    }
    auto number = [&](std::string_view text, size_t& pos) {
      while (pos < text.size() && text[pos] == '0') ++pos;
      size_t begin = pos;
      while (pos < text.size() && digit(text[pos])) ++pos;
      return text.substr(begin, pos - begin);
    };
    std::string_view x = number(a, i);
    std::string_view y = number(b, j);
    if (x.size() != y.size()) return x.size() < y.size() ? -1 : 1;
    if (x != y) return x < y ? -1 : 1;
  }
  return a.size() - i == b.size() - j ? 0 : i == a.size() ? -1 : 1;
}

template <bool kDescending>
base::Result<EvalMatrix> SortByLabel(Evaluator& evaluator, const Call& call) {
  std::vector<std::string> names;
  for (size_t i = 1; i < call.args.size(); ++i) names.push_back(Evaluator::StringOf(*call.args[i]));
  auto result = evaluator.Eval(*call.args[0]);
  if (!result.ok() || IsIneffective(evaluator, call)) return result;
  auto before = [&](const EvalSeries& a, const EvalSeries& b) {
    for (const std::string& name : names) {
      int order = CompareNaturally(a.labels.Get(name), b.labels.Get(name));
      if (order != 0) return order < 0;
    }
    return a.labels.Copy() < b.labels.Copy();
  };
  std::stable_sort(result->begin(), result->end(),
                   [&](const EvalSeries& a, const EvalSeries& b) { return kDescending ? before(b, a) : before(a, b); });
  return result;
}

}  // namespace

std::vector<FunctionDef> LabelFunctions() {
  constexpr ValueType kVector = ValueType::kVector;
  constexpr ValueType kString = ValueType::kString;
  return {
      {.name = "label_replace",
       .args = {kVector, kString, kString, kString, kString},
       .implementation = LabelReplace,
       .keeps_name = true},
      {.name = "label_join",
       .args = {kVector, kString, kString, kString},
       .optional = kUnlimited,
       .implementation = LabelJoin,
       .keeps_name = true},
      {.name = "sort", .args = {kVector}, .implementation = Sort<false>, .keeps_name = true},
      {.name = "sort_desc", .args = {kVector}, .implementation = Sort<true>, .keeps_name = true},
      {.name = "sort_by_label",
       .args = {kVector, kString},
       .optional = kUnlimited,
       .implementation = SortByLabel<false>,
       .keeps_name = true,
       .experimental = true},
      {.name = "sort_by_label_desc",
       .args = {kVector, kString},
       .optional = kUnlimited,
       .implementation = SortByLabel<true>,
       .keeps_name = true,
       .experimental = true},
  };
}

}  // namespace tidewright::promql
