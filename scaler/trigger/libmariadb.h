// MariaDB's client library, which speaks to MySQL as well, loaded when the first trigger needs it. Private to
// scaler/trigger.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/status.h"
#include "scaler/trigger/sql_trigger.h"

namespace tidewright::scaler::trigger {

enum class MysqlTls {
  kOff,
  kVerified,    // The certificate must be of the host, by an authority that the system trusts.
  kUnverified,  // Encrypted, whoever the server is.
};

struct MysqlAddress {
  std::string host;
  uint16_t port = 3306;
  std::string username, password, database;
  MysqlTls tls = MysqlTls::kOff;
};

// One connection. Not thread-safe. After an error it is unusable.
class MariadbConnection : public SqlConnection {
 public:
  // Connects and logs in. Errors never contain the password. kUnimplemented when the library is not installed.
  static base::Result<std::unique_ptr<SqlConnection>> Open(const MysqlAddress& address, int64_t timeout_ms);
  ~MariadbConnection() override;

  // Rows of more than 1 MiB are an error. All rows must arrive within the timeout.
  base::Result<std::string> FirstValue(const std::string& query, int64_t timeout_ms) override;

 private:
  explicit MariadbConnection(void* handle) : handle_(handle) {}
  template <typename Start, typename Continue>
  base::Status Await(int64_t deadline_ms, Start start, Continue proceed);
  base::Status Failure(const char* what) const;
  base::Status Configure(MysqlTls tls);
  base::Status Connect(const MysqlAddress& address, int64_t deadline_ms);
  base::Result<std::string> FirstOf(void* rows, int64_t deadline_ms);
  base::Status NextRow(void* rows, int64_t deadline_ms, char*** row);

  void* handle_;  // Owned.
};

}  // namespace tidewright::scaler::trigger
