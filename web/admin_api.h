// The part of Prometheus' HTTP API that changes the store: snapshots and deletions.
#pragma once

#include <string>

#include "base/clock.h"
#include "http/message.h"
#include "http/server.h"
#include "tsdb/db.h"

namespace tidewright::web {

// Answers POST and PUT of
//   /api/v1/admin/tsdb/snapshot[?skip_head=true]   {"name": ...}: a folder in <data folder>/snapshots
//   /api/v1/admin/tsdb/delete_series?match[]=...[&start=...&end=...]   204
//   /api/v1/admin/tsdb/clean_tombstones            204
// Whoever reaches these can delete data, so they have to be switched on; otherwise each is 500 "unavailable", as in
// Prometheus. Thread-safe. Borrows
// its arguments. Formats: Prometheus "HTTP API" documentation.
class AdminApi {
 public:
  // `db` may be null: the API is switched off. `data_directory` is the store's.
  AdminApi(tsdb::Db* db, std::string data_directory, base::Clock& clock)
      : db_(db), data_directory_(std::move(data_directory)), clock_(clock) {}

  // Whether `path` is one of its own.
  static bool Handles(const std::string& path);
  http::Response Handle(const http::ServerRequest& request);

 private:
  http::Response Snapshot(const http::QueryParams& params);
  http::Response DeleteSeries(const http::QueryParams& params);

  tsdb::Db* const db_;
  const std::string data_directory_;
  base::Clock& clock_;
};

}  // namespace tidewright::web
