#include "tsdb/labels.h"

#include <re2/re2.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/strings.h"

namespace tidewright::tsdb {

namespace {

// A folded 64x64->128 bit multiplication mixes every bit of both factors into the result.
uint64_t Mix(uint64_t a, uint64_t b) {
  __extension__ using Wide = unsigned __int128;
  Wide product = static_cast<Wide>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

constexpr uint64_t kSeedA = 0x9e3779b97f4a7c15;  // 2^64 divided by the golden ratio.
constexpr uint64_t kSeedB = 0xd6e8feb86659fd93;
constexpr uint64_t kSeedC = 0xa0761d6478bd642f;

uint64_t LoadLittleEndian(const char* data, size_t size) {
  uint64_t word = 0;
  std::memcpy(&word, data, size);
  if constexpr (std::endian::native == std::endian::big) word = __builtin_bswap64(word);
  return word;
}

// Includes the length, so that {a="bc"} and {ab="c"} differ.
uint64_t HashString(uint64_t seed, std::string_view text) {
  uint64_t hash = Mix(seed ^ kSeedA, text.size() ^ kSeedB);
  const char* data = text.data();
  size_t left = text.size();
  for (; left > 8; left -= 8, data += 8) hash = Mix(hash ^ LoadLittleEndian(data, 8), kSeedC);
  if (left > 0) hash = Mix(hash ^ LoadLittleEndian(data, left), kSeedB);
  return hash;
}

bool IsLegacyName(std::string_view name, bool colon) {
  if (name.empty() || (name[0] >= '0' && name[0] <= '9')) return false;
  return std::all_of(name.begin(), name.end(), [colon](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           (colon && c == ':');
  });
}

std::string Quote(std::string_view value) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string out = "\"";
  for (char c : value) {
    auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += {'\\', c};
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (c == '\r') {
      out += "\\r";
    } else if (byte < 0x20 || byte == 0x7f) {
      out += {'\\', 'x', kHex[byte >> 4], kHex[byte & 15]};
    } else {
      out += c;
    }
  }
  return out + '"';
}

template <typename List>
auto FindName(List& labels, std::string_view name) {
  return std::lower_bound(labels.begin(), labels.end(), name,
                          [](const Label& label, std::string_view n) { return std::string_view(label.name) < n; });
}

}  // namespace

Labels Labels::FromPairs(std::vector<Label> labels) {
  std::stable_sort(labels.begin(), labels.end(), [](const Label& a, const Label& b) { return a.name < b.name; });
  Labels result;
  result.labels_.reserve(labels.size());
  for (size_t i = 0; i < labels.size(); ++i) {
    bool repeated = i + 1 < labels.size() && labels[i + 1].name == labels[i].name;
    if (!repeated && !labels[i].value.empty()) result.labels_.push_back(std::move(labels[i]));
  }
  return result;
}

Labels Labels::Of(std::initializer_list<std::pair<std::string_view, std::string_view>> pairs) {
  std::vector<Label> labels;
  labels.reserve(pairs.size());
  for (const auto& [name, value] : pairs) labels.push_back({std::string(name), std::string(value)});
  return FromPairs(std::move(labels));
}

std::string_view Labels::Get(std::string_view name) const {
  // Label sets are short: a linear scan of equal-length names beats a binary search.
  for (const Label& label : labels_) {
    if (label.name == name) return label.value;
  }
  return {};
}

bool Labels::Has(std::string_view name) const {
  return std::any_of(labels_.begin(), labels_.end(), [name](const Label& label) { return label.name == name; });
}

uint64_t Labels::Hash() const {
  uint64_t hash = kSeedC;
  for (const Label& label : labels_) hash = HashString(HashString(hash, label.name), label.value);
  return Mix(hash, kSeedA);
}

std::string Labels::ToString() const {
  std::string_view metric = MetricName();
  bool bare = IsLegacyName(metric, /*colon=*/true);
  std::string inside;
  auto add = [&inside](const std::string& piece) { inside += (inside.empty() ? "" : ", ") + piece; };
  if (!bare && !metric.empty()) add(Quote(metric));
  for (const Label& label : labels_) {
    if (label.name == kMetricName) continue;
    add((IsLegacyName(label.name, false) ? label.name : Quote(label.name)) + "=" + Quote(label.value));
  }
  std::string out(bare ? metric : std::string_view());
  if (!inside.empty() || out.empty()) out += "{" + inside + "}";
  return out;
}

LabelsBuilder& LabelsBuilder::Set(std::string_view name, std::string_view value) {
  if (value.empty()) return Remove(name);
  auto it = FindName(labels_, name);
  if (it != labels_.end() && it->name == name) {
    it->value = value;
  } else {
    labels_.insert(it, Label{std::string(name), std::string(value)});
  }
  return *this;
}

LabelsBuilder& LabelsBuilder::Remove(std::string_view name) {
  auto it = FindName(labels_, name);
  if (it != labels_.end() && it->name == name) labels_.erase(it);
  return *this;
}

std::string_view LabelsBuilder::Get(std::string_view name) const {
  auto it = FindName(labels_, name);
  return it != labels_.end() && it->name == name ? std::string_view(it->value) : std::string_view();
}

Labels LabelsBuilder::Build() const {
  Labels result;
  result.labels_ = labels_;
  return result;
}

double StaleNan() { return std::bit_cast<double>(kStaleNanBits); }
double NormalNan() { return std::bit_cast<double>(kNormalNanBits); }
bool IsStaleNan(double value) { return std::bit_cast<uint64_t>(value) == kStaleNanBits; }

// A compiled expression, with shortcuts for the shapes that dashboards and rules are full of.
struct Matcher::Pattern {
  enum class Shape { kRegex, kLiterals, kAnything, kNotEmpty, kPrefix };
  Shape shape = Shape::kRegex;
  std::vector<std::string> literals;  // kLiterals: sorted.
  std::string prefix;                 // kPrefix: all there is to check; kRegex: necessary.
  std::unique_ptr<re2::RE2> regex;    // kRegex.

  bool Matches(std::string_view text) const {
    switch (shape) {
      case Shape::kLiterals: return std::binary_search(literals.begin(), literals.end(), text);
      case Shape::kAnything: return true;
      case Shape::kNotEmpty: return !text.empty();
      case Shape::kPrefix: return text.substr(0, prefix.size()) == prefix;
      case Shape::kRegex: break;
    }
    if (text.substr(0, prefix.size()) != prefix) return false;
    return regex->Match(re2::StringPiece(text.data(), text.size()), 0, text.size(), re2::RE2::ANCHOR_BOTH, nullptr, 0);
  }
};

namespace {

// The memory of a compiled expression.
constexpr int64_t kRegexBytes = 1 << 20;
constexpr int64_t kRegexBytesPerChar = 64;

constexpr std::string_view kMetaCharacters = "\\.+*?()|[]{}^$";

bool IsMeta(char c) { return kMetaCharacters.find(c) != std::string_view::npos; }

// Splits "a|b\.c" into its literals; false when the expression is anything more than an alternation of literals.
bool SplitLiterals(std::string_view expression, std::vector<std::string>* literals) {
  if (expression.size() >= 2 && expression.front() == '(' && expression.back() == ')') {
    expression = expression.substr(1, expression.size() - 2);
    if (!expression.empty() && expression.back() == '\\') return false;
  }
  std::string current;
  for (size_t i = 0; i < expression.size(); ++i) {
    char c = expression[i];
    if (c == '|') {
      literals->push_back(std::move(current));
      current.clear();
    } else if (c == '\\' && i + 1 < expression.size() && IsMeta(expression[i + 1])) {
      current += expression[++i];
    } else if (IsMeta(c)) {
      return false;
    } else {
      current += c;
    }
  }
  literals->push_back(std::move(current));
  std::sort(literals->begin(), literals->end());
  literals->erase(std::unique(literals->begin(), literals->end()), literals->end());
  return true;
}

// The literal text in front of the first special character. An alternation has none, and a character that may repeat
// zero times does not count.
std::string LiteralPrefix(std::string_view expression) {
  if (expression.find('|') != std::string_view::npos) return {};
  size_t end = 0;
  while (end < expression.size() && !IsMeta(expression[end])) ++end;
  bool optional = end < expression.size() && std::string_view("*?{").find(expression[end]) != std::string_view::npos;
  if (optional && end > 0) {
    --end;
    while (end > 0 && (static_cast<unsigned char>(expression[end]) & 0xc0) == 0x80) --end;  // A whole code point.
  }
  return std::string(expression.substr(0, end));
}

}  // namespace

base::Result<Matcher> Matcher::Create(Type type, std::string name, std::string value) {
  Matcher matcher;
  matcher.type_ = type;
  matcher.name_ = std::move(name);
  matcher.value_ = std::move(value);
  if (type == Type::kEqual || type == Type::kNotEqual) return matcher;

  auto pattern = std::make_shared<Pattern>();
  std::string_view text = matcher.value_;
  pattern->prefix = LiteralPrefix(text);
  // The names of a thousand pods are a set to look into: compiling them would take longer than the whole query.
  if (base::IsValidUtf8(text) && SplitLiterals(text, &pattern->literals)) {
    pattern->shape = Pattern::Shape::kLiterals;
    matcher.pattern_ = std::move(pattern);
    return matcher;
  }
  pattern->literals.clear();

  // The wrapping of "(?s:...)" and the anchors is done by options, so that "a)(b" stays the error that it is.
  re2::RE2::Options options;
  options.set_log_errors(false);
  options.set_dot_nl(true);
  // Repetition makes short expressions large. What is written out may take more, up to RE2's own limit.
  int64_t most = kRegexBytes + kRegexBytesPerChar * static_cast<int64_t>(matcher.value_.size());
  options.set_max_mem(std::min(options.max_mem(), most));
  auto regex = std::make_unique<re2::RE2>(matcher.value_, options);
  if (!regex->ok()) {
    return base::InvalidArgumentError("matcher " + matcher.ToString() +
                                      ": invalid regular expression: " + regex->error() + "; use RE2 syntax");
  }
  if (text == ".*") {
    pattern->shape = Pattern::Shape::kAnything;
  } else if (text == ".+") {
    pattern->shape = Pattern::Shape::kNotEmpty;
  } else if (!pattern->prefix.empty() && text.substr(pattern->prefix.size()) == ".*") {
    pattern->shape = Pattern::Shape::kPrefix;
  } else {
    pattern->regex = std::move(regex);
  }
  matcher.pattern_ = std::move(pattern);
  return matcher;
}

Matcher Matcher::Equal(std::string name, std::string value) {
  Matcher matcher;
  matcher.name_ = std::move(name);
  matcher.value_ = std::move(value);
  return matcher;
}

bool Matcher::Matches(std::string_view label_value) const {
  switch (type_) {
    case Type::kEqual: return label_value == value_;
    case Type::kNotEqual: return label_value != value_;
    case Type::kRegex: return pattern_->Matches(label_value);
    case Type::kNotRegex: return !pattern_->Matches(label_value);
  }
  return false;
}

const std::vector<std::string>* Matcher::Literals() const {
  return pattern_ != nullptr && pattern_->shape == Pattern::Shape::kLiterals ? &pattern_->literals : nullptr;
}

std::string_view Matcher::Prefix() const {
  return pattern_ != nullptr ? std::string_view(pattern_->prefix) : std::string_view();
}

std::string Matcher::ToString() const {
  static constexpr std::string_view kOperators[] = {"=", "!=", "=~", "!~"};
  std::string name = IsLegacyName(name_, false) ? name_ : Quote(name_);
  return name + std::string(kOperators[static_cast<int>(type_)]) + Quote(value_);
}

}  // namespace tidewright::tsdb
