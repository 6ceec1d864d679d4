// What the scraper needs of a store beyond samples that are floats.
#pragma once

#include <cstdint>

#include "base/status.h"
#include "scrape/exposition.h"
#include "tsdb/appender.h"
#include "tsdb/histogram.h"
#include "tsdb/labels.h"

namespace tidewright::scrape {

// An Appender that takes exemplars, too. The scraper asks each Appender that it gets whether it is one.
class SampleAppender : public tsdb::Appender {
 public:
  // Of a series that was just appended to; the exemplar has a timestamp. What is older than the series' newest
  // exemplar, repeats it, or has too long labels is refused.
  virtual base::Status AppendExemplar(tsdb::SeriesRef ref, const Exemplar& exemplar) = 0;
};

}  // namespace tidewright::scrape
