// The recorded requests of remote write, in their order, against an empty store: the status of each answer.
#include <gtest/gtest.h>

#include "base/clock.h"
#include "base/metrics.h"
#include "tests/conformance/scrape_data.h"
#include "tsdb/db.h"
#include "web/remote_write.h"

namespace tidewright::web {
namespace {

// Prometheus answers "one bad series spoils the whole request" with 400, as we do, but stores nothing of it; that we
// store the good series is what the specification asks for. What is stored does not show in the answers here.
TEST(RemoteWriteConformance, AnswersVersion1AsRecorded) {
  base::Json cases = scrape::LoadCases("http-api/remote-write.json");
  if (cases.is_null()) GTEST_SKIP() << "no conformance data";
  base::FakeClock clock(1704067300000);
  base::MetricRegistry metrics;
  auto db = tsdb::Db::Open("", {}, clock, nullptr);
  ASSERT_TRUE(db.ok());
  RemoteWriteReceiver receiver(**db, clock, metrics);
  scrape::Tally tally("remote write 1.0");
  for (const base::Json& one : cases) {
    if (one["version"] != "1.0") continue;
    http::ServerRequest request;
    request.method = "POST";
    request.path = "/api/v1/write";
    for (const auto& [name, value] : one["headers"].items()) {
      if (!value.get<std::string>().empty()) request.headers.Set(name, value);
    }
    ASSERT_TRUE(base::Base64Decode(one["body_b64"].get<std::string>(), &request.body));
    http::Response response = receiver.Handle(request);
    tally.Count(response.status == one["status"], one["name"],
                "got " + std::to_string(response.status) + ", want " + one["status"].dump() + ": " + response.body);
  }
  EXPECT_EQ(tally.passed(), tally.total());
  EXPECT_EQ(tally.total(), 37);
}

}  // namespace
}  // namespace tidewright::web
