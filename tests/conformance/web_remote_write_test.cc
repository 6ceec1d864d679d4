// The recorded requests of remote write, in their order, against an empty store: the status of each answer, and what
// version 2.0 says was written.
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
TEST(RemoteWriteConformance, AnswersAsRecorded) {
  base::Json cases = scrape::LoadCases("http-api/remote-write.json");
  if (cases.is_null()) GTEST_SKIP() << "no conformance data";
  base::FakeClock clock(1704067300000);
  base::MetricRegistry metrics;
  auto db = tsdb::Db::Open("", {}, clock, nullptr);
  ASSERT_TRUE(db.ok());
  RemoteWriteReceiver receiver(**db, clock, metrics);
  scrape::Tally tally("remote write 1.0 and 2.0");
  for (const base::Json& one : cases) {
    http::ServerRequest request;
    request.method = "POST";
    request.path = "/api/v1/write";
    for (const auto& [name, value] : one["headers"].items()) {
      if (!value.get<std::string>().empty()) request.headers.Set(name, value);
    }
    ASSERT_TRUE(base::Base64Decode(one["body_b64"].get<std::string>(), &request.body));
    http::Response response = receiver.Handle(request);
    bool same = response.status == one["status"];
    std::string got =
        "got " + std::to_string(response.status) + ", want " + one["status"].dump() + ": " + response.body;
    for (const char* kind : {"Samples", "Histograms", "Exemplars"}) {
      const std::string header = std::string("X-Prometheus-Remote-Write-") + kind + "-Written";
      const std::string wanted = base::FindString(one, {"response_headers", header});
      same = same && response.headers.Get(header) == wanted;
      got += ", " + std::string(kind) + " " + response.headers.Get(header) + " instead of " + wanted;
    }
    tally.Count(same, one["version"].get<std::string>() + " " + one["name"].get<std::string>(), got);
  }
  EXPECT_EQ(tally.passed(), tally.total());
  EXPECT_EQ(tally.total(), 60);
}

}  // namespace
}  // namespace tidewright::web
