#include "scrape/text_parser.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/document.h"
#include "base/secret_hash.h"
#include "base/strings.h"
#include "scrape/float_text.h"

namespace tidewright::scrape {
namespace {

constexpr std::string_view kBlanks = " \t";
constexpr std::string_view kCreatedSuffix = "_created";

bool EndsWith(std::string_view text, std::string_view suffix) {
  return text.size() >= suffix.size() && text.substr(text.size() - suffix.size()) == suffix;
}

bool IsBlank(char c) { return c == ' ' || c == '\t'; }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsNameStart(char c, bool colons) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (colons && c == ':');
}

// Undoes \\ and \n, and \" where quotes are escaped; other backslashes stay.
void Unescape(std::string_view raw, bool quotes, std::string* out) {
  out->clear();
  for (size_t i = 0; i < raw.size(); ++i) {
    char next = i + 1 < raw.size() ? raw[i + 1] : '\0';
    if (raw[i] == '\\' && (next == '\\' || next == 'n' || (quotes && next == '"'))) {
      out->push_back(next == 'n' ? '\n' : next);
      ++i;
    } else {
      out->push_back(raw[i]);
    }
  }
}

std::string_view UnescapeInto(std::string_view raw, bool quotes, std::string* buffer) {
  if (raw.find('\\') == std::string_view::npos) return raw;
  Unescape(raw, quotes, buffer);
  return *buffer;
}

std::string Unescaped(std::string_view raw) {
  if (raw.find('\\') == std::string_view::npos) return std::string(raw);
  std::string text;
  Unescape(raw, true, &text);
  return text;
}

struct TypeName {
  std::string_view name;
  tsdb::MetricType type;
  bool prometheus;
  bool open_metrics;
};

constexpr TypeName kTypeNames[] = {
    {"counter", tsdb::MetricType::kCounter, true, true},
    {"gauge", tsdb::MetricType::kGauge, true, true},
    {"histogram", tsdb::MetricType::kHistogram, true, true},
    {"summary", tsdb::MetricType::kSummary, true, true},
    {"untyped", tsdb::MetricType::kUnknown, true, false},
    {"unknown", tsdb::MetricType::kUnknown, false, true},
    {"info", tsdb::MetricType::kInfo, false, true},
    {"stateset", tsdb::MetricType::kStateset, false, true},
    {"gaugehistogram", tsdb::MetricType::kGaugeHistogram, false, true},
};

// A value with the characters that Prometheus forbids although they could occur in a Go float.
bool ParseValueToken(std::string_view token, double* value) {
  if (!ParseSampleValue(token, value)) return false;
  // One bit pattern for every NaN, so that none is taken for a staleness marker.
  if (std::isnan(*value)) *value = tsdb::NormalNan();
  return true;
}

}  // namespace

bool TextParser::Consume(char c) {
  if (AtEnd() || body_[pos_] != c) return false;
  ++pos_;
  return true;
}

// Only the Prometheus format has optional blanks.
void TextParser::SkipBlanks() {
  if (open_metrics()) return;
  while (!AtEnd() && IsBlank(body_[pos_])) ++pos_;
}

std::string_view TextParser::TakeName(bool colons) {
  size_t start = pos_;
  if (!AtEnd() && IsNameStart(body_[pos_], colons)) {
    ++pos_;
    while (!AtEnd() && (IsNameStart(body_[pos_], colons) || IsDigit(body_[pos_]))) ++pos_;
  }
  return body_.substr(start, pos_ - start);
}

// Takes a quoted string at the position. The Prometheus format lets line feeds stand in it.
bool TextParser::TakeQuoted(bool newlines, std::string_view* raw) {
  if (Peek() != '"') return false;
  for (size_t i = pos_ + 1; i < body_.size(); ++i) {
    char c = body_[i];
    if (c == '"') {
      *raw = body_.substr(pos_ + 1, i - pos_ - 1);
      pos_ = i + 1;
      return true;
    }
    if (c == '\n' && !newlines) return false;
    if (c == '\\' && (++i >= body_.size() || body_[i] == '\n')) return false;
  }
  return false;
}

std::string_view TextParser::RestOfLine() const {
  size_t end = body_.find('\n', pos_);
  return body_.substr(pos_, end == std::string_view::npos ? end : end - pos_);
}

Entry TextParser::Fail(std::string message) {
  auto line =
      1 + std::count(body_.begin(), body_.begin() + static_cast<std::ptrdiff_t>(std::min(pos_, body_.size())), '\n');
  status_ = base::InvalidArgumentError("line " + std::to_string(line) + ": " + message + ", at " +
                                       base::Quoted(RestOfLine().substr(0, 40)));
  done_ = true;
  return Entry::kError;
}

Entry TextParser::Next() {
  if (done_) return status_.ok() ? Entry::kEnd : Entry::kError;
  if (open_metrics()) {
    Entry entry = Entry::kError;
    do {
      if (AtEnd()) return Fail("the body does not end with # EOF");
      entry = Peek() == '#' ? ParseOpenMetricsComment() : ParseSeries();
    } while (entry == Entry::kSeries && skip_created_ && IsCreatedLine());
    return entry;
  }
  while (!AtEnd() && (IsBlank(body_[pos_]) || body_[pos_] == '\n')) ++pos_;
  if (AtEnd() || Peek() == '\0') {
    done_ = true;
    return Entry::kEnd;
  }
  return Peek() == '#' ? ParsePrometheusComment() : ParseSeries();
}

std::string_view TextParser::GuessSeries() const {
  if (done_ || AtEnd() || !(IsNameStart(body_[pos_], true) || body_[pos_] == '{')) return {};
  std::string_view line = RestOfLine();
  if (open_metrics()) line = line.substr(0, line.find(" # {"));
  size_t brace = line.rfind('}');
  return line.substr(0, brace != std::string_view::npos ? brace + 1 : line.find_first_of(kBlanks));
}

bool TextParser::NextIfSeries(std::string_view text) {
  const size_t start = pos_;
  if (done_ || text.empty() || body_.size() - pos_ <= text.size()) return false;
  bool guessed = text.data() == body_.data() + pos_;
  if (!guessed && std::memcmp(body_.data() + pos_, text.data(), text.size()) != 0) return false;
  // A bare name must end here: "m" is not a prefix of "m_total 1" nor of `m {a="b"} 1`.
  size_t after = pos_ + text.size();
  if (text.back() != '}') {
    if (!IsBlank(body_[after])) return false;
    size_t next = body_.find_first_not_of(kBlanks, after);
    if (next == std::string_view::npos || body_[next] == '{') return false;
  }
  pos_ = after;
  series_ = body_.substr(start, text.size());
  name_ = std::string_view();
  if ((open_metrics() ? ParseOpenMetricsSuffix() : ParsePrometheusSuffix()) == Entry::kSeries) return true;
  pos_ = start;  // Next() comes to the same error and reports it.
  done_ = false;
  status_ = base::Status::Ok();
  return false;
}

// A series that ends with its brace or with its name, one blank, a value, the end of the line.
bool TextParser::NextIfPlain(uint64_t hash, size_t size) {
  const std::string_view rest = body_.substr(pos_);
  if (done_ || size == 0 || rest.size() < size + 2 || rest[size] != ' ') return false;
  const std::string_view series = rest.substr(0, size), behind = rest.substr(size + 1);
  if (base::SecretHash(series) != hash) return false;
  // With a timestamp, or a value of another kind after it, this is no text that a series has had.
  size_t digits = TakeShortDecimal(behind, &value_);
  if (digits == 0 || digits == behind.size() || behind[digits] != '\n') {
    digits = behind.find('\n');
    if (digits == std::string_view::npos || !ParseValueToken(behind.substr(0, digits), &value_)) return false;
  }
  pos_ += size + 1 + digits + 1;
  series_ = series;
  name_ = std::string_view();
  has_timestamp_ = false;
  exemplar_ = std::string_view();
  return true;
}

Entry TextParser::ParsePrometheusComment() {
  std::string_view line = RestOfLine();
  size_t word = line.find_first_not_of(kBlanks, 1);
  bool metadata = false;
  if (word != std::string_view::npos && word > 1 && line.size() > word + 4 && IsBlank(line[word + 4])) {
    metadata = line.substr(word, 4) == "HELP" || line.substr(word, 4) == "TYPE";
  }
  if (!metadata) {
    text_ = line;
    pos_ += line.size();
    return Entry::kComment;
  }
  Entry kind = line[word] == 'H' ? Entry::kHelp : Entry::kType;
  pos_ += word + 4;
  SkipBlanks();
  if (!TakeFamily()) return Fail("expected a metric name after HELP or TYPE");
  std::string_view text = RestOfLine();
  pos_ += text.size();
  if (!text.empty()) text.remove_prefix(1);
  const Entry entry = kind == Entry::kHelp ? SetHelp(text) : SetType(text);
  if (entry != Entry::kError) Consume('\n');  // NextIfPlain() goes on where a line begins.
  return entry;
}

Entry TextParser::ParseOpenMetricsComment() {
  std::string_view line = RestOfLine();
  if (line.substr(0, 5) == "# EOF") {
    pos_ += 5;
    Consume('\n');
    if (!AtEnd()) return Fail("unexpected data after # EOF");
    done_ = true;
    return Entry::kEnd;
  }
  std::string_view word = line.substr(0, 7);
  if (word == "# HELP ") return ParseMetadata(Entry::kHelp);
  if (word == "# TYPE ") return ParseMetadata(Entry::kType);
  if (word == "# UNIT ") return ParseMetadata(Entry::kUnit);
  return Fail("OpenMetrics allows only HELP, TYPE, UNIT and EOF after #");
}

Entry TextParser::ParseMetadata(Entry kind) {
  pos_ += 7;
  if (!TakeFamily()) return Fail("expected a metric name after HELP, TYPE or UNIT");
  if (!Consume(' ')) return Fail("expected a blank and a text after the metric name");
  std::string_view text = RestOfLine();
  pos_ += text.size();
  if (!Consume('\n')) return Fail("the last line is not complete");
  if (kind == Entry::kHelp) return SetHelp(text);
  return kind == Entry::kType ? SetType(text) : SetUnit(text);
}

bool TextParser::TakeFamily() {
  std::string_view name;
  if (TakeQuoted(!open_metrics(), &name)) {
    family_ = UnescapeInto(name, true, &family_buffer_);
    return true;
  }
  family_ = TakeName(true);
  return !family_.empty();
}

Entry TextParser::SetType(std::string_view name) {
  for (const TypeName& known : kTypeNames) {
    if (known.name != name || !(open_metrics() ? known.open_metrics : known.prometheus)) continue;
    type_ = family_type_ = known.type;
    return Entry::kType;
  }
  return Fail("invalid metric type " + base::Quoted(name));
}

Entry TextParser::SetUnit(std::string_view unit) {
  bool fits = unit.empty() || (family_.size() > unit.size() && family_[family_.size() - unit.size() - 1] == '_' &&
                               family_.substr(family_.size() - unit.size()) == unit);
  if (!fits) return Fail("unit " + base::Quoted(unit) + " is not a suffix of metric " + base::Quoted(family_));
  text_ = unit;
  family_unit_ = unit;
  return Entry::kUnit;
}

Entry TextParser::SetHelp(std::string_view raw) {
  if (!base::IsValidUtf8(raw)) return Fail("the help text is not valid UTF-8");
  text_ = UnescapeInto(raw, open_metrics(), &text_buffer_);
  return Entry::kHelp;
}

Entry TextParser::ParseSeries() {
  const size_t start = pos_;
  labels_.clear();
  name_ = TakeName(true);
  if (name_.empty()) {
    name_ = std::string_view();
    if (Peek() != '{') return Fail("expected a metric name, { or #");
  }
  size_t end = pos_;
  SkipBlanks();
  if (Consume('{')) {
    if (!ParseLabels(/*exemplar=*/false)) return Entry::kError;
    end = pos_;
  }
  if (name_.data() == nullptr) return Fail("the metric name is missing");
  series_ = body_.substr(start, end - start);
  return open_metrics() ? ParseOpenMetricsSuffix() : ParsePrometheusSuffix();
}

// After the opening brace; takes the closing one.
bool TextParser::ParseLabels(bool exemplar) {
  for (;;) {
    SkipBlanks();
    if (Consume('}')) return true;
    if (!ParseLabel(exemplar)) return false;
  }
}

// One label, or a metric name in quotes, with the separator after it.
bool TextParser::ParseLabel(bool exemplar) {
  std::string_view name;
  bool quoted = TakeQuoted(!open_metrics(), &name);
  if (!quoted) name = TakeName(false);
  if (!quoted && name.empty()) return Fail("expected a label name"), false;
  SkipBlanks();
  if (quoted && !exemplar && (Peek() == ',' || Peek() == '}') && !AtEnd()) {
    if (name_.data() != nullptr) return Fail("the metric name is set twice"), false;
    name_ = name;
  } else if (!ParseLabelValue(name)) {
    return false;
  } else if (exemplar) {
    labels_.pop_back();
  }
  return ParseLabelSeparator();
}

bool TextParser::ParseLabelValue(std::string_view name) {
  if (!Consume('=')) return Fail("expected = after the label name"), false;
  SkipBlanks();
  LabelSpan label{name, {}};
  if (!TakeQuoted(!open_metrics(), &label.value)) return Fail("expected a label value in double quotes"), false;
  if (!base::IsValidUtf8(label.value)) return Fail("a label value is not valid UTF-8"), false;
  labels_.push_back(label);
  return true;
}

bool TextParser::ParseLabelSeparator() {
  SkipBlanks();
  if (Consume(',') || !open_metrics() || Peek() == '}') return true;
  return Fail("expected a comma or } after the label value"), false;
}

Entry TextParser::ParsePrometheusSuffix() {
  SkipBlanks();
  size_t end = std::min(body_.find_first_of("{ \t\n", pos_), body_.size());
  if (end == pos_) return Fail("expected a value after the metric");
  if (!ParseValueToken(body_.substr(pos_, end - pos_), &value_)) return Fail("the value is not a number");
  pos_ = end;
  SkipBlanks();
  has_timestamp_ = false;
  if (!AtEnd() && IsDigit(body_[pos_])) {
    end = std::min(body_.find_first_not_of("0123456789", pos_), body_.size());
    if (!base::ParseInt64(body_.substr(pos_, end - pos_), &timestamp_ms_)) return Fail("the timestamp is too large");
    has_timestamp_ = true;
    pos_ = end;
    SkipBlanks();
  }
  if (Peek() != '\n') return Fail("expected a timestamp in whole milliseconds, or the end of the line");
  if (!AtEnd()) ++pos_;
  return Entry::kSeries;
}

// A blank and a number.
bool TextParser::TakeOpenMetricsNumber(double* value) {
  if (!Consume(' ')) return Fail("expected one blank and a number"), false;
  size_t end = std::min(body_.find_first_of(" \n", pos_), body_.size());
  if (!ParseValueToken(body_.substr(pos_, end - pos_), value)) return Fail("expected a number"), false;
  pos_ = end;
  return true;
}

bool TextParser::SetTimestampSeconds(double seconds) {
  if (std::isnan(seconds) || std::isinf(seconds)) return Fail("the timestamp is not finite"), false;
  double ms = seconds * 1000;
  // Numbers beyond int64 become the lowest time, as in the reference; appending them then fails as out of bounds.
  constexpr double kLimit = 9.2e18;
  timestamp_ms_ = std::abs(ms) < kLimit ? static_cast<int64_t>(ms) : std::numeric_limits<int64_t>::min();
  return true;
}

Entry TextParser::ParseOpenMetricsSuffix() {
  exemplar_ = std::string_view();
  if (!TakeOpenMetricsNumber(&value_)) return Entry::kError;
  has_timestamp_ = false;
  if (Peek() == ' ' && body_.substr(pos_, 4) != " # {") {
    double seconds = 0;
    if (!TakeOpenMetricsNumber(&seconds) || !SetTimestampSeconds(seconds)) return Entry::kError;
    has_timestamp_ = true;
  }
  if (body_.substr(pos_, 4) == " # {" && !ParseExemplar()) return Entry::kError;
  if (!Consume('\n')) return Fail("expected the end of the line");
  return Entry::kSeries;
}

bool TextParser::ParseExemplar() {
  const size_t start = pos_ + 3;
  pos_ += 4;
  if (!ParseLabels(/*exemplar=*/true)) return false;
  double number = 0;
  if (!TakeOpenMetricsNumber(&number)) return false;
  if (Peek() == ' ') {
    if (!TakeOpenMetricsNumber(&number)) return false;
    if (std::isnan(number) || std::isinf(number)) return Fail("the exemplar's timestamp is not finite"), false;
  }
  exemplar_ = body_.substr(start, pos_ - start);
  return true;
}

// An exemplar is written as a sample without a name, and so is read as one with some name.
void TextParser::AppendExemplars(std::vector<Exemplar>* exemplars) const {
  if (exemplar_.empty()) return;
  const std::string line = "exemplar" + std::string(exemplar_) + "\n";
  TextParser parser(line, TextFormat::kOpenMetrics);
  if (parser.Next() != Entry::kSeries) return;
  Exemplar exemplar;
  parser.AppendLabels(&exemplar.labels);
  exemplar.labels.erase(exemplar.labels.begin());
  exemplar.value = parser.value();
  exemplar.has_timestamp = parser.has_timestamp();
  exemplar.timestamp_ms = parser.timestamp_ms();
  exemplars->push_back(std::move(exemplar));
}

bool TextParser::CountsFromStart() const {
  return family_type_ == tsdb::MetricType::kCounter || family_type_ == tsdb::MetricType::kHistogram ||
         family_type_ == tsdb::MetricType::kSummary;
}

bool TextParser::IsCreatedLine() const { return CountsFromStart() && EndsWith(name_, kCreatedSuffix); }

// What a `_created` line has in common with the series that it is about: the name without its suffix, and the labels,
// as they are spelled, but those of buckets and quantiles.
std::string TextParser::CreatedKey() const {
  if (name_.data() == nullptr) {  // NextIfSeries() did not look at the labels.
    const std::string line = std::string(series_) + " 0\n";
    TextParser again(line, format_);
    again.family_type_ = family_type_;
    return again.Next() == Entry::kSeries ? again.CreatedKey() : "";
  }
  static constexpr std::string_view kSuffixes[] = {kCreatedSuffix, "_total", "_bucket", "_count", "_sum"};
  std::string_view name = name_;
  for (std::string_view suffix : kSuffixes) {
    if (!EndsWith(name, suffix)) continue;
    name.remove_suffix(suffix.size());
    break;
  }
  std::string key(name);
  for (const LabelSpan& label : labels_) {
    if (label.name == "le" && family_type_ == tsdb::MetricType::kHistogram) continue;
    if (label.name == "quantile" && family_type_ == tsdb::MetricType::kSummary) continue;
    key.append("\xff").append(label.name).append("\xff").append(label.value);
  }
  return key;
}

// Looks for the next `_created` line of the family.
void TextParser::FindCreated() {
  created_ = Created{pos_, pos_, "", 0};
  ExpositionOptions plain;
  TextParser ahead(body_, format_, plain);
  ahead.pos_ = pos_;
  ahead.family_type_ = family_type_;
  while (ahead.Next() == Entry::kSeries) {
    created_.to = ahead.pos_;
    if (!ahead.IsCreatedLine()) continue;
    created_.key = ahead.CreatedKey();
    constexpr double kLimit = 9.2e18;
    double ms = ahead.value_ * 1000;
    created_.ms = std::abs(ms) < kLimit ? static_cast<int64_t>(ms) : std::numeric_limits<int64_t>::min();
    return;
  }
}

int64_t TextParser::StartTimestampMs() {
  if (!open_metrics() || !CountsFromStart()) return 0;
  skip_created_ = true;
  const std::string key = CreatedKey();
  if (!created_.key.empty() && key == created_.key) return created_.ms;
  if (pos_ < created_.from || pos_ >= created_.to) FindCreated();
  return key == created_.key ? created_.ms : 0;
}

void TextParser::AppendLabelsOf(const SeriesLine& line, std::vector<tsdb::Label>* labels) const {
  const std::string text = std::string(line.text) + " 0\n";
  TextParser again(text, format_, options_);
  again.family_type_ = line.type;
  again.family_unit_ = line.unit;
  if (again.Next() == Entry::kSeries) again.AppendLabels(labels);
}

void TextParser::AppendLabels(std::vector<tsdb::Label>* labels) const {
  if (name_.data() == nullptr) {  // NextIfSeries() did not look at the labels.
    AppendLabelsOf(series_line(), labels);
    return;
  }
  labels->reserve(labels->size() + labels_.size() + 3);
  labels->push_back({std::string(tsdb::kMetricName), Unescaped(name_)});
  if (options_.type_and_unit_labels && family_type_ != tsdb::MetricType::kUnknown) {
    labels->push_back({"__type__", std::string(MetricTypeName(family_type_))});
  }
  if (options_.type_and_unit_labels && !family_unit_.empty())
    labels->push_back({"__unit__", std::string(family_unit_)});
  std::string_view float_label;
  if (family_type_ == tsdb::MetricType::kHistogram) float_label = "le";
  if (family_type_ == tsdb::MetricType::kSummary) float_label = "quantile";
  for (const LabelSpan& span : labels_) {
    tsdb::Label label{Unescaped(span.name), Unescaped(span.value)};
    if (options_.type_and_unit_labels && (label.name == "__type__" || label.name == "__unit__")) continue;
    if (!float_label.empty() && label.name == float_label) label.value = CanonicalFloatLabel(label.value);
    labels->push_back(std::move(label));
  }
}

}  // namespace tidewright::scrape
