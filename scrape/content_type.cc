#include <string>
#include <vector>

#include "base/document.h"
#include "base/strings.h"
#include "scrape/exposition.h"

namespace tidewright::scrape {
namespace {

constexpr std::string_view kTokenCharacters =
    "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

bool IsToken(std::string_view text) {
  return !text.empty() && text.find_first_not_of(kTokenCharacters) == std::string_view::npos;
}

// RFC 9110 token or quoted string, to the end of the parameter. Quoted values may contain semicolons.
bool TakeParameterValue(std::string_view* rest) {
  if (rest->empty() || rest->front() != '"') {
    std::string_view value = rest->substr(0, rest->find(';'));
    rest->remove_prefix(value.size());
    return IsToken(base::TrimSpace(value));
  }
  size_t i = 1;
  while (i < rest->size() && (*rest)[i] != '"') i += (*rest)[i] == '\\' ? 2 : 1;
  if (i >= rest->size()) return false;
  *rest = base::TrimSpace(rest->substr(i + 1));
  return rest->empty() || rest->front() == ';';
}

// The parameters after the media type: well formed and each name once.
bool ValidParameters(std::string_view rest) {
  std::vector<std::string> seen;
  while (!rest.empty()) {
    rest = base::TrimSpace(rest.substr(1));  // The semicolon.
    if (rest.empty()) return true;           // One trailing semicolon is harmless.
    size_t equals = rest.find('=');
    if (equals == std::string_view::npos || !IsToken(rest.substr(0, equals))) return false;
    std::string name = base::ToLower(rest.substr(0, equals));
    for (const std::string& other : seen) {
      if (other == name) return false;
    }
    seen.push_back(std::move(name));
    rest = base::TrimSpace(rest.substr(equals + 1));
    if (!TakeParameterValue(&rest)) return false;
  }
  return true;
}

// The media type in lower case, or "" when the header is malformed.
std::string MediaType(std::string_view header) {
  size_t semicolon = header.find(';');
  std::string type = base::ToLower(base::TrimSpace(header.substr(0, semicolon)));
  size_t slash = type.find('/');
  bool valid = slash != std::string::npos && IsToken(std::string_view(type).substr(0, slash)) &&
               IsToken(std::string_view(type).substr(slash + 1));
  if (!valid) return "";
  if (semicolon != std::string_view::npos && !ValidParameters(header.substr(semicolon))) return "";
  return type;
}

bool FormatOf(std::string_view media_type, ExpositionFormat* format) {
  if (media_type == "text/plain")
    *format = ExpositionFormat::kPrometheusText;
  else if (media_type == "application/openmetrics-text")
    *format = ExpositionFormat::kOpenMetricsText;
  else if (media_type == "application/vnd.google.protobuf")
    *format = ExpositionFormat::kProtobuf;
  else
    return false;
  return true;
}

}  // namespace

base::Result<ExpositionFormat> ChooseFormat(std::string_view content_type, std::string_view fallback_media_type) {
  ExpositionFormat format;
  if (FormatOf(MediaType(content_type), &format) || FormatOf(fallback_media_type, &format)) return format;
  return base::InvalidArgumentError("the target's Content-Type " + base::Quoted(content_type) +
                                    " names no exposition format; correct the target, or set fallback_scrape_protocol");
}

}  // namespace tidewright::scrape
