// The part of Prometheus' HTTP API that says which series there are.
#pragma once

#include <string>

#include "base/clock.h"
#include "http/message.h"
#include "http/server.h"
#include "promql/engine.h"
#include "tsdb/querier.h"

namespace tidewright::web {

// Answers /api/v1/{series,labels,query_exemplars} (GET and POST) and /api/v1/label/<name>/values (GET). A label name
// that is no legacy name may come percent-encoded or in the spelling U__my_2e_label. Stateless; thread-safe. Borrows
// its arguments. Formats: Prometheus "HTTP API" documentation.
class SeriesApi {
 public:
  // Without `store` there are no exemplars.
  SeriesApi(promql::QueryEngine& engine, const tsdb::Queryable* store) : engine_(engine), store_(store) {}

  // Whether `path` is one of its own.
  static bool Handles(const std::string& path);
  http::Response Handle(const http::ServerRequest& request);

 private:
  http::Response Series(const http::QueryParams& params);
  http::Response LabelNames(const http::QueryParams& params);
  http::Response LabelValues(const std::string& name, const http::QueryParams& params);
  http::Response Exemplars(const http::QueryParams& params);

  promql::QueryEngine& engine_;
  const tsdb::Queryable* const store_;
};

// The name that the spelling U__... stands for; any other spelling is the name itself. Source: the escaping scheme
// "values" of Prometheus' metric name validation.
std::string UnescapeLabelName(const std::string& spelling);

}  // namespace tidewright::web
