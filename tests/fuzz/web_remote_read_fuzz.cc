// Remote read: no crash and no hang for any request, and an answer that says what was wrong with it.
#include <snappy.h>

#include "base/clock.h"
#include "tsdb/db.h"
#include "web/remote_read.h"

namespace tidewright {
namespace {

std::unique_ptr<tsdb::Db> MakeStore() {
  static base::FakeClock clock(1'000'000);
  auto db = tsdb::Db::Open("", {}, clock, nullptr);
  if (!db.ok()) __builtin_trap();
  auto appender = (*db)->NewAppender();
  for (int i = 0; i < 200; ++i) {
    auto labels = tsdb::Labels::Of({{"__name__", i % 2 == 0 ? "a" : "b"}, {"i", std::to_string(i % 10)}});
    if (!appender->Append(0, labels, 1000 * i, i).ok()) __builtin_trap();
  }
  if (!appender->Commit().ok()) __builtin_trap();
  return *std::move(db);
}

}  // namespace
}  // namespace tidewright

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tidewright;
  static const std::unique_ptr<tsdb::Db> db = MakeStore();
  if (size == 0) return 0;
  const std::string bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  http::ServerRequest request;
  request.method = "POST";
  if ((data[0] & 1) != 0) {
    request.body = bytes;
  } else {
    snappy::Compress(bytes.data(), bytes.size(), &request.body);
  }
  web::RemoteRead reader(*db, [] { return tsdb::Labels::Of({{"cluster", "c"}}); });
  const int status = reader.Handle(request).status;
  if (status != 200 && status != 400 && status != 500) __builtin_trap();
  return 0;
}
