// Reading the conformance data of the scraper. A helper of the tests in this folder.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>
#include <map>
#include <set>
#include <string>

#include "base/file.h"
#include "base/json.h"
#include "base/strings.h"

namespace tidewright::scrape {

inline std::string ConformancePath(const std::string& file) {
  const char* folder = std::getenv("CONFORMANCE_DIR");
  return (folder != nullptr ? std::string(folder) : std::string(TIDEWRIGHT_SOURCE_DIR) + "/../shared/conformance") +
         "/" + file;
}

// A file; an object without members when the data is not here.
inline base::Json LoadDocument(const std::string& file) {
  auto text = base::ReadFile(ConformancePath(file));
  if (!text.ok()) return base::Json::object();
  auto json = base::ParseJson(*text);
  EXPECT_TRUE(json.ok()) << json.status().ToString();
  return json.ok() ? *json : base::Json::object();
}

// The list `cases` of a file; null when the data is not here.
inline base::Json LoadCases(const std::string& file) { return LoadDocument(file)["cases"]; }

// A member that is given as `key`, or as `key`_b64 when it is not UTF-8.
inline std::string TextOrBase64(const base::Json& object, const std::string& key) {
  if (object.contains(key)) return object[key].get<std::string>();
  std::string bytes;
  EXPECT_TRUE(base::Base64Decode(object.value(key + "_b64", ""), &bytes));
  return bytes;
}

// Counts cases and prints those that differ (the first few in full).
class Tally {
 public:
  explicit Tally(std::string name) : name_(std::move(name)) {}
  void Count(bool passed, const std::string& label, const std::string& detail) {
    ++total_;
    passed_ += passed ? 1 : 0;
    if (!passed) failed_.insert(label);
    if (!passed && total_ - passed_ <= 60) std::cerr << name_ << " differs: " << label << ": " << detail << "\n";
  }
  int passed() const { return passed_; }
  int total() const { return total_; }
  // The labels of the cases that differ.
  const std::set<std::string>& failed() const { return failed_; }
  ~Tally() { std::cerr << "[ COUNT    ] " << name_ << ": " << passed_ << " of " << total_ << " pass\n"; }

 private:
  const std::string name_;
  int total_ = 0;
  int passed_ = 0;
  std::set<std::string> failed_;
};

// Expects that of all cases exactly these differ, and prints why they are decided otherwise.
inline void ExpectOnly(const std::set<std::string>& failed, const std::map<std::string, std::string>& reasons) {
  std::set<std::string> decided;
  for (const auto& [name, reason] : reasons) {
    std::cerr << "[ DIFFERS  ] " << name << ": " << reason << "\n";
    decided.insert(name);
  }
  EXPECT_EQ(failed, decided);
}

}  // namespace tidewright::scrape
