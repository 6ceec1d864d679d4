#include "scaler/trigger/libpq.h"

#include <poll.h>

#include <string_view>
#include <vector>

#include "scaler/trigger/client_library.h"
#include "scaler/trigger/metadata.h"

namespace tidewright::scaler::trigger {

namespace {

// The part of libpq's ABI (libpq-fe.h, stable since PostgreSQL 9) that is used.
constexpr int kConnectionBad = 1;
constexpr int kPollingFailed = 0, kPollingReading = 1, kPollingWriting = 2, kPollingOk = 3;
constexpr int kTuplesOk = 2;

struct Option {
  char* keyword;
  char* environment;
  char* compiled;
  char* value;
  char* label;
  char* shown_as;
  int size;
};

struct Library {
  Option* (*parse)(const char*, char**);
  void (*free_options)(Option*);
  void (*free)(void*);
  void (*(*set_notice)(void*, void (*)(void*, const char*), void*))(void*, const char*);
  void* (*connect)(const char* const*, const char* const*, int);
  int (*poll)(void*);
  int (*status)(const void*);
  int (*socket)(const void*);
  char* (*error)(const void*);
  void (*finish)(void*);
  int (*send)(void*, const char*);
  int (*consume)(void*);
  int (*busy)(void*);
  int (*flush)(void*);
  int (*set_nonblocking)(void*, int);
  void* (*result)(void*);
  int (*result_status)(const void*);
  char* (*result_error)(const void*);
  int (*rows)(const void*);
  int (*columns)(const void*);
  int (*is_null)(const void*, int, int);
  char* (*value)(const void*, int, int);
  void (*clear)(void*);
};

// Null when it is not installed.
const Library* Pq() {
  static const Library* const library = []() -> const Library* {
    static Library pq;
    ClientLibrary file("libpq.so.5");
    file.Bind("PQconninfoParse", &pq.parse).Bind("PQconninfoFree", &pq.free_options).Bind("PQfreemem", &pq.free);
    file.Bind("PQconnectStartParams", &pq.connect).Bind("PQconnectPoll", &pq.poll).Bind("PQstatus", &pq.status);
    file.Bind("PQsocket", &pq.socket).Bind("PQerrorMessage", &pq.error).Bind("PQfinish", &pq.finish);
    file.Bind("PQsendQuery", &pq.send).Bind("PQconsumeInput", &pq.consume).Bind("PQisBusy", &pq.busy);
    file.Bind("PQflush", &pq.flush).Bind("PQsetnonblocking", &pq.set_nonblocking).Bind("PQgetResult", &pq.result);
    file.Bind("PQresultStatus", &pq.result_status).Bind("PQresultErrorMessage", &pq.result_error);
    file.Bind("PQntuples", &pq.rows).Bind("PQnfields", &pq.columns).Bind("PQgetisnull", &pq.is_null);
    file.Bind("PQgetvalue", &pq.value).Bind("PQclear", &pq.clear).Bind("PQsetNoticeProcessor", &pq.set_notice);
    return file.usable() ? &pq : nullptr;
  }();
  return library;
}

// Finds what libpq's own messages would quote of a connection string, passwords included: one that it cannot read, and
// a password that ends at its "@" and goes on as the host.
base::Status CheckConnectionString(const Library& pq, const std::string& text) {
  char* reason = nullptr;
  std::unique_ptr<Option, void (*)(Option*)> options(pq.parse(text.c_str(), &reason), pq.free_options);
  if (options == nullptr) {
    const std::string shown = HideQuotesOf(text, FirstLine(reason));
    if (reason != nullptr) pq.free(reason);
    return base::FailedPreconditionError("connect: the connection string is malformed: " + shown);
  }
  for (const Option* option = options.get(); option->keyword != nullptr; ++option) {
    const bool host = std::string_view(option->keyword) == "host" && option->value != nullptr;
    if (host && std::string_view(option->value).find('@') != std::string_view::npos) {
      return base::FailedPreconditionError(
          "connect: the connection string has an \"@\" in the host; write one in a password as %40");
    }
  }
  return base::Status::Ok();
}

}  // namespace

base::Result<std::unique_ptr<SqlConnection>> PostgresConnection::Open(
    const std::map<std::string, std::string>& parameters, int64_t timeout_ms) {
  const Library* pq = Pq();
  if (pq == nullptr) {
    return base::UnimplementedError("libpq.so.5 is not installed; add the package libpq5 to the image");
  }
  auto database = parameters.find("dbname");
  const bool connection_string = database != parameters.end() && (database->second.find('=') != std::string::npos ||
                                                                  database->second.find("://") != std::string::npos);
  if (connection_string) TW_RETURN_IF_ERROR(CheckConnectionString(*pq, database->second));
  std::vector<const char*> keywords;
  std::vector<const char*> values;
  for (const auto& [keyword, value] : parameters) {
    keywords.push_back(keyword.c_str());
    values.push_back(value.c_str());
  }
  keywords.push_back(nullptr);
  values.push_back(nullptr);
  void* raw = pq->connect(keywords.data(), values.data(), 1);
  if (raw == nullptr) return base::ResourceExhaustedError("no memory for a connection");
  std::unique_ptr<PostgresConnection> connection(new PostgresConnection(raw));
  // Otherwise the server's notices come out on our standard error.
  pq->set_notice(
      raw, [](void*, const char*) {}, nullptr);
  TW_RETURN_IF_ERROR(connection->Connect(SocketNowMs() + timeout_ms));
  return std::unique_ptr<SqlConnection>(std::move(connection));
}

PostgresConnection::~PostgresConnection() { Pq()->finish(connection_); }

base::Status PostgresConnection::Failure(const char* what) const {
  return base::UnavailableError(std::string(what) + ": " + FirstLine(Pq()->error(connection_)));
}

base::Status PostgresConnection::Connect(int64_t deadline_ms) {
  if (Pq()->status(connection_) == kConnectionBad) return Failure("connect");
  int state = kPollingWriting;
  while (state != kPollingOk) {
    short events = state == kPollingReading ? POLLIN : POLLOUT;
    TW_RETURN_IF_ERROR(WaitForSocket(Pq()->socket(connection_), events, deadline_ms).status().Annotate("connect"));
    state = Pq()->poll(connection_);
    if (state == kPollingFailed) return Failure("connect");
  }
  if (Pq()->set_nonblocking(connection_, 1) != 0) return Failure("connect");
  return base::Status::Ok();
}

base::Result<std::string> PostgresConnection::FirstValue(const std::string& query, int64_t timeout_ms) {
  const Library& pq = *Pq();
  const int64_t deadline_ms = SocketNowMs() + timeout_ms;
  if (pq.send(connection_, query.c_str()) == 0) return Failure("query");
  for (int unsent = pq.flush(connection_); unsent != 0; unsent = pq.flush(connection_)) {
    if (unsent < 0) return Failure("query");
    TW_RETURN_IF_ERROR(WaitForSocket(pq.socket(connection_), POLLOUT, deadline_ms).status());
  }
  std::string value;
  base::Status status = base::FailedPreconditionError("the query gives no row");
  while (true) {
    while (pq.busy(connection_) != 0) {
      TW_RETURN_IF_ERROR(WaitForSocket(pq.socket(connection_), POLLIN, deadline_ms).status());
      if (pq.consume(connection_) == 0) return Failure("query");
    }
    std::unique_ptr<void, void (*)(void*)> result(pq.result(connection_), pq.clear);
    if (result == nullptr) break;  // That was all of it.
    if (pq.result_status(result.get()) != kTuplesOk) {
      status = base::FailedPreconditionError("the server answered: " + FirstLine(pq.result_error(result.get())));
    } else if (pq.rows(result.get()) > 0 && pq.columns(result.get()) > 0) {
      bool null = pq.is_null(result.get(), 0, 0) != 0;
      status = null ? base::FailedPreconditionError("the query gives NULL; use coalesce()") : base::Status::Ok();
      value = pq.value(result.get(), 0, 0);
    }
  }
  if (!status.ok()) return status;
  return value;
}

}  // namespace tidewright::scaler::trigger
