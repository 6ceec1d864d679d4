#include "web/page.h"

#include <algorithm>
#include <string>

#include "http/request_head.h"
#include "ui_files.h"

namespace tidewright::web {

namespace {

// The views of web/ui/src/app.tsx, and their names in Prometheus' links.
constexpr std::string_view kViews[] = {"/alerts",   "/config",      "/flags",
                                       "/graph",    "/query",       "/metric-rules",
                                       "/rules",    "/runtimeinfo", "/service-discovery",
                                       "/status",   "/targets",     "/tsdb-status",
                                       "/workload", "/workloads"};

constexpr std::string_view kDocument = "/";

constexpr char kPolicy[] =
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

// Caches ask for the document each time; nothing else ever changes under its name.
constexpr char kAskAgain[] = "no-cache";
constexpr char kKeep[] = "max-age=31536000, immutable";

}  // namespace

std::span<const PageFile> PageFiles() { return kPageFiles; }

const PageFile* FindPageFile(std::string_view path) {
  const bool is_view = std::find(std::begin(kViews), std::end(kViews), path) != std::end(kViews);
  const std::string_view wanted = is_view ? kDocument : path;
  for (const PageFile& file : kPageFiles) {
    if (file.path == wanted) return &file;
  }
  return nullptr;
}

http::Response PageReply(const PageFile& file, const http::Headers& request_headers) {
  http::Response response;
  // Weak: the compressed and the plain form have the same one.
  response.headers.Set("ETag", "W/\"" + std::string(file.tag) + "\"");
  response.headers.Set("Cache-Control", file.path == kDocument ? kAskAgain : kKeep);
  response.headers.Set("Content-Security-Policy", kPolicy);
  response.headers.Set("X-Content-Type-Options", "nosniff");
  response.headers.Set("Referrer-Policy", "no-referrer");
  if (request_headers.Get("If-None-Match").find(file.tag) != std::string::npos) {
    response.status = 304;
    return response;
  }
  response.headers.Set("Content-Type", std::string(file.content_type));
  const bool compressed = !file.gzip.empty() && http::AcceptsGzip(request_headers);
  if (!file.gzip.empty()) response.headers.Set("Vary", "Accept-Encoding");
  if (compressed) response.headers.Set("Content-Encoding", "gzip");
  response.body = compressed ? file.gzip : file.content;
  return response;
}

}  // namespace tidewright::web
