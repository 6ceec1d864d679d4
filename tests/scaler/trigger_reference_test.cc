// The pages of docs/triggers are what the tables of settings say. TIDEWRIGHT_UPDATE_DOCS=1 writes them.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <set>
#include <string>

#include "base/file.h"
#include "scaler/trigger.h"

namespace tidewright::scaler {
namespace {

constexpr char kFolder[] = TIDEWRIGHT_SOURCE_DIR "/docs/triggers/";

TEST(TriggerReference, PagesAreCurrent) {
  std::set<std::string> pages;
  for (const std::string& type : TriggerTypes()) {
    const std::string path = kFolder + type + ".md";
    pages.insert(type + ".md");
    const std::string page = TriggerReference(type);
    ASSERT_FALSE(page.empty()) << type;
    if (std::getenv("TIDEWRIGHT_UPDATE_DOCS") != nullptr) {
      std::filesystem::create_directories(kFolder);
      ASSERT_TRUE(base::WriteFileAtomic(path, page).ok());
    }
    auto text = base::ReadFile(path);
    ASSERT_TRUE(text.ok()) << text.status().ToString();
    EXPECT_EQ(*text, page) << path << " is not current: run this test with TIDEWRIGHT_UPDATE_DOCS=1";
  }
  for (const auto& entry : std::filesystem::directory_iterator(kFolder)) {
    std::string name = entry.path().filename();
    EXPECT_TRUE(name == "README.md" || pages.count(name) > 0) << name << " is about no trigger";
  }
}

TEST(TriggerReference, EverySettingIsExplained) {
  for (const std::string& type : TriggerTypes()) {
    EXPECT_EQ(TriggerReference(type).find("|  |\n"), std::string::npos) << type << " has a setting without a meaning";
  }
  EXPECT_EQ(TriggerReference("nothing"), "");
}

}  // namespace
}  // namespace tidewright::scaler
