#include "base/status.h"

namespace tidewright::base {

std::string_view CodeName(Code code) {
  switch (code) {
    case Code::kOk: return "OK";
    case Code::kCancelled: return "CANCELLED";
    case Code::kInvalidArgument: return "INVALID_ARGUMENT";
    case Code::kDeadlineExceeded: return "DEADLINE_EXCEEDED";
    case Code::kNotFound: return "NOT_FOUND";
    case Code::kAlreadyExists: return "ALREADY_EXISTS";
    case Code::kPermissionDenied: return "PERMISSION_DENIED";
    case Code::kUnauthenticated: return "UNAUTHENTICATED";
    case Code::kResourceExhausted: return "RESOURCE_EXHAUSTED";
    case Code::kFailedPrecondition: return "FAILED_PRECONDITION";
    case Code::kAborted: return "ABORTED";
    case Code::kOutOfRange: return "OUT_OF_RANGE";
    case Code::kUnimplemented: return "UNIMPLEMENTED";
    case Code::kInternal: return "INTERNAL";
    case Code::kUnavailable: return "UNAVAILABLE";
    case Code::kDataLoss: return "DATA_LOSS";
  }
  return "UNKNOWN";
}

Status::Status(Code code, std::string message) {
  if (code != Code::kOk) rep_ = std::make_shared<const Rep>(Rep{code, std::move(message)});
}

const std::string& Status::message() const {
  static const std::string empty;
  return rep_ ? rep_->message : empty;
}

Status Status::Annotate(std::string_view context) const {
  if (ok()) return *this;
  std::string text(context);
  text += ": ";
  text += rep_->message;
  return Status(rep_->code, std::move(text));
}

std::string Status::ToString() const {
  if (ok()) return "OK";
  std::string text(CodeName(code()));
  text += ": ";
  text += message();
  return text;
}

Status CancelledError(std::string message) { return {Code::kCancelled, std::move(message)}; }
Status InvalidArgumentError(std::string message) { return {Code::kInvalidArgument, std::move(message)}; }
Status DeadlineExceededError(std::string message) { return {Code::kDeadlineExceeded, std::move(message)}; }
Status NotFoundError(std::string message) { return {Code::kNotFound, std::move(message)}; }
Status AlreadyExistsError(std::string message) { return {Code::kAlreadyExists, std::move(message)}; }
Status PermissionDeniedError(std::string message) { return {Code::kPermissionDenied, std::move(message)}; }
Status UnauthenticatedError(std::string message) { return {Code::kUnauthenticated, std::move(message)}; }
Status ResourceExhaustedError(std::string message) { return {Code::kResourceExhausted, std::move(message)}; }
Status FailedPreconditionError(std::string message) { return {Code::kFailedPrecondition, std::move(message)}; }
Status AbortedError(std::string message) { return {Code::kAborted, std::move(message)}; }
Status OutOfRangeError(std::string message) { return {Code::kOutOfRange, std::move(message)}; }
Status UnimplementedError(std::string message) { return {Code::kUnimplemented, std::move(message)}; }
Status InternalError(std::string message) { return {Code::kInternal, std::move(message)}; }
Status UnavailableError(std::string message) { return {Code::kUnavailable, std::move(message)}; }
Status DataLossError(std::string message) { return {Code::kDataLoss, std::move(message)}; }

}  // namespace tidewright::base
