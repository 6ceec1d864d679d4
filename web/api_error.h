// The one place where errors become HTTP codes of the Prometheus API.
#pragma once

#include "base/status.h"
#include "http/message.h"

namespace tidewright::web {

// {"status":"error","errorType":...,"error":...} with the code that Prometheus uses for that cause. A bad parameter is
// `bad_data` (400); the same code out of an evaluation is `execution` (422).
enum class ErrorSource { kRequest, kEvaluation };
http::Response ErrorReply(const base::Status& status, ErrorSource source);

}  // namespace tidewright::web
