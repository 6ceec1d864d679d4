// Literals of native histograms: {{key:value ...}}.
#include <set>

#include "base/strings.h"
#include "promqltest/notation.h"

namespace tidewright::promqltest {
namespace {

using promql::Histogram;

base::Status Bad(std::string_view what, std::string_view text) {
  return base::InvalidArgumentError("histogram literal: " + std::string(what) + " \"" + std::string(text) + "\"");
}

base::Result<int32_t> ReadInteger(std::string_view key, std::string_view value) {
  int64_t number = 0;
  if (!base::ParseInt64(value, &number) || number < -1'000'000 || number > 1'000'000) {
    return Bad(std::string(key) + " is not an integer:", value);
  }
  return static_cast<int32_t>(number);
}

base::Result<double> ReadNumber(std::string_view key, std::string_view value) {
  double number = 0;
  if (!ParseScriptNumber(value, &number)) return Bad(std::string(key) + " is not a number:", value);
  return number;
}

base::Result<std::vector<double>> ReadList(std::string_view key, std::string_view value) {
  if (!value.starts_with('[') || !value.ends_with(']')) return Bad(std::string(key) + " is not a list:", value);
  std::vector<double> numbers;
  value = value.substr(1, value.size() - 2);
  if (value.starts_with(' ')) return Bad(std::string(key) + " begins with a blank:", value);
  for (const std::string& part : base::Split(std::string(value), ' ')) {
    if (part.empty()) continue;
    TW_ASSIGN_OR_RETURN(double number, ReadNumber(key, part));
    numbers.push_back(number);
  }
  if (numbers.empty()) return Bad(std::string(key) + " is empty:", value);
  return numbers;
}

base::Result<promql::Histogram> WithHint(Histogram h, std::string_view value) {
  using Hint = tsdb::CounterResetHint;
  static const std::vector<std::pair<std::string_view, Hint>> kHints = {{"unknown", Hint::kUnknown},
                                                                        {"reset", Hint::kCounterReset},
                                                                        {"not_reset", Hint::kNotCounterReset},
                                                                        {"gauge", Hint::kGauge}};
  for (const auto& [name, hint] : kHints) {
    if (value != name) continue;
    h.hint = hint;
    return h;
  }
  return Bad("unknown counter_reset_hint:", value);
}

// A literal being read.
struct Literal {
  Histogram h;
  int32_t offset = 0;
  int32_t negative_offset = 0;
  bool hint_written = false;

  base::Status Set(std::string_view key, std::string_view value);
};

base::Status Literal::Set(std::string_view key, std::string_view value) {
  auto number = [&](double* to) {
    auto read = ReadNumber(key, value);
    if (read.ok()) *to = *read;
    return read.status();
  };
  auto integer = [&](int32_t* to) {
    auto read = ReadInteger(key, value);
    if (read.ok()) *to = *read;
    return read.status();
  };
  auto list = [&](std::vector<double>* to) {
    auto read = ReadList(key, value);
    if (read.ok()) *to = *std::move(read);
    return read.status();
  };
  if (key == "schema") return integer(&h.schema);
  if (key == "sum") return number(&h.sum);
  if (key == "count") return number(&h.count);
  if (key == "z_bucket") return number(&h.zero_count);
  if (key == "z_bucket_w") {
    return value.starts_with('-') ? Bad("z_bucket_w is negative:", value) : number(&h.zero_threshold);
  }
  if (key == "buckets") return list(&h.positive_buckets);
  if (key == "n_buckets") return list(&h.negative_buckets);
  if (key == "custom_values") return list(&h.custom_values);
  if (key == "offset") return integer(&offset);
  if (key == "n_offset") return integer(&negative_offset);
  if (key != "counter_reset_hint") return Bad("unknown key", key);
  hint_written = true;
  TW_ASSIGN_OR_RETURN(h, WithHint(std::move(h), value));
  return base::Status::Ok();
}

// Where the value that begins at `begin` ends: at a blank outside of brackets.
size_t EndOfValue(std::string_view text, size_t begin) {
  bool brackets = false;
  size_t end = begin;
  for (; end < text.size(); ++end) {
    if (text[end] == '[') brackets = true;
    if (text[end] == ']') brackets = false;
    if (!brackets && (text[end] == ' ' || text[end] == '\t')) break;
  }
  return end;
}

}  // namespace

base::Result<Item> TakeHistogram(std::string_view& text) {
  size_t close = text.find("}}");
  if (!text.starts_with("{{") || close == std::string_view::npos) return Bad("not closed:", text);
  std::string_view inner = text.substr(2, close - 2);
  text.remove_prefix(close + 2);
  if (inner.starts_with(' ') && !base::TrimSpace(inner).empty()) return Bad("begins with a blank:", inner);
  Literal literal;
  std::set<std::string> seen;
  for (inner = base::TrimSpace(inner); !inner.empty(); inner = base::TrimSpace(inner)) {
    size_t colon = inner.find(':');
    if (colon == std::string_view::npos) return Bad("expected key:value, got", inner);
    std::string key = base::ToLower(std::string(inner.substr(0, colon)));
    size_t end = EndOfValue(inner, colon + 1);
    if (!seen.insert(key).second) return Bad("repeated key", key);
    TW_RETURN_IF_ERROR(literal.Set(key, inner.substr(colon + 1, end - colon - 1)));
    inner.remove_prefix(end);
  }
  Histogram& h = literal.h;
  auto length = [](const std::vector<double>& buckets) { return static_cast<uint32_t>(buckets.size()); };
  if (!h.positive_buckets.empty()) h.positive_spans = {{literal.offset, length(h.positive_buckets)}};
  if (!h.negative_buckets.empty()) h.negative_spans = {{literal.negative_offset, length(h.negative_buckets)}};
  return Item{Item::Kind::kHistogram, 0, std::make_shared<const Histogram>(std::move(h)), literal.hint_written};
}

}  // namespace tidewright::promqltest
