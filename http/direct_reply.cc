#include "http/direct_reply.h"

#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/clock.h"

namespace tidewright::http {

bool DirectReply::Send(ReplyBytes* reply) {
  base::MutexLock lock(mu_);
  if (revoked_) return false;
  revoked_ = true;  // Sent or not, there is no second time.
  std::array<iovec, 2> pieces = {iovec{reply->head.data(), reply->head.size()},
                                 iovec{reply->body.data(), reply->body.size()}};
  msghdr message = {};
  message.msg_iov = pieces.data();
  message.msg_iovlen = pieces.size();
  ssize_t taken;
  do {
    taken = sendmsg(socket_, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  } while (taken < 0 && errno == EINTR);
  if (taken < 0) return false;  // The connection will see the same error, or wait until there is room.
  const auto count = static_cast<size_t>(taken);
  if (count == reply->head.size() + reply->body.size()) {
    sent_nanos_ = base::MonotonicNanos();
    return true;
  }
  const size_t of_head = std::min(count, reply->head.size());
  reply->head.erase(0, of_head);
  reply->body.erase(0, count - of_head);
  return false;
}

bool DirectReply::Revoke() {
  base::MutexLock lock(mu_);
  revoked_ = true;
  return sent_nanos_.has_value();
}

std::optional<int64_t> DirectReply::sent_nanos() const {
  base::MutexLock lock(mu_);
  return sent_nanos_;
}

}  // namespace tidewright::http
