#include <algorithm>
#include <cstdio>
#include <optional>
#include <utility>

#include "adapter/go_template.h"
#include "adapter/template_tree.h"
#include "base/document.h"
#include "base/strings.h"

namespace tidewright::adapter {
namespace {

using Kind = TemplateValue::Kind;
using Args = std::vector<TemplateValue>;

base::Status Bad(const std::string& message) { return base::InvalidArgumentError(message); }

bool IsNumber(const TemplateValue& v) { return v.kind() == Kind::kInt || v.kind() == Kind::kFloat; }

// -1, 0 or 1; values of different kinds do not compare, as in Go.
base::Result<int> Compare(const std::string& function, const TemplateValue& a, const TemplateValue& b, bool ordered) {
  if (a.kind() != b.kind()) {
    return Bad(function + " cannot compare a " + std::string(a.KindName()) + " with a " + std::string(b.KindName()));
  }
  if (a.kind() == Kind::kString) return a.text() < b.text() ? -1 : (a.text() == b.text() ? 0 : 1);
  if (IsNumber(a)) {
    if (a.kind() == Kind::kInt) return a.integer() < b.integer() ? -1 : (a.integer() == b.integer() ? 0 : 1);
    return a.number() < b.number() ? -1 : (a.number() == b.number() ? 0 : 1);
  }
  if (!ordered && a.kind() == Kind::kBool) return a.boolean() == b.boolean() ? 0 : 1;
  if (!ordered && a.kind() == Kind::kNil) return 0;
  return Bad(function + " cannot compare values of kind " + std::string(a.KindName()));
}

base::Result<TemplateValue> Comparison(const std::string& name, const Args& args) {
  bool equality = name == "eq";
  if (args.size() < 2 || (!equality && args.size() != 2)) return Bad(name + " wants two values to compare");
  if (!equality) {
    TW_ASSIGN_OR_RETURN(int order, Compare(name, args[0], args[1], name != "ne"));
    bool result = name == "ne"   ? order != 0
                  : name == "lt" ? order < 0
                  : name == "le" ? order <= 0
                  : name == "gt" ? order > 0
                                 : order >= 0;
    return TemplateValue::Bool(result);
  }
  for (size_t i = 1; i < args.size(); ++i) {
    TW_ASSIGN_OR_RETURN(int order, Compare(name, args[0], args[i], false));
    if (order == 0) return TemplateValue::Bool(true);
  }
  return TemplateValue::Bool(false);
}

base::Result<size_t> Position(const std::string& name, const TemplateValue& v, size_t limit) {
  if (v.kind() != Kind::kInt) return Bad(name + " wants a whole number, not a " + std::string(v.KindName()));
  if (v.integer() < 0 || static_cast<uint64_t>(v.integer()) > limit) {
    return Bad(name + ": " + v.ToString() + " is out of range");
  }
  return static_cast<size_t>(v.integer());
}

base::Result<TemplateValue> Index(const Args& args) {
  if (args.empty()) return Bad("index wants a list or map and a key");
  TemplateValue value = args[0];
  for (size_t i = 1; i < args.size(); ++i) {
    if (value.kind() == Kind::kMap) {
      if (args[i].kind() != Kind::kString) {
        return Bad("index wants a string as a map's key, not a " + std::string(args[i].KindName()));
      }
      auto it = value.members().find(args[i].text());
      value = it == value.members().end() ? TemplateValue::String("") : it->second;
    } else if (value.kind() == Kind::kList && !value.items().empty()) {
      TW_ASSIGN_OR_RETURN(size_t at, Position("index", args[i], value.items().size() - 1));
      value = TemplateValue(value.items()[at]);
    } else if (value.kind() == Kind::kString && !value.text().empty()) {
      TW_ASSIGN_OR_RETURN(size_t at, Position("index", args[i], value.text().size() - 1));
      value = TemplateValue::Int(static_cast<unsigned char>(value.text()[at]));
    } else if (value.kind() == Kind::kList || value.kind() == Kind::kString) {
      return Bad("index: " + args[i].ToString() + " is out of range of an empty " + std::string(value.KindName()));
    } else {
      return Bad("index cannot look into a " + std::string(value.KindName()));
    }
  }
  return value;
}

base::Result<TemplateValue> Length(const Args& args) {
  if (args.size() != 1) return Bad("len wants one value");
  switch (args[0].kind()) {
    case Kind::kString: return TemplateValue::Int(static_cast<int64_t>(args[0].text().size()));
    case Kind::kList: return TemplateValue::Int(static_cast<int64_t>(args[0].items().size()));
    case Kind::kMap: return TemplateValue::Int(static_cast<int64_t>(args[0].members().size()));
    default: return Bad("a " + std::string(args[0].KindName()) + " has no len");
  }
}

base::Result<TemplateValue> Slice(const Args& args) {
  if (args.empty() || args.size() > 3) return Bad("slice wants a list or string and at most two positions");
  bool text = args[0].kind() == Kind::kString;
  if (!text && args[0].kind() != Kind::kList) return Bad("slice cannot cut a " + std::string(args[0].KindName()));
  size_t size = text ? args[0].text().size() : args[0].items().size();
  size_t end = size;
  size_t begin = 0;
  if (args.size() > 2) {
    TW_ASSIGN_OR_RETURN(end, Position("slice", args[2], size));
  }
  if (args.size() > 1) {
    TW_ASSIGN_OR_RETURN(begin, Position("slice", args[1], end));
  }
  if (text) return TemplateValue::String(args[0].text().substr(begin, end - begin));
  const auto& items = args[0].items();
  return TemplateValue::FromList(TemplateValue::List(items.begin() + begin, items.begin() + end));
}

// print puts a space between two operands when neither is a string; println always.
base::Result<TemplateValue> Print(const std::string& name, const Args& args) {
  std::string out;
  for (size_t i = 0; i < args.size(); ++i) {
    bool strings = i > 0 && (args[i].kind() == Kind::kString || args[i - 1].kind() == Kind::kString);
    if (i > 0 && (name == "println" || !strings)) out += " ";
    out += args[i].ToString();
  }
  if (name == "println") out += "\n";
  return TemplateValue::String(std::move(out));
}

// One verb of a format: %[flags][width][.precision]verb.
struct Verb {
  std::string flags;
  int width = 0;
  int precision = -1;
  char letter = 0;
};

bool ParseVerb(const std::string& format, size_t* pos, Verb* verb) {
  size_t p = *pos;
  while (p < format.size() && std::string_view("+-# 0").find(format[p]) != std::string_view::npos) {
    verb->flags += format[p++];
  }
  auto number = [&](int* out) {
    *out = 0;
    for (; p < format.size() && format[p] >= '0' && format[p] <= '9' && *out < 1000; ++p) {
      *out = *out * 10 + (format[p] - '0');
    }
  };
  number(&verb->width);
  if (p < format.size() && format[p] == '.') {
    ++p;
    number(&verb->precision);
  }
  if (p >= format.size() || verb->width > 1000 || verb->precision > 1000 || verb->flags.size() > 5) return false;
  verb->letter = format[p];
  *pos = p + 1;
  return true;
}

std::string CFormat(const Verb& verb, const char* conversion, auto value) {
  std::string format = "%" + verb.flags + (verb.width > 0 ? std::to_string(verb.width) : "");
  if (verb.precision >= 0) format += "." + std::to_string(verb.precision);
  format += conversion;
  char buffer[2500];
  int n = std::snprintf(buffer, sizeof buffer, format.c_str(), value);
  return std::string(buffer, std::clamp<int>(n, 0, sizeof buffer - 1));
}

std::string Pad(const Verb& verb, std::string text) {
  size_t width = static_cast<size_t>(verb.width);
  if (text.size() >= width) return text;
  bool left = verb.flags.find('-') != std::string::npos;
  std::string padding(width - text.size(), ' ');
  return left ? text + padding : padding + text;
}

base::Result<std::string> FormatArgument(const Verb& verb, const TemplateValue& arg) {
  auto mismatch = [&] {
    return Bad("printf: %" + std::string(1, verb.letter) + " does not fit a " + std::string(arg.KindName()));
  };
  switch (verb.letter) {
    case 'v': return Pad(verb, arg.ToString());
    case 's':
      if (arg.kind() == Kind::kBool || IsNumber(arg)) return mismatch();
      return Pad(verb, verb.precision >= 0 ? arg.ToString().substr(0, verb.precision) : arg.ToString());
    case 'q':
      if (arg.kind() != Kind::kString) return mismatch();
      return Pad(verb, GoQuote(arg.text()));
    case 't': return arg.kind() == Kind::kBool ? base::Result<std::string>(Pad(verb, arg.ToString())) : mismatch();
    case 'd':
      if (arg.kind() != Kind::kInt) return mismatch();
      return CFormat(verb, "lld", static_cast<long long>(arg.integer()));
    case 'x':
    case 'X':
    case 'o':
      if (arg.kind() != Kind::kInt) return mismatch();
      return CFormat(verb,
                     verb.letter == 'x'   ? "llx"
                     : verb.letter == 'X' ? "llX"
                                          : "llo",
                     static_cast<long long>(arg.integer()));
    case 'c':
      if (arg.kind() != Kind::kInt || arg.integer() < 1 || arg.integer() > 127) return mismatch();
      return Pad(verb, std::string(1, static_cast<char>(arg.integer())));
    case 'f':
    case 'F':
    case 'e':
    case 'g':
      if (arg.kind() != Kind::kFloat) return mismatch();
      if (verb.letter == 'g' && verb.precision < 0) return Pad(verb, arg.ToString());
      return CFormat(verb, verb.letter == 'e' ? "e" : verb.letter == 'g' ? "g" : "f", arg.number());
    default: return Bad("printf: the verb %" + std::string(1, verb.letter) + " is not supported");
  }
}

base::Result<TemplateValue> Printf(const Args& args) {
  if (args.empty() || args[0].kind() != Kind::kString) return Bad("printf wants a format string first");
  const std::string& format = args[0].text();
  std::string out;
  size_t used = 1;
  for (size_t p = 0; p < format.size();) {
    if (format[p] != '%') {
      out += format[p++];
      continue;
    }
    Verb verb;
    ++p;
    if (!ParseVerb(format, &p, &verb)) return Bad("printf: bad format " + base::Quoted(format));
    if (verb.letter == '%') {
      out += '%';
      continue;
    }
    if (used >= args.size()) return Bad("printf: " + base::Quoted(format) + " wants more arguments");
    TW_ASSIGN_OR_RETURN(std::string text, FormatArgument(verb, args[used++]));
    out += text;
  }
  if (used < args.size()) return Bad("printf: " + base::Quoted(format) + " leaves arguments unused");
  return TemplateValue::String(std::move(out));
}

constexpr std::string_view kFunctions[] = {"and", "eq",  "ge", "gt",    "index",  "le",      "len",  "lt",
                                           "ne",  "not", "or", "print", "printf", "println", "slice"};

// The length of the well-formed UTF-8 sequence at `pos`, 0 if there is none.
size_t Utf8Length(std::string_view text, size_t pos) {
  unsigned char c = static_cast<unsigned char>(text[pos]);
  size_t length = c < 0x80 ? 1 : c < 0xC2 ? 0 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : c < 0xF5 ? 4 : 0;
  if (length == 0 || pos + length > text.size() || !base::IsValidUtf8(text.substr(pos, length))) return 0;
  return length;
}

void AppendHex(unsigned char c, std::string* out) {
  constexpr char kHex[] = "0123456789abcdef";
  *out += "\\x";
  *out += kHex[c >> 4];
  *out += kHex[c & 15];
}

}  // namespace

std::string GoQuote(std::string_view text) {
  constexpr std::string_view kSpecial = "\a\b\f\n\r\t\v\\\"";
  constexpr std::string_view kNames = "abfnrtv\\\"";
  std::string out = "\"";
  for (size_t pos = 0; pos < text.size();) {
    unsigned char c = static_cast<unsigned char>(text[pos]);
    size_t length = Utf8Length(text, pos);
    if (size_t i = kSpecial.find(text[pos]); i != std::string_view::npos) {
      out += '\\';
      out += kNames[i];
      ++pos;
    } else if (length == 0 || c < 0x20 || c == 0x7F) {
      AppendHex(c, &out);
      ++pos;
    } else {
      out += text.substr(pos, length);
      pos += length;
    }
  }
  return out + "\"";
}

namespace internal {

bool IsTemplateFunction(std::string_view name) {
  return std::find(std::begin(kFunctions), std::end(kFunctions), name) != std::end(kFunctions);
}

base::Result<TemplateValue> CallTemplateFunction(const std::string& name, const std::vector<TemplateValue>& args) {
  if (name == "index") return Index(args);
  if (name == "len") return Length(args);
  if (name == "slice") return Slice(args);
  if (name == "printf") return Printf(args);
  if (name == "print" || name == "println") return Print(name, args);
  if (name == "not") {
    if (args.size() != 1) return Bad("not wants one value");
    return TemplateValue::Bool(!args[0].IsTrue());
  }
  if (name == "and" || name == "or") return Bad(name + " wants arguments");
  return Comparison(name, args);
}

}  // namespace internal
}  // namespace tidewright::adapter
