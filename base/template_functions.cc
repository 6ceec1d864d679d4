#include <algorithm>
#include <cstdio>
#include <optional>
#include <utility>

#include "base/document.h"
#include "base/go_template.h"
#include "base/go_text.h"
#include "base/strings.h"
#include "base/template_tree.h"

namespace tidewright::base {
namespace {

using Kind = TemplateValue::Kind;
using Args = std::vector<TemplateValue>;

Status Bad(const std::string& message) { return InvalidArgumentError(message); }

bool IsNumber(const TemplateValue& v) { return v.kind() == Kind::kInt || v.kind() == Kind::kFloat; }

// -1, 0 or 1; values of different kinds do not compare, as in Go.
Result<int> Compare(const std::string& function, const TemplateValue& a, const TemplateValue& b, bool ordered) {
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

Result<TemplateValue> Comparison(const std::string& name, const Args& args) {
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

Result<size_t> Position(const std::string& name, const TemplateValue& v, size_t limit) {
  if (v.kind() != Kind::kInt) return Bad(name + " wants a whole number, not a " + std::string(v.KindName()));
  if (v.integer() < 0 || static_cast<uint64_t>(v.integer()) > limit) {
    return Bad(name + ": " + v.ToString() + " is out of range");
  }
  return static_cast<size_t>(v.integer());
}

Result<TemplateValue> Index(const Args& args) {
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

Result<TemplateValue> Length(const Args& args) {
  if (args.size() != 1) return Bad("len wants one value");
  switch (args[0].kind()) {
    case Kind::kString: return TemplateValue::Int(static_cast<int64_t>(args[0].text().size()));
    case Kind::kList: return TemplateValue::Int(static_cast<int64_t>(args[0].items().size()));
    case Kind::kMap: return TemplateValue::Int(static_cast<int64_t>(args[0].members().size()));
    default: return Bad("a " + std::string(args[0].KindName()) + " has no len");
  }
}

Result<TemplateValue> Slice(const Args& args) {
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
Result<TemplateValue> Print(const std::string& name, const Args& args) {
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

std::string_view GoTypeName(const TemplateValue& value) {
  switch (value.kind()) {
    case Kind::kFloat: return "float64";
    case Kind::kList: return "[]interface {}";
    case Kind::kMap: return value.of_strings() ? "map[string]string" : "map[string]interface {}";
    case Kind::kNil: return "<nil>";
    case Kind::kDuration: return "time.Duration";
    case Kind::kTime: return "*time.Time";
    default: return value.KindName();
  }
}

Result<std::string> FormatArgument(const Verb& verb, const TemplateValue& arg, bool lenient) {
  auto mismatch = [&]() -> Result<std::string> {
    if (lenient) {
      return "%!" + std::string(1, verb.letter) + "(" + std::string(GoTypeName(arg)) + "=" + arg.ToString() + ")";
    }
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
    case 't': return arg.kind() == Kind::kBool ? Pad(verb, arg.ToString()) : mismatch();
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
    default:
      if (lenient) return mismatch();
      return Bad("printf: the verb %" + std::string(1, verb.letter) + " is not supported");
  }
}

Result<TemplateValue> Printf(const Args& args, bool lenient) {
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
    if (!ParseVerb(format, &p, &verb)) {
      if (!lenient) return Bad("printf: bad format " + Quoted(format));
      out += "%!(NOVERB)";
      break;
    }
    if (verb.letter == '%') {
      out += '%';
      continue;
    }
    if (used >= args.size()) {
      if (!lenient) return Bad("printf: " + Quoted(format) + " wants more arguments");
      out += "%!" + std::string(1, verb.letter) + "(MISSING)";
      continue;
    }
    TW_ASSIGN_OR_RETURN(std::string text, FormatArgument(verb, args[used++], lenient));
    out += text;
  }
  if (used < args.size()) {
    if (!lenient) return Bad("printf: " + Quoted(format) + " leaves arguments unused");
    out += "%!(EXTRA ";
    for (size_t i = used; i < args.size(); ++i) {
      out += (i > used ? ", " : "") + std::string(GoTypeName(args[i])) + "=" + args[i].ToString();
    }
    out += ")";
  }
  return TemplateValue::String(std::move(out));
}

std::string EscapeHtml(std::string_view text) {
  std::string out;
  for (char c : text) {
    switch (c) {
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '&': out += "&amp;"; break;
      case '"': out += "&#34;"; break;
      case '\'': out += "&#39;"; break;
      case '\0': out += "\xEF\xBF\xBD"; break;
      default: out += c;
    }
  }
  return out;
}

std::string EscapeJavaScript(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (c == '\'' || c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (std::string_view("<>&=").find(c) != std::string_view::npos || (c >= 0 && c < 0x20)) {
      char escaped[8];
      std::snprintf(escaped, sizeof escaped, "\\u%04X", static_cast<unsigned>(c));
      out += escaped;
    } else {
      out += c;
    }
  }
  return out;
}

// html, js and urlquery: the arguments as print joins them, escaped.
std::string Escaped(const std::string& name, const Args& args) {
  const std::string text = args.size() == 1 ? args[0].ToString() : Print("print", args)->text();
  return name == "html" ? EscapeHtml(text) : name == "js" ? EscapeJavaScript(text) : QueryEscape(text);
}

constexpr std::string_view kFunctions[] = {"and", "eq", "ge",  "gt", "html",  "index",  "js",      "le",    "len",
                                           "lt",  "ne", "not", "or", "print", "printf", "println", "slice", "urlquery"};

}  // namespace

namespace internal {

bool IsTemplateFunction(std::string_view name) {
  return std::find(std::begin(kFunctions), std::end(kFunctions), name) != std::end(kFunctions);
}

Result<TemplateValue> CallTemplateFunction(const std::string& name, const std::vector<TemplateValue>& args,
                                           bool lenient) {
  if (name == "index") return Index(args);
  if (name == "len") return Length(args);
  if (name == "slice") return Slice(args);
  if (name == "printf") return Printf(args, lenient);
  if (name == "print" || name == "println") return Print(name, args);
  if (name == "html" || name == "js" || name == "urlquery") return TemplateValue::String(Escaped(name, args));
  if (name == "not") {
    if (args.size() != 1) return Bad("not wants one value");
    return TemplateValue::Bool(!args[0].IsTrue());
  }
  if (name == "and" || name == "or") return Bad(name + " wants arguments");
  return Comparison(name, args);
}

}  // namespace internal
}  // namespace tidewright::base
