// How replies travel from any thread to the I/O thread of their connection.
#pragma once

#include <atomic>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <memory>
#include <string>
#include <thread>
#include <unordered_set>

#include "base/mutex.h"
#include "http/direct_reply.h"
#include "http/reply.h"
#include "http/server.h"

namespace tidewright::http {

class Connection;

// An I/O thread and the connections that live on it. Responders may outlive the server, and share this with it so that
// posting stays valid: what is posted after the thread ended is dropped.
struct IoLoop {
  boost::asio::io_context context{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work{context.get_executor()};
  std::thread thread;
  std::unordered_set<std::shared_ptr<Connection>> connections;  // Used on `thread` only.
};

// Where a connection is to be found from other threads.
struct ConnectionRef {
  std::shared_ptr<IoLoop> loop;
  std::weak_ptr<Connection> connection;  // Locked on the loop's thread only.
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
