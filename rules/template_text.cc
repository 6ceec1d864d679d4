#include "rules/template_text.h"

#include <arpa/inet.h>
#include <locale.h>
#include <re2/re2.h>
#include <wctype.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <vector>

#include "base/document.h"
#include "base/go_text.h"
#include "base/metrics.h"
#include "base/strings.h"

namespace tidewright::rules {

namespace {

constexpr size_t kMaxReplaced = 1u << 20;  // Bytes that one replacement may produce.

// Host and port of "host:port" or "[v6]:port".
struct HostPort {
  std::string host, port;
};

std::optional<HostPort> SplitHostPort(const std::string& text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string::npos) return std::nullopt;
  std::string host = text.substr(0, colon);
  const bool bracketed = host.size() >= 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  if (!bracketed && host.find(':') != std::string::npos) return std::nullopt;
  if (host.find_first_of("[]") != std::string::npos) return std::nullopt;
  return HostPort{host, text.substr(colon + 1)};
}

bool IsAddress(const std::string& host) {
  unsigned char address[16];
  return inet_pton(AF_INET, host.c_str(), address) == 1 || inet_pton(AF_INET6, host.c_str(), address) == 1;
}

locale_t Unicode() {
  static const locale_t locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
  return locale;
}

// The text as code points; bytes that are not UTF-8 stay as they are.
std::vector<uint32_t> Runes(const std::string& text) {
  std::vector<uint32_t> runes;
  for (size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const size_t length = lead < 0x80 ? 1 : lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
    uint32_t rune = length == 1 ? lead : lead & (0x7fu >> length);
    for (size_t k = 1; k < length && i + k < text.size(); ++k) {
      rune = rune << 6 | (static_cast<unsigned char>(text[i + k]) & 0x3fu);
    }
    runes.push_back(rune);
    i += length;
  }
  return runes;
}

void AppendRune(uint32_t rune, std::string* out) {
  if (rune < 0x80) {
    *out += static_cast<char>(rune);
    return;
  }
  const int more = rune < 0x800 ? 1 : rune < 0x10000 ? 2 : 3;
  constexpr unsigned char kLeads[] = {0, 0xc0, 0xe0, 0xf0};
  *out += static_cast<char>(kLeads[more] | (rune >> (6 * more)));
  for (int i = more - 1; i >= 0; --i) *out += static_cast<char>(0x80 | ((rune >> (6 * i)) & 0x3f));
}

uint32_t Upper(uint32_t rune) { return Unicode() ? static_cast<uint32_t>(towupper_l(rune, Unicode())) : rune; }
uint32_t Lower(uint32_t rune) { return Unicode() ? static_cast<uint32_t>(towlower_l(rune, Unicode())) : rune; }

bool SeparatesWords(uint32_t rune) {
  if (rune < 0x80) {
    const char c = static_cast<char>(rune);
    return !((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_');
  }
  return Unicode() && iswspace_l(rune, Unicode());
}

// `change` takes a code point and the one before it.
template <typename Change>
std::string Mapped(const std::string& text, const Change& change) {
  if (!base::IsValidUtf8(text)) return text;
  std::string out;
  uint32_t before = ' ';
  for (uint32_t rune : Runes(text)) {
    AppendRune(change(rune, before), &out);
    before = rune;
  }
  return out;
}

std::string Link(const std::string& expr, const char* tab) {
  return "/graph?g0.expr=" + base::QueryEscape(expr) + "&g0.tab=" + tab;
}

std::string SmallSeconds(double seconds) {
  std::string prefix;
  for (const char* next : {"m", "u", "n", "p", "f", "a", "z", "y"}) {
    if (std::fabs(seconds) >= 1) break;
    prefix = next;
    seconds *= 1000;
  }
  return FourDigits(seconds) + prefix + "s";
}

// The name of a group at the start of `rest`, after "$": its length with braces, 0 when there is none.
size_t TakeGroupName(std::string_view rest, std::string* name) {
  auto is_word = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  };
  const bool braces = rest.starts_with("{");
  size_t end = braces ? 1 : 0;
  while (end < rest.size() && is_word(rest[end])) ++end;
  *name = std::string(rest.substr(braces ? 1 : 0, end - (braces ? 1 : 0)));
  if (name->empty() || (braces && (end >= rest.size() || rest[end] != '}'))) return 0;
  return end + (braces ? 1 : 0);
}

std::string_view Group(const RE2& regex, const std::vector<re2::StringPiece>& groups, const std::string& name) {
  int64_t number = -1;
  if (!base::ParseInt64(name, &number)) {
    auto it = regex.NamedCapturingGroups().find(name);
    number = it == regex.NamedCapturingGroups().end() ? -1 : it->second;
  }
  if (number < 0 || static_cast<size_t>(number) >= groups.size()) return {};
  const re2::StringPiece& group = groups[static_cast<size_t>(number)];
  return {group.data(), group.size()};
}

void Expand(const RE2& regex, std::string_view replacement, const std::vector<re2::StringPiece>& groups,
            std::string* out) {
  while (!replacement.empty()) {
    const size_t dollar = replacement.find('$');
    *out += replacement.substr(0, dollar);
    if (dollar == std::string_view::npos) return;
    replacement.remove_prefix(dollar + 1);
    std::string name;
    const size_t taken = TakeGroupName(replacement, &name);
    if (taken > 0) {
      *out += Group(regex, groups, name);
    } else {
      *out += '$';
    }
    replacement.remove_prefix(taken > 0 ? taken : replacement.starts_with("$") ? 1 : 0);
  }
}

}  // namespace

std::string FourDigits(double value) {
  if (!std::isfinite(value)) return base::FormatDouble(value);
  char text[32];
  std::snprintf(text, sizeof text, "%.4g", value);
  return text;
}

std::string Humanize(double value) {
  if (value == 0 || !std::isfinite(value)) return FourDigits(value);
  std::string prefix;
  if (std::fabs(value) >= 1) {
    for (const char* next : {"k", "M", "G", "T", "P", "E", "Z", "Y"}) {
      if (std::fabs(value) < 1000) break;
      prefix = next;
      value /= 1000;
    }
    return FourDigits(value) + prefix;
  }
  for (const char* next : {"m", "u", "n", "p", "f", "a", "z", "y"}) {
    if (std::fabs(value) >= 1) break;
    prefix = next;
    value *= 1000;
  }
  return FourDigits(value) + prefix;
}

std::string Humanize1024(double value) {
  if (std::fabs(value) <= 1 || !std::isfinite(value)) return FourDigits(value);
  std::string prefix;
  for (const char* next : {"ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"}) {
    if (std::fabs(value) < 1024) break;
    prefix = next;
    value /= 1024;
  }
  return FourDigits(value) + prefix;
}

std::string HumanizeDuration(double seconds) {
  if (!std::isfinite(seconds)) return FourDigits(seconds);
  if (seconds == 0) return FourDigits(seconds) + "s";
  if (std::fabs(seconds) < 1) return SmallSeconds(seconds);
  const std::string sign = seconds < 0 ? "-" : "";
  const double magnitude = std::fabs(seconds);
  const int64_t whole = magnitude < 9.2e18 ? static_cast<int64_t>(magnitude) : INT64_MAX;
  const std::string s = std::to_string(whole % 60) + "s";
  const std::string m = std::to_string(whole / 60 % 60) + "m ";
  const std::string h = std::to_string(whole / 3600 % 24) + "h ";
  if (whole >= 86'400) return sign + std::to_string(whole / 86'400) + "d " + h + m + s;
  if (whole >= 3600) return sign + h + m + s;
  if (whole >= 60) return sign + m + s;
  return sign + FourDigits(magnitude) + "s";
}

std::string HumanizePercentage(double ratio) { return FourDigits(ratio * 100) + "%"; }

std::string Same(const std::string& text) { return text; }

std::string Title(const std::string& text) {
  return Mapped(text, [](uint32_t rune, uint32_t before) { return SeparatesWords(before) ? Upper(rune) : rune; });
}

std::string ToUpper(const std::string& text) {
  return Mapped(text, [](uint32_t rune, uint32_t) { return Upper(rune); });
}

std::string ToLower(const std::string& text) {
  return Mapped(text, [](uint32_t rune, uint32_t) { return Lower(rune); });
}

std::string EscapeQuery(const std::string& text) { return base::QueryEscape(text); }
std::string GraphLink(const std::string& expr) { return Link(expr, "0"); }
std::string TableLink(const std::string& expr) { return Link(expr, "1"); }

std::string StripPort(const std::string& text) {
  auto split = SplitHostPort(text);
  return split ? split->host : text;
}

std::string StripDomain(const std::string& text) {
  const HostPort split = SplitHostPort(text).value_or(HostPort{text, ""});
  if (IsAddress(split.host)) return text;
  const std::string host = split.host.substr(0, split.host.find('.'));
  return split.port.empty() ? host : host + ":" + split.port;
}

base::Result<std::string> ReplaceAllMatches(const std::string& regex, const std::string& replacement,
                                            const std::string& text) {
  const RE2 compiled(regex, RE2::Quiet);
  if (!compiled.ok()) {
    return base::InvalidArgumentError(base::Quoted(regex) + " is not a regular expression: " + compiled.error());
  }
  std::vector<re2::StringPiece> groups(static_cast<size_t>(compiled.NumberOfCapturingGroups()) + 1);
  std::string out;
  size_t copied = 0;
  for (size_t at = 0; at <= text.size();) {
    if (!compiled.Match(text, at, text.size(), RE2::UNANCHORED, groups.data(), static_cast<int>(groups.size()))) break;
    const auto begin = static_cast<size_t>(groups[0].data() - text.data());
    const size_t end = begin + groups[0].size();
    out += text.substr(copied, begin - copied);
    const bool empty_after_match = groups[0].empty() && begin == copied && copied > 0;
    if (!empty_after_match) Expand(compiled, replacement, groups, &out);
    if (out.size() > kMaxReplaced) return base::ResourceExhaustedError("the replaced text is longer than 1 MiB");
    copied = end;
    at = groups[0].empty() ? end + 1 : end;
  }
  return out + text.substr(std::min(copied, text.size()));
}

}  // namespace tidewright::rules
