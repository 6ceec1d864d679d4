// What an HTTP request asks of the API server, and how the answers are spelled.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json_fwd.h"
#include "base/status.h"
#include "http/message.h"
#include "http/server.h"
#include "sandbox/rest.h"

namespace tidewright::sandbox {

// The parts of /api/v1/... and /apis/<group>/<version>/...
struct ResourcePath {
  std::string group;
  std::string version;
  std::string ns;
  std::string plural;
  std::string name;
  std::string subresource;
};

// Empty when `path` is not below a group version, or names no resource.
std::optional<ResourcePath> ParseResourcePath(std::string_view path);

// What the Accept header prefers.
struct AcceptedForm {
  bool table = false;
  bool aggregated_discovery = false;
};
AcceptedForm ParseAccept(const http::Headers& headers);

// The patch format of a Content-Type; empty for others (HTTP 415).
std::optional<PatchKind> PatchKindOf(std::string_view content_type);

// Parses a JSON, YAML or protobuf body.
base::Result<base::Json> ParseBody(const http::ServerRequest& request);

// Reads dryRun and fieldValidation.
WriteContext WriteContextOf(const http::ServerRequest& request);
// Reads DeleteOptions from the body and from the query.
base::Result<DeleteOptions> DeleteOptionsOf(const http::ServerRequest& request);

http::Response JsonReply(int status, std::string text);

// The Status object of a failure. `ref` may be null; `causes` go into its details.
base::Json StatusObject(const base::Status& status, const ResourcePath* path, const std::string& kind,
                        const std::vector<FieldError>& causes);
http::Response StatusReply(const base::Json& status_object);

}  // namespace tidewright::sandbox
