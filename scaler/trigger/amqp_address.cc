#include "scaler/trigger/amqp_address.h"

#include <algorithm>
#include <iterator>

#include "base/strings.h"
#include "http/message.h"
#include "scaler/trigger/metadata.h"

namespace tidewright::scaler::trigger {

namespace {

constexpr char kForm[] = "; use amqp://user:password@host:5672/vhost with percent escapes in its parts";
constexpr int64_t kMaxHeartbeatSeconds = 3600;

base::Status ParseParameters(const std::string& query, AmqpAddress* address) {
  // `timeout` and what one queue's length needs stand in for these.
  constexpr const char* kWithoutEffect[] = {"channel_max", "connection_timeout", "frame_max", "locale"};
  for (const std::string& parameter : base::Split(query, '&')) {
    const size_t equals = std::min(parameter.find('='), parameter.size());
    const std::string name = parameter.substr(0, equals);
    const std::string value = parameter.substr(std::min(equals + 1, parameter.size()));
    int64_t seconds = 0;
    if (parameter.empty()) continue;
    if (name == "heartbeat") {
      if (!ParseWhole(value, 0, kMaxHeartbeatSeconds, &seconds).ok()) {
        return base::InvalidArgumentError("has a heartbeat that is not a number of seconds from 0 to 3600");
      }
      address->heartbeat_s = static_cast<int>(seconds);
    } else if (std::find(std::begin(kWithoutEffect), std::end(kWithoutEffect), name) == std::end(kWithoutEffect)) {
      return base::InvalidArgumentError(
          "has a parameter other than heartbeat, channel_max, connection_timeout, frame_max and locale; remove it, and "
          "give certificates by ca, cert and key");
    }
  }
  return base::Status::Ok();
}

base::Status Decode(const std::string& text, std::string* out) {
  auto decoded = http::PercentDecode(text);
  if (!decoded.ok()) return base::InvalidArgumentError(std::string("has bad percent escapes") + kForm);
  *out = *decoded;
  return base::Status::Ok();
}

base::Status ParseLogin(const std::string& login, AmqpAddress* address) {
  const size_t colon = std::min(login.find(':'), login.size());
  TW_RETURN_IF_ERROR(Decode(login.substr(0, colon), &address->username));
  return Decode(login.substr(std::min(colon + 1, login.size())), &address->password);
}

}  // namespace

base::Status ParseAmqpAddress(const std::string& text, AmqpAddress* address) {
  const size_t scheme_end = std::min(text.find("://"), text.size());
  const std::string scheme = base::ToLower(text.substr(0, scheme_end));
  if (scheme != "amqp" && scheme != "amqps") return base::InvalidArgumentError("is not an amqp:// or amqps:// address");
  address->tls = scheme == "amqps";
  std::string rest = text.substr(scheme_end + 3);
  const size_t question = rest.find('?');
  if (question != std::string::npos) {
    TW_RETURN_IF_ERROR(ParseParameters(rest.substr(question + 1), address));
    rest.resize(question);
  }
  const size_t slash = std::min(rest.find('/'), rest.size());
  if (slash + 1 < rest.size()) TW_RETURN_IF_ERROR(Decode(rest.substr(slash + 1), &address->vhost));
  std::string server = rest.substr(0, slash);
  if (const size_t at = server.rfind('@'); at != std::string::npos) {
    TW_RETURN_IF_ERROR(ParseLogin(server.substr(0, at), address));
    server.erase(0, at + 1);
  }
  HostPort where;
  if (!ParseHostPort(server, address->tls ? 5671 : 5672, &where).ok()) {
    return base::InvalidArgumentError(std::string("has no host, or a port that is not one") + kForm);
  }
  address->host = where.host;
  address->port = where.port;
  return base::Status::Ok();
}

}  // namespace tidewright::scaler::trigger
