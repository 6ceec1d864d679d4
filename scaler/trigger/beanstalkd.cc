// The beanstalkd trigger: how many jobs wait in a tube, by the work queue's own protocol (doc/protocol.txt of
// beanstalkd).
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include "base/document.h"
#include "base/strings.h"
#include "http/byte_stream.h"
#include "scaler/trigger/http_source.h"
#include "scaler/trigger/types.h"

namespace tidewright::scaler::trigger {

namespace {

constexpr uint16_t kPort = 11300;
// Statistics of a tube are some 400 bytes.
constexpr size_t kMaxReplyBytes = 16 << 10;
constexpr int kMaxReads = 64;

struct BeanstalkdConfig {
  HostPort server;
  std::string tube;
  int64_t target_milli = 0;
  int64_t activation_milli = 0;
  bool delayed = false;
  int64_t timeout_ms = 3000;
};

// What the protocol takes as a name. Anything else would be another command.
base::Status ParseTube(const std::string& value, BeanstalkdConfig& config) {
  constexpr std::string_view kCharacters = "-+/;.$_()0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  if (value.size() > 200 || value.starts_with('-') || value.find_first_not_of(kCharacters) != std::string::npos) {
    return base::InvalidArgumentError(base::Quoted(value.substr(0, 200)) +
                                      " is not the name of a tube; use up to 200 letters, digits and -+/;.$_(), and no "
                                      "- at the front");
  }
  return Keep(value, &config.tube);
}

constexpr Field<BeanstalkdConfig> kFields[] = {
    {"server", Need::kRequired, From::kMetadata,
     [](const std::string& value, BeanstalkdConfig& config) { return ParseHostPort(value, kPort, &config.server); },
     "`host:port`. Without a port, 11300."},
    {"tube", Need::kRequired, From::kMetadata, &ParseTube, "The tube's name. One that does not exist has no jobs."},
    {"value", Need::kTarget, From::kDecision,
     [](const std::string& value, BeanstalkdConfig& config) { return ParsePositiveMilli(value, &config.target_milli); },
     "Jobs per replica that are ready or reserved."},
    {"activationValue", Need::kOptional, From::kDecision,
     [](const std::string& value, BeanstalkdConfig& config) { return ParseMilli(value, &config.activation_milli); },
     "Active above this number. Default 0."},
    {"includeDelayed", Need::kOptional, From::kMetadata,
     [](const std::string& value, BeanstalkdConfig& config) { return ParseFlag(value, &config.delayed); },
     "Count delayed jobs, too. Default false."},
    {"timeout", Need::kOptional, From::kMetadata,
     [](const std::string& value, BeanstalkdConfig& config) { return ParseTimeoutMs(value, &config.timeout_ms); },
     "To connect, and for each wait for bytes. Default 3s; a bare number is milliseconds."},
};

// The number of a line "name: number" of the statistics.
std::optional<int64_t> StatisticOf(const std::string& statistics, std::string_view name) {
  for (const std::string& line : base::Split(statistics, '\n')) {
    int64_t number = 0;
    if (!line.starts_with(name) || line.size() <= name.size() || line[name.size()] != ':') continue;
    const std::string text(base::TrimSpace(line.substr(name.size() + 1)));
    if (base::ParseInt64(text, &number) && number >= 0) return number;
  }
  return std::nullopt;
}

class BeanstalkdTrigger : public Trigger {
 public:
  BeanstalkdTrigger(TriggerInfo info, BeanstalkdConfig config, const TriggerContext& context)
      : Trigger(std::move(info)), config_(std::move(config)), host_(context.Resolve(config_.server.host)) {}

  base::Result<Reading> Read() override {
    const bool reused = stream_ != nullptr && stream_->Idle();
    if (!reused) stream_ = nullptr;
    auto reading = Attempt();
    // A kept connection may have died unnoticed since the last reading: one fresh attempt tells.
    if (!reading.ok() && reused) reading = Attempt();
    if (reading.ok()) return reading;
    return reading.status().Annotate("beanstalkd at " + TextOf(config_.server));
  }

 private:
  base::Result<Reading> Attempt() {
    auto reading = Ask();
    if (!reading.ok()) stream_ = nullptr;
    return reading;
  }

  base::Result<Reading> Ask() {
    if (stream_ == nullptr) {
      TW_ASSIGN_OR_RETURN(stream_,
                          http::ByteStream::Open(host_, config_.server.port, std::nullopt, config_.timeout_ms));
    }
    TW_RETURN_IF_ERROR(stream_->Write("stats-tube " + config_.tube + "\r\n", config_.timeout_ms));
    TW_ASSIGN_OR_RETURN(std::optional<std::string> statistics, ReadStatistics());
    if (!statistics) return Reading{0, "tube " + config_.tube + " does not exist"};
    auto jobs = StatisticOf(*statistics, "current-jobs-ready");
    auto reserved = StatisticOf(*statistics, "current-jobs-reserved");
    auto delayed = StatisticOf(*statistics, "current-jobs-delayed");
    if (!jobs || !reserved || !delayed) return base::UnavailableError("the reply has no statistics of a tube");
    const double sum = static_cast<double>(*jobs) + static_cast<double>(*reserved) +
                       (config_.delayed ? static_cast<double>(*delayed) : 0);
    TW_ASSIGN_OR_RETURN(int64_t milli, ToMilli(sum));
    return Reading{milli, "jobs in " + config_.tube + " = " + FormatMilli(milli)};
  }

  // "OK <bytes>\r\n<bytes>\r\n", or "NOT_FOUND\r\n": none.
  base::Result<std::optional<std::string>> ReadStatistics() {
    std::string reply;
    char buffer[4096];
    for (int reads = 0; reads < kMaxReads && reply.size() <= kMaxReplyBytes; ++reads) {
      TW_ASSIGN_OR_RETURN(size_t size, stream_->Read(buffer, sizeof(buffer), config_.timeout_ms));
      reply.append(buffer, size);
      const size_t line = reply.find("\r\n");
      if (line == std::string::npos) continue;
      if (reply == "NOT_FOUND\r\n") return std::optional<std::string>();
      int64_t length = 0;
      if (!reply.starts_with("OK ") || !base::ParseInt64(reply.substr(3, line - 3), &length) || length < 0) {
        return base::FailedPreconditionError("the server answered " +
                                             base::Quoted(reply.substr(0, std::min<size_t>(line, 60))));
      }
      if (static_cast<uint64_t>(length) > kMaxReplyBytes) break;
      const size_t end = line + 2 + static_cast<size_t>(length);
      if (reply.size() >= end + 2) return std::optional(reply.substr(line + 2, static_cast<size_t>(length)));
    }
    return base::ResourceExhaustedError("the reply is too long or comes in too many pieces");
  }

  const BeanstalkdConfig config_;
  const std::string host_;
  std::unique_ptr<http::ByteStream> stream_;
};

}  // namespace

std::unique_ptr<Trigger> MakeBeanstalkd(const TriggerSpec& spec, MetadataReader& reader,
                                        const TriggerContext* context) {
  BeanstalkdConfig config = ReadMetadata(kFields, reader);
  if (context == nullptr) return nullptr;
  TriggerInfo info = InfoOf(spec, config.tube, "beanstalkd-" + config.tube);
  info.source = TextOf(config.server);
  info.target_milli = config.target_milli;
  info.activation_milli = config.activation_milli;
  return std::make_unique<BeanstalkdTrigger>(std::move(info), std::move(config), *context);
}

}  // namespace tidewright::scaler::trigger
