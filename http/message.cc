#include "http/message.h"

#include <algorithm>
#include <optional>

#include "base/strings.h"

namespace tidewright::http {
namespace {

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool IsUnreserved(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
         c == '_' || c == '~';
}

// Control characters and spaces would end or split the request line that a URL is copied into.
bool HasControlOrSpace(std::string_view text) {
  return std::any_of(text.begin(), text.end(), [](unsigned char c) { return c <= 0x20 || c == 0x7f; });
}

base::Result<std::string> Decode(std::string_view text, bool plus_is_space) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+' && plus_is_space) {
      out.push_back(' ');
    } else if (text[i] != '%') {
      out.push_back(text[i]);
    } else {
      int high = i + 2 < text.size() ? HexDigit(text[i + 1]) : -1;
      int low = i + 2 < text.size() ? HexDigit(text[i + 2]) : -1;
      if (high < 0 || low < 0) {
        return base::InvalidArgumentError("invalid percent escape \"" + std::string(text.substr(i, 3)) +
                                          "\": '%' needs two hexadecimal digits after it");
      }
      out.push_back(static_cast<char>(high * 16 + low));
      i += 2;
    }
  }
  return out;
}

bool IsHostChar(char c) {
  // Bytes of international names pass; the resolver decides about them.
  return IsUnreserved(c) || static_cast<unsigned char>(c) >= 0x80;
}

bool IsIpv6Char(char c) { return HexDigit(c) >= 0 || c == ':' || c == '.'; }

uint16_t DefaultPort(std::string_view scheme) { return scheme == "https" ? 443 : 80; }

base::Status ParsePort(std::string_view text, Url* url) {
  int64_t port = 0;
  bool digits = std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
  if (!digits || !base::ParseInt64(text, &port) || port < 1 || port > 65535) {
    return base::InvalidArgumentError("URL has the port \"" + std::string(text) + "\": want 1 to 65535");
  }
  url->port = static_cast<uint16_t>(port);
  return base::Status::Ok();
}

// host, host:port, [v6] or [v6]:port.
base::Status ParseHostPort(std::string_view text, Url* url) {
  std::string_view port;
  bool has_port = false;
  if (!text.empty() && text.front() == '[') {
    size_t close = text.find(']');
    if (close == std::string_view::npos) return base::InvalidArgumentError("URL has '[' without ']' around its host");
    url->host = std::string(text.substr(1, close - 1));
    std::string_view rest = text.substr(close + 1);
    if (url->host.empty() || !std::all_of(url->host.begin(), url->host.end(), IsIpv6Char)) {
      return base::InvalidArgumentError("URL has a host in brackets that is not an IPv6 address");
    }
    if (!rest.empty() && rest.front() != ':') return base::InvalidArgumentError("URL has text after its host's ']'");
    has_port = !rest.empty();
    if (has_port) port = rest.substr(1);
  } else {
    size_t colon = text.find(':');
    url->host = base::ToLower(text.substr(0, colon));
    has_port = colon != std::string_view::npos;
    if (has_port) port = text.substr(colon + 1);
    if (url->host.empty()) return base::InvalidArgumentError("URL has no host");
    if (!std::all_of(url->host.begin(), url->host.end(), IsHostChar)) {
      return base::InvalidArgumentError("URL has the host \"" + url->host +
                                        "\": it contains a character that no host may");
    }
  }
  // "http://host:/" means the default port (RFC 3986, section 3.2.3).
  if (has_port && !port.empty()) return ParsePort(port, url);
  return base::Status::Ok();
}

struct StatusText {
  int status;
  std::string_view text;
};

constexpr StatusText kReasons[] = {
    {100, "Continue"},
    {101, "Switching Protocols"},
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {203, "Non-Authoritative Information"},
    {204, "No Content"},
    {205, "Reset Content"},
    {206, "Partial Content"},
    {300, "Multiple Choices"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {303, "See Other"},
    {304, "Not Modified"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {402, "Payment Required"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {407, "Proxy Authentication Required"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {411, "Length Required"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {416, "Range Not Satisfiable"},
    {417, "Expectation Failed"},
    {421, "Misdirected Request"},
    {422, "Unprocessable Content"},
    {425, "Too Early"},
    {426, "Upgrade Required"},
    {428, "Precondition Required"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
    {507, "Insufficient Storage"},
    {511, "Network Authentication Required"},
};

}  // namespace

void Headers::Set(std::string_view name, std::string value) {
  auto same = [name](const auto& field) { return base::EqualsIgnoreCase(field.first, name); };
  auto first = std::find_if(fields_.begin(), fields_.end(), same);
  if (first == fields_.end()) {
    fields_.emplace_back(std::string(name), std::move(value));
    return;
  }
  first->second = std::move(value);
  fields_.erase(std::remove_if(first + 1, fields_.end(), same), fields_.end());
}

std::string Headers::Get(std::string_view name) const {
  for (const auto& [field, value] : fields_) {
    if (base::EqualsIgnoreCase(field, name)) return value;
  }
  return "";
}

std::vector<std::string> Headers::GetAll(std::string_view name) const {
  std::vector<std::string> values;
  for (const auto& [field, value] : fields_) {
    if (base::EqualsIgnoreCase(field, name)) values.push_back(value);
  }
  return values;
}

bool Headers::Has(std::string_view name) const {
  return std::any_of(fields_.begin(), fields_.end(),
                     [name](const auto& field) { return base::EqualsIgnoreCase(field.first, name); });
}

std::string QueryValue(const QueryParams& params, std::string_view name) {
  for (const auto& [key, value] : params) {
    if (key == name) return value;
  }
  return "";
}

bool HasQuery(const QueryParams& params, std::string_view name) {
  return std::any_of(params.begin(), params.end(), [name](const auto& param) { return param.first == name; });
}

base::Result<QueryParams> ParseQuery(std::string_view text) {
  QueryParams params;
  while (!text.empty()) {
    size_t end = text.find('&');
    std::string_view pair = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    if (pair.empty()) continue;
    size_t equals = pair.find('=');
    TW_ASSIGN_OR_RETURN(std::string key, Decode(pair.substr(0, equals), true));
    std::string value;
    if (equals != std::string_view::npos) {
      TW_ASSIGN_OR_RETURN(value, Decode(pair.substr(equals + 1), true));
    }
    params.emplace_back(std::move(key), std::move(value));
  }
  return params;
}

std::string PercentEncode(std::string_view text) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  std::string out;
  out.reserve(text.size());
  for (char c : text) {
    if (IsUnreserved(c)) {
      out.push_back(c);
      continue;
    }
    auto byte = static_cast<unsigned char>(c);
    out.push_back('%');
    out.push_back(kHex[byte >> 4]);
    out.push_back(kHex[byte & 15]);
  }
  return out;
}

base::Result<std::string> PercentDecode(std::string_view text) { return Decode(text, false); }

base::Result<Url> Url::Parse(std::string_view text) {
  // Messages never quote the whole text: it may hold a password.
  Url url;
  size_t scheme_end = text.find("://");
  if (scheme_end == std::string_view::npos) {
    return base::InvalidArgumentError("URL has no scheme: want http://host[:port]/path or https://...");
  }
  url.scheme = base::ToLower(text.substr(0, scheme_end));
  if (url.scheme != "http" && url.scheme != "https") {
    return base::InvalidArgumentError("URL has the scheme \"" + url.scheme.substr(0, 32) + "\": want http or https");
  }
  url.port = DefaultPort(url.scheme);
  if (HasControlOrSpace(text)) {
    return base::InvalidArgumentError("URL contains a space or a control character: write it percent-encoded");
  }
  std::string_view rest = text.substr(scheme_end + 3);
  rest = rest.substr(0, rest.find('#'));  // A fragment is never sent.
  size_t authority_end = rest.find_first_of("/?");
  std::string_view authority = rest.substr(0, authority_end);
  std::string_view tail = authority_end == std::string_view::npos ? std::string_view() : rest.substr(authority_end);
  if (size_t at = authority.rfind('@'); at != std::string_view::npos) {
    url.user_info = std::string(authority.substr(0, at));
    authority = authority.substr(at + 1);
  }
  TW_RETURN_IF_ERROR(ParseHostPort(authority, &url));
  size_t question = tail.find('?');
  url.path = std::string(tail.substr(0, question));
  if (url.path.empty()) url.path = "/";
  if (question != std::string_view::npos) url.query = std::string(tail.substr(question + 1));
  return url;
}

std::string Url::Authority() const {
  std::string out = host.find(':') == std::string::npos ? host : "[" + host + "]";
  if (port != DefaultPort(scheme)) out += ":" + std::to_string(port);
  return out;
}

std::string Url::ToString() const {
  std::string out = scheme + "://" + Authority() + path;
  if (!query.empty()) out += "?" + query;
  return out;
}

std::string_view ReasonPhrase(int status) {
  for (const StatusText& reason : kReasons) {
    if (reason.status == status) return reason.text;
  }
  return "Unknown";
}

}  // namespace tidewright::http
