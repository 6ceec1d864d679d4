// What a hostile or broken target may do to the scraper, over real connections: every row ends in `up` == 0 with a
// reason, or in refusals that are counted, while a good target beside it is scraped on time and memory stays bounded.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>
#include <zlib.h>

#include <atomic>
#include <fstream>
#include <map>
#include <memory>

#include "base/metrics.h"
#include "http/server.h"
#include "http/tls.h"
#include "scrape/manager.h"
#include "tests/eventually.h"
#include "tests/http/raw_socket.h"
#include "tsdb/db.h"

namespace tidewright::scrape {
namespace {

using http::RawServer;
using http::RawSocket;
using ::testing::HasSubstr;

constexpr size_t kMegabyte = 1u << 20;

std::string Gzip(const std::string& text) {
  z_stream stream = {};
  EXPECT_EQ(deflateInit2(&stream, Z_BEST_COMPRESSION, Z_DEFLATED, 15 + 16, 9, Z_DEFAULT_STRATEGY), Z_OK);
  std::string out(deflateBound(&stream, text.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

std::string Reply(const std::string& body, const std::string& headers = "") {
  return "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: " +
         std::to_string(body.size()) + "\r\nConnection: close\r\n" + headers + "\r\n" + body;
}

// Bytes until the peer goes away.
void SendForever(RawSocket& socket, const std::string& text) {
  std::string block;
  while (block.size() < 64 << 10) block += text;
  while (socket.Send(block)) {
  }
}

size_t ResidentBytes() {
  size_t pages = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> pages >> resident;
  return resident * static_cast<size_t>(sysconf(_SC_PAGESIZE));
}

struct HostileRow {
  std::string name;
  std::function<void(RawSocket&)> script;  // Runs once the request has come.
  std::string error;                       // A part of the last error; "": the scrape succeeds, and
  std::string counted;                     // ... this reason of tidewright_scrape_samples_refused_total is counted.
  std::string job = "";                    // More fields of its job.
};

void HalfALine(RawSocket& socket) { socket.Send(Reply("good 1\nbroken{a=\"")); }

void CutBody(RawSocket& socket) {
  socket.Send("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\ngood 1\nnext 2");
}

void Drip(RawSocket& socket) {
  socket.Send("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n");
  while (socket.Send("a")) poll(nullptr, 0, 10);
}

void RedirectToItself(RawSocket& socket) {
  socket.Send("HTTP/1.1 302 Found\r\nLocation: /metrics\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
}

void Bomb(RawSocket& socket) {
  static const std::string bomb = Gzip(std::string(40 * kMegabyte, '\n'));
  socket.Send(Reply(bomb, "Content-Encoding: gzip\r\n"));
}

std::function<void(RawSocket&)> Body(const std::string& body) {
  return [body](RawSocket& socket) { socket.Send(Reply(body)); };
}

// Another type, value kind and help each time.
void ChangingTypes(RawSocket& socket) {
  static std::atomic<int> turn{0};
  static const std::string bodies[] = {
      "# HELP m one\n# TYPE m counter\nm 1\n",
      "# HELP m two\n# TYPE m histogram\nm_bucket{le=\"1\"} 1\nm_bucket{le=\"+Inf\"} 1\nm_sum 1\nm_count 1\nm 1\nm 2\n",
      "# HELP m three\n# TYPE m summary\nm{quantile=\"0.5\"} 1\nm_sum 1\nm_count 1\nm 1\nm 2\n"};
  socket.Send(Reply(bodies[turn++ % 3]));
}

void ManyLabels(RawSocket& socket) {
  std::string line = "m{";
  for (int i = 0; i < 100'000; ++i) line += "l" + std::to_string(i) + "=\"v\",";
  socket.Send(Reply(line + "} 1\n"));
}

std::vector<HostileRow> Rows() {
  return {
      {"EndlessBody",
       [](RawSocket& socket) {
         socket.Send("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n");
         SendForever(socket, "a 1\n");
       },
       "1048575 bytes", "", "body_size_limit: 1MB"},
      {"EndlessHeaders",
       [](RawSocket& socket) {
         socket.Send("HTTP/1.1 200 OK\r\n");
         SendForever(socket, "X-Name: some value\r\n");
       },
       "header"},
      {"GzipBomb", Bomb, "10485759 bytes", "", "body_size_limit: 10MB"},
      {"BrokenGzip", [](RawSocket& socket) { socket.Send(Reply("not gzip", "Content-Encoding: gzip\r\n")); },
       "unencoding"},
      {"SlowDrip", Drip, "timed out"},
      {"Silence", [](RawSocket& socket) { socket.WaitForClose(); }, "timed out"},
      {"ClosedAtOnce", [](RawSocket&) {}, "Empty reply"},
      {"NotHttp", [](RawSocket& socket) { socket.Send("220 mail.example ESMTP\r\n"); }, ""},
      {"CutBody", CutBody, "closed"},
      {"HalfALine", HalfALine, "line 2"},
      {"InvalidUtf8", Body("good 1\nbad{a=\"\xff\xfe\"} 1\n"), "UTF-8"},
      {"NulBytes", Body(std::string("a\0b 1\n", 6)), "line 1"},
      {"BinaryBody",
       Body("\x7f"
            "ELF\x02\x01\x01"),
       "line 1"},
      {"Html",
       [](RawSocket& socket) {
         socket.Send(
             "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\nConnection: close\r\n\r\n<html>");
       },
       "text/html"},
      {"DuplicateSeries", Body("a 1\na 2\n"), "", "duplicate"},
      {"DuplicateLabels", Body("a{x=\"1\",x=\"2\"} 1\n"), "not unique"},
      {"SamplesOfTheFuture", Body("a 1 99999999999999\nb 1\n"), "", "out_of_order"},
      {"ChangingTypes", ChangingTypes, "", "duplicate"},
      {"RedirectCircle", RedirectToItself, "302"},
      {"ServerError",
       [](RawSocket& socket) { socket.Send("HTTP/1.1 500 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"); },
       "500"},
      {"TooManySamples", Body("a 1\nb 1\nc 1\n"), "sample_limit exceeded: 3 samples, limit 2", "", "sample_limit: 2"},
      {"ManyLabels", ManyLabels, "label_limit exceeded", "", "label_limit: 60"},
      {"ManyLabelsWithoutALimit", ManyLabels, "", "series_limit"},
      {"PlainTextToTls", Body("a 1\n"), "timed out", "", "scheme: https"},
  };
}

class HostileTest : public testing::Test {
 protected:
  HostileTest()
      : good_([](RawSocket& socket) {
          socket.ReadUntil("\r\n\r\n");
          socket.Send(Reply("fine 1\n"));
        }) {}
  ~HostileTest() override {
    manager_.Stop();
    scheduler_.Stop();
  }

  static std::string Job(const std::string& name, uint16_t port, const std::string& extra) {
    return "- job_name: " + name + "\n  static_configs: [{targets: ['127.0.0.1:" + std::to_string(port) + "']}]\n" +
           (extra.empty() ? "" : "  " + extra + "\n");
  }

  // Scrapes the good target and those of `jobs`.
  void Scrape(const std::string& jobs) {
    auto config = ParseConfig(
        "global: {scrape_interval: 2s, scrape_timeout: 2s}\nscrape_configs:\n" + Job("good", good_.port(), "") + jobs,
        "prometheus.yml");
    ASSERT_TRUE(config.ok()) << config.status().ToString();
    ASSERT_TRUE(manager_.ApplyConfig(*config).ok());
    manager_.Start();
  }

  ScrapeState State(const std::string& job) {
    for (const TargetStatus& target : manager_.Targets().active) {
      if (target.job == job) return target.state;
    }
    return {};
  }

  double Refused(const std::string& reason) {
    const std::string line = "tidewright_scrape_samples_refused_total{reason=\"" + reason + "\"} ";
    const std::string text = metrics_.Render();
    const size_t at = text.find(line);
    return at == std::string::npos ? 0 : std::stod(text.substr(at + line.size()));
  }

  // The values of `up` of a job, oldest first.
  std::vector<double> Up(const std::string& job) {
    std::vector<double> values;
    auto querier = db_->NewQuerier(0, INT64_MAX / 2);
    auto series = (*querier)->Select({}, {tsdb::Matcher::Equal("__name__", "up"), tsdb::Matcher::Equal("job", job)});
    EXPECT_TRUE(series.ok());
    for (const auto& one : *series) {
      auto iterator = one->Iterator();
      while (iterator->Next()) values.push_back(iterator->At().v);
    }
    return values;
  }

  RawServer good_;
  base::MetricRegistry metrics_;
  base::Clock& clock_ = base::SystemClock::Get();
  std::unique_ptr<tsdb::Db> db_ = *tsdb::Db::Open("", {}, clock_, nullptr);
  base::ThreadPool pool_{"test", 2};
  base::Scheduler scheduler_{clock_, pool_};
  Manager manager_{*db_, clock_, scheduler_, &metrics_, nullptr};
};

// All at once, so that they might also disturb each other.
TEST_F(HostileTest, EachEndsInARefusal) {
  const std::vector<HostileRow> rows = Rows();
  std::vector<std::unique_ptr<RawServer>> servers;
  std::string jobs;
  std::map<std::string, double> counted;
  for (const HostileRow& row : rows) {
    servers.push_back(std::make_unique<RawServer>([&row](RawSocket& socket) {
      socket.ReadUntil("\r\n\r\n");
      row.script(socket);
    }));
    jobs += Job(row.name, servers.back()->port(), row.job);
    if (!row.counted.empty()) ++counted[row.counted];
  }
  [[maybe_unused]] const size_t resident = ResidentBytes();
  Scrape(jobs);
  for (const HostileRow& row : rows) {
    SCOPED_TRACE(row.name);
    ASSERT_TRUE(Eventually([&] { return Up(row.name).size() >= 3; }));
    const ScrapeState state = State(row.name);
    EXPECT_EQ(state.health, row.counted.empty() ? Health::kDown : Health::kUp) << state.last_error;
    EXPECT_THAT(state.last_error, HasSubstr(row.error));
    EXPECT_THAT(Up(row.name), testing::Each(row.counted.empty() ? 0 : 1));
  }
  for (const auto& [reason, count] : counted) EXPECT_GE(Refused(reason), count) << reason;
  EXPECT_THAT(Up("good"), testing::AllOf(testing::SizeIs(testing::Ge(3)), testing::Each(1)));
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // Which keep what has been freed, or notes on it.
  EXPECT_LT(ResidentBytes(), resident + 200 * kMegabyte);
#endif
}

// A certificate of an unknown authority, one for another name, and a server that wants a client's.
TEST_F(HostileTest, TlsErrorsSayWhatIsWrong) {
  const int64_t now = clock_.NowMs();
  auto ca = http::GenerateCa("test ca", now);
  ASSERT_TRUE(ca.ok());
  http::CertificateRequest request;
  request.common_name = "another.example";
  request.dns_names = {"another.example"};
  auto certificate = http::IssueCertificate(*ca, request, now);
  ASSERT_TRUE(certificate.ok());
  http::ServerOptions options;
  options.tls = true;
  auto server = http::Server::Create(options, [](const http::ServerRequest&, auto responder) {
    responder->Reply(http::Response{200, {{"Content-Type", "text/plain"}}, "a 1\n"});
  });
  ASSERT_TRUE(server.ok());
  http::ServerTls tls;
  tls.certificate_pem = certificate->certificate_pem;
  tls.private_key_pem = certificate->private_key_pem;
  ASSERT_TRUE((*server)->SetTls(tls).ok());
  auto port = (*server)->Listen("127.0.0.1", 0);
  ASSERT_TRUE(port.ok());
  auto expect = [&](const std::string& tls_config, const std::string& error) {
    Scrape(Job("hostile", *port, "scheme: https\n  tls_config: {" + tls_config + "}"));
    const size_t before = Up("hostile").size();
    ASSERT_TRUE(Eventually([&] { return Up("hostile").size() >= before + 3; }));
    EXPECT_THAT(State("hostile").last_error, HasSubstr(error)) << tls_config;
    EXPECT_EQ(Up("hostile").back(), error.empty() ? 1 : 0) << tls_config;
  };
  std::string pem = ca->certificate_pem;
  for (size_t at = pem.find('\n'); at != std::string::npos; at = pem.find('\n', at + 2)) pem.replace(at, 1, "\\n");
  expect("", "certificate");
  expect("ca: \"" + pem + "\"", "127.0.0.1");
  expect("ca: \"" + pem + "\", server_name: another.example", "");
}

}  // namespace
}  // namespace tidewright::scrape
