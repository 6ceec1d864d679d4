#include "promql/lexer.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include "base/duration.h"
#include "base/strings.h"

namespace tidewright::promql {
namespace {

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsAlpha(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool IsAlnum(char c) { return IsAlpha(c) || IsDigit(c); }

// The bytes of the character at `pos`, for messages.
std::string CharAt(std::string_view text, size_t pos) {
  size_t end = pos + 1;
  while (end < text.size() && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) ++end;
  std::string character(text.substr(pos, end - pos));
  return base::IsValidUtf8(character) ? "'" + character + "'" : "a byte that is not UTF-8";
}

bool ParseInteger(std::string_view digits, int base, double* value) {
  int64_t parsed = 0;
  auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), parsed, base);
  if (digits.empty() || error != std::errc() || end != digits.data() + digits.size()) return false;
  *value = static_cast<double>(parsed);
  return true;
}

// Go allows an underscore between digits, and after a base prefix.
bool StripUnderscores(std::string_view text, bool prefixed, std::string* out) {
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '_') {
      out->push_back(text[i]);
      continue;
    }
    bool digit_before = i == 0 ? prefixed : std::isxdigit(static_cast<unsigned char>(text[i - 1])) != 0;
    bool digit_after = i + 1 < text.size() && std::isxdigit(static_cast<unsigned char>(text[i + 1])) != 0;
    if (!digit_before || !digit_after) return false;
  }
  return true;
}

bool ParseGoInteger(std::string_view text, double* value) {
  int base = 10;
  size_t prefix = 0;
  if (text.size() > 1 && text[0] == '0') {
    char kind = static_cast<char>(std::tolower(static_cast<unsigned char>(text[1])));
    base = kind == 'x' ? 16 : 8;
    prefix = kind == 'x' ? 2 : 1;
  }
  std::string digits;
  if (!StripUnderscores(text.substr(prefix), prefix > 0, &digits)) return false;
  return ParseInteger(digits, base, value);
}

void AppendUtf8(uint32_t code, std::string* out) {
  if (code < 0x80) {
    out->push_back(static_cast<char>(code));
  } else if (code < 0x800) {
    out->push_back(static_cast<char>(0xC0 | (code >> 6)));
    out->push_back(static_cast<char>(0x80 | (code & 0x3F)));
  } else if (code < 0x10000) {
    out->push_back(static_cast<char>(0xE0 | (code >> 12)));
    out->push_back(static_cast<char>(0x80 | ((code >> 6) & 0x3F)));
    out->push_back(static_cast<char>(0x80 | (code & 0x3F)));
  } else {
    out->push_back(static_cast<char>(0xF0 | (code >> 18)));
    out->push_back(static_cast<char>(0x80 | ((code >> 12) & 0x3F)));
    out->push_back(static_cast<char>(0x80 | ((code >> 6) & 0x3F)));
    out->push_back(static_cast<char>(0x80 | (code & 0x3F)));
  }
}

// Reads `count` digits of `base` at text[*pos].
bool ReadDigits(std::string_view text, size_t* pos, size_t count, int base, uint32_t* code) {
  if (*pos + count > text.size()) return false;
  const char* begin = text.data() + *pos;
  auto [end, error] = std::from_chars(begin, begin + count, *code, base);
  if (error != std::errc() || end != begin + count) return false;
  *pos += count;
  return true;
}

bool IsSurrogate(uint32_t code) { return code >= 0xD800 && code < 0xE000; }

// The numeric escapes: \x41, \101, \u1234, \U00012345. `pos` is past the backslash and the letter.
bool NumericEscape(std::string_view text, char letter, size_t* pos, std::string* value, std::string* error) {
  uint32_t code = 0;
  bool octal = letter >= '0' && letter <= '7';
  if (octal) --*pos;
  size_t count = octal ? 3 : letter == 'x' ? 2 : letter == 'u' ? 4 : 8;
  if (!ReadDigits(text, pos, count, octal ? 8 : 16, &code)) {
    *error = "the escape sequence \\" + std::string(1, letter) + " needs " + std::to_string(count) +
             (octal ? " octal digits" : " hexadecimal digits");
    return false;
  }
  if (octal || letter == 'x') {
    if (code > 255) {
      *error = "the octal escape sequence is larger than \\377";
      return false;
    }
    value->push_back(static_cast<char>(code));
    return true;
  }
  if (code > 0x10FFFF || IsSurrogate(code)) {
    *error = "the escape sequence is not a Unicode character";
    return false;
  }
  AppendUtf8(code, value);
  return true;
}

bool Escape(std::string_view text, char quote, size_t* pos, std::string* value, std::string* error) {
  static constexpr std::string_view kLetters = "abfnrtv\\";
  static constexpr std::string_view kValues = "\a\b\f\n\r\t\v\\";
  if (*pos >= text.size()) {
    *error = "the escape sequence is not finished";
    return false;
  }
  char letter = text[(*pos)++];
  if (size_t at = kLetters.find(letter); at != std::string_view::npos) {
    value->push_back(kValues[at]);
    return true;
  }
  if (letter == quote) {
    value->push_back(letter);
    return true;
  }
  if (letter == 'x' || letter == 'u' || letter == 'U' || (letter >= '0' && letter <= '7')) {
    return NumericEscape(text, letter, pos, value, error);
  }
  *error = "unknown escape sequence \\" + std::string(1, letter) +
           "; write a backslash as \\\\ or put the text in backquotes";
  return false;
}

}  // namespace

std::string LineColumn(std::string_view text, size_t offset) {
  offset = std::min(offset, text.size());
  size_t line = 1 + static_cast<size_t>(std::count(text.begin(), text.begin() + static_cast<long>(offset), '\n'));
  size_t line_start = offset == 0 ? std::string_view::npos : text.rfind('\n', offset - 1);
  size_t column = line_start == std::string_view::npos ? offset + 1 : offset - line_start;
  return std::to_string(line) + ":" + std::to_string(column);
}

base::Status ErrorAt(std::string_view text, size_t offset, const std::string& message) {
  return base::InvalidArgumentError(LineColumn(text, offset) + ": parse error: " + message);
}

bool ParseNumber(std::string_view text, double* value) {
  if (base::EqualsIgnoreCase(text, "nan")) {
    *value = tsdb::NormalNan();
    return true;
  }
  if (base::EqualsIgnoreCase(text, "inf")) {
    *value = std::numeric_limits<double>::infinity();
    return true;
  }
  if (ParseGoInteger(text, value)) return true;
  if (text.empty() || !(IsDigit(text[0]) || text[0] == '.')) return false;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value);
  if (end != text.data() + text.size()) return false;
  // Too small for a double reads as zero; too large is an error, as in Go.
  if (error == std::errc::result_out_of_range) return std::strtod(std::string(text).c_str(), nullptr) < 1;
  return error == std::errc();
}

bool Unquote(std::string_view literal, std::string* value, std::string* error) {
  char quote = literal.front();
  std::string_view text = literal.substr(1, literal.size() - 2);
  value->clear();
  if (quote == '`') {
    for (char c : text) {
      if (c != '\r') value->push_back(c);
    }
    return true;
  }
  for (size_t pos = 0; pos < text.size();) {
    char c = text[pos++];
    if (c != '\\') {
      value->push_back(c);
    } else if (!Escape(text, quote, &pos, value, error)) {
      return false;
    }
  }
  return true;
}

std::string Quote(std::string_view text) {
  static constexpr std::string_view kValues = "\a\b\f\n\r\t\v\\\"";
  static constexpr std::string_view kLetters = "abfnrtv\\\"";
  static constexpr char kHex[] = "0123456789abcdef";
  bool utf8 = base::IsValidUtf8(text);
  std::string out = "\"";
  for (char c : text) {
    auto byte = static_cast<unsigned char>(c);
    if (size_t at = kValues.find(c); at != std::string_view::npos) {
      out += '\\';
      out += kLetters[at];
    } else if (byte < 0x20 || byte == 0x7F || (byte >= 0x80 && !utf8)) {
      out += "\\x";
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    } else {
      out += c;
    }
  }
  return out + '"';
}

base::Status Lexer::Error(size_t pos, const std::string& message) const { return ErrorAt(text_, pos, message); }

size_t Lexer::SkipBlanks(size_t pos) const {
  while (pos < text_.size()) {
    char c = text_[pos];
    if (c == '#') {
      while (pos < text_.size() && text_[pos] != '\n') ++pos;
    } else if (c == ' ' || c == '\t' || c == '\n' || c == '\r') {
      ++pos;
    } else {
      break;
    }
  }
  return pos;
}

base::Result<Token> Lexer::At(size_t offset, LexMode mode) const {
  size_t pos = SkipBlanks(offset);
  if (pos >= text_.size()) {
    Token token;
    token.span = {text_.size(), text_.size()};
    return token;
  }
  char c = text_[pos];
  if (IsAlpha(c) || (c == ':' && mode == LexMode::kExpression)) return Word(pos, mode);
  if (c == '"' || c == '\'' || c == '`') return Quoted(pos);
  bool number = IsDigit(c) || (c == '.' && pos + 1 < text_.size() && IsDigit(text_[pos + 1]));
  if (number && mode != LexMode::kBraces) return Number(pos);
  return Symbol(pos, mode);
}

base::Result<Token> Lexer::Word(size_t pos, LexMode mode) const {
  size_t end = pos;
  bool colons = mode == LexMode::kExpression;
  while (end < text_.size() && (IsAlnum(text_[end]) || (colons && text_[end] == ':'))) ++end;
  Token token;
  token.kind = TokenKind::kIdentifier;
  token.span = {pos, end};
  token.text = text_.substr(pos, end - pos);
  return token;
}

base::Result<Token> Lexer::Number(size_t pos) const {
  size_t end = pos;
  bool hex = text_.size() > pos + 1 && text_[pos] == '0' && (text_[pos + 1] == 'x' || text_[pos + 1] == 'X');
  while (end < text_.size()) {
    char c = text_[end];
    bool sign = (c == '+' || c == '-') && !hex && end > pos && (text_[end - 1] == 'e' || text_[end - 1] == 'E');
    if (!IsAlnum(c) && c != '.' && !sign) break;
    ++end;
  }
  Token token;
  token.span = {pos, end};
  token.text = text_.substr(pos, end - pos);
  if (ParseNumber(token.text, &token.number)) {
    token.kind = TokenKind::kNumber;
    return token;
  }
  auto duration = base::ParseDuration(token.text);
  if (duration.ok()) {
    token.kind = TokenKind::kDuration;
    token.number = static_cast<double>(duration->ms) / 1000.0;
    return token;
  }
  return Error(pos, "bad number or duration " + Quote(token.text) +
                        "; write a number such as 1.5 or 1e3, or a duration such as 1h30m with the units y w d h m s "
                        "ms in this order (at most 292y)");
}

base::Result<Token> Lexer::Quoted(size_t pos) const {
  char quote = text_[pos];
  size_t end = pos + 1;
  while (end < text_.size() && text_[end] != quote) {
    if (quote != '`' && text_[end] == '\n') break;
    if (quote != '`' && text_[end] == '\\') ++end;
    ++end;
  }
  if (end >= text_.size() || text_[end] != quote) {
    return Error(pos, std::string("unterminated string, expected a closing ") + quote);
  }
  Token token;
  token.kind = TokenKind::kString;
  token.span = {pos, end + 1};
  token.text = text_.substr(pos, end + 1 - pos);
  std::string error;
  if (!base::IsValidUtf8(token.text)) return Error(pos, "the string is not valid UTF-8");
  if (!Unquote(token.text, &token.value, &error)) return Error(pos, error);
  return token;
}

base::Result<Token> Lexer::Symbol(size_t pos, LexMode mode) const {
  struct Entry {
    std::string_view text;
    TokenKind kind;
    Op op;
  };
  // Longer symbols first.
  static constexpr Entry kSymbols[] = {
      {"==", TokenKind::kOperator, Op::kEq},        {"=~", TokenKind::kRegexMatch, Op::kNone},
      {"!=", TokenKind::kOperator, Op::kNe},        {"!~", TokenKind::kRegexNoMatch, Op::kNone},
      {"<=", TokenKind::kOperator, Op::kLe},        {">=", TokenKind::kOperator, Op::kGe},
      {"</", TokenKind::kOperator, Op::kTrimUpper}, {">/", TokenKind::kOperator, Op::kTrimLower},
      {"<", TokenKind::kOperator, Op::kLt},         {">", TokenKind::kOperator, Op::kGt},
      {"+", TokenKind::kOperator, Op::kAdd},        {"-", TokenKind::kOperator, Op::kSub},
      {"*", TokenKind::kOperator, Op::kMul},        {"/", TokenKind::kOperator, Op::kDiv},
      {"%", TokenKind::kOperator, Op::kMod},        {"^", TokenKind::kOperator, Op::kPow},
      {"=", TokenKind::kAssign, Op::kNone},         {"@", TokenKind::kAt, Op::kNone},
      {"(", TokenKind::kLeftParen, Op::kNone},      {")", TokenKind::kRightParen, Op::kNone},
      {"{", TokenKind::kLeftBrace, Op::kNone},      {"}", TokenKind::kRightBrace, Op::kNone},
      {"[", TokenKind::kLeftBracket, Op::kNone},    {"]", TokenKind::kRightBracket, Op::kNone},
      {",", TokenKind::kComma, Op::kNone},          {":", TokenKind::kColon, Op::kNone},
  };
  std::string_view rest = text_.substr(pos);
  for (const Entry& entry : kSymbols) {
    if (rest.substr(0, entry.text.size()) != entry.text) continue;
    Token token;
    token.kind = entry.kind;
    token.op = entry.op;
    token.span = {pos, pos + entry.text.size()};
    token.text = rest.substr(0, entry.text.size());
    return token;
  }
  std::string place = mode == LexMode::kBraces     ? " in a label matcher"
                      : mode == LexMode::kBrackets ? " in a range, expected a duration"
                                                   : "; names with other characters are written {\"name\"}";
  return Error(pos, "unexpected character " + CharAt(text_, pos) + place);
}

}  // namespace tidewright::promql
