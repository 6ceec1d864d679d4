// Status and Result<T>: how every function of this project reports failure.
//
// No exception crosses a module boundary; exceptions of libraries are caught where the library is called. A Status is
// cheap when OK (one null pointer). Messages are written for the person on call: what was being done, with which
// object, and what would be right. Context is added on the way up with Annotate(), once per layer:
//
//   auto text = ReadFile(path);
//   if (!text.ok()) return text.status().Annotate("config " + path);   // "config /etc/x.yaml: no such file"
#pragma once

#include <cassert>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace tidewright::base {

// The causes that callers distinguish. The names follow the canonical gRPC/Abseil set.
enum class Code {
  kOk = 0,
  kCancelled,           // The caller (or Stop()) gave up.
  kInvalidArgument,     // The input is wrong, whatever the state of the system; retrying cannot help.
  kDeadlineExceeded,    // A time limit ended it.
  kNotFound,            // The named object does not exist.
  kAlreadyExists,       // The object to be created is there.
  kPermissionDenied,    // The identity is known and may not.
  kUnauthenticated,     // The identity is not known.
  kResourceExhausted,   // A limit: size, count, memory, disk.
  kFailedPrecondition,  // The state forbids it; someone has to change the state first.
  kAborted,             // A concurrent change won (HTTP 409); read again and retry.
  kOutOfRange,          // Past the valid range, for instance a sample that is too old.
  kUnimplemented,       // This build does not do that.
  kInternal,            // A bug of ours.
  kUnavailable,         // The peer is not there right now; retry later.
  kDataLoss,            // Stored bytes are corrupt.
};

// The canonical name of a code, for instance "NOT_FOUND".
std::string_view CodeName(Code code);

// The outcome of an operation. A value type; thread-compatible.
class [[nodiscard]] Status {
 public:
  Status() = default;  // OK.
  Status(Code code, std::string message);

  static Status Ok() { return Status(); }

  bool ok() const { return rep_ == nullptr; }
  Code code() const { return rep_ ? rep_->code : Code::kOk; }
  // Empty when OK.
  const std::string& message() const;

  // Returns the same status with `context` and ": " in front of the message. OK stays OK.
  Status Annotate(std::string_view context) const;

  // "OK", or the code's name, ": " and the message.
  std::string ToString() const;

 private:
  struct Rep {
    Code code;
    std::string message;
  };
  std::shared_ptr<const Rep> rep_;  // Shared because statuses are copied into conditions, logs and callbacks.
};

// One factory per code, so that call sites read as sentences.
Status CancelledError(std::string message);
Status InvalidArgumentError(std::string message);
Status DeadlineExceededError(std::string message);
Status NotFoundError(std::string message);
Status AlreadyExistsError(std::string message);
Status PermissionDeniedError(std::string message);
Status UnauthenticatedError(std::string message);
Status ResourceExhaustedError(std::string message);
Status FailedPreconditionError(std::string message);
Status AbortedError(std::string message);
Status OutOfRangeError(std::string message);
Status UnimplementedError(std::string message);
Status InternalError(std::string message);
Status UnavailableError(std::string message);
Status DataLossError(std::string message);

// A T or the Status that says why there is none. Dereferencing a failed Result is a bug and asserts.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}         // NOLINT: implicit so that `return value;` works.
  Result(Status status) : status_(std::move(status)) {  // NOLINT: implicit so that `return error;` works.
    assert(!status_.ok());
    if (status_.ok()) status_ = InternalError("a Result was built from an OK status");
  }

  bool ok() const { return value_.has_value(); }
  const Status& status() const { return status_; }

  T& value() & {
    assert(ok());
    return *value_;
  }
  const T& value() const& {
    assert(ok());
    return *value_;
  }
  T&& value() && {
    assert(ok());
    return *std::move(value_);
  }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

 private:
  Status status_;
  std::optional<T> value_;
};

}  // namespace tidewright::base

#define TW_CONCAT_INNER(a, b) a##b
#define TW_CONCAT(a, b) TW_CONCAT_INNER(a, b)

// Returns the status of `expr` from the enclosing function unless it is OK.
#define TW_RETURN_IF_ERROR(expr)                    \
  do {                                              \
    if (auto tw_status = (expr); !tw_status.ok()) { \
      return tw_status;                             \
    }                                               \
  } while (false)

// Declares or assigns `lhs` from the Result `expr`, or returns its status.
#define TW_ASSIGN_OR_RETURN(lhs, expr) TW_ASSIGN_OR_RETURN_IMPL(TW_CONCAT(tw_result_, __LINE__), lhs, expr)
#define TW_ASSIGN_OR_RETURN_IMPL(result, lhs, expr) \
  auto result = (expr);                             \
  if (!result.ok()) return result.status();         \
  lhs = *std::move(result)
