// Query parameters of the API: any text behind the question mark is answered.
#include "base/clock.h"
#include "promql/engine.h"
#include "tsdb/db.h"
#include "web/federation.h"
#include "web/params.h"
#include "web/series_api.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tidewright;
  static base::FakeClock clock(1'000'000);
  static const std::unique_ptr<tsdb::Db> db = *tsdb::Db::Open("", {}, clock, nullptr);
  static const std::unique_ptr<promql::QueryEngine> engine = promql::NewEmbeddedEngine(*db, {}, nullptr);
  auto params = http::ParseQuery({reinterpret_cast<const char*>(data), size});
  if (!params.ok()) return 0;
  static_cast<void>(web::FlagParam(*params, "exclude_alerts").ok());
  static_cast<void>(web::ParseApiDuration("step", http::QueryValue(*params, "step")).ok());
  http::ServerRequest request;
  request.method = "GET";
  request.query = *params;
  web::SeriesApi series(*engine, db.get());
  for (const char* path :
       {"/api/v1/series", "/api/v1/labels", "/api/v1/label/U__a_2e_/values", "/api/v1/query_exemplars"}) {
    request.path = path;
    if (series.Handle(request).status >= 500) __builtin_trap();
  }
  const std::string name = web::UnescapeLabelName(http::QueryValue(*params, "name"));
  if (name.size() > size) __builtin_trap();
  if (web::Federation(*db, clock, {}).Handle(request).status >= 500) __builtin_trap();
  return 0;
}
