#include "web/page.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include <string>

namespace tidewright::web {
namespace {

using testing::HasSubstr;
using testing::Not;

std::string Inflated(std::string_view gzip, size_t size) {
  std::string text(size + 1, '\0');
  z_stream stream = {};
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(gzip.data()));
  stream.avail_in = static_cast<uInt>(gzip.size());
  stream.next_out = reinterpret_cast<Bytef*>(text.data());
  stream.avail_out = static_cast<uInt>(text.size());
  if (inflateInit2(&stream, 15 + 16) != Z_OK) return "";
  const int end = inflate(&stream, Z_FINISH);
  text.resize(stream.total_out);
  inflateEnd(&stream);
  return end == Z_STREAM_END ? text : "";
}

TEST(PageTest, ServesTheDocumentAtEachViewAndAtPrometheusNames) {
  const PageFile* document = FindPageFile("/");
  ASSERT_NE(document, nullptr);
  for (const char* view : {"/workloads", "/workload", "/query", "/graph", "/targets", "/service-discovery", "/alerts",
                           "/rules", "/status", "/config", "/flags", "/tsdb-status"}) {
    EXPECT_EQ(FindPageFile(view), document) << view;
  }
  EXPECT_EQ(FindPageFile("/other"), nullptr);
  EXPECT_EQ(FindPageFile("/targets/"), nullptr);
  EXPECT_EQ(FindPageFile("/assets/../metrics"), nullptr);
}

TEST(PageTest, EmbedsTheSameBytesPlainAndCompressed) {
  for (const PageFile& file : PageFiles()) {
    EXPECT_FALSE(file.content.empty()) << file.path;
    if (!file.gzip.empty()) EXPECT_EQ(Inflated(file.gzip, file.content.size()), file.content) << file.path;
  }
}

TEST(PageTest, AnswersCompressedOrPlainAsTheClientAccepts) {
  for (const PageFile& file : PageFiles()) {
    const http::Response plain = PageReply(file, {});
    EXPECT_EQ(plain.status, 200);
    EXPECT_EQ(plain.body, file.content);
    EXPECT_EQ(plain.headers.Get("Content-Type"), file.content_type);
    EXPECT_FALSE(plain.headers.Has("Content-Encoding")) << file.path;
    if (file.gzip.empty()) continue;
    EXPECT_EQ(plain.headers.Get("Vary"), "Accept-Encoding");
    const http::Response compressed = PageReply(file, {{"Accept-Encoding", "br, gzip"}});
    EXPECT_EQ(compressed.body, file.gzip);
    EXPECT_EQ(compressed.headers.Get("Content-Encoding"), "gzip");
    EXPECT_EQ(PageReply(file, {{"Accept-Encoding", "gzip;q=0"}}).body, file.content);
  }
}

TEST(PageTest, SendsNothingThatTheClientHasAlready) {
  for (const PageFile& file : PageFiles()) {
    const std::string tag = PageReply(file, {}).headers.Get("ETag");
    for (const std::string& known : {tag, "W/\"other\", " + tag}) {
      const http::Response again = PageReply(file, {{"If-None-Match", known}});
      EXPECT_EQ(again.status, 304) << known;
      EXPECT_EQ(again.body, "");
      EXPECT_EQ(again.headers.Get("ETag"), tag);
    }
    EXPECT_EQ(PageReply(file, {{"If-None-Match", "W/\"other\""}}).status, 200);
  }
}

TEST(PageTest, LetsBrowsersKeepOnlyWhatHasAHashInItsName) {
  for (const PageFile& file : PageFiles()) {
    const std::string cached = PageReply(file, {}).headers.Get("Cache-Control");
    if (file.path == "/") {
      EXPECT_EQ(cached, "no-cache");
    } else {
      EXPECT_THAT(cached, HasSubstr("immutable")) << file.path;
      EXPECT_THAT(std::string(file.path), testing::MatchesRegex("/assets/app-[A-Z0-9]+\\.(js|css)"));
      EXPECT_THAT(std::string(FindPageFile("/")->content), HasSubstr(std::string(file.path.substr(1))));
    }
  }
}

// The policy allows nothing inline, so the document must not have it.
TEST(PageTest, HasAStrictPolicyAndKeepsToIt) {
  const http::Response reply = PageReply(*FindPageFile("/"), {});
  const std::string policy = reply.headers.Get("Content-Security-Policy");
  EXPECT_THAT(policy, HasSubstr("default-src 'none'"));
  EXPECT_THAT(policy, HasSubstr("frame-ancestors 'none'"));
  EXPECT_THAT(policy, Not(HasSubstr("unsafe")));
  EXPECT_EQ(reply.headers.Get("X-Content-Type-Options"), "nosniff");
  EXPECT_THAT(reply.body, Not(HasSubstr("<style")));
  EXPECT_THAT(reply.body, Not(HasSubstr("style=")));
  EXPECT_THAT(reply.body, Not(HasSubstr("<script>")));
  EXPECT_THAT(reply.body, Not(HasSubstr(" onclick=")));
}

}  // namespace
}  // namespace tidewright::web
