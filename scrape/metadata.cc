#include "scrape/metadata.h"

#include <utility>

namespace tidewright::scrape {
namespace {

bool Same(const tsdb::Metadata& a, const tsdb::Metadata& b) {
  return a.type == b.type && a.unit == b.unit && a.help == b.help;
}

}  // namespace

std::shared_ptr<const FamilyMetadata> MetadataTable::Intern(const std::string& family, const tsdb::Metadata& metadata) {
  base::MutexLock lock(mu_);
  auto [from, to] = known_.equal_range(family);
  for (auto it = from; it != to; ++it) {
    if (Same(it->second->metadata, metadata)) return it->second;
  }
  if (known_.size() >= sweep_at_) Sweep();
  auto made = std::make_shared<const FamilyMetadata>(FamilyMetadata{family, metadata});
  known_.emplace(made->family, made);
  return made;
}

// Under the lock nobody else can come by a reference that only the table has.
void MetadataTable::Sweep() {
  for (auto it = known_.begin(); it != known_.end();) it = it->second.use_count() == 1 ? known_.erase(it) : ++it;
  sweep_at_ = known_.size() * 2 + 1024;
}

void TargetMetadata::BeginScrape() {
  ++scrape_;
  mentioned_ = 0;
  news_ = false;
}

void TargetMetadata::Recall(std::string_view family, tsdb::Metadata* metadata) const {
  static const tsdb::Metadata nothing;
  auto it = families_.find(family);
  *metadata = it == families_.end() ? nothing : it->second.family->metadata;
}

bool TargetMetadata::Note(const std::string& family, const tsdb::Metadata& metadata) {
  auto it = families_.find(family);
  if (it != families_.end() && !Same(it->second.family->metadata, metadata)) {
    families_.erase(it);
    it = families_.end();
  }
  if (it == families_.end()) {
    if (families_.size() >= kMaxFamilies) return false;
    Known known;
    known.family = table_.Intern(family, metadata);
    std::string_view name = known.family->family;
    it = families_.emplace(name, std::move(known)).first;
  }
  mentioned_ += it->second.seen == scrape_ ? 0 : 1;
  it->second.seen = scrape_;
  news_ = news_ || !it->second.stored;
  return !it->second.stored;
}

void TargetMetadata::EndScrape() {
  if (!news_ && families_.size() == mentioned_) return;
  for (auto it = families_.begin(); it != families_.end();) {
    it->second.stored = it->second.stored || it->second.seen == scrape_;
    it = scrape_ - it->second.seen > kForgetAfter ? families_.erase(it) : ++it;
  }
}

std::vector<std::shared_ptr<const FamilyMetadata>> TargetMetadata::All() const {
  std::vector<std::shared_ptr<const FamilyMetadata>> all;
  all.reserve(families_.size());
  for (const auto& [name, known] : families_) all.push_back(known.family);
  return all;
}

}  // namespace tidewright::scrape
