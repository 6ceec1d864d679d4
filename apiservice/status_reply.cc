#include "apiservice/status_reply.h"

#include "base/json.h"

namespace tidewright::apiservice {
namespace {

struct WireCode {
  int code;
  const char* reason;
};

WireCode WireCodeOf(base::Code code) {
  switch (code) {
    case base::Code::kInvalidArgument:
    case base::Code::kOutOfRange: return {400, "BadRequest"};
    case base::Code::kUnauthenticated: return {401, "Unauthorized"};
    case base::Code::kPermissionDenied: return {403, "Forbidden"};
    case base::Code::kNotFound: return {404, "NotFound"};
    case base::Code::kAlreadyExists: return {409, "AlreadyExists"};
    case base::Code::kAborted: return {409, "Conflict"};
    case base::Code::kResourceExhausted: return {429, "TooManyRequests"};
    case base::Code::kCancelled:
    case base::Code::kUnavailable: return {503, "ServiceUnavailable"};
    case base::Code::kDeadlineExceeded: return {504, "Timeout"};
    case base::Code::kOk:
    case base::Code::kFailedPrecondition:
    case base::Code::kUnimplemented:
    case base::Code::kInternal:
    case base::Code::kDataLoss: break;
  }
  return {500, "InternalError"};
}

http::Response MakeReply(WireCode wire, const std::string& message) {
  base::Json body = {{"kind", "Status"},    {"apiVersion", "v1"}, {"metadata", base::Json::object()},
                     {"status", "Failure"}, {"message", message}, {"reason", wire.reason},
                     {"code", wire.code}};
  if (wire.code == 500) {
    body["message"] = "Internal error occurred: " + message;
    body["details"] = {{"causes", base::Json::array({{{"message", message}}})}};
  }
  http::Response response;
  response.status = wire.code;
  response.headers.Set("Content-Type", "application/json");
  response.body = base::DumpJson(body) + "\n";
  return response;
}

}  // namespace

http::Response StatusReply(const base::Status& error) { return MakeReply(WireCodeOf(error.code()), error.message()); }

http::Response MethodNotAllowedReply(std::string_view method) {
  http::Response response =
      MakeReply({405, "MethodNotAllowed"}, std::string(method) + " is not supported here; metrics can only be read");
  response.headers.Set("Allow", "GET, HEAD");
  return response;
}

http::Response NotAcceptableReply() {
  return MakeReply({406, "NotAcceptable"},
                   "only the following media types are served: application/json, and of metrics "
                   "application/vnd.kubernetes.protobuf");
}

}  // namespace tidewright::apiservice
