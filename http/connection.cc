#include "http/connection.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "base/clock.h"
#include "base/strings.h"
#include "http/server_tls.h"

namespace tidewright::http {
namespace {

namespace asio = boost::asio;
namespace beast_http = boost::beast::http;
using boost::system::error_code;

constexpr size_t kInitialBuffer = 4096;
constexpr int64_t kLingerMs = 2000;
// What is read and dropped so that a client which sends before it reads finds the refusal, not a reset.
constexpr size_t kMaxDrainBytes = 16u << 20;
constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";

std::string EndpointText(const asio::ip::tcp::endpoint& endpoint) {
  std::string address = endpoint.address().to_string();
  if (endpoint.address().is_v6()) address = "[" + address + "]";
  return address + ":" + std::to_string(endpoint.port());
}

std::string_view ToStd(boost::beast::string_view text) { return {text.data(), text.size()}; }

Refusal RefusalOf(const error_code& code) {
  if (code == beast_http::error::header_limit) return {431, "the request's head is too long"};
  if (code == beast_http::error::body_limit) return {413, "the request's body is too long"};
  if (code == beast_http::error::bad_version) return {505, "want HTTP/1.1"};
  return {400, code.message()};
}

}  // namespace

Connection::Connection(ConnectionOwner& owner, std::shared_ptr<IoLoop> loop, std::unique_ptr<Transport> transport,
                       uint64_t listener_id)
    : owner_(owner),
      loop_(std::move(loop)),
      transport_(std::move(transport)),
      listener_id_(listener_id),
      buffer_(kInitialBuffer),
      timer_(loop_->context) {}

Connection::~Connection() {
  if (direct_ != nullptr) direct_->Revoke();
}

void Connection::Start() {
  loop_->connections.insert(shared_from_this());
  error_code error;
  auto remote = transport_->socket().remote_endpoint(error);
  if (error) return Close();  // Reset before we came to look.
  auto local = transport_->socket().local_endpoint(error);
  if (error) return Close();
  peer_.address = EndpointText(remote);
  local_address_ = EndpointText(local);
  SetDeadline(owner_.options().request_timeout_ms);
  transport_->Handshake([self = shared_from_this()](error_code ec, size_t) { self->OnHandshake(ec); });
}

void Connection::OnHandshake(error_code error) {
  if (closed_) return;
  if (error) return Close();
  if (transport_->ssl() != nullptr) ReadPeerCertificate(transport_->ssl(), &peer_);
  NextRequest();
}

void Connection::Close() {
  if (std::exchange(closed_, true)) return;
  NoteClientGone();
  if (direct_ != nullptr) direct_->Revoke();  // Before the socket goes, whose number may be another's soon.
  auto self = shared_from_this();
  timer_.cancel();
  error_code ignored;
  transport_->socket().close(ignored);
  if (stream_) stream_->Close();
  stream_.reset();
  loop_->connections.erase(self);
  owner_.OnClosed();
}

void Connection::CloseWhenIdle() {
  close_after_reply_ = true;
  if (state_ == State::kStreaming) return stream_->End();
  if (state_ == State::kHandshake || state_ == State::kReading || AnsweredDirectly()) Close();
}

void Connection::CloseUnlessWriting() {
  if (state_ == State::kHandling) return Close();
  CloseWhenIdle();
}

void Connection::NextRequest() {
  if (close_after_reply_) return Linger(false);
  ExpectRequest();
  if (begin_ == end_) {
    // A client that never says anything is held to the shorter limit.
    SetDeadline(std::exchange(first_request_, false) ? owner_.options().request_timeout_ms
                                                     : owner_.options().idle_timeout_ms);
    return Read();
  }
  SetDeadline(owner_.options().request_timeout_ms);
  Parse();
}

void Connection::ExpectRequest() {
  state_ = State::kReading;
  direct_.reset();
  parser_.emplace();
  parser_->header_limit(static_cast<std::uint32_t>(owner_.options().max_header_bytes));
  parser_->body_limit(owner_.options().max_body_bytes);
  parser_->eager(false);  // Stop between head and body: the head is checked before any of the body is read.
  head_done_ = false;
}

// Whether the request that is being handled was answered directly. If not, it is not going to be.
bool Connection::AnsweredDirectly() { return state_ == State::kHandling && direct_ != nullptr && direct_->Revoke(); }

void Connection::Read() {
  if (reading_ || closed_) return;
  if (begin_ > 0) {
    std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= std::exchange(begin_, 0);
  }
  if (end_ == buffer_.size() && !GrowBuffer()) {
    if (state_ != State::kReading) return Close();  // Pipelined more than a head's worth behind an open stream.
    return Refuse({head_done_ ? 400 : 431, "the request has a line that is too long"});
  }
  reading_ = true;
  transport_->Read(asio::buffer(buffer_.data() + end_, buffer_.size() - end_),
                   [self = shared_from_this()](error_code ec, size_t bytes) { self->OnRead(ec, bytes); });
}

// Makes room beyond a full buffer; false at the limit.
bool Connection::GrowBuffer() {
  // The longest that the parser wants in one piece is a head; a little more lets it, not us, say that it is too long.
  size_t limit = std::max(owner_.options().max_header_bytes, kInitialBuffer) + kInitialBuffer;
  if (buffer_.size() >= limit) return false;
  buffer_.resize(std::min(buffer_.size() * 2, limit));
  return true;
}

void Connection::OnRead(error_code error, size_t bytes) {
  reading_ = false;
  if (closed_ || state_ == State::kLingering) return;
  if (AnsweredDirectly()) ExpectRequest();
  if (error) {
    // A reply to a half-closed connection still arrives; a watcher that closed is gone.
    if (state_ == State::kHandling && error == asio::error::eof) return NoteClientGone();
    if (state_ != State::kReplying) Close();
    return;
  }
  end_ += bytes;
  if (state_ == State::kStreaming) return Read();
  if (state_ != State::kReading) return;
  bool began = parser_->got_some();
  Parse();
  // Most requests arrive whole; only one that did not needs its deadline.
  if (!began && state_ == State::kReading) SetDeadline(owner_.options().request_timeout_ms);
}

void Connection::Parse() {
  while (begin_ < end_ && ParseSome()) {
  }
  if (closed_ || state_ != State::kReading || writing_) return;
  if (parser_->is_done()) return Dispatch();
  Read();
}

// Feeds the parser once. False when it wants more input, or the request ended for good or bad.
bool Connection::ParseSome() {
  error_code error;
  begin_ += parser_->put(asio::buffer(buffer_.data() + begin_, end_ - begin_), error);
  if (error == beast_http::error::need_more) return false;
  if (error) {
    Refuse(RefusalOf(error));
    return false;
  }
  if (!head_done_ && parser_->is_header_done()) {
    head_done_ = true;
    if (Refusal refusal = OnHead(); refusal.status != 0) {
      Refuse(refusal);
      return false;
    }
    if (!parser_->is_done() && SendContinue()) return false;
  }
  return !parser_->is_done();
}

Refusal Connection::OnHead() {
  const auto& message = parser_->get();
  request_ = std::make_shared<ServerRequest>();
  request_->method = std::string(ToStd(message.method_string()));
  for (const auto& field : message) {
    request_->headers.Add(std::string(ToStd(field.name_string())), std::string(ToStd(field.value())));
  }
  context_.head = request_->method == "HEAD";
  context_.http10 = message.version() == 10;
  context_.keep_alive = parser_->keep_alive() && !close_after_reply_;
  context_.accepts_gzip = AcceptsGzip(request_->headers);
  if (Refusal refusal = CheckHead(request_->headers, context_.http10 ? 0 : 1); refusal.status != 0) return refusal;
  return ParseTarget(ToStd(message.target()), request_.get());
}

// Tells a client that waits for permission to send its body. Returns whether parsing has to wait for that.
bool Connection::SendContinue() {
  if (context_.http10 || !request_->headers.Has("Expect") || begin_ < end_) return false;
  writing_ = true;
  std::array<asio::const_buffer, 2> pieces = {asio::buffer(kContinue.data(), kContinue.size()), asio::const_buffer()};
  transport_->Write(pieces, [self = shared_from_this()](error_code error, size_t) {
    self->writing_ = false;
    if (self->closed_) return;
    if (error) return self->Close();
    self->Parse();
  });
  return true;
}

void Connection::Dispatch() {
  const bool direct = transport_->ssl() == nullptr && context_.keep_alive && begin_ == end_;
  if (direct) {
    direct_ = std::make_shared<DirectReply>(transport_->socket().native_handle());
    SetDeadline(owner_.options().idle_timeout_ms);  // The next request's; nobody tells when the reply is out.
  } else {
    ClearDeadline();
  }
  state_ = State::kHandling;
  first_request_ = false;
  request_->body = std::move(parser_->get().body());
  request_->peer = peer_;
  request_->local_address = local_address_;
  client_gone_ = std::make_shared<std::atomic<bool>>(false);
  request_->client_gone = client_gone_;
  if (begin_ == end_) Read();  // Notices that the client goes; what comes first may be its next request.
  if (closed_) return;
  auto responder = NewResponder({loop_, weak_from_this()}, context_, owner_.options().max_stream_queue_bytes, direct_);
  if (!owner_.Dispatch(*loop_, std::move(request_), responder)) {
    responder->Reply({503, {{"Connection", "close"}}, "the server is stopping\n"});
  }
}

void Connection::NoteClientGone() {
  if (client_gone_ != nullptr) client_gone_->store(true, std::memory_order_relaxed);
}

void Connection::Refuse(const Refusal& refusal) {
  refused_ = true;
  ReplyContext context;
  context.keep_alive = false;
  Response response{refusal.status, {{"Content-Type", "text/plain; charset=utf-8"}}, refusal.reason + "\n"};
  state_ = State::kHandling;
  SendReply(EncodeReply(std::move(response), context, base::SystemClock::Get().NowMs()));
}

void Connection::SendReply(ReplyBytes reply) {
  if (closed_ || state_ != State::kHandling) return;
  state_ = State::kReplying;
  reply_ = std::move(reply);
  close_after_reply_ |= reply_.close;
  SetDeadline(owner_.options().write_timeout_ms);
  transport_->Write({asio::buffer(reply_.head), asio::buffer(reply_.body)},
                    [self = shared_from_this()](error_code error, size_t) { self->OnReplyWritten(error); });
}

void Connection::OnReplyWritten(error_code error) {
  if (closed_) return;
  reply_ = ReplyBytes();
  if (error) return Close();
  if (refused_) return Linger(true);
  NextRequest();
}

void Connection::SendStream(std::shared_ptr<StreamQueue> stream) {
  if (closed_ || state_ != State::kHandling) return stream->Close();
  state_ = State::kStreaming;
  ClearDeadline();
  stream_ = std::move(stream);
  close_after_reply_ |= stream_->close_connection();
  Read();  // Notices that the client goes, even while there is nothing to send.
  Pump();
}

void Connection::Pump() {
  if (closed_ || writing_ || state_ != State::kStreaming) return;
  bool ended = false;
  if (stream_->Take(&stream_bytes_, &ended)) {
    writing_ = true;
    SetDeadline(owner_.options().write_timeout_ms);
    std::array<asio::const_buffer, 2> pieces = {asio::buffer(stream_bytes_), asio::const_buffer()};
    return transport_->Write(
        pieces, [self = shared_from_this()](error_code error, size_t bytes) { self->OnStreamWritten(error, bytes); });
  }
  if (!ended) return;
  stream_.reset();
  NextRequest();
}

void Connection::OnStreamWritten(error_code error, size_t bytes) {
  writing_ = false;
  if (closed_) return;
  if (error) return Close();
  ClearDeadline();
  stream_->Sent(bytes);
  Pump();
}

// Closes so that the client gets the last reply: closing with unread input would make the kernel send a reset, which
// overtakes it.
void Connection::Linger(bool drain) {
  state_ = State::kLingering;
  SetDeadline(std::min(kLingerMs, owner_.options().write_timeout_ms));
  transport_->Shutdown([self = shared_from_this(), drain](error_code, size_t) {
    if (self->closed_) return;
    if (!drain) return self->Close();
    self->Drain();
  });
}

void Connection::Drain() {
  error_code ignored;
  if (reading_) {
    // A read that was under way when the request was refused; cancelling lets the buffer be used for draining.
    transport_->socket().cancel(ignored);
  }
  transport_->socket().non_blocking(true, ignored);
  transport_->socket().async_wait(asio::ip::tcp::socket::wait_read, [self = shared_from_this()](error_code error) {
    if (self->closed_) return;
    if (error) return self->Close();
    std::array<char, 16384> scratch;
    size_t bytes = self->transport_->socket().read_some(asio::buffer(scratch), error);
    self->drained_ += bytes;
    if (error == asio::error::would_block) return self->Drain();
    if (error || self->drained_ > kMaxDrainBytes) return self->Close();
    self->Drain();
  });
}

void Connection::SetDeadline(int64_t ms) {
  deadline_ = std::chrono::steady_clock::now() + std::chrono::milliseconds(ms);
  if (deadline_ < armed_for_) ArmTimer();
}

void Connection::ArmTimer() {
  armed_for_ = deadline_;
  timer_.expires_at(armed_for_);
  timer_.async_wait([self = shared_from_this()](error_code error) {
    if (error || self->closed_) return;
    self->armed_for_ = SteadyTime::max();
    if (self->deadline_ == SteadyTime::max()) return;
    if (std::chrono::steady_clock::now() < self->deadline_) return self->ArmTimer();
    self->OnTimeout();
  });
}

void Connection::OnTimeout() {
  if (state_ == State::kHandling) {  // Answered or not, idle for less than that.
    const int64_t now = base::MonotonicNanos();
    const int64_t sent = direct_ == nullptr ? now : direct_->sent_nanos().value_or(now);
    const int64_t left_ms = owner_.options().idle_timeout_ms - (now - sent) / 1'000'000;
    return left_ms > 0 ? SetDeadline(left_ms) : Close();
  }
  bool began = state_ == State::kReading && (head_done_ || parser_->got_some());
  if (!began || writing_) return Close();
  Refuse({408, "the request did not arrive in time"});
}

}  // namespace tidewright::http
