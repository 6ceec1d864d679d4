// The files of the web page, compiled into the binary: what web/ui makes of itself, or web/plain/ui_files.h in a
// program that was built without it.
#pragma once

#include <span>
#include <string_view>

#include "http/message.h"

namespace tidewright::web {

// One file. `path` is where it is served: "/" is the document of all views; what lies below "/assets/" has a hash of
// its content in its name.
struct PageFile {
  std::string_view path;
  std::string_view content_type;
  std::string_view tag;  // Changes with the content.
  std::string_view content;
  std::string_view gzip;  // The content compressed, or empty if it is only kept as it is.
};

std::span<const PageFile> PageFiles();

// The file served at `path`, or null. The document is also served at the names of its views (/targets, /rules, ...),
// among them those that links of Prometheus have (/graph, /tsdb-status, ...).
const PageFile* FindPageFile(std::string_view path);

// The reply to a GET or HEAD of `file`: compressed if the client accepts gzip, 304 if the client has it already.
// Browsers ask again for the document each time, and never for what has a hash in its name. The policy that comes with
// it lets the page load nothing from elsewhere and run nothing inline, and nobody may frame it.
http::Response PageReply(const PageFile& file, const http::Headers& request_headers);

}  // namespace tidewright::web
