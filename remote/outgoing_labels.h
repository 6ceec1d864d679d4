// OutgoingLabels: what becomes of a series' labels on the way to a receiver. The external labels that it does not have
// are added, then write_relabel_configs apply, which may drop it.
#pragma once

#include <vector>

#include "scrape/relabel.h"
#include "tsdb/labels.h"
#include "tsdb/log_tail.h"

namespace tidewright::remote {

enum class Fate { kSent, kDropped, kUnknown };  // kUnknown: the log does not explain the series.

// Remembers a bit or two per series and no labels. Not thread-safe. Borrows the rules.
class OutgoingLabels {
 public:
  OutgoingLabels(const std::vector<scrape::RelabelRule>& rules, tsdb::Labels external);

  Fate FateOf(tsdb::SeriesRef ref, const tsdb::LogTail& tail);
  // The labels to be sent, ascending by name, good until the next call and the tail's next Next(). Empty: not to be
  // sent.
  const tsdb::LabelViews& Of(tsdb::SeriesRef ref, const tsdb::LogTail& tail);

 private:
  bool Load(tsdb::SeriesRef ref, const tsdb::LogTail& tail);
  bool Rewrite();

  const std::vector<scrape::RelabelRule>& rules_;
  const tsdb::Labels external_;
  bool rewrites_ = false;  // A rule may change labels, and does not only choose series.
  tsdb::RefBits judged_;
  tsdb::RefBits sent_;
  tsdb::LabelViews own_;
  tsdb::LabelViews merged_;
  tsdb::Labels rewritten_;
};

}  // namespace tidewright::remote
