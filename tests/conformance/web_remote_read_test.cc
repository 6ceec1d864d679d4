// The recorded requests of remote read: the bytes of each answer.
#include <gtest/gtest.h>
#include <snappy.h>

#include "base/clock.h"
#include "tests/conformance/scrape_data.h"
#include "tests/conformance/web_store.h"
#include "web/remote_read.h"

namespace tidewright::web {
namespace {

std::string Decoded(const base::Json& test, const char* member) {
  std::string bytes;
  EXPECT_TRUE(base::Base64Decode(test[member].get<std::string>(), &bytes));
  return bytes;
}

// "" when the answer is the recorded one. Errors: the status alone.
std::string Differs(const base::Json& test, const http::Response& got) {
  if (got.status != test["status"]) return "status " + std::to_string(got.status) + ": " + got.body;
  if (got.status != 200) return "";
  if (got.headers.Get("Content-Type") != test["response_headers"]["Content-Type"]) return "content type";
  if (got.headers.Get("Content-Encoding") != test["response_headers"]["Content-Encoding"]) return "content encoding";
  std::string body = got.body;
  const bool stream = test.contains("response_stream_b64");
  if (!stream && !snappy::Uncompress(got.body.data(), got.body.size(), &body)) return "not snappy";
  const std::string wanted = Decoded(test, stream ? "response_stream_b64" : "response_protobuf_b64");
  return body == wanted ? "" : "got  " + base::Base64Encode(body) + "\nwant " + base::Base64Encode(wanted);
}

TEST(RemoteReadConformance, AnswersAsRecorded) {
  base::Json cases = scrape::LoadCases("http-api/remote-read.json");
  if (cases.is_null()) GTEST_SKIP() << "no conformance data; set CONFORMANCE_DIR";
  base::FakeClock clock(kFirstMs);
  auto db = tsdb::Db::Open("", {}, clock, nullptr);
  ASSERT_TRUE(db.ok());
  auto dataset = base::ReadFile(scrape::ConformancePath("http-api/dataset.load"));
  ASSERT_TRUE(dataset.ok());
  LoadDataset(*dataset, **db);
  RemoteRead reader(**db, [] { return tsdb::Labels::Of({{"cluster", "test"}, {"region", "eu"}}); });
  scrape::Tally tally("remote read");
  for (const base::Json& test : cases) {
    http::ServerRequest request;
    request.method = "POST";
    request.path = "/api/v1/read";
    request.body = Decoded(test, "body_b64");
    const std::string difference = Differs(test, reader.Handle(request));
    tally.Count(difference.empty(), test["name"], difference);
  }
  EXPECT_EQ(tally.passed(), tally.total());
  EXPECT_EQ(tally.total(), 27);
}

}  // namespace
}  // namespace tidewright::web
