// The only place that turns errors into HTTP codes and Kubernetes Status objects.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"
#include "http/message.h"

namespace tidewright::apiservice {

// A Status object as the API server writes it: kind Status, status Failure, reason and code that fit `error`.
//
//   kInvalidArgument 400 BadRequest, kUnauthenticated 401 Unauthorized, kPermissionDenied 403 Forbidden, kNotFound 404
//   NotFound, kAlreadyExists 409 AlreadyExists, kAborted 409 Conflict, kResourceExhausted 429 TooManyRequests,
//   kUnavailable and kCancelled 503 ServiceUnavailable, kDeadlineExceeded 504 Timeout; all others 500 InternalError
//   with the text also in details.causes.
http::Response StatusReply(const base::Status& error);

// 405: the path exists, but not for this method.
http::Response MethodNotAllowedReply(std::string_view method);
// 406: none of the media types that the client accepts can be produced.
http::Response NotAcceptableReply();

}  // namespace tidewright::apiservice
