#include "scrape/discovery.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "base/file.h"
#include "base/mutex.h"
#include "http/server.h"

namespace tidewright::scrape {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// Waits for another thread; the deadline only ends a test that would fail anyway.
bool Eventually(const std::function<bool()>& condition) {
  int64_t deadline = base::MonotonicNanos() + 20'000'000'000;
  while (!condition()) {
    if (base::MonotonicNanos() > deadline) return false;
    std::this_thread::yield();
  }
  return true;
}

// What a discoverer has delivered, put together.
class Found {
 public:
  Discoverer::Update Update() {
    return [this](std::vector<TargetGroup> groups) {
      base::MutexLock lock(mu_);
      ++updates_;
      for (TargetGroup& group : groups) groups_[group.source] = std::move(group);
    };
  }
  std::vector<std::string> Addresses() {
    std::vector<std::string> addresses;
    base::MutexLock lock(mu_);
    for (const auto& [source, group] : groups_) {
      for (const tsdb::Labels& target : group.targets) addresses.emplace_back(target.Get("__address__"));
    }
    return addresses;
  }
  int updates() {
    base::MutexLock lock(mu_);
    return updates_;
  }
  std::map<std::string, TargetGroup> groups() {
    base::MutexLock lock(mu_);
    return groups_;
  }

 private:
  base::Mutex mu_;
  int updates_ GUARDED_BY(mu_) = 0;
  std::map<std::string, TargetGroup> groups_ GUARDED_BY(mu_);
};

class DiscoveryTest : public ::testing::Test {
 protected:
  ~DiscoveryTest() override { scheduler_.Stop(); }
  base::FakeClock clock_{1'700'000'000'000};
  base::ThreadPool pool_{"test", 2};
  base::Scheduler scheduler_{clock_, pool_};
  Found found_;
};

TEST_F(DiscoveryTest, HttpFollowsTheReplyAndKeepsTargetsThroughTrouble) {
  base::Mutex mu;
  http::Response answer;
  std::atomic<int> asked{0};
  http::ServerRequest last;
  auto server = http::Server::Create({}, [&](const http::ServerRequest& request, auto responder) {
    base::MutexLock lock(mu);
    last = request;
    responder->Reply(answer);
    ++asked;
  });
  ASSERT_TRUE(server.ok());
  auto port = (*server)->Listen("127.0.0.1", 0);
  ASSERT_TRUE(port.ok());
  HttpSdConfig config;
  config.url = "http://127.0.0.1:" + std::to_string(*port) + "/targets";
  config.http.username.text = "me";
  auto discoverer = NewHttpDiscoverer(config, scheduler_, http::NewCurlClient);

  struct Step {
    int status;
    const char* type;
    const char* body;
    std::vector<std::string> addresses;
  };
  const Step steps[] = {
      {200,
       "application/json",
       R"([{"targets":["a:1","b:2"],"labels":{"x":"y"}},{"targets":["c:3"]}])",
       {"a:1", "b:2", "c:3"}},
      {500, "application/json", "[]", {"a:1", "b:2", "c:3"}},
      {200, "text/html", "[]", {"a:1", "b:2", "c:3"}},
      {200, "application/json", "[{", {"a:1", "b:2", "c:3"}},
      {200, "application/json; charset=utf-8", R"([{"targets":["d:4"]}])", {"d:4"}},
      {200, "application/json", "[]", {}},
  };
  discoverer->Start(found_.Update());
  for (const Step& step : steps) {
    {
      base::MutexLock lock(mu);
      answer = http::Response{step.status, {{"Content-Type", step.type}}, step.body};
    }
    // The second request from now on comes after the reply to one that got this answer was taken.
    const int enough = asked + 3;
    ASSERT_TRUE(Eventually([&] {
      clock_.Advance(1000);
      return asked >= enough && found_.Addresses() == step.addresses;
    })) << step.body;
  }
  discoverer->Stop();
  base::MutexLock lock(mu);
  EXPECT_EQ(last.headers.Get("X-Prometheus-Refresh-Interval-Seconds"), "60");
  EXPECT_EQ(last.headers.Get("Authorization"), "Basic bWU6");
}

TEST_F(DiscoveryTest, FilesAreReadWhenTheyChange) {
  auto folder = base::TempDir::Create("tidewright-sd");
  ASSERT_TRUE(folder.ok());
  const std::string path = folder->path() + "/targets.json";
  ASSERT_TRUE(base::WriteFileAtomic(path, R"([{"targets":["a:1"]}])").ok());
  FileSdConfig config;
  config.files = {path};
  auto discoverer = NewFileDiscoverer(config, scheduler_);
  discoverer->Start(found_.Update());
  EXPECT_THAT(found_.Addresses(), ElementsAre("a:1"));
  ASSERT_TRUE(base::WriteFileAtomic(path, R"([{"targets":["b:2"]}])").ok());
  ASSERT_TRUE(Eventually([&] {
    clock_.Advance(1000);
    return found_.Addresses() == std::vector<std::string>{"b:2"};
  }));
  discoverer->Stop();
}

// A name server on a port of its own that gives fixed answers: the records' data by query type.
class NameServer {
 public:
  explicit NameServer(std::map<uint16_t, std::vector<std::string>> records) : records_(std::move(records)) {
    socket_ = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof(address);
    EXPECT_EQ(bind(socket_, reinterpret_cast<sockaddr*>(&address), length), 0);
    EXPECT_EQ(getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &length), 0);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { Serve(); });
  }
  ~NameServer() {
    shutdown(socket_, SHUT_RDWR);
    thread_.join();
    close(socket_);
  }
  uint16_t port() const { return port_; }

 private:
  static void Put16(std::string* out, size_t value) {
    out->push_back(static_cast<char>(value >> 8));
    out->push_back(static_cast<char>(value & 0xff));
  }

  void Serve() {
    for (;;) {
      char query[512];
      sockaddr_in from{};
      socklen_t length = sizeof(from);
      const ssize_t size = recvfrom(socket_, query, sizeof(query), 0, reinterpret_cast<sockaddr*>(&from), &length);
      if (size <= 16) return;
      const std::string reply = Answer(std::string(query, static_cast<size_t>(size)));
      sendto(socket_, reply.data(), reply.size(), 0, reinterpret_cast<sockaddr*>(&from), length);
    }
  }

  std::string Answer(const std::string& query) const {
    const size_t name_end = query.find('\0', 12) + 1;
    const auto type = static_cast<uint16_t>(static_cast<unsigned char>(query[name_end]) * 256 +
                                            static_cast<unsigned char>(query[name_end + 1]));
    const auto found = records_.find(type);
    const size_t count = found == records_.end() ? 0 : found->second.size();
    std::string out = query.substr(0, 2);
    Put16(&out, 0x8180);  // A reply, recursion available, no error.
    Put16(&out, 1);
    Put16(&out, count);
    Put16(&out, 0);
    Put16(&out, 0);
    out += query.substr(12, name_end + 4 - 12);
    for (size_t i = 0; i < count; ++i) {
      Put16(&out, 0xc00c);  // The question's name.
      Put16(&out, type);
      Put16(&out, 1);
      Put16(&out, 0);
      Put16(&out, 60);  // Time to live.
      Put16(&out, found->second[i].size());
      out += found->second[i];
    }
    return out;
  }

  const std::map<uint16_t, std::vector<std::string>> records_;
  int socket_ = -1;
  uint16_t port_ = 0;
  std::thread thread_;
};

TEST_F(DiscoveryTest, DnsKnowsTheRecordTypes) {
  using std::string_literals::operator""s;
  const std::string host = "\4host\7example\0"s, v6 = "\x20\x01\x0d\xb8"s + std::string(11, '\0') + "\1";
  NameServer server({{1, {"\x0a\0\0\1"s, "\x0a\0\0\2"s}},
                     {28, {v6}},
                     {33, {"\0\1\0\1\x1f\x90"s + host}},
                     {15, {"\0\x0a"s + host}},
                     {2, {host}}});
  struct Case {
    const char* type;
    std::vector<std::string> addresses;
    const char* label;
    const char* value;
  };
  const Case cases[] = {
      {"A", {"10.0.0.1:80", "10.0.0.2:80"}, "__meta_dns_name", "a.example."},
      {"AAAA", {"[2001:db8::1]:80"}, "__meta_dns_name", "a.example."},
      {"SRV", {"host.example:8080"}, "__meta_dns_srv_record_target", "host.example."},
      {"MX", {"host.example:80"}, "__meta_dns_mx_record_target", "host.example."},
      {"NS", {"host.example:80"}, "__meta_dns_ns_record_target", "host.example."},
  };
  for (const Case& c : cases) {
    DnsSdConfig config;
    config.names = {"a.example."};
    config.type = c.type;
    config.port = 80;
    Found found;
    auto discoverer = NewDnsDiscoverer(config, scheduler_, {"127.0.0.1", server.port()});
    discoverer->Start(found.Update());
    ASSERT_TRUE(Eventually([&] { return found.updates() > 0; })) << c.type;
    discoverer->Stop();
    EXPECT_EQ(found.Addresses(), c.addresses) << c.type;
    EXPECT_EQ(found.groups()["a.example."].targets[0].Get(c.label), c.value) << c.type;
  }
}

TEST_F(DiscoveryTest, DnsNamesWithoutRecordsHaveNoTargets) {
  NameServer server({});
  DnsSdConfig config;
  config.names = {"a.example."};
  auto discoverer = NewDnsDiscoverer(config, scheduler_, {"127.0.0.1", server.port()});
  discoverer->Start(found_.Update());
  ASSERT_TRUE(Eventually([&] { return found_.updates() > 0; }));
  discoverer->Stop();
  EXPECT_THAT(found_.Addresses(), IsEmpty());
}

}  // namespace
}  // namespace tidewright::scrape
