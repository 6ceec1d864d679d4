// Delivery: carries messages by one integration, without making anybody wait.
#pragma once

#include <functional>
#include <memory>

#include "base/clock.h"
#include "base/status.h"
#include "base/thread_pool.h"
#include "http/client.h"
#include "notify/config.h"
#include "notify/message_template.h"
#include "scrape/http_transport.h"

namespace tidewright::notify {

// Thread-safe. Must not be destroyed within a call of its `done`; what is under way is cancelled then, but for mails,
// which the token ends.
class Delivery {
 public:
  using Done = std::function<void(base::Status status)>;

  // Borrows clock, pool and token, of which the latter two are for mails.
  Delivery(const Integration& integration, base::Clock& clock, base::ThreadPool& mail_pool, http::CancelToken& cancel);

  // `done` runs once, at once or on another thread, and must not block. Errors name neither secrets nor the URL's path,
  // which often is one.
  void Send(const Message& message, Done done);

 private:
  void Post(const scrape::InlineOrFile& secret_url, base::Result<std::string> body, int64_t timeout_ms, Done done);
  void Mail(const EmailConfig& config, const Message& message, Done done);

  const Integration integration_;
  base::Clock& clock_;
  base::ThreadPool& mail_pool_;
  http::CancelToken& cancel_;
  std::unique_ptr<scrape::HttpTransport> transport_;  // Null for mail.
};

}  // namespace tidewright::notify
