#include "web/reply.h"

#include <utility>

#include "base/json.h"
#include "promql/value_json.h"

namespace tidewright::web {

namespace {

void AppendStrings(std::string& out, std::string_view member, const std::vector<std::string>& texts) {
  if (texts.empty()) return;
  out += ",\"";
  out += member;
  out += "\":[";
  for (size_t i = 0; i < texts.size(); ++i) {
    if (i > 0) out += ',';
    promql::AppendJsonString(texts[i], &out);
  }
  out += ']';
}

}  // namespace

http::Response RawSuccess(std::string data, const std::vector<std::string>& warnings,
                          const std::vector<std::string>& infos) {
  http::Response response;
  response.headers.Set("Content-Type", "application/json");
  data.insert(0, "{\"status\":\"success\",\"data\":");
  response.body = std::move(data);
  AppendStrings(response.body, "warnings", warnings);
  AppendStrings(response.body, "infos", infos);
  response.body += '}';
  return response;
}

http::Response JsonSuccess(const base::Json& data) { return RawSuccess(base::DumpJson(data)); }

http::Response PlainText(int status, std::string text) {
  return {status, {{"Content-Type", "text/plain; charset=utf-8"}}, std::move(text)};
}

http::Response PlainError(int status, const std::string& text) {
  http::Response response = PlainText(status, text + "\n");
  response.headers.Set("X-Content-Type-Options", "nosniff");
  return response;
}

http::Response MethodNotAllowed(std::string_view allowed) {
  http::Response response = PlainError(405, "Method Not Allowed");
  response.headers.Set("Allow", std::string(allowed) + ", OPTIONS");
  return response;
}

http::Response NoContent() { return {204, {}, ""}; }

}  // namespace tidewright::web
