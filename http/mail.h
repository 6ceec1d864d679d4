// Mail, by SMTP (RFC 5321) with STARTTLS (RFC 3207) and authentication (RFC 4954). It is here because TLS is.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "http/client.h"

namespace tidewright::http {

// How a server that takes mail is reached. On port 465 TLS begins with the first byte (RFC 8314).
struct MailServer {
  std::string host;
  uint16_t port = 25;
  std::string hello;     // What we call ourselves; "": localhost.
  std::string username;  // "": no authentication. Otherwise PLAIN, LOGIN or CRAM-MD5, as the server offers.
  std::string password;
  std::string identity;     // On whose behalf the user sends (SASL's authorization identity); "": the user's own.
  bool require_tls = true;  // STARTTLS, or nothing is sent. Otherwise there is no TLS, but on port 465.
  ClientTls tls;
  int64_t timeout_ms = 30'000;  // For all of it.
};

struct Mail {
  std::string from;             // Addresses alone: "a@example.com".
  std::vector<std::string> to;  // At least one.
  std::string message;          // Header and body (RFC 5322), lines ended by CRLF.
};

// Sends, and waits until the server has taken the message for every recipient. Cancelling ends it within a second or
// so. kInvalidArgument (an address with control characters or brackets), kUnauthenticated (TLS or user not accepted),
// kUnavailable, kDeadlineExceeded, kCancelled. Error texts name the server, never the password. Thread-safe.
base::Status SendMail(const MailServer& server, const Mail& mail, CancelToken* cancel = nullptr);

// The address of "Name <a@example.com>" or of "a@example.com"; kInvalidArgument when there is none.
base::Result<std::string> MailAddress(std::string_view text);
// The elements of "a@example.com, \"B, C\" <b@example.com>", as they are written, without blanks around them.
std::vector<std::string> SplitMailAddresses(std::string_view text);

}  // namespace tidewright::http
