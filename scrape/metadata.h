// What targets say about their metric families: TYPE, HELP and UNIT lines.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/mutex.h"
#include "tsdb/appender.h"

namespace tidewright::scrape {

struct FamilyMetadata {
  std::string family;
  tsdb::Metadata metadata;
};

// Keeps what many targets say in the same words once. Thread-safe.
class MetadataTable {
 public:
  std::shared_ptr<const FamilyMetadata> Intern(const std::string& family, const tsdb::Metadata& metadata);

 private:
  void Sweep() REQUIRES_LOCK(mu_);

  base::Mutex mu_;
  std::unordered_multimap<std::string_view, std::shared_ptr<const FamilyMetadata>> known_ GUARDED_BY(mu_);
  size_t sweep_at_ GUARDED_BY(mu_) = 1024;  // The size at which what nobody uses any more is forgotten.
};

// The families of one target. Not thread-safe. Borrows the table.
class TargetMetadata {
 public:
  // Bounds what a hostile target can make us remember.
  static constexpr size_t kMaxFamilies = 10'000;
  // A family that more scrapes in a row did not mention is forgotten.
  static constexpr uint32_t kForgetAfter = 10;

  explicit TargetMetadata(MetadataTable& table) : table_(table) {}

  void BeginScrape();
  // What is known about a family, since a scrape need not say everything again.
  void Recall(std::string_view family, tsdb::Metadata* metadata) const;
  // Notes what the scrape at hand says about a family. Returns whether the store does not know that yet.
  bool Note(const std::string& family, const tsdb::Metadata& metadata);
  // Ends a scrape that is being stored.
  void EndScrape();

  std::vector<std::shared_ptr<const FamilyMetadata>> All() const;

 private:
  struct Known {
    std::shared_ptr<const FamilyMetadata> family;
    uint32_t seen = 0;  // The scrape that mentioned it last.
    bool stored = false;
  };

  MetadataTable& table_;
  std::unordered_map<std::string_view, Known> families_;  // The names are those of the values.
  uint32_t scrape_ = 0;
  size_t mentioned_ = 0;  // Families in the scrape at hand.
  bool news_ = false;     // Some of them are not stored yet.
};

}  // namespace tidewright::scrape
