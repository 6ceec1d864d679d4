// Remote write, both versions: no crash and no hang, whether the bytes are a compressed request or already a message.
#include <snappy.h>

#include "base/clock.h"
#include "base/metrics.h"
#include "tsdb/db.h"
#include "web/remote_write.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tidewright;
  static base::FakeClock clock(1'700'000'000'000);
  static base::MetricRegistry metrics;
  if (size == 0) return 0;
  auto db = tsdb::Db::Open("", {}, clock, nullptr);
  if (!db.ok()) __builtin_trap();
  web::RemoteWriteReceiver receiver(**db, clock, metrics);
  http::ServerRequest request;
  request.method = "POST";
  const std::string bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  if ((data[0] & 1) != 0) {
    request.body = bytes;
  } else {
    snappy::Compress(bytes.data(), bytes.size(), &request.body);
  }
  if ((data[0] & 2) != 0) {
    request.headers.Set("Content-Type", "application/x-protobuf;proto=io.prometheus.write.v2.Request");
  }
  // Twice: what was new is known then.
  for (int i = 0; i < 2; ++i) {
    const int status = receiver.Handle(request).status;
    if (status != 204 && status != 400) __builtin_trap();
  }
  return 0;
}
