// What the triggers that ask a database by SQL have in common: a connection that is kept, and one number of a query.
// Private to scaler/trigger.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/status.h"
#include "scaler/trigger.h"

namespace tidewright::scaler::trigger {

// One connection to a database. Not thread-safe. After an error it is unusable.
class SqlConnection {
 public:
  virtual ~SqlConnection() = default;

  // The first column of the first row of a query; kFailedPrecondition when there is none, or with the server's message.
  virtual base::Result<std::string> FirstValue(const std::string& query, int64_t timeout_ms) = 0;
};

// Opens a connection; its errors never contain the password.
using SqlOpener = std::function<base::Result<std::unique_ptr<SqlConnection>>(int64_t timeout_ms)>;

// A trigger whose value is the first one that `query` gives.
std::unique_ptr<Trigger> NewSqlTrigger(TriggerInfo info, std::string query, SqlOpener open);

}  // namespace tidewright::scaler::trigger
