// OpenAPI documents of the metrics APIs, so that kube-apiserver's own documents, kubectl explain and generators of
// clients know them.
#pragma once

#include <string>
#include <vector>

#include "apiservice/discovery.h"
#include "base/json_fwd.h"

namespace tidewright::apiservice {

// /openapi/v2: Swagger 2.0 of all served groups.
base::Json OpenApiV2Json(const std::vector<ServedGroup>& groups);
// /openapi/v3: where the document of each version is. The addresses change when a document does.
base::Json OpenApiV3IndexJson(const std::vector<ServedGroup>& groups);
// /openapi/v3/apis/<group>/<version>: OpenAPI 3.0.
base::Json OpenApiV3Json(const std::string& group, const std::string& version);

}  // namespace tidewright::apiservice
