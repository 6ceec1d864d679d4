// Classic histograms as native ones with custom buckets.
#pragma once

#include <vector>

#include "base/status.h"
#include "promqltest/notation.h"

namespace tidewright::promqltest {

// The native histograms that the classic ones among `lines` amount to, as lines of their own: from name_bucket,
// name_sum and name_count to name. kInvalidArgument when counts contradict each other.
base::Result<std::vector<SeriesLine>> ConvertClassic(const std::vector<SeriesLine>& lines);

}  // namespace tidewright::promqltest
