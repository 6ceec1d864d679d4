// The files of the status page, compiled into the binary.
#pragma once

#include <string_view>

namespace tidewright::web {

struct PageFile {
  std::string_view path;  // "/", "/page.css", "/page.js"
  std::string_view content_type;
  std::string_view content;
};

// The file served at `path`, or nullptr.
const PageFile* FindPageFile(std::string_view path);

}  // namespace tidewright::web
