#include "web/api_error.h"

#include "base/json.h"

namespace tidewright::web {

namespace {

struct WireError {
  int status;
  const char* type;
};

WireError Classify(base::Code code, ErrorSource source) {
  switch (code) {
    case base::Code::kInvalidArgument:
      return source == ErrorSource::kRequest ? WireError{400, "bad_data"} : WireError{422, "execution"};
    case base::Code::kResourceExhausted: return {422, "execution"};
    case base::Code::kDeadlineExceeded: return {503, "timeout"};
    case base::Code::kCancelled: return {499, "canceled"};
    case base::Code::kNotFound: return {404, "not_found"};
    case base::Code::kUnavailable:
    case base::Code::kFailedPrecondition: return {500, "unavailable"};
    default: return {500, "internal"};
  }
}

}  // namespace

http::Response ErrorReply(const base::Status& status, ErrorSource source) {
  WireError wire = Classify(status.code(), source);
  http::Response response;
  response.status = wire.status;
  response.headers.Set("Content-Type", "application/json");
  base::Json body = {{"status", "error"}, {"errorType", wire.type}, {"error", status.message()}};
  response.body = base::DumpJson(body);
  return response;
}

}  // namespace tidewright::web
