// The external and external-push triggers: a scaler of the user's own, asked by gRPC in KEDA's protocol.
#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "base/strings.h"
#include "http/grpc.h"
#include "http/message.h"
#include "scaler/source_pool.h"
#include "scaler/trigger/external_messages.h"
#include "scaler/trigger/http_source.h"
#include "scaler/trigger/push_stream.h"
#include "scaler/trigger/types.h"

namespace tidewright::scaler::trigger {

namespace {

// The metrics and their targets are asked for again when they are older.
constexpr int64_t kSpecsAgeMs = 60'000;

struct ExternalConfig {
  std::string address;
  bool tls = false;
  http::ClientTls certificates;
  int64_t timeout_ms = 3'000;
  PassedOn passed_on;
};

base::Status ParseAddress(const std::string& value, ExternalConfig& config) {
  auto url = http::Url::Parse("http://" + value);
  const bool bare = url.ok() && url->user_info.empty() && url->query.empty() && !value.ends_with('/') &&
                    url->path == "/" && value.rfind(':') != std::string::npos;
  if (!bare) {
    return base::InvalidArgumentError(base::Quoted(value) +
                                      " is not host:port; use for example scaler.shop.svc:9090, without a scheme");
  }
  config.address = value;
  return base::Status::Ok();
}

constexpr Field<ExternalConfig> kFields[] = {
    {"scalerAddress", Need::kRequired, From::kMetadata, &ParseAddress, "`host:port` of the scaler."},
    {"enableTLS", Need::kOptional, From::kMetadata,
     [](const std::string& value, ExternalConfig& config) { return ParseFlag(value, &config.tls); },
     "TLS also without the certificates below. Default false."},
    {"unsafeSsl", Need::kOptional, From::kMetadata,
     [](const std::string& value, ExternalConfig& config) {
       return ParseFlag(value, &config.certificates.insecure_skip_verify);
     },
     "Trust any certificate. Default false."},
    {"caCert", Need::kOptional, From::kSecret,
     [](const std::string& value, ExternalConfig& config) { return Keep(value, &config.certificates.ca_pem); },
     "Certificates (PEM) to trust instead of the system's; means TLS."},
    {"tlsClientCert", Need::kOptional, From::kSecret,
     [](const std::string& value, ExternalConfig& config) { return Keep(value, &config.certificates.certificate_pem); },
     "Client certificate (PEM); means TLS."},
    {"tlsClientKey", Need::kOptional, From::kSecret,
     [](const std::string& value, ExternalConfig& config) { return Keep(value, &config.certificates.private_key_pem); },
     "Its private key (PEM)."},
    {"tlsCertFile", Need::kOptional, From::kMetadata, nullptr},
};

// What the server says is shown, but for what it was told in confidence.
std::string Redacted(std::string text, const std::vector<std::string>& secrets) {
  for (const std::string& secret : secrets) {
    for (size_t at = text.find(secret); at != std::string::npos; at = text.find(secret, at)) {
      text.replace(at, secret.size(), "*");
      ++at;
    }
  }
  return text;
}

class ExternalTrigger : public Trigger {
 public:
  ExternalTrigger(TriggerInfo info, const TriggerSpec& spec, ExternalConfig config, const TriggerContext& context)
      : Trigger(std::move(info)),
        config_(std::move(config)),
        type_(spec.type),
        index_(spec.index),
        context_(context),
        ref_(EncodeScaledObjectRef(spec.object, spec.ns, config_.passed_on.values)) {
    const size_t colon = config_.address.rfind(':');
    server_ = config_.tls ? "https://" : "http://";
    server_ += context.Resolve(config_.address.substr(0, colon)) + config_.address.substr(colon);
  }

  base::Result<Reading> Read() override {
    auto reading = Ask();
    if (reading.ok()) return reading;
    // None of the server's codes means that there is no value at present, as kNotFound would.
    return base::UnavailableError("external scaler " + config_.address + ": " +
                                  Redacted(reading.status().message(), config_.passed_on.secrets));
  }

  void Push(Hasten hasten) override {
    if (type_ == "external-push") hasten_ = std::move(hasten);
  }

 private:
  base::Result<std::string> Call(const char* method, const std::string& request) {
    if (client_ == nullptr) {
      TW_ASSIGN_OR_RETURN(client_, SourcePool::Grpc(context_.sources, config_.certificates));
    }
    auto reply =
        client_->Call(server_, std::string("/externalscaler.ExternalScaler/") + method, request, config_.timeout_ms);
    return reply.ok() ? std::move(reply) : reply.status().Annotate(method);
  }

  base::Result<Reading> Ask() {
    const bool pushed = push_ != nullptr && push_->Activated();
    TW_RETURN_IF_ERROR(RefreshSpecs());
    TW_ASSIGN_OR_RETURN(Reading reading, AskMetrics());
    reading.active = pushed;
    if (!pushed) {
      TW_ASSIGN_OR_RETURN(std::string reply, Call("IsActive", ref_));
      TW_ASSIGN_OR_RETURN(reading.active, DecodeIsActive(reply));
    }
    KeepPush(pushed, &reading);
    return reading;
  }

  void KeepPush(bool pushed, Reading* reading) {
    if (!hasten_) return;
    if (push_ == nullptr) {
      push_ = std::make_unique<PushStream>(client_, server_, ref_, *context_.control, hasten_);
    }
    if (pushed) push_->Forget();
    push_->Keep();
    const std::string failure = push_->Failure();
    if (!failure.empty()) reading->detail += " (no push: " + Redacted(failure, config_.passed_on.secrets) + ")";
  }

  base::Status RefreshSpecs() {
    const int64_t now_ms = context_.control->NowMs();
    if (!metrics_.empty() && now_ms - asked_ms_ < kSpecsAgeMs) return base::Status::Ok();
    TW_ASSIGN_OR_RETURN(std::string reply, Call("GetMetricSpec", ref_));
    TW_ASSIGN_OR_RETURN(metrics_, DecodeMetricSpecs(reply));
    asked_ms_ = now_ms;
    return base::Status::Ok();
  }

  // Of several metrics the one that asks for the most replicas is the reading, as it would be among several triggers.
  base::Result<Reading> AskMetrics() {
    Reading reading;
    const ExternalMetric* highest = nullptr;
    double highest_load = -1;
    for (const ExternalMetric& metric : metrics_) {
      TW_ASSIGN_OR_RETURN(std::string reply, Call("GetMetrics", EncodeGetMetrics(ref_, metric.name)));
      TW_ASSIGN_OR_RETURN(double value, DecodeMetrics(reply));
      TW_ASSIGN_OR_RETURN(int64_t milli, ToMilli(value));
      reading.detail += (reading.detail.empty() ? "" : ", ") + metric.name + " = " + FormatMilli(milli);
      if (value / metric.target <= highest_load) continue;
      highest = &metric;
      highest_load = std::max(value, 0.0) / metric.target;
      reading.value_milli = milli;
    }
    TW_ASSIGN_OR_RETURN(int64_t target_milli, ToMilli(highest->target));
    const std::string metric_name = MetricName(index_, highest->name);
    if (info().target_milli != target_milli || info().metric_name != metric_name) {
      TriggerInfo info = this->info();
      info.type = type_;
      info.metric_name = metric_name;
      info.target_milli = target_milli;
      SetInfo(std::move(info));
    }
    return reading;
  }

  const ExternalConfig config_;
  const std::string type_;
  const int index_;
  const TriggerContext& context_;
  const std::string ref_;  // Encoded: who asks, and with what settings.
  std::string server_;
  std::shared_ptr<http::GrpcClient> client_;
  std::vector<ExternalMetric> metrics_;
  int64_t asked_ms_ = 0;
  Hasten hasten_;
  std::unique_ptr<PushStream> push_;
};

}  // namespace

std::unique_ptr<Trigger> MakeExternal(const TriggerSpec& spec, MetadataReader& reader, const TriggerContext* context) {
  ExternalConfig config = ReadMetadata(kFields, reader);
  config.passed_on = reader.PassOn();
  http::ClientTls& certificates = config.certificates;
  if (!certificates.ca_pem.empty() || !certificates.certificate_pem.empty()) config.tls = true;
  if (context == nullptr) return nullptr;
  TriggerInfo info = InfoOf(spec, config.address, "external");
  info.type.clear();
  info.source = config.address;
  info.own_reading = true;  // It is told who asks.
  return std::make_unique<ExternalTrigger>(std::move(info), spec, std::move(config), *context);
}

}  // namespace tidewright::scaler::trigger
