#include "scaler/trigger/redis_connection.h"

#include <hiredis/hiredis.h>
#include <poll.h>
#include <sys/time.h>

#include <cerrno>

namespace tidewright::scaler::trigger {

namespace {

constexpr int kMaxReads = 16;
constexpr size_t kMaxReplyBytes = 64 << 10;

struct FreeReply {
  void operator()(void* reply) const { freeReplyObject(reply); }
};

base::Result<RedisReply> Convert(const redisReply& reply) {
  RedisReply result;
  switch (reply.type) {
    case REDIS_REPLY_INTEGER:
      result.is_integer = true;
      result.integer = reply.integer;
      return result;
    case REDIS_REPLY_STATUS:
    case REDIS_REPLY_STRING: result.text.assign(reply.str, reply.len); return result;
    case REDIS_REPLY_ARRAY:
      for (size_t i = 0; i < reply.elements; ++i) {
        const redisReply& element = *reply.element[i];
        bool text = element.type == REDIS_REPLY_STRING || element.type == REDIS_REPLY_STATUS;
        result.items.push_back(text ? std::string(element.str, element.len) : "");
      }
      return result;
    case REDIS_REPLY_NIL: return result;
    case REDIS_REPLY_ERROR: return base::FailedPreconditionError(std::string(reply.str, reply.len).substr(0, 200));
    default: return base::UnavailableError("the server sent a reply of an unexpected type");
  }
}

}  // namespace

RedisConnection::RedisConnection(int64_t timeout_ms, std::unique_ptr<http::ByteStream> tls)
    : timeout_ms_(timeout_ms), tls_(std::move(tls)), tls_reader_(redisReaderCreate()) {}

base::Result<std::unique_ptr<RedisConnection>> RedisConnection::Connect(const RedisAddress& address) {
  if (address.tls) {
    TW_ASSIGN_OR_RETURN(std::unique_ptr<http::ByteStream> stream,
                        http::ByteStream::Open(address.host, address.port, *address.tls, address.timeout_ms));
    std::unique_ptr<RedisConnection> connection(new RedisConnection(address.timeout_ms, std::move(stream)));
    if (connection->tls_reader_ == nullptr) return base::ResourceExhaustedError("no memory for a connection");
    return connection;
  }
  timeval timeout{static_cast<time_t>(address.timeout_ms / 1000),
                  static_cast<suseconds_t>(address.timeout_ms % 1000 * 1000)};
  redisContext* context = redisConnectWithTimeout(address.host.c_str(), address.port, timeout);
  if (context == nullptr) return base::ResourceExhaustedError("no memory for a connection");
  std::unique_ptr<RedisConnection> connection(new RedisConnection(address.timeout_ms, context));
  if (context->err != 0) return connection->Failure();
  if (redisSetTimeout(context, timeout) != REDIS_OK) return connection->Failure();
  return connection;
}

base::Result<std::unique_ptr<RedisConnection>> RedisConnection::Open(const RedisAddress& address) {
  TW_ASSIGN_OR_RETURN(std::unique_ptr<RedisConnection> connection, Connect(address));
  if (!address.password.empty()) {
    std::vector<std::string> words = {"AUTH"};
    if (!address.username.empty()) words.push_back(address.username);
    words.push_back(address.password);
    auto reply = connection->Command(words);
    if (!reply.ok()) return reply.status().Annotate("AUTH");
  }
  if (address.database != 0) {
    auto reply = connection->Command({"SELECT", std::to_string(address.database)});
    if (!reply.ok()) return reply.status().Annotate("SELECT " + std::to_string(address.database));
  }
  return connection;
}

RedisConnection::~RedisConnection() {
  if (context_ != nullptr) redisFree(context_);
  if (tls_reader_ != nullptr) redisReaderFree(tls_reader_);
}

redisReader* RedisConnection::reader() const { return context_ != nullptr ? context_->reader : tls_reader_; }

bool RedisConnection::Idle() const {
  if (tls_ != nullptr) return tls_->Idle();
  pollfd waiting{context_->fd, POLLIN, 0};
  return poll(&waiting, 1, 0) == 0;
}

base::Status RedisConnection::Failure() const {
  bool late = context_->err == REDIS_ERR_IO && (errno == EAGAIN || errno == EWOULDBLOCK || errno == ETIMEDOUT);
  std::string text = late ? "no answer within the timeout" : std::string(context_->errstr);
  for (char& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return late ? base::DeadlineExceededError(text) : base::UnavailableError(text);
}

base::Status RedisConnection::Send(const char* bytes, size_t size) {
  if (tls_ != nullptr) return tls_->Write({bytes, size}, timeout_ms_);
  if (redisAppendFormattedCommand(context_, bytes, size) != REDIS_OK) return Failure();
  int done = 0;
  while (done == 0) {
    if (redisBufferWrite(context_, &done) != REDIS_OK) return Failure();
  }
  return base::Status::Ok();
}

// Some bytes for the reader.
base::Status RedisConnection::Receive() {
  if (tls_ == nullptr) return redisBufferRead(context_) == REDIS_OK ? base::Status::Ok() : Failure();
  char buffer[16 << 10];
  TW_ASSIGN_OR_RETURN(size_t size, tls_->Read(buffer, sizeof(buffer), timeout_ms_));
  if (redisReaderFeed(tls_reader_, buffer, size) != REDIS_OK) {
    return base::ResourceExhaustedError("no memory for a reply");
  }
  return base::Status::Ok();
}

base::Result<RedisReply> RedisConnection::Command(const std::vector<std::string>& words) {
  if (asking_) TW_RETURN_IF_ERROR(Exchange({"ASKING"}).status());
  return Exchange(words);
}

base::Result<RedisReply> RedisConnection::Exchange(const std::vector<std::string>& words) {
  std::vector<const char*> argv;
  std::vector<size_t> lengths;
  for (const std::string& word : words) {
    argv.push_back(word.data());
    lengths.push_back(word.size());
  }
  char* formatted = nullptr;
  const int size = redisFormatCommandArgv(&formatted, static_cast<int>(argv.size()), argv.data(), lengths.data());
  if (size < 0) return base::ResourceExhaustedError("no memory for a command");
  base::Status sent = Send(formatted, static_cast<size_t>(size));
  redisFreeCommand(formatted);
  TW_RETURN_IF_ERROR(sent);
  for (int reads = 0; reads < kMaxReads && reader()->len <= kMaxReplyBytes; ++reads) {
    TW_RETURN_IF_ERROR(Receive());
    void* raw = nullptr;
    if (redisReaderGetReply(reader(), &raw) != REDIS_OK) return base::UnavailableError(reader()->errstr);
    if (raw == nullptr) continue;
    std::unique_ptr<void, FreeReply> owner(raw);
    return Convert(*static_cast<redisReply*>(raw));
  }
  return base::ResourceExhaustedError("the reply is too long or comes in too many pieces");
}

}  // namespace tidewright::scaler::trigger
