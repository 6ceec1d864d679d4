#include "scaler/trigger/libmariadb.h"

#include <poll.h>
#include <sys/socket.h>

#include <utility>

#include "scaler/trigger/client_library.h"

namespace tidewright::scaler::trigger {

namespace {

// The part of the ABI (mysql.h of MariaDB Connector/C 3) that is used. Calls of a pair *_start, *_cont say by these
// bits what they wait for, 0 when they are done.
constexpr int kWaitRead = 1, kWaitWrite = 2, kWaitUrgent = 4;
constexpr int kOptLocalInfile = 8, kOptVerifyServer = 21, kOptEnforceTls = 38, kOptMaxPacket = 39;
constexpr int kOptNonblock = 6000, kOptRestrictedAuth = 7026;

// What a server may ask the password for: never in the clear.
constexpr char kLogins[] = "mysql_native_password,caching_sha2_password,sha256_password,client_ed25519";
constexpr size_t kMaxPacketBytes = 1 << 20;
// The library runs its calls on a stack of its own to leave them half done. Name services take more than its default.
constexpr size_t kStackBytes = 512 << 10;

struct Library {
  int (*start_library)(int, char**, char**);
  void* (*init)(void*);
  int (*option)(void*, int, const void*);
  int (*connect_start)(void**, void*, const char*, const char*, const char*, const char*, unsigned, const char*,
                       unsigned long);
  int (*connect_cont)(void**, void*, int);
  int (*query_start)(int*, void*, const char*, unsigned long);
  int (*query_cont)(int*, void*, int);
  void* (*use_result)(void*);
  int (*row_start)(char***, void*);
  int (*row_cont)(char***, void*, int);
  unsigned long* (*lengths)(void*);
  void (*free_result)(void*);
  int (*socket)(const void*);
  unsigned (*error_number)(void*);
  const char* (*error)(void*);
  void (*close)(void*);
};

// Null when it is not installed.
const Library* Mariadb() {
  static const Library* const library = []() -> const Library* {
    static Library db;
    ClientLibrary file("libmariadb.so.3");
    file.Bind("mysql_server_init", &db.start_library).Bind("mysql_init", &db.init).Bind("mysql_options", &db.option);
    file.Bind("mysql_real_connect_start", &db.connect_start).Bind("mysql_real_connect_cont", &db.connect_cont);
    file.Bind("mysql_real_query_start", &db.query_start).Bind("mysql_real_query_cont", &db.query_cont);
    file.Bind("mysql_use_result", &db.use_result).Bind("mysql_fetch_row_start", &db.row_start);
    file.Bind("mysql_fetch_row_cont", &db.row_cont).Bind("mysql_fetch_lengths", &db.lengths);
    file.Bind("mysql_free_result", &db.free_result).Bind("mysql_get_socket", &db.socket);
    file.Bind("mysql_errno", &db.error_number).Bind("mysql_error", &db.error).Bind("mysql_close", &db.close);
    return file.usable() && db.start_library(0, nullptr, nullptr) == 0 ? &db : nullptr;
  }();
  return library;
}

}  // namespace

base::Result<std::unique_ptr<SqlConnection>> MariadbConnection::Open(const MysqlAddress& address, int64_t timeout_ms) {
  const Library* db = Mariadb();
  if (db == nullptr) {
    return base::UnimplementedError("libmariadb.so.3 is not installed; add the package libmariadb3 to the image");
  }
  void* handle = db->init(nullptr);
  if (handle == nullptr) return base::ResourceExhaustedError("no memory for a connection");
  std::unique_ptr<MariadbConnection> connection(new MariadbConnection(handle));
  TW_RETURN_IF_ERROR(connection->Configure(address.tls));
  TW_RETURN_IF_ERROR(connection->Connect(address, SocketNowMs() + timeout_ms));
  return std::unique_ptr<SqlConnection>(std::move(connection));
}

MariadbConnection::~MariadbConnection() { Mariadb()->close(handle_); }

base::Status MariadbConnection::Failure(const char* what) const {
  return base::UnavailableError(std::string(what) + ": " + FirstLine(Mariadb()->error(handle_)));
}

base::Status MariadbConnection::Configure(MysqlTls tls) {
  const unsigned off = 0;
  const char enforce = tls != MysqlTls::kOff;
  const char verify = tls == MysqlTls::kVerified;
  const std::pair<int, const void*> options[] = {{kOptNonblock, &kStackBytes},  {kOptMaxPacket, &kMaxPacketBytes},
                                                 {kOptLocalInfile, &off},  // A server could ask for any of our files.
                                                 {kOptRestrictedAuth, kLogins}, {kOptEnforceTls, &enforce},
                                                 {kOptVerifyServer, &verify}};
  for (const auto& [option, value] : options) {
    if (Mariadb()->option(handle_, option, value) != 0) return Failure("connect");
  }
  return base::Status::Ok();
}

template <typename Start, typename Continue>
base::Status MariadbConnection::Await(int64_t deadline_ms, Start start, Continue proceed) {
  for (int wanted = start(); wanted != 0;) {
    int events = ((wanted & kWaitRead) != 0 ? POLLIN : 0) | ((wanted & kWaitWrite) != 0 ? POLLOUT : 0) |
                 ((wanted & kWaitUrgent) != 0 ? POLLPRI : 0);
    TW_ASSIGN_OR_RETURN(short seen, WaitForSocket(Mariadb()->socket(handle_), static_cast<short>(events), deadline_ms));
    bool broken = (seen & (POLLERR | POLLHUP | POLLNVAL)) != 0;  // The call itself finds out why.
    int ready = broken ? wanted : 0;
    if ((seen & POLLIN) != 0) ready |= kWaitRead;
    if ((seen & POLLOUT) != 0) ready |= kWaitWrite;
    if ((seen & POLLPRI) != 0) ready |= kWaitUrgent;
    wanted = proceed(ready & wanted);
  }
  return base::Status::Ok();
}

base::Status MariadbConnection::Connect(const MysqlAddress& address, int64_t deadline_ms) {
  const Library& db = *Mariadb();
  void* connected = nullptr;
  base::Status status = Await(
      deadline_ms,
      [&] {
        return db.connect_start(&connected, handle_, address.host.c_str(), address.username.c_str(),
                                address.password.c_str(), address.database.empty() ? nullptr : address.database.c_str(),
                                address.port, nullptr, 0);
      },
      [&](int ready) { return db.connect_cont(&connected, handle_, ready); });
  if (!status.ok()) return status.Annotate("connect");
  return connected != nullptr ? base::Status::Ok() : Failure("connect");
}

base::Result<std::string> MariadbConnection::FirstValue(const std::string& query, int64_t timeout_ms) {
  const Library& db = *Mariadb();
  const int64_t deadline_ms = SocketNowMs() + timeout_ms;
  int failed = 0;
  TW_RETURN_IF_ERROR(Await(
      deadline_ms, [&] { return db.query_start(&failed, handle_, query.data(), query.size()); },
      [&](int ready) { return db.query_cont(&failed, handle_, ready); }));
  if (failed != 0) return base::FailedPreconditionError("the server answered: " + FirstLine(db.error(handle_)));
  void* rows = db.use_result(handle_);
  if (rows == nullptr && db.error_number(handle_) != 0) return Failure("query");
  if (rows == nullptr) return base::FailedPreconditionError("the query gives no row");
  auto value = FirstOf(rows, deadline_ms);
  // Freeing waits for the rows that are left. Without its socket it cannot, and after an error nobody needs that.
  if (!value.ok()) shutdown(db.socket(handle_), SHUT_RDWR);
  db.free_result(rows);
  return value;
}

base::Result<std::string> MariadbConnection::FirstOf(void* rows, int64_t deadline_ms) {
  char** row = nullptr;
  TW_RETURN_IF_ERROR(NextRow(rows, deadline_ms, &row));
  if (row == nullptr) return base::FailedPreconditionError("the query gives no row");
  if (row[0] == nullptr) return base::FailedPreconditionError("the query gives NULL; use coalesce()");
  std::string value(row[0], *Mariadb()->lengths(rows));
  while (row != nullptr) TW_RETURN_IF_ERROR(NextRow(rows, deadline_ms, &row));
  return value;
}

base::Status MariadbConnection::NextRow(void* rows, int64_t deadline_ms, char*** row) {
  const Library& db = *Mariadb();
  TW_RETURN_IF_ERROR(Await(
      deadline_ms, [&] { return db.row_start(row, rows); }, [&](int ready) { return db.row_cont(row, rows, ready); }));
  return *row == nullptr && db.error_number(handle_) != 0 ? Failure("query") : base::Status::Ok();
}

}  // namespace tidewright::scaler::trigger
