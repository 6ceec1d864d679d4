// Bounds on the resolution of scraped native histograms: native_histogram_bucket_limit and
// native_histogram_min_bucket_factor.
#pragma once

#include <cstdint>

#include "base/status.h"
#include "tsdb/histogram.h"

namespace tidewright::scrape {

// The finest schema whose buckets grow by at least `min_factor` each; the finest there is for 0.
int32_t MaxSchemaFor(double min_factor);

// Coarsens an exponential histogram until its schema is at most `max_schema` and it has at most `max_buckets` buckets
// (0: any number). kResourceExhausted when that is not possible: the coarsest schema is too fine, or the buckets are
// custom ones. The histogram must be valid.
base::Status LimitResolution(int64_t max_buckets, int32_t max_schema, tsdb::Histogram* histogram);
base::Status LimitResolution(int64_t max_buckets, int32_t max_schema, tsdb::FloatHistogram* histogram);

}  // namespace tidewright::scrape
