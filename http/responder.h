// How replies travel from any thread to the loop of their connection.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "base/mutex.h"
#include "http/direct_reply.h"
#include "http/io_loop.h"
#include "http/reply.h"
#include "http/server.h"

namespace tidewright::http {

// Where a connection is to be found from other threads.
struct ConnectionRef {
  std::shared_ptr<IoLoop> loop;
  std::weak_ptr<Connection> connection;  // Locked in what the loop runs only.
};

// The unsent bytes of a streamed reply, between the writers and the connection. Thread-safe.
class StreamQueue {
 public:
  StreamQueue(ConnectionRef connection, ReplyBytes head, bool chunked, bool discard_body, size_t max_bytes);

  // For writers.
  bool Write(std::string_view piece);
  void End();
  bool closed() const;

  // For the connection. Take moves what is pending to `bytes` and returns true, or returns false: then the next Write
  // or End schedules Pump again, and `*ended` says whether the stream is complete.
  bool Take(std::string* bytes, bool* ended);
  void Sent(size_t bytes);
  void Close();  // The client is gone.
  bool close_connection() const { return close_connection_; }

 private:
  void Schedule() REQUIRES_LOCK(mu_);

  const ConnectionRef connection_;
  const bool chunked_;
  const bool discard_body_;  // HEAD.
  const bool close_connection_;
  const size_t max_bytes_;
  mutable base::Mutex mu_;
  std::string pending_ GUARDED_BY(mu_);
  size_t queued_ GUARDED_BY(mu_) = 0;      // Pending and being written.
  bool scheduled_ GUARDED_BY(mu_) = true;  // The connection pumps first when it learns of the stream.
  bool ended_ GUARDED_BY(mu_) = false;
  bool closed_ GUARDED_BY(mu_) = false;
};

// `direct` may be null: then every reply is sent by the connection.
std::shared_ptr<Responder> NewResponder(ConnectionRef connection, const ReplyContext& context, size_t max_stream_bytes,
                                        std::shared_ptr<DirectReply> direct);

}  // namespace tidewright::http
