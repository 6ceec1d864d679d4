// What the scraper needs of a store beyond samples that are floats.
#pragma once

#include <cstdint>

#include "base/status.h"
#include "scrape/exposition.h"
#include "tsdb/appender.h"
#include "tsdb/histogram.h"
#include "tsdb/labels.h"

namespace tidewright::scrape {

// An Appender that takes native histograms and exemplars, too. The scraper asks each Appender that it gets whether it
// is one; to one that is not it hands floats only, so that histograms stay classic and exemplars are passed over.
class SampleAppender : public tsdb::Appender {
 public:
  // As Append(); the histogram is valid.
  virtual base::Result<tsdb::SeriesRef> AppendHistogram(tsdb::SeriesRef ref, const tsdb::Labels& labels, int64_t t,
                                                        const tsdb::Histogram& histogram) = 0;
  virtual base::Result<tsdb::SeriesRef> AppendFloatHistogram(tsdb::SeriesRef ref, const tsdb::Labels& labels, int64_t t,
                                                             const tsdb::FloatHistogram& histogram) = 0;
  // Of a series that was just appended to; the exemplar has a timestamp. What is older than the series' newest
  // exemplar, repeats it, or has too long labels is refused.
  virtual base::Status AppendExemplar(tsdb::SeriesRef ref, const Exemplar& exemplar) = 0;
};

}  // namespace tidewright::scrape
