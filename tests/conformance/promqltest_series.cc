#include "tests/conformance/promqltest_series.h"

#include <cmath>
#include <limits>

#include "base/strings.h"
#include "promql/engine.h"

namespace tidewright::promqltest {
namespace {

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
    series.items.push_back({Item::Kind::kFloat, start});
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
  for (int64_t i = 0; i <= count; ++i, start += delta) series.items.push_back({Item::Kind::kFloat, start});
  return base::Status::Ok();
}

base::Status AddItem(std::string_view item, SeriesLine& series) {
  int64_t count = 0;
  if (item == "stale") {
    series.items.push_back({Item::Kind::kFloat, tsdb::StaleNan()});
  } else if (item[0] == '_') {
    std::string_view gap = item;
    if (item != "_" && !TakeCount(gap, &count)) return BadItem(item);
    series.items.resize(series.items.size() + static_cast<size_t>(item == "_" ? 1 : count));
  } else if (item.substr(0, 2) == "{{") {
    series.has_histogram = true;
    bool repeated = !item.ends_with("}}");
    if (repeated && !TakeCount(item, &count)) return BadItem(item);
    for (int64_t i = 0; i <= count; ++i) series.items.push_back({Item::Kind::kHistogram, 0});
  } else {
    return AddFloats(item, series);
  }
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
  size_t end = EndOfLabels(line);
  TW_ASSIGN_OR_RETURN(series.labels, ParseLabels(line.substr(0, end)));
  std::string_view rest = line.substr(end);
  for (std::string_view item = TakeItem(rest); !item.empty(); item = TakeItem(rest)) {
    TW_RETURN_IF_ERROR(AddItem(item, series));
  }
  return series;
}

}  // namespace tidewright::promqltest
