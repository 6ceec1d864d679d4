// PostgreSQL's client library, loaded when the first trigger needs it. Private to scaler/trigger.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "base/status.h"
#include "scaler/trigger/sql_trigger.h"

namespace tidewright::scaler::trigger {

// One connection. Not thread-safe. After an error it is unusable.
class PostgresConnection : public SqlConnection {
 public:
  // `parameters`: libpq's keywords (host, port, user, dbname, sslmode, password; dbname may be a whole connection
  // string). Errors never contain the password. kUnimplemented when libpq is not installed.
  static base::Result<std::unique_ptr<SqlConnection>> Open(const std::map<std::string, std::string>& parameters,
                                                           int64_t timeout_ms);
  ~PostgresConnection() override;

  base::Result<std::string> FirstValue(const std::string& query, int64_t timeout_ms) override;

 private:
  explicit PostgresConnection(void* connection) : connection_(connection) {}
  base::Status Connect(int64_t deadline_ms);
  base::Status Failure(const char* what) const;

  void* connection_;  // Owned.
};

}  // namespace tidewright::scaler::trigger
