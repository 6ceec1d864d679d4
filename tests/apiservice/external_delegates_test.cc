#include "apiservice/external_delegates.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "http/server.h"
#include "http/tls.h"

namespace tidewright::apiservice {
namespace {

using ::testing::HasSubstr;

constexpr char kReply[] =
    R"({"kind":"ExternalMetricValueList","apiVersion":"external.metrics.k8s.io/v1beta1","metadata":{},"items":[
    {"metricName":"s0-kafka","metricLabels":{"topic":"a"},"timestamp":"2026-11-21T09:00:00Z","value":"1500m"}]})";

class OwnMetrics : public ExternalMetricsProvider {
 public:
  std::vector<std::string> ListMetrics() override { return {"queue_depth"}; }
  base::Result<std::vector<ExternalMetricValue>> Get(const std::string&, const std::string& metric,
                                                     const kube::LabelSelector&) override {
    if (metric == "broken") return base::InternalError("broken");
    if (metric != "queue_depth" && metric != "s0-own") return base::NotFoundError("no rule gives " + metric);
    return std::vector<ExternalMetricValue>{{metric, {}, 0, std::nullopt, base::Quantity::FromValue(7), ""}};
  }
};

class ExternalDelegatesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    int64_t now = base::SystemClock::Get().NowMs();
    http::KeyPair ca = *http::GenerateCa("delegate", now);
    http::CertificateRequest request;
    request.common_name = "delegate";
    request.ip_addresses = {"127.0.0.1"};
    http::KeyPair pair = *http::IssueCertificate(ca, request, now);
    http::ServerOptions options;
    options.worker_threads = 1;
    options.tls = true;
    server_ = *http::Server::Create(
        options, [this](const http::ServerRequest& asked, std::shared_ptr<http::Responder> responder) {
          http::Response response;
          {
            base::MutexLock lock(mu_);
            target_ = asked.target;
            ++count_;
            response.status = status_;
            response.body = body_;
          }
          responder->Reply(std::move(response));
        });
    ASSERT_TRUE(server_->SetTls({pair.certificate_pem, pair.private_key_pem, "", false}).ok());
    url_ = "https://127.0.0.1:" + std::to_string(*server_->Listen("127.0.0.1", 0));
    options_.tls.ca_pem = ca.certificate_pem;
  }
  void TearDown() override { server_->Stop(); }

  void Use(const std::vector<std::string>& delegates) {
    for (const std::string& text : delegates) options_.delegates.push_back(*ParseExternalDelegate(text + url_));
    delegates_ = *ExternalDelegates::Create(
        options_, [this] { return own_; }, clock_, metrics_);
  }
  void Answer(int status, const std::string& body) {
    base::MutexLock lock(mu_);
    status_ = status;
    body_ = body;
  }
  std::string target() {
    base::MutexLock lock(mu_);
    return target_;
  }
  int count() {
    base::MutexLock lock(mu_);
    return count_;
  }
  base::Result<std::vector<ExternalMetricValue>> Get(const std::string& metric, const std::string& selector = "") {
    return delegates_->Get("shop", metric, *kube::LabelSelector::Parse(selector));
  }

  base::Mutex mu_;
  int status_ GUARDED_BY(mu_) = 200;
  std::string body_ GUARDED_BY(mu_) = kReply;
  std::string target_ GUARDED_BY(mu_);
  int count_ GUARDED_BY(mu_) = 0;
  std::unique_ptr<http::Server> server_;
  std::string url_;
  base::FakeClock clock_{1'795'251'600'000};
  base::MetricRegistry metrics_;
  OwnMetrics metrics_of_ours_;
  ExternalMetricsProvider* own_ = &metrics_of_ours_;
  ExternalDelegateOptions options_;
  std::unique_ptr<ExternalDelegates> delegates_;
};

TEST_F(ExternalDelegatesTest, AsksForWhatWeDoNotHave) {
  Use({"external="});
  EXPECT_EQ((*Get("queue_depth"))[0].value.ToString(), "7");
  EXPECT_EQ(Get("broken").status().code(), base::Code::kInternal) << "not knowing is no absence";
  EXPECT_EQ(count(), 0);
  auto values = Get("s0-kafka", "topic=a");
  ASSERT_TRUE(values.ok()) << values.status().message();
  ASSERT_EQ(values->size(), 1u);
  EXPECT_EQ((*values)[0].value.ToString(), "1500m");
  EXPECT_EQ((*values)[0].labels.at("topic"), "a");
  EXPECT_EQ(target(), "/apis/external.metrics.k8s.io/v1beta1/namespaces/shop/s0-kafka?labelSelector=topic%3Da");
  Answer(404, R"({"kind":"Status","message":"no such scaler"})");
  auto none = Get("nothing");
  EXPECT_EQ(none.status().code(), base::Code::kNotFound);
  EXPECT_THAT(none.status().message(), HasSubstr("no rule gives nothing; " + url_ + ": no such scaler"));
  own_ = nullptr;
  EXPECT_EQ(Get("queue_depth").status().code(), base::Code::kNotFound);
  EXPECT_TRUE(delegates_->ListMetrics().empty());
}

TEST_F(ExternalDelegatesTest, PatternsBelongToTheDelegate) {
  Use({"external/s0-*="});
  EXPECT_EQ((*Get("s0-own"))[0].value.ToString(), "1500m");
  EXPECT_EQ((*Get("queue_depth"))[0].value.ToString(), "7");
  EXPECT_EQ(Get("other").status().code(), base::Code::kNotFound);
  EXPECT_EQ(count(), 1);
}

TEST_F(ExternalDelegatesTest, AFailingDelegateIsAnErrorAndLeftAloneForAWhile) {
  Use({"external="});
  for (const char* body :
       {"", "[]", "{}", R"({"items":[5]})", R"({"items":[{"metricName":"a","timestamp":"now","value":"1"}]})",
        R"({"items":[{"metricName":"a","timestamp":"2026-11-21T09:00:00Z","value":"NaN"}]})"}) {
    Answer(200, body);
    EXPECT_EQ(Get("x").status().code(), base::Code::kUnavailable) << body;
    clock_.Advance(11'000);
  }
  Answer(503, "starting");
  EXPECT_EQ(Get("x").status().code(), base::Code::kUnavailable);
  int before = count();
  Answer(200, kReply);
  EXPECT_THAT(Get("x").status().message(), HasSubstr("a moment ago"));
  EXPECT_EQ(count(), before);
  clock_.Advance(11'000);
  EXPECT_TRUE(Get("x").ok());
  Answer(200, R"({"items":[]})");
  EXPECT_EQ(Get("x").status().code(), base::Code::kNotFound);
}

TEST(ExternalDelegateTest, ReadsTheFlag) {
  EXPECT_EQ(ParseExternalDelegate("external/a-*=https://b:8443/")->pattern, "a-*");
  EXPECT_EQ(ParseExternalDelegate("external/a-*=https://b:8443/")->url, "https://b:8443");
  EXPECT_EQ(ParseExternalDelegate("external=https://b")->pattern, "");
  for (const char* text :
       {"", "https://b", "custom=https://b", "external/=https://b", "external=http://b", "external=b", "external="}) {
    EXPECT_EQ(ParseExternalDelegate(text).status().code(), base::Code::kInvalidArgument) << text;
  }
}

TEST(ExternalDelegateTest, MatchesNames) {
  struct Row {
    const char *pattern, *name;
    bool matches;
  };
  for (const Row& row : {Row{"a", "a", true},
                         {"a", "ab", false},
                         {"a*", "a", true},
                         {"a*", "abc", true},
                         {"a*", "ba", false},
                         {"*a", "ba", true},
                         {"*a", "ab", false},
                         {"a*a", "a", false},
                         {"a*a", "aa", true},
                         {"a*b*c", "a1b2c", true},
                         {"a*b*c", "acb", false},
                         {"*", "", true},
                         {"**", "x", true},
                         {"*b*b", "b", false},
                         {"*b*b", "bb", true}}) {
    EXPECT_EQ(MatchesPattern(row.pattern, row.name), row.matches) << row.pattern << " " << row.name;
  }
}

}  // namespace
}  // namespace tidewright::apiservice
