#include "sandbox/api_request.h"

#include <array>
#include <utility>

#include "base/document.h"
#include "base/json.h"
#include "base/strings.h"
#include "sandbox/protobuf_body.h"

namespace tidewright::sandbox {

namespace {

using base::Code;
using base::Json;

struct WireCode {
  Code code;
  int http;
  const char* reason;
};

constexpr std::array kWireCodes = {
    WireCode{Code::kCancelled, 504, "Timeout"},
    WireCode{Code::kInvalidArgument, 400, "BadRequest"},
    WireCode{Code::kDeadlineExceeded, 504, "Timeout"},
    WireCode{Code::kNotFound, 404, "NotFound"},
    WireCode{Code::kAlreadyExists, 409, "AlreadyExists"},
    WireCode{Code::kPermissionDenied, 403, "Forbidden"},
    WireCode{Code::kUnauthenticated, 401, "Unauthorized"},
    WireCode{Code::kResourceExhausted, 413, "RequestEntityTooLarge"},
    WireCode{Code::kFailedPrecondition, 422, "Invalid"},
    WireCode{Code::kAborted, 409, "Conflict"},
    WireCode{Code::kOutOfRange, 410, "Expired"},
    WireCode{Code::kUnimplemented, 415, "UnsupportedMediaType"},
    WireCode{Code::kUnavailable, 503, "ServiceUnavailable"},
};

WireCode WireCodeOf(Code code) {
  for (const WireCode& row : kWireCodes) {
    if (row.code == code) return row;
  }
  return {code, 500, "InternalError"};
}

std::string MediaType(std::string_view content_type) {
  return base::ToLower(base::TrimSpace(content_type.substr(0, content_type.find(';'))));
}

}  // namespace

std::optional<ResourcePath> ParseResourcePath(std::string_view path) {
  while (path.size() > 1 && path.back() == '/') path.remove_suffix(1);
  if (path.empty() || path[0] != '/') return std::nullopt;
  std::vector<std::string> parts = base::Split(path.substr(1), '/');
  ResourcePath out;
  size_t at = 0;
  if (parts[0] == "api" && parts.size() > 2) {
    out.version = parts[1];
    at = 2;
  } else if (parts[0] == "apis" && parts.size() > 3) {
    out.group = parts[1];
    out.version = parts[2];
    at = 3;
  } else {
    return std::nullopt;
  }
  size_t left = parts.size() - at;
  const bool of_namespace = left == 3 && (parts[at + 2] == "status" || parts[at + 2] == "finalize");
  if (parts[at] == "namespaces" && left >= 3 && !of_namespace) {
    out.ns = parts[at + 1];
    at += 2;
    left -= 2;
  }
  if (left > 3) return std::nullopt;
  out.plural = parts[at];
  if (left > 1) out.name = parts[at + 1];
  if (left > 2) out.subresource = parts[at + 2];
  return out;
}

AcceptedForm ParseAccept(const http::Headers& headers) {
  AcceptedForm form;
  for (const std::string& part : base::Split(headers.Get("Accept"), ',')) {
    if (part.find("as=Table") != std::string::npos && part.find("v=v1beta1") == std::string::npos) form.table = true;
    if (part.find("as=APIGroupDiscoveryList") != std::string::npos && part.find("v=v2;") != std::string::npos) {
      form.aggregated_discovery = true;
    }
  }
  return form;
}

std::optional<PatchKind> PatchKindOf(std::string_view content_type) {
  std::string type = MediaType(content_type);
  if (type == "application/merge-patch+json") return PatchKind::kMerge;
  if (type == "application/json-patch+json") return PatchKind::kJson;
  if (type == "application/strategic-merge-patch+json") return PatchKind::kStrategic;
  if (type == "application/apply-patch+yaml") return PatchKind::kApply;
  return std::nullopt;
}

base::Result<Json> ParseBody(const http::ServerRequest& request) {
  std::string type = MediaType(request.headers.Get("Content-Type"));
  if (type == "application/vnd.kubernetes.protobuf") return DecodeProtobufBody(request.body);
  if (type.find("yaml") == std::string::npos) return base::ParseJson(request.body);
  TW_ASSIGN_OR_RETURN(base::Node node, base::ParseYaml(request.body, "request body"));
  return base::NodeToJson(node);
}

WriteContext WriteContextOf(const http::ServerRequest& request) {
  WriteContext context;
  context.dry_run = http::QueryValue(request.query, "dryRun") == "All";
  std::string validation = http::QueryValue(request.query, "fieldValidation");
  // The real server's default is Warn.
  context.field_validation = validation == "Strict"   ? FieldValidation::kStrict
                             : validation == "Ignore" ? FieldValidation::kIgnore
                                                      : FieldValidation::kWarn;
  return context;
}

base::Result<DeleteOptions> DeleteOptionsOf(const http::ServerRequest& request) {
  DeleteOptions options;
  Json body = Json::object();
  if (!base::TrimSpace(request.body).empty()) {
    TW_ASSIGN_OR_RETURN(body, ParseBody(request));
  }
  std::string propagation = base::FindString(body, {"propagationPolicy"});
  if (propagation.empty()) propagation = http::QueryValue(request.query, "propagationPolicy");
  if (propagation == "Foreground") {
    options.propagation = Propagation::kForeground;
  } else if (propagation == "Orphan" || base::FindBool(body, {"orphanDependents"})) {
    options.propagation = Propagation::kOrphan;
  } else if (!propagation.empty() && propagation != "Background") {
    return base::InvalidArgumentError("propagationPolicy " + base::Quoted(propagation) +
                                      " is not one of Background, Foreground, Orphan");
  }
  const Json* grace = base::Find(body, {"gracePeriodSeconds"});
  int64_t seconds = 0;
  if (grace != nullptr && grace->is_number_integer()) {
    options.grace_seconds = grace->get<int64_t>();
  } else if (base::ParseInt64(http::QueryValue(request.query, "gracePeriodSeconds"), &seconds)) {
    options.grace_seconds = seconds;
  }
  options.precondition_uid = base::FindString(body, {"preconditions", "uid"});
  options.precondition_resource_version = base::FindString(body, {"preconditions", "resourceVersion"});
  return options;
}

http::Response JsonReply(int status, std::string text) {
  http::Response response;
  response.status = status;
  response.headers.Set("Content-Type", "application/json");
  response.body = std::move(text);
  return response;
}

Json StatusObject(const base::Status& status, const ResourcePath* path, const std::string& kind,
                  const std::vector<FieldError>& causes) {
  WireCode wire = WireCodeOf(status.code());
  Json details = Json::object();
  if (path != nullptr) {
    if (!path->name.empty()) details["name"] = path->name;
    if (!path->group.empty()) details["group"] = path->group;
    details["kind"] = causes.empty() ? path->plural : kind;
  }
  for (const FieldError& cause : causes) {
    details["causes"].push_back({{"reason", cause.reason}, {"message", cause.message}, {"field", cause.field}});
  }
  Json object = {{"kind", "Status"},
                 {"apiVersion", "v1"},
                 {"metadata", Json::object()},
                 {"status", "Failure"},
                 {"message", status.message()},
                 {"reason", wire.reason},
                 {"details", std::move(details)},
                 {"code", wire.http}};
  return object;
}

http::Response StatusReply(const Json& status_object) {
  return JsonReply(static_cast<int>(base::FindInt(status_object, {"code"}, 500)), base::DumpJson(status_object));
}

}  // namespace tidewright::sandbox
