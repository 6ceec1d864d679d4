// The adapter's answers about itself: why a metric request gives what it gives, and what rules would find.
#pragma once

#include "adapter/adapter.h"
#include "http/message.h"
#include "http/server.h"

namespace tidewright::web {

// GET /api/v1/autoscaling/explain with the parameters
//   metric               "pods/http_requests", "deployments.apps/lag", or "external/queue_depth"
//   namespace            "" for objects without one
//   name                 of one object; default "*": all that match
//   labelSelector        which objects
//   metricLabelSelector  which of the metric's series; of an external metric labelSelector counts, too
// A metric that has no value is a success here: "problem" says why, "suggestions" what to do.
http::Response ExplainMetric(adapter::Adapter& adapter, const http::ServerRequest& request);

// POST /api/v1/autoscaling/check-adapter-config with a configuration as its body: what its rules find in the live data,
// in the form of /api/v1/autoscaling/metric-rules. Nothing is taken into use.
http::Response CheckAdapterConfig(adapter::Adapter& adapter, const http::ServerRequest& request);

}  // namespace tidewright::web
