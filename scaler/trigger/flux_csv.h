// The answer to a Flux query: CSV with annotations. Private to scaler/trigger.
// Format: RFC 4180, and "Annotated CSV" in InfluxDB's documentation.
#pragma once

#include <string_view>

#include "base/status.h"

namespace tidewright::scaler::trigger {

// The `_value` of the first record, with the column's default in place of nothing. Reads no further than that record;
// annotations may be missing. kUnavailable: not such CSV. kFailedPrecondition: there is no record, its `_value` is null
// or no number, or the server reports a failure of the query (a table with a column `error`), with the server's text.
base::Result<double> FirstFluxValue(std::string_view csv);

}  // namespace tidewright::scaler::trigger
