// Takes over what a Prometheus left in a data directory. Private to tsdb.
#pragma once

#include <string>

#include "base/clock.h"
#include "base/status.h"
#include "tsdb/block_set.h"
#include "tsdb/db.h"
#include "tsdb/head.h"

namespace tidewright::tsdb {

// Reads the write-ahead log and the head chunks of a Prometheus in `directory`, if there are any: samples in order go
// to the head (through `db`), histograms and samples out of order into blocks. Once all of it is safe on disk the files
// of Prometheus are removed. When it is interrupted the next start begins anew; what is there already is passed over.
base::Status TakeOverPrometheus(const std::string& directory, BlockSet& blocks, Head& head, Db& db, base::Clock& clock);

}  // namespace tidewright::tsdb
