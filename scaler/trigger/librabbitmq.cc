#include "scaler/trigger/librabbitmq.h"

#include <amqp.h>
#include <amqp_ssl_socket.h>
#include <amqp_tcp_socket.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <utility>

#include "scaler/trigger/client_library.h"

namespace tidewright::scaler::trigger {

namespace {

constexpr amqp_channel_t kChannel = 1;
constexpr int64_t kGoodbyeMs = 1000;

struct Library {
  decltype(amqp_new_connection)* create;
  decltype(amqp_destroy_connection)* destroy;
  decltype(amqp_connection_close)* close;
  decltype(amqp_tcp_socket_new)* tcp_socket;
  decltype(amqp_ssl_socket_new)* tls_socket;
  decltype(amqp_ssl_socket_get_context)* tls_context;
  decltype(amqp_ssl_socket_set_cacert)* tls_trust;
  decltype(amqp_ssl_socket_set_key)* tls_key;
  decltype(amqp_ssl_socket_set_key_passwd)* tls_key_password;
  decltype(amqp_ssl_socket_set_verify_peer)* tls_verify_peer;
  decltype(amqp_ssl_socket_set_verify_hostname)* tls_verify_host;
  decltype(amqp_ssl_socket_set_ssl_versions)* tls_versions;
  decltype(amqp_socket_open_noblock)* open;
  decltype(amqp_set_handshake_timeout)* handshake_timeout;
  decltype(amqp_set_rpc_timeout)* rpc_timeout;
  decltype(amqp_login_with_properties)* login;
  decltype(amqp_channel_open)* open_channel;
  decltype(amqp_queue_declare)* declare;
  decltype(amqp_get_rpc_reply)* reply;
  decltype(amqp_send_method)* send;
  decltype(amqp_frames_enqueued)* frames_enqueued;
  decltype(amqp_maybe_release_buffers)* release;
  decltype(amqp_error_string2)* text;
  // Of the OpenSSL that the library itself was linked with.
  int (*system_trust)(void* context);
  void* (*verification)(void* context);
  int (*expect_ip)(void* verification, const char* ip);
  int (*expect_host)(void* verification, const char* name, size_t length);
  unsigned long (*last_tls_error)();
  const char* (*tls_error_text)(unsigned long error);
  void (*clear_tls_errors)();
};

// Null when it is not installed.
const Library* Rabbitmq() {
  static const Library* const library = []() -> const Library* {
    static Library rabbit;
    ClientLibrary file("librabbitmq.so.4");
    file.Bind("amqp_new_connection", &rabbit.create).Bind("amqp_destroy_connection", &rabbit.destroy);
    file.Bind("amqp_connection_close", &rabbit.close).Bind("amqp_tcp_socket_new", &rabbit.tcp_socket);
    file.Bind("amqp_ssl_socket_new", &rabbit.tls_socket).Bind("amqp_ssl_socket_get_context", &rabbit.tls_context);
    file.Bind("amqp_ssl_socket_set_cacert", &rabbit.tls_trust).Bind("amqp_ssl_socket_set_key", &rabbit.tls_key);
    file.Bind("amqp_ssl_socket_set_key_passwd", &rabbit.tls_key_password);
    file.Bind("amqp_ssl_socket_set_verify_peer", &rabbit.tls_verify_peer);
    file.Bind("amqp_ssl_socket_set_verify_hostname", &rabbit.tls_verify_host);
    file.Bind("amqp_ssl_socket_set_ssl_versions", &rabbit.tls_versions);
    file.Bind("amqp_socket_open_noblock", &rabbit.open);
    file.Bind("amqp_set_handshake_timeout", &rabbit.handshake_timeout)
        .Bind("amqp_set_rpc_timeout", &rabbit.rpc_timeout);
    file.Bind("amqp_login_with_properties", &rabbit.login).Bind("amqp_channel_open", &rabbit.open_channel);
    file.Bind("amqp_queue_declare", &rabbit.declare).Bind("amqp_get_rpc_reply", &rabbit.reply);
    file.Bind("amqp_send_method", &rabbit.send).Bind("amqp_frames_enqueued", &rabbit.frames_enqueued);
    file.Bind("amqp_maybe_release_buffers", &rabbit.release).Bind("amqp_error_string2", &rabbit.text);
    file.Bind("SSL_CTX_set_default_verify_paths", &rabbit.system_trust);
    file.Bind("SSL_CTX_get0_param", &rabbit.verification);
    file.Bind("X509_VERIFY_PARAM_set1_ip_asc", &rabbit.expect_ip);
    file.Bind("X509_VERIFY_PARAM_set1_host", &rabbit.expect_host);
    file.Bind("ERR_peek_last_error", &rabbit.last_tls_error);
    file.Bind("ERR_reason_error_string", &rabbit.tls_error_text).Bind("ERR_clear_error", &rabbit.clear_tls_errors);
    return file.usable() ? &rabbit : nullptr;
  }();
  return library;
}

// A text for functions that read files only. It stays in memory: no secret is written to a disk.
class MemoryFile {
 public:
  explicit MemoryFile(const std::string& text) : file_(memfd_create("pem", MFD_CLOEXEC)) {
    complete_ = file_ >= 0 && write(file_, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  }
  ~MemoryFile() {
    if (file_ >= 0) close(file_);
  }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;

  // A file that nobody finds when there was no memory for it.
  std::string path() const { return complete_ ? "/proc/self/fd/" + std::to_string(file_) : ""; }

 private:
  int file_;
  bool complete_;
};

timeval Left(int64_t deadline_ms) {
  const int64_t ms = std::max<int64_t>(1, deadline_ms - SocketNowMs());
  return {static_cast<time_t>(ms / 1000), static_cast<suseconds_t>(ms % 1000 * 1000)};
}

// What OpenSSL last complained of on this thread, or "". Left there, others would take it for theirs.
std::string TakeTlsError() {
  const unsigned long error = Rabbitmq()->last_tls_error();
  Rabbitmq()->clear_tls_errors();
  return error == 0 ? "" : FirstLine(Rabbitmq()->tls_error_text(error));
}

base::Status Failure(const std::string& what, int error) {
  if (error == AMQP_STATUS_TIMEOUT) return base::DeadlineExceededError(what + ": no answer within the timeout");
  if (error == AMQP_STATUS_SSL_PEER_VERIFY_FAILED) {
    return base::UnavailableError(what + ": the certificate is not of this host by a trusted authority; give its ca");
  }
  const std::string reason = error <= AMQP_STATUS_SSL_ERROR ? TakeTlsError() : "";
  if (!reason.empty()) return base::UnavailableError(what + ": TLS: " + reason);
  // An alert, which the library keeps for itself.
  const char* hint = error == AMQP_STATUS_SSL_ERROR ? "; the server may want a certificate of the client" : "";
  return base::UnavailableError(what + ": " + FirstLine(Rabbitmq()->text(error)) + hint);
}

template <typename Close>
std::string ReasonOf(const amqp_method_t& method) {
  const amqp_bytes_t& text = static_cast<const Close*>(method.decoded)->reply_text;
  return FirstLine(std::string(static_cast<const char*>(text.bytes), text.len).c_str());
}

}  // namespace

base::Result<std::unique_ptr<AmqpConnection>> AmqpConnection::Open(const AmqpAddress& address, int64_t timeout_ms) {
  const int64_t deadline_ms = SocketNowMs() + timeout_ms;
  amqp_connection_state_t state = Rabbitmq()->create();
  if (state == nullptr) return base::ResourceExhaustedError("no memory for a connection");
  std::unique_ptr<AmqpConnection> connection(new AmqpConnection(state));
  TW_RETURN_IF_ERROR(connection->Connect(address, deadline_ms));
  TW_RETURN_IF_ERROR(connection->LogIn(address, deadline_ms));
  TW_RETURN_IF_ERROR(connection->OpenChannel(deadline_ms));
  return connection;
}

AmqpConnection::~AmqpConnection() {
  if (usable_) {
    const timeval patience = Left(SocketNowMs() + kGoodbyeMs);
    Rabbitmq()->rpc_timeout(state_, &patience);
    Rabbitmq()->close(state_, AMQP_REPLY_SUCCESS);
  }
  Rabbitmq()->destroy(state_);
}

base::Status AmqpConnection::Connect(const AmqpAddress& address, int64_t deadline_ms) {
  const Library& rabbit = *Rabbitmq();
  amqp_socket_t* socket = address.tls ? rabbit.tls_socket(state_) : rabbit.tcp_socket(state_);
  if (socket == nullptr) return base::ResourceExhaustedError("no memory for a socket");
  if (address.tls) TW_RETURN_IF_ERROR(ConfigureTls(address, socket));
  const timeval patience = Left(deadline_ms);
  const int error = rabbit.open(socket, address.host.c_str(), address.port, &patience);
  if (error == AMQP_STATUS_OK) {
    if (address.tls) TakeTlsError();
    return base::Status::Ok();
  }
  if (error != AMQP_STATUS_SOCKET_ERROR) return Failure("connect", error);
  return base::UnavailableError("connect: the port is closed, or the host out of reach");
}

base::Status AmqpConnection::ConfigureTls(const AmqpAddress& address, amqp_socket_t* socket) {
  const Library& rabbit = *Rabbitmq();
  TakeTlsError();  // Of others.
  rabbit.tls_verify_peer(socket, address.insecure_skip_verify ? 0 : 1);
  // OpenSSL compares the host by itself, addresses included, which the library does not know.
  rabbit.tls_verify_host(socket, 0);
  void* verification = rabbit.verification(rabbit.tls_context(socket));
  if (rabbit.expect_ip(verification, address.host.c_str()) != 1 &&
      rabbit.expect_host(verification, address.host.data(), address.host.size()) != 1) {
    return base::InvalidArgumentError("the name of the host cannot be that of a certificate");
  }
  rabbit.tls_versions(socket, AMQP_TLSv1_2, AMQP_TLSvLATEST);
  if (address.ca_pem.empty()) {
    rabbit.system_trust(rabbit.tls_context(socket));
  } else if (const MemoryFile ca(address.ca_pem); rabbit.tls_trust(socket, ca.path().c_str()) != AMQP_STATUS_OK) {
    TakeTlsError();
    return base::InvalidArgumentError("ca has no certificate in PEM");
  }
  if (address.certificate_pem.empty()) return base::Status::Ok();
  const MemoryFile certificate(address.certificate_pem);
  const MemoryFile key(address.private_key_pem);
  // Also when there is none: without it, a terminal would be asked for the password of an encrypted key.
  rabbit.tls_key_password(socket, address.key_password.c_str());
  if (rabbit.tls_key(socket, certificate.path().c_str(), key.path().c_str()) == AMQP_STATUS_OK) {
    return base::Status::Ok();
  }
  TakeTlsError();
  return base::InvalidArgumentError(
      "cert and key are not a certificate and its private key in PEM, or keyPassword is not the key's");
}

base::Status AmqpConnection::LogIn(const AmqpAddress& address, int64_t deadline_ms) {
  const Library& rabbit = *Rabbitmq();
  const timeval patience = Left(deadline_ms);
  rabbit.handshake_timeout(state_, &patience);
  amqp_table_entry_t name{};  // What the management API shows.
  name.key = {sizeof("connection_name") - 1, const_cast<char*>("connection_name")};
  name.value.kind = AMQP_FIELD_KIND_UTF8;
  name.value.value.bytes = {sizeof("tidewright") - 1, const_cast<char*>("tidewright")};
  const amqp_table_t properties{1, &name};
  // As KEDA decides: a certificate says who we are when nothing else does; otherwise the server's own default user is.
  // By a certificate, the server does not look at the name that is sent; the library takes no empty one.
  const bool anonymous = address.username.empty() && address.password.empty();
  const bool external = anonymous && address.tls && !address.certificate_pem.empty();
  const char* user = anonymous ? "guest" : address.username.c_str();
  const char* password = anonymous ? "guest" : address.password.c_str();
  const amqp_rpc_reply_t reply =
      external ? rabbit.login(state_, address.vhost.c_str(), kChannel, AMQP_DEFAULT_FRAME_SIZE, address.heartbeat_s,
                              &properties, AMQP_SASL_METHOD_EXTERNAL, "certificate")
               : rabbit.login(state_, address.vhost.c_str(), kChannel, AMQP_DEFAULT_FRAME_SIZE, address.heartbeat_s,
                              &properties, AMQP_SASL_METHOD_PLAIN, user, password);
  return Outcome("log in", reply);
}

base::Status AmqpConnection::OpenChannel(int64_t deadline_ms) {
  const timeval patience = Left(deadline_ms);
  Rabbitmq()->rpc_timeout(state_, &patience);
  Rabbitmq()->open_channel(state_, kChannel);
  base::Status status = Outcome("open a channel", Rabbitmq()->reply(state_));
  usable_ = status.ok();
  return status;
}

base::Result<int64_t> AmqpConnection::MessagesIn(const std::string& queue, int64_t timeout_ms) {
  const Library& rabbit = *Rabbitmq();
  const int64_t deadline_ms = SocketNowMs() + timeout_ms;
  const timeval patience = Left(deadline_ms);
  rabbit.rpc_timeout(state_, &patience);
  const amqp_bytes_t name{queue.size(), const_cast<char*>(queue.data())};
  const amqp_queue_declare_ok_t* declared =
      rabbit.declare(state_, kChannel, name, /*passive=*/1, /*durable=*/0, /*exclusive=*/0, /*auto_delete=*/0, {});
  usable_ = declared != nullptr;
  if (declared == nullptr) {
    const amqp_rpc_reply_t reply = rabbit.reply(state_);
    base::Status status = Outcome("queue", reply);
    const bool of_channel =
        reply.reply_type == AMQP_RESPONSE_SERVER_EXCEPTION && reply.reply.id == AMQP_CHANNEL_CLOSE_METHOD;
    if (of_channel) (void)OpenChannel(deadline_ms);  // Sets usable_.
    return status;
  }
  const int64_t count = declared->message_count;
  rabbit.release(state_);
  usable_ = rabbit.frames_enqueued(state_) == 0;  // Nobody would ever fetch what came unasked.
  return count;
}

base::Status AmqpConnection::Outcome(const std::string& what, const amqp_rpc_reply_t& reply) {
  if (reply.reply_type == AMQP_RESPONSE_NORMAL) return base::Status::Ok();
  if (reply.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION) return Failure(what, reply.library_error);
  if (reply.reply_type == AMQP_RESPONSE_NONE) return Failure(what, AMQP_STATUS_CONNECTION_CLOSED);
  if (reply.reply.id == AMQP_CHANNEL_CLOSE_METHOD) {
    base::Status status =
        base::FailedPreconditionError(what + ": the server answered: " + ReasonOf<amqp_channel_close_t>(reply.reply));
    amqp_channel_close_ok_t closed{};
    Rabbitmq()->send(state_, kChannel, AMQP_CHANNEL_CLOSE_OK_METHOD, &closed);
    return status;
  }
  if (reply.reply.id != AMQP_CONNECTION_CLOSE_METHOD) return Failure(what, AMQP_STATUS_WRONG_METHOD);
  const std::string text = what + ": the server answered: " + ReasonOf<amqp_connection_close_t>(reply.reply);
  const bool leaving =
      static_cast<const amqp_connection_close_t*>(reply.reply.decoded)->reply_code == AMQP_CONNECTION_FORCED;
  amqp_connection_close_ok_t closed{};
  Rabbitmq()->send(state_, 0, AMQP_CONNECTION_CLOSE_OK_METHOD, &closed);
  return leaving ? base::UnavailableError(text) : base::FailedPreconditionError(text);
}

base::Result<std::shared_ptr<AmqpServer>> AmqpServer::Get(const AmqpAddress& address) {
  if (Rabbitmq() == nullptr) {
    return base::UnimplementedError("librabbitmq.so.4 is not installed; add the package librabbitmq4 to the image");
  }
  struct Pool {
    base::Mutex mu;
    std::map<AmqpAddress, std::weak_ptr<AmqpServer>> servers GUARDED_BY(mu);
  };
  static Pool* const pool = new Pool;
  base::MutexLock lock(pool->mu);
  std::erase_if(pool->servers, [](const auto& entry) { return entry.second.expired(); });
  std::weak_ptr<AmqpServer>& known = pool->servers[address];
  std::shared_ptr<AmqpServer> server = known.lock();
  if (server == nullptr) known = server = std::shared_ptr<AmqpServer>(new AmqpServer(address));
  return server;
}

base::Result<int64_t> AmqpServer::MessagesIn(const std::string& queue, int64_t timeout_ms) {
  if (auto kept = Take(); kept != nullptr) {
    base::Result<int64_t> count = kept->MessagesIn(queue, timeout_ms);
    const bool answered = count.ok() || kept->usable();
    if (kept->usable()) Keep(std::move(kept));
    if (answered) return count;
  }
  TW_ASSIGN_OR_RETURN(auto fresh, AmqpConnection::Open(address_, timeout_ms));
  base::Result<int64_t> count = fresh->MessagesIn(queue, timeout_ms);
  if (fresh->usable()) Keep(std::move(fresh));
  return count;
}

// Those that were silent for as long as a heartbeat are closed, as the server is about to give them up.
std::unique_ptr<AmqpConnection> AmqpServer::Take() {
  std::vector<Idle> silent;  // Closed without the lock.
  base::MutexLock lock(mu_);
  const int64_t silent_since_ms = address_.heartbeat_s == 0 ? 0 : SocketNowMs() - address_.heartbeat_s * int64_t{1000};
  auto used = std::find_if(idle_.begin(), idle_.end(), [&](const Idle& one) { return one.since_ms > silent_since_ms; });
  silent.assign(std::make_move_iterator(idle_.begin()), std::make_move_iterator(used));
  idle_.erase(idle_.begin(), used);
  if (idle_.empty()) return nullptr;
  std::unique_ptr<AmqpConnection> connection = std::move(idle_.back().connection);
  idle_.pop_back();
  return connection;
}

void AmqpServer::Keep(std::unique_ptr<AmqpConnection> connection) {
  base::MutexLock lock(mu_);
  idle_.push_back({std::move(connection), SocketNowMs()});
}

}  // namespace tidewright::scaler::trigger
