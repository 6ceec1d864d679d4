// MergeQuerier: one view of several sources, such as blocks and the head.
#pragma once

#include <memory>
#include <vector>

#include "tsdb/querier.h"

namespace tidewright::tsdb {

// Series that several sources have are merged by time; of samples at the same time the one of the earliest source in
// `sources` stays.
std::unique_ptr<Querier> NewMergeQuerier(std::vector<std::unique_ptr<Querier>> sources);

}  // namespace tidewright::tsdb
