// Clients of the aggregation port that are broken, slow, hostile or too many, against the real server: they get the
// exact Status or are refused cheaply, and others are answered meanwhile.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <random>

#include "base/file.h"
#include "base/json.h"
#include "tests/adapter/metrics_stack.h"
#include "tests/eventually.h"
#include "tests/http/raw_socket.h"

namespace tidewright {
namespace {

constexpr char kRules[] = R"yaml(
rules:
- seriesQuery: load
  resources: {template: <<.Resource>>}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)
externalRules:
- seriesQuery: backlog
  resources: {template: <<.Resource>>}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (queue)
)yaml";

constexpr char kCustom[] = "/apis/custom.metrics.k8s.io/v1beta2";
constexpr char kExternal[] = "/apis/external.metrics.k8s.io/v1beta1";
constexpr char kPods[] = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/shop/pods/%2A/load?labelSelector=app%3Dweb";

class HostileClientsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    stack_.PutPod("shop", "web-1", "web");
    auto load = tsdb::Labels::Of({{"__name__", "load"}, {"namespace", "shop"}, {"pod", "web-1"}});
    ASSERT_TRUE(stack_.Store({{load, 7}}, stack_.start_ms()).ok());
    base::Status started = stack_.Start(kRules);
    ASSERT_TRUE(started.ok()) << started.ToString();
    proxy_ = NewProxy();
  }

  // With the certificate of the front proxy; keeps its connection.
  std::unique_ptr<http::Client> NewProxy() {
    http::ClientOptions options;
    options.tls = stack_.FrontProxyTls();
    return *http::NewCurlClient(options);
  }
  base::Result<http::Response> Send(http::Client& client, const std::string& method, const std::string& path) {
    http::ClientRequest request;
    request.method = method;
    request.url = stack_.url() + path;
    request.headers = {{"X-Remote-User", "hpa"}};
    return client.Send(request);
  }
  void ExpectServed(http::Client& client, const char* when) {
    auto reply = Send(client, "GET", kPods);
    ASSERT_TRUE(reply.ok()) << when << ": " << reply.status().ToString();
    EXPECT_EQ(reply->status, 200) << when << ": " << reply->body;
  }

  testing::MetricsStack stack_;
  std::unique_ptr<http::Client> proxy_;
};

TEST_F(HostileClientsTest, BadRequestsGetTheirStatus) {
  const std::string custom = kCustom, external = kExternal;
  struct Row {
    const char* name;
    const char* method;
    std::string path;
    int code;
    const char* reason;
  };
  for (const Row& row : {
           Row{"unknown group", "GET", "/apis/unknown.metrics.k8s.io/v1beta1", 404, "NotFound"},
           {"unknown version", "GET", "/apis/custom.metrics.k8s.io/v9", 404, "NotFound"},
           {"unknown metric", "GET", custom + "/namespaces/shop/pods/web-1/nothing", 404, "NotFound"},
           {"no metric", "GET", custom + "/namespaces/shop/pods/web-1", 404, "NotFound"},
           {"no object", "GET", custom + "/namespaces/shop/pods", 400, "BadRequest"},
           {"no resource", "GET", custom + "/namespaces/shop", 404, "NotFound"},
           {"no namespace", "GET", external + "/backlog", 404, "NotFound"},
           {"empty segment", "GET", custom + "/namespaces//pods/web-1/load", 404, "NotFound"},
           {"bad selector", "GET", custom + "/namespaces/shop/pods/%2A/load?labelSelector=a%20b", 400, "BadRequest"},
           {"bad metric selector", "GET", custom + "/namespaces/shop/pods/web-1/load?metricLabelSelector=%28", 400,
            "BadRequest"},
           {"order in a metric selector", "GET", custom + "/namespaces/shop/pods/web-1/load?metricLabelSelector=a%3E5",
            400, "BadRequest"},
           {"bad field selector", "GET", custom + "/namespaces/shop/pods/%2A/load?fieldSelector=spec.x%3D1", 400,
            "BadRequest"},
           {"POST", "POST", custom + "/namespaces/shop/pods/web-1/load", 405, "MethodNotAllowed"},
           {"DELETE", "DELETE", external + "/namespaces/shop/backlog", 405, "MethodNotAllowed"},
           {"watch", "GET", custom + "/namespaces/shop/pods/%2A/load?watch=true", 405, "MethodNotAllowed"},
           {"name of 8 KiB", "GET", custom + "/namespaces/shop/pods/" + std::string(8192, 'x') + "/load", 404,
            "NotFound"},
           {"metric of 8 KiB", "GET", custom + "/namespaces/shop/pods/web-1/" + std::string(8192, 'x'), 404,
            "NotFound"},
           {"name of metacharacters", "GET", custom + "/namespaces/shop/pods/%22%7D%5B%28%7C/load", 404, "NotFound"},
           {"NUL", "GET", custom + "/namespaces/shop/pods/a%00b/load", 400, ""},
           {"dots", "GET", custom + "/namespaces/%2E%2E/pods/a/load", 400, ""},
           {"target of 64 KiB", "GET", custom + "/namespaces/shop/pods/" + std::string(65536, 'x') + "/load", 431, ""},
       }) {
    auto reply = Send(*proxy_, row.method, row.path);
    ASSERT_TRUE(reply.ok()) << row.name << ": " << reply.status().ToString();
    EXPECT_EQ(reply->status, row.code) << row.name << ": " << reply->body;
    if (*row.reason == '\0') continue;  // Refused before anybody asks what it is about.
    base::Result<base::Json> status = base::ParseJson(reply->body);
    ASSERT_TRUE(status.ok()) << row.name << ": " << reply->body;
    EXPECT_EQ(base::FindString(*status, {"kind"}), "Status") << row.name;
    EXPECT_EQ(base::FindString(*status, {"reason"}), row.reason) << row.name;
    EXPECT_EQ(base::FindInt(*status, {"code"}), row.code) << row.name;
  }
  ExpectServed(*proxy_, "afterwards");
}

TEST_F(HostileClientsTest, GarbageInsteadOfTlsEndsTheConnection) {
  std::mt19937 random(1);
  std::string noise(4096, '\0');
  for (char& c : noise) c = static_cast<char>(random());
  const std::string no_tls = "GET /apis HTTP/1.1\r\nHost: x\r\n\r\n";
  const std::string long_record = std::string("\x16\x03\x01\xff\xff", 5) + std::string(70'000, '\0');
  for (const std::string& bytes : {no_tls, noise, long_record, std::string("\x16\x03\x01", 3), std::string()}) {
    http::RawSocket socket = http::RawSocket::Connect(stack_.port());
    ASSERT_TRUE(socket.ok());
    socket.Send(bytes);
    socket.CloseWrite();
    EXPECT_TRUE(socket.WaitForClose()) << bytes.size() << " bytes";
  }
  ExpectServed(*NewProxy(), "afterwards");
}

TEST_F(HostileClientsTest, SlowClientsHoldUpNobody) {
  std::vector<http::RawSocket> slow;
  for (int i = 0; i < 500; ++i) {
    slow.push_back(http::RawSocket::Connect(stack_.port()));
    ASSERT_TRUE(slow.back().ok());
    slow.back().Send(std::string_view("\x16\x03\x01\x02", i % 5));  // A part of a handshake, and then nothing.
  }
  ExpectServed(*proxy_, "while many are slow");
  ExpectServed(*NewProxy(), "as a newcomer while many are slow");
}

// Of this process, in KiB.
size_t ResidentKib() {
  base::Result<std::string> status = base::ReadFile("/proc/self/status");
  size_t at = status.ok() ? status->find("VmRSS:") : std::string::npos;
  return at == std::string::npos ? 0 : std::stoul(status->substr(at + 6));
}

// Sockets on their way to a port; whether it takes them shows later.
class Crowd {
 public:
  explicit Crowd(uint16_t port) {
    address_.sin_family = AF_INET;
    address_.sin_port = htons(port);
    address_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  }
  ~Crowd() {
    for (int fd : sockets_) close(fd);
  }
  void Join() {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return;
    (void)connect(fd, reinterpret_cast<sockaddr*>(&address_), sizeof address_);
    sockets_.push_back(fd);
  }
  size_t size() const { return sockets_.size(); }

 private:
  sockaddr_in address_{};
  std::vector<int> sockets_;
};

TEST_F(HostileClientsTest, TenThousandConnectionsTakeBoundedMemory) {
  constexpr rlim_t kNeeded = 12'000;  // Both ends are in this process, but the server takes no more than 1024.
  constexpr size_t kCrowd = 10'000, kMostKib = 192 << 10;
  rlimit original{};
  getrlimit(RLIMIT_NOFILE, &original);
  rlimit raised{std::max(original.rlim_cur, kNeeded), std::max(original.rlim_max, kNeeded)};
  if (setrlimit(RLIMIT_NOFILE, &raised) != 0) GTEST_SKIP() << "may not open " << kNeeded << " files";
  ExpectServed(*proxy_, "before");
  size_t before = ResidentKib();
  {
    Crowd crowd(stack_.port());
    for (size_t i = 0; i < kCrowd; ++i) {
      crowd.Join();
      if (i % 1000 == 0) ExpectServed(*proxy_, "on its connection, while others come");
    }
    ASSERT_EQ(crowd.size(), kCrowd);
    ExpectServed(*proxy_, "on its connection, when all are there");
    EXPECT_LT(ResidentKib(), before + kMostKib);
  }
  std::unique_ptr<http::Client> newcomer = NewProxy();
  EXPECT_TRUE(Eventually([&] {
    auto reply = Send(*newcomer, "GET", kPods);
    return reply.ok() && reply->status == 200;
  })) << "nobody can connect after the others have gone";
  setrlimit(RLIMIT_NOFILE, &original);
}

}  // namespace
}  // namespace tidewright
