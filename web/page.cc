#include "web/page.h"

#include <array>

#include "page_files.h"

namespace tidewright::web {

const PageFile* FindPageFile(std::string_view path) {
  static constexpr std::array kFiles = {
      PageFile{"/", "text/html; charset=utf-8", embedded::kIndexHtml},
      PageFile{"/page.css", "text/css; charset=utf-8", embedded::kPageCss},
      PageFile{"/page.js", "text/javascript; charset=utf-8", embedded::kPageJs},
      PageFile{"/targets", "text/html; charset=utf-8", embedded::kTargetsHtml},
      PageFile{"/targets.js", "text/javascript; charset=utf-8", embedded::kTargetsJs}};
  for (const PageFile& file : kFiles) {
    if (file.path == path) return &file;
  }
  return nullptr;
}

}  // namespace tidewright::web
