#include "sandbox/redis.h"

#include <hiredis/hiredis.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "base/log.h"

namespace tidewright::sandbox {

namespace {

constexpr int64_t kMaxItemsPerCommand = 1000;

timeval TimeVal(int64_t ms) { return {static_cast<time_t>(ms / 1000), static_cast<suseconds_t>(ms % 1000 * 1000)}; }

}  // namespace

struct Redis::Connection {
  explicit Connection(redisContext* c) : context(c) {}
  ~Connection() { redisFree(context); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  redisContext* const context;
};

Redis::Redis(RedisOptions options, base::Clock& clock) : options_(std::move(options)), clock_(clock) {}

Redis::~Redis() { Stop(); }

base::Status Redis::Start() {
  if (!base::HaveProgram("redis-server")) {
    return base::FailedPreconditionError(
        "redis-server is not installed; install it (Debian: apt-get install redis-server) or run the sandbox without "
        "the queue");
  }
  base::MutexLock lock(mu_);
  auto data = base::TempDir::Create("tidewright-redis");
  if (!data.ok()) return data.status();
  data_.emplace(std::move(*data));
  return Spawn();
}

base::Status Redis::Spawn() {
  // With another appendfsync, redis puts writes off while the disk is slow, and a kill loses what was acknowledged.
  auto child = base::Subprocess::Start(
      {"redis-server", "--bind", options_.address, "--port", std::to_string(options_.port), "--dir", data_->path(),
       "--appendonly", "yes", "--appendfsync", "always", "--save", "", "--daemonize", "no", "--protected-mode", "no"},
      data_->path() + "/redis.log");
  if (!child.ok()) {
    last_error_ = child.status().message();
    return child.status();
  }
  child_.emplace(std::move(*child));
  restart_at_ms_ = 0;
  last_error_.clear();
  base::LogInfo(
      "sandbox", "redis-server started",
      {{"address", options_.address + ":" + std::to_string(options_.port)}, {"pid", std::to_string(child_->pid())}});
  return base::Status::Ok();
}

void Redis::Stop() {
  base::MutexLock lock(mu_);
  stopped_ = true;
  connection_.reset();
  if (child_) child_->Stop();
  child_.reset();
}

void Redis::Tick() {
  base::MutexLock lock(mu_);
  if (stopped_ || !data_) return;
  const int64_t now_ms = clock_.NowMs();
  if (child_ && !child_->Running()) {
    const int code = child_->Wait();
    child_.reset();
    connection_.reset();
    restart_at_ms_ = now_ms + options_.restart_delay_ms;
    last_error_ = "redis-server ended with code " + std::to_string(code) + "; it restarts after " +
                  std::to_string(options_.restart_delay_ms / 1000) + " s";
    base::LogWarn("sandbox", "redis-server ended",
                  {{"code", std::to_string(code)}, {"restart_in_ms", std::to_string(options_.restart_delay_ms)}});
  }
  if (child_ || now_ms < restart_at_ms_) return;
  if (base::Status started = Spawn(); !started.ok()) {
    restart_at_ms_ = now_ms + options_.restart_delay_ms;
    base::LogWarn("sandbox", "redis-server did not start", {{"error", started.ToString()}});
  }
}

base::Status Redis::Connect() {
  if (connection_ != nullptr) return base::Status::Ok();
  if (!child_) return base::UnavailableError(last_error_.empty() ? "redis-server is down" : last_error_);
  const std::string where = options_.address + ":" + std::to_string(options_.port);
  redisContext* context =
      redisConnectWithTimeout(options_.address.c_str(), options_.port, TimeVal(options_.command_timeout_ms));
  if (context == nullptr) return base::UnavailableError("redis " + where + ": out of memory");
  auto connection = std::make_unique<Connection>(context);
  if (context->err != 0) return base::UnavailableError("redis " + where + ": " + context->errstr);
  redisSetTimeout(context, TimeVal(options_.command_timeout_ms));
  connection_ = std::move(connection);
  return base::Status::Ok();
}

// The integer of the reply, or the number of elements of a list; nil is 0.
base::Result<int64_t> Redis::Command(const std::vector<std::string>& arguments) {
  TW_RETURN_IF_ERROR(Connect());
  std::vector<const char*> texts;
  std::vector<size_t> sizes;
  for (const std::string& argument : arguments) {
    texts.push_back(argument.data());
    sizes.push_back(argument.size());
  }
  auto* reply = static_cast<redisReply*>(
      redisCommandArgv(connection_->context, static_cast<int>(texts.size()), texts.data(), sizes.data()));
  if (reply == nullptr) {
    last_error_ = "redis " + arguments[0] + ": " + connection_->context->errstr;
    connection_.reset();  // hiredis cannot use a context after an error.
    return base::UnavailableError(last_error_);
  }
  base::Result<int64_t> result = static_cast<int64_t>(0);
  if (reply->type == REDIS_REPLY_ERROR) {
    last_error_ = "redis " + arguments[0] + ": " + std::string(reply->str, reply->len);
    result = base::UnavailableError(last_error_);
  } else if (reply->type == REDIS_REPLY_INTEGER) {
    result = static_cast<int64_t>(reply->integer);
  } else if (reply->type == REDIS_REPLY_ARRAY) {
    result = static_cast<int64_t>(reply->elements);
  }
  freeReplyObject(reply);
  if (result.ok()) last_error_.clear();
  return result;
}

base::Status Redis::Push(const std::string& queue, int64_t count) {
  base::MutexLock lock(mu_);
  while (count > 0) {
    const int64_t batch = std::min(count, kMaxItemsPerCommand);
    std::vector<std::string> arguments{"RPUSH", queue};
    arguments.resize(static_cast<size_t>(batch) + 2, "order");
    auto pushed = Command(arguments);
    if (!pushed.ok()) return pushed.status();
    count -= batch;
  }
  return base::Status::Ok();
}

base::Result<int64_t> Redis::Pop(const std::string& queue, int64_t count) {
  base::MutexLock lock(mu_);
  return Command({"LPOP", queue, std::to_string(std::min(count, kMaxItemsPerCommand))});
}

base::Result<int64_t> Redis::Length(const std::string& queue) {
  base::MutexLock lock(mu_);
  return Command({"LLEN", queue});
}

std::string Redis::address() const { return options_.address + ":" + std::to_string(options_.port); }

int Redis::pid() const {
  base::MutexLock lock(mu_);
  return child_ ? child_->pid() : -1;
}

bool Redis::healthy() const {
  base::MutexLock lock(mu_);
  return child_ && last_error_.empty();
}

std::string Redis::last_error() const {
  base::MutexLock lock(mu_);
  return last_error_;
}

}  // namespace tidewright::sandbox
