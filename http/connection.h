// One accepted connection: reads requests, has them handled one at a time, writes the replies.
#pragma once

#include <boost/asio/steady_timer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "http/direct_reply.h"
#include "http/reply.h"
#include "http/request_head.h"
#include "http/responder.h"
#include "http/server.h"
#include "http/transport.h"

namespace tidewright::http {

// What a connection needs of its server. Outlives the connections.
class ConnectionOwner {
 public:
  virtual ~ConnectionOwner() = default;
  virtual const ServerOptions& options() const = 0;
  // Has the handler run, by the loop's thread when that has done what is due or by a worker. False once the server
  // stops.
  virtual bool Dispatch(IoLoop& loop, std::shared_ptr<ServerRequest> request, std::shared_ptr<Responder> responder) = 0;
  virtual void OnClosed() = 0;
};

// Confined to what its loop runs.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(ConnectionOwner& owner, std::shared_ptr<IoLoop> loop, std::unique_ptr<Transport> transport,
             uint64_t listener_id);
  ~Connection();

  void Start();
  void Close();
  // Ends it as soon as what is under way is answered: for Server::Stop().
  void CloseWhenIdle();
  // As CloseWhenIdle, but gives up a handler that kept its Responder for later.
  void CloseUnlessWriting();
  uint64_t listener_id() const { return listener_id_; }

  // For responders.
  void SendReply(ReplyBytes reply);
  void SendStream(std::shared_ptr<StreamQueue> stream);
  void Pump();

 private:
  enum class State {
    kHandshake,
    kReading,    // A request's head or body, or waiting for its first byte.
    kHandling,   // The handler has the request, or has answered it directly (see DirectReply).
    kReplying,   // A reply is being written.
    kStreaming,  // A streamed reply is open.
    kLingering,  // Everything is said; waiting for the client to read it.
  };
  using RequestParser = boost::beast::http::request_parser<boost::beast::http::string_body>;
  using SteadyTime = std::chrono::steady_clock::time_point;

  void OnHandshake(boost::system::error_code error);
  void NextRequest();
  void ExpectRequest();
  bool AnsweredDirectly();
  void Read();
  void OnRead(boost::system::error_code error, size_t bytes);
  bool GrowBuffer();
  void Parse();
  bool ParseSome();
  void OnParseError(boost::system::error_code error);
  Refusal OnHead();
  bool SendContinue();
  void Dispatch();
  void NoteClientGone();
  void Refuse(const Refusal& refusal);
  void OnReplyWritten(boost::system::error_code error);
  void OnStreamWritten(boost::system::error_code error, size_t bytes);
  void Linger(bool drain);
  void Drain();
  void SetDeadline(int64_t ms);
  void ClearDeadline() { deadline_ = SteadyTime::max(); }
  void ArmTimer();
  void OnTimeout();

  ConnectionOwner& owner_;
  const std::shared_ptr<IoLoop> loop_;
  const std::unique_ptr<Transport> transport_;
  const uint64_t listener_id_;
  Peer peer_;
  std::string local_address_;

  State state_ = State::kHandshake;
  bool closed_ = false;
  bool close_after_reply_ = false;
  bool reading_ = false;  // A Read is under way: `buffer_` must not move.
  bool writing_ = false;
  bool refused_ = false;  // The client may still be sending what we no longer read.

  // Unparsed input is buffer_[begin_, end_).
  std::vector<char> buffer_;
  size_t begin_ = 0;
  size_t end_ = 0;
  std::optional<RequestParser> parser_;
  bool head_done_ = false;
  bool first_request_ = true;
  std::shared_ptr<ServerRequest> request_;
  std::shared_ptr<std::atomic<bool>> client_gone_;  // Of the request that is being handled.
  std::shared_ptr<DirectReply> direct_;             // Of the same; null: it may not be answered directly.
  ReplyContext context_;

  ReplyBytes reply_;
  std::string stream_bytes_;
  std::shared_ptr<StreamQueue> stream_;
  size_t drained_ = 0;

  // Moving a timer costs more than letting it fire early, so deadlines that move back are looked at only then.
  boost::asio::steady_timer timer_;
  SteadyTime deadline_ = SteadyTime::max();
  SteadyTime armed_for_ = SteadyTime::max();
};

}  // namespace tidewright::http
