#include "web/page.h"

#include <gtest/gtest.h>

#include <string>

#include "base/file.h"

namespace tidewright::web {
namespace {

// Embedding must not change a byte.
TEST(PageTest, FilesAreServedAsTheyAreInTheSource) {
  for (const auto& [path, file] : {std::pair("/", "index.html"),
                                   {"/page.css", "page.css"},
                                   {"/page.js", "page.js"},
                                   {"/targets", "targets.html"},
                                   {"/targets.js", "targets.js"}}) {
    const PageFile* served = FindPageFile(path);
    ASSERT_NE(served, nullptr) << path;
    EXPECT_EQ(std::string(served->content), *base::ReadFile(std::string(TIDEWRIGHT_SOURCE_DIR "/web/page/") + file));
  }
  EXPECT_EQ(FindPageFile("/other"), nullptr);
}

// The content security policy allows neither inline scripts nor inline styles.
TEST(PageTest, HasNoInlineCode) {
  for (const char* path : {"/", "/targets"}) {
    std::string html(FindPageFile(path)->content);
    EXPECT_EQ(html.find("<style"), std::string::npos) << path;
    EXPECT_EQ(html.find("style="), std::string::npos) << path;
    EXPECT_EQ(html.find(" on"), html.find(" on call")) << path << ": an event handler attribute";
  }
  for (const char* path : {"/page.js", "/targets.js"}) {
    std::string script(FindPageFile(path)->content);
    EXPECT_EQ(script.find("innerHTML"), std::string::npos) << path;
    EXPECT_EQ(script.find("style:"), std::string::npos) << path;
  }
}

}  // namespace
}  // namespace tidewright::web
