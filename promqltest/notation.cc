#include "promqltest/notation.h"

#include <cmath>
#include <limits>

#include "base/duration.h"
#include "base/strings.h"
#include "promql/engine.h"
#include "promql/histogram.h"

namespace tidewright::promqltest {
namespace {

constexpr size_t kMostPoints = 1'000'000;

bool IsBlank(char c) { return c == ' ' || c == '\t'; }

// Where the series' name and labels end.
size_t EndOfLabels(std::string_view line) {
  char quote = 0;
  bool braces = false;
  for (size_t i = 0; i < line.size(); ++i) {
    char c = line[i];
    if (quote != 0) {
      if (c == '\\' && quote != '`') ++i;
      if (c == quote) quote = 0;
    } else if (c == '"' || c == '\'' || c == '`') {
      quote = c;
    } else if (c == '{') {
      braces = true;
    } else if (c == '}' && braces) {
      return i + 1;
    } else if (IsBlank(c) && !braces) {
      size_t next = line.find_first_not_of(" \t", i);
      if (next == std::string_view::npos || line[next] != '{' || line.substr(next, 2) == "{{") return i;
    }
  }
  return line.size();
}

base::Result<tsdb::Labels> ParseLabels(std::string_view text) {
  TW_ASSIGN_OR_RETURN(tsdb::Matchers matchers, promql::ParseSelector(std::string(text)));
  std::vector<tsdb::Label> labels;
  for (const auto& matcher : matchers) {
    if (matcher.type() != tsdb::Matcher::Type::kEqual) {
      return base::InvalidArgumentError("a series may only have labels with =, got " + matcher.ToString());
    }
    labels.push_back({matcher.name(), matcher.value()});
  }
  return tsdb::Labels::FromPairs(std::move(labels));
}

// Takes the next item off the line; histograms may contain blanks.
std::string_view TakeItem(std::string_view& rest) {
  while (!rest.empty() && IsBlank(rest.front())) rest.remove_prefix(1);
  size_t end = 0;
  bool histogram = false;
  for (; end < rest.size() && (histogram || !IsBlank(rest[end])); ++end) {
    if (rest.substr(end, 2) == "{{") histogram = true;
    if (rest.substr(end, 2) == "}}") histogram = false;
  }
  std::string_view item = rest.substr(0, end);
  rest.remove_prefix(end);
  return item;
}

// Cuts "xN" off the end of an item; false when it has none.
bool TakeCount(std::string_view& item, int64_t* count) {
  size_t at = item.rfind('x');
  if (at == std::string_view::npos || !base::ParseInt64(item.substr(at + 1), count)) return false;
  item = item.substr(0, at);
  return *count >= 0 && *count <= 1'000'000;
}

base::Status BadItem(std::string_view item) {
  return base::InvalidArgumentError("cannot read the item \"" + std::string(item) + "\"");
}

base::Status AddFloats(std::string_view item, SeriesLine& series) {
  std::string_view original = item;
  double start = 0;
  if (ParseScriptNumber(item, &start)) {
    series.items.push_back({Item::Kind::kFloat, start, nullptr, false});
    return base::Status::Ok();
  }
  int64_t count = 0;
  if (!TakeCount(item, &count)) return BadItem(original);
  double delta = 0;
  // The sign between start and delta: not the first character, nor after an exponent.
  for (size_t i = item.size(); i-- > 1;) {
    if ((item[i] != '+' && item[i] != '-') || item[i - 1] == 'e' || item[i - 1] == 'E') continue;
    if (!ParseScriptNumber(item.substr(i), &delta)) return BadItem(original);
    item = item.substr(0, i);
    break;
  }
  if (!ParseScriptNumber(item, &start)) return BadItem(original);
  for (int64_t i = 0; i <= count; ++i, start += delta)
    series.items.push_back({Item::Kind::kFloat, start, nullptr, false});
  return base::Status::Ok();
}

// {{...}}, {{...}}x3, {{...}}+{{...}}x3.
base::Status AddHistograms(std::string_view item, SeriesLine& series) {
  std::string_view original = item;
  TW_ASSIGN_OR_RETURN(Item first, TakeHistogram(item));
  if (item.empty()) {
    series.items.push_back(std::move(first));
    return base::Status::Ok();
  }
  char sign = item[0];
  int64_t count = 0;
  if (!TakeCount(item, &count)) return BadItem(original);
  if (sign == 'x') {
    if (!item.empty()) return BadItem(original);
    series.items.insert(series.items.end(), static_cast<size_t>(count) + 1, first);
    return base::Status::Ok();
  }
  if (sign != '+' && sign != '-') return BadItem(original);
  item.remove_prefix(1);
  TW_ASSIGN_OR_RETURN(Item step, TakeHistogram(item));
  if (!item.empty()) return BadItem(original);
  if (first.histogram->schema > step.histogram->schema) {
    return base::InvalidArgumentError("cannot combine histograms: the first has the finer schema: " +
                                      std::string(original));
  }
  first.hint_written = step.hint_written;
  series.items.push_back(first);
  for (int64_t i = 0; i < count; ++i) {
    promql::HistogramSum sum(*first.histogram);
    sum.Add(*step.histogram, sign == '-' ? -1 : 1);
    first.histogram = std::make_shared<const promql::Histogram>(sum.Total());
    series.items.push_back(first);
  }
  return base::Status::Ok();
}

base::Status AddItem(std::string_view item, SeriesLine& series) {
  if (item == "stale") {
    series.items.push_back({Item::Kind::kFloat, tsdb::StaleNan(), nullptr, false});
  } else if (item[0] == '_') {
    int64_t count = 1;
    std::string_view gap = item;
    if (item != "_" && (!TakeCount(gap, &count) || gap != "_")) return BadItem(item);
    series.items.resize(series.items.size() + static_cast<size_t>(count));
  } else if (item.substr(0, 2) == "{{") {
    return AddHistograms(item, series);
  } else {
    return AddFloats(item, series);
  }
  return base::Status::Ok();
}

// One number with one unit and perhaps a sign: -30s.
bool ParseOffset(std::string_view text, int64_t* ms) {
  bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  auto duration = base::ParseDuration(text);
  if (!duration.ok()) return false;
  *ms = negative ? -duration->ms : duration->ms;
  return true;
}

// _, _x3, -1m, -1mx3, -1m+10sx3.
base::Status AddOffsets(std::string_view item, StartLine& line) {
  std::string_view original = item;
  int64_t count = 0;
  bool repeated = TakeCount(item, &count);
  if (item == "_") {
    line.offsets.resize(line.offsets.size() + static_cast<size_t>(repeated ? count : 1));
    return base::Status::Ok();
  }
  size_t sign = repeated ? item.find_first_of("+-", 1) : std::string_view::npos;
  int64_t offset = 0, step = 0;
  if (!ParseOffset(item.substr(0, sign), &offset)) return BadItem(original);
  if (sign != std::string_view::npos && !ParseOffset(item.substr(sign), &step)) return BadItem(original);
  for (int64_t i = 0; i <= count; ++i, offset += step) line.offsets.push_back({true, offset});
  return base::Status::Ok();
}

}  // namespace

bool ParseScriptNumber(std::string_view text, double* value) {
  bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  if (base::EqualsIgnoreCase(text, "nan")) {
    *value = tsdb::NormalNan();
  } else if (base::EqualsIgnoreCase(text, "inf")) {
    *value = std::numeric_limits<double>::infinity();
  } else if (text.empty() || text[0] == '-' || text[0] == '+' || text.find_first_of("xX_") != std::string_view::npos ||
             !base::ParseDouble(text, value)) {
    return false;
  }
  if (negative) *value = -*value;
  return true;
}

base::Result<SeriesLine> ParseSeriesLine(std::string_view line) {
  SeriesLine series;
  line = base::TrimSpace(line);
  if (line.empty()) return series;
  size_t end = EndOfLabels(line);
  TW_ASSIGN_OR_RETURN(series.labels, ParseLabels(line.substr(0, end)));
  std::string_view rest = line.substr(end);
  for (std::string_view item = TakeItem(rest); !item.empty(); item = TakeItem(rest)) {
    TW_RETURN_IF_ERROR(AddItem(item, series));
    if (series.items.size() > kMostPoints) return base::InvalidArgumentError("more than a million points on one line");
  }
  return series;
}

bool IsStartLine(std::string_view line) {
  size_t end = EndOfLabels(line);
  std::string_view rest = line.substr(end);
  return rest.starts_with("@st") || line.substr(0, end).ends_with("@st");
}

base::Result<StartLine> ParseStartLine(std::string_view line) {
  size_t end = EndOfLabels(line);
  std::string_view labels = line.substr(0, end);
  std::string_view rest = line.substr(end);
  if (rest.starts_with("@st")) {
    rest.remove_prefix(3);
  } else {
    labels.remove_suffix(3);
  }
  StartLine starts;
  TW_ASSIGN_OR_RETURN(starts.labels, ParseLabels(labels));
  for (std::string_view item = TakeItem(rest); !item.empty(); item = TakeItem(rest)) {
    TW_RETURN_IF_ERROR(AddOffsets(item, starts));
  }
  return starts;
}

}  // namespace tidewright::promqltest
