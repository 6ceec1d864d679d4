// The admin API: what changes or copies the stored data on request.
#pragma once

#include <string>

#include "base/clock.h"
#include "http/message.h"
#include "http/server.h"
#include "tsdb/db.h"

namespace tidewright::web {

// Answers /api/v1/admin/tsdb/{delete_series,clean_tombstones,snapshot} as Prometheus does. A snapshot is made in
// snapshots/<name> of the data folder. Stateless; thread-safe. Borrows its arguments.
class AdminApi {
 public:
  // `directory` is that of `db`.
  AdminApi(tsdb::Db& db, std::string directory, base::Clock& clock)
      : db_(db), directory_(std::move(directory)), clock_(clock) {}

  // Whether `path` is one of its own.
  static bool Handles(const std::string& path);
  http::Response Handle(const http::ServerRequest& request);

 private:
  http::Response Snapshot(const http::QueryParams& params);
  http::Response DeleteSeries(const http::QueryParams& params);

  tsdb::Db& db_;
  const std::string directory_;
  base::Clock& clock_;
};

}  // namespace tidewright::web
