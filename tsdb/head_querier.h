// HeadQuerier: a consistent view of the head.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tsdb/head.h"
#include "tsdb/querier.h"

namespace tidewright::tsdb {

// The samples of the head between mint and maxt (inclusive). Must not outlive the head.
std::unique_ptr<Querier> NewHeadQuerier(Head& head, int64_t mint, int64_t maxt);

}  // namespace tidewright::tsdb
