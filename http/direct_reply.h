// DirectReply: how the thread that made a reply writes it to the socket itself.
//
// Waking the connection's thread for every reply costs more than most replies do: that thread is asleep, waiting for
// the next request of the same client. So the reply is written where it was made, and the connection finds out when
// that request comes.
#pragma once

#include <cstdint>
#include <optional>

#include "base/mutex.h"
#include "http/reply.h"

namespace tidewright::http {

// For one request, shared by its connection and its responder. Thread-safe.
class DirectReply {
 public:
  // `socket` stays open until Revoke() was called.
  explicit DirectReply(int socket) : socket_(socket) {}

  // For the responder, once. Sends as much as the socket takes at once, unless that was revoked; true when that was all
  // of it. Otherwise what is left in `reply` is for the connection to send.
  bool Send(ReplyBytes* reply);

  // For the connection: from now on the responder sends nothing by itself. Whether it has sent the whole reply.
  bool Revoke();
  // When the whole reply was sent (as base::MonotonicNanos() counts), if it was.
  std::optional<int64_t> sent_nanos() const;

 private:
  const int socket_;
  mutable base::Mutex mu_;
  bool revoked_ GUARDED_BY(mu_) = false;
  std::optional<int64_t> sent_nanos_ GUARDED_BY(mu_);
};

}  // namespace tidewright::http
