// Addresses and manifests of the rabbitmq trigger. A real server is asked in
// tests/integration/rabbitmq_test.cc.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>

#include "base/document.h"
#include "scaler/trigger.h"
#include "scaler/trigger/amqp_address.h"

namespace tidewright::scaler {
namespace {

using testing::HasSubstr;
using testing::Not;
using Metadata = std::map<std::string, std::string>;

std::string Shown(const trigger::AmqpAddress& address) {
  return (address.tls ? "tls " : "") + address.username + "," + address.password + "," + address.host + "," +
         std::to_string(address.port) + "," + address.vhost + "," + std::to_string(address.heartbeat_s);
}

TEST(AmqpAddress, ReadsWhatTheSpecificationSays) {
  struct {
    const char* text;
    const char* expected;
  } rows[] = {
      {"amqp://rabbit", ",,rabbit,5672,/,60"},
      {"amqps://rabbit/", "tls ,,rabbit,5671,/,60"},
      {"AMQP://rabbit:1234", ",,rabbit,1234,/,60"},
      {"amqp://u:p@rabbit/shop", "u,p,rabbit,5672,shop,60"},
      {"amqp://u%40x:p%2F%3A%3F@rabbit/%2Feu", "u@x,p/:?,rabbit,5672,/eu,60"},
      {"amqp://u@rabbit", "u,,rabbit,5672,/,60"},
      {"amqp://u:p:q@r@rabbit:1", "u,p:q@r,rabbit,1,/,60"},
      {"amqp://[::1]:1234/a", ",,::1,1234,a,60"},
      {"amqp://rabbit?heartbeat=0", ",,rabbit,5672,/,0"},
      {"amqp://rabbit/a?channel_max=9&heartbeat=30&connection_timeout=1000", ",,rabbit,5672,a,30"},
  };
  for (const auto& row : rows) {
    trigger::AmqpAddress address;
    base::Status status = trigger::ParseAmqpAddress(row.text, &address);
    EXPECT_EQ(status.ok() ? Shown(address) : status.ToString(), row.expected) << row.text;
  }
}

TEST(AmqpAddress, ErrorsShowNothingOfTheText) {
  struct {
    const char* text;
    const char* expected;
  } rows[] = {
      {"s3cret", "is not an amqp:// or amqps:// address"},
      {"s3cret://rabbit", "is not an amqp:// or amqps:// address"},
      {"amqp://", "has no host"},
      {"amqp:///s3cret", "has no host"},
      {"amqp://u:s3cret@", "has no host"},
      {"amqp://u:s3cret@rabbit:s3cret", "a port that is not one"},
      {"amqp://u:s3cret@rabbit:65536", "a port that is not one"},
      {"amqp://u:s3cret/x@rabbit", "a port that is not one"},
      {"amqp://u:s3cret%zz@rabbit", "has bad percent escapes"},
      {"amqp://u:1?s3cret@rabbit", "has a parameter other than heartbeat"},
      {"amqp://rabbit?cacertfile=s3cret", "give certificates by ca, cert and key"},
      {"amqp://rabbit?heartbeat=s3cret", "has a heartbeat that is not a number of seconds"},
      {"amqp://rabbit?heartbeat=-1", "has a heartbeat that is not a number of seconds"},
  };
  for (const auto& row : rows) {
    trigger::AmqpAddress address;
    const std::string message = trigger::ParseAmqpAddress(row.text, &address).message();
    EXPECT_THAT(message, HasSubstr(row.expected)) << row.text;
    EXPECT_THAT(message, Not(HasSubstr("s3cret"))) << row.text;
  }
}

// What is wrong with a manifest, or with its secrets as well where there are any.
std::string Problems(Metadata metadata, const Metadata& secrets) {
  TriggerSpec spec;
  spec.type = "rabbitmq";
  spec.metadata = std::move(metadata);
  spec.metadata["queueName"] = "orders";
  spec.authentication = secrets.empty() ? "" : "rabbit";
  base::ErrorList errors("web");
  CheckTrigger(spec, "trigger", errors);
  if (!errors.ToStatus().ok() || secrets.empty()) return errors.ToStatus().message();
  return NewTrigger(spec, {{}, secrets}, {}).status().message();
}

TEST(RabbitmqManifest, SaysWhatDoesNotGoTogether) {
  const std::string amqp = "amqp://rabbit";
  const std::string http = "http://rabbit:15672";
  const std::string management = "for the management API only; remove it, or make host that one's address";
  struct {
    const char* name;
    Metadata metadata;
    Metadata secrets;
    std::string expected;  // "": nothing is wrong.
  } rows[] = {
      {"amqp", {{"host", amqp}}, {}, ""},
      {"amqp said", {{"host", amqp}, {"protocol", "amqp"}, {"mode", "QueueLength"}, {"value", "5"}}, {}, ""},
      {"amqps", {{"host", "amqps://rabbit"}, {"unsafeSsl", "true"}}, {{"tls", "enable"}}, ""},
      {"http", {{"host", http}, {"protocol", "http"}, {"mode", "ExpectedQueueConsumptionTime"}}, {}, ""},
      {"address to come", {{"hostFromEnv", "X"}, {"mode", "MessageRate"}, {"useRegex", "true"}}, {}, ""},
      {"no address", {{"host", "rabbit:5672"}}, {}, "host: is not an address; use amqp://"},
      {"no protocol",
       {{"host", amqp}, {"protocol", "stomp"}},
       {},
       "\"stomp\" is not a protocol; use auto, amqp or http"},
      {"no mode", {{"host", http}, {"mode", "Length"}}, {}, "\"Length\" is not a mode; use QueueLength, MessageRate,"},
      {"amqp at http",
       {{"host", http}, {"protocol", "amqp"}},
       {},
       "protocol: is amqp, but host is the management API's"},
      {"http at amqp", {{"host", amqp}, {"protocol", "http"}}, {}, "protocol: is http, but host is an AMQP address"},
      {"regex", {{"host", amqp}, {"useRegex", "true"}}, {}, "useRegex: is " + management},
      {"ready", {{"host", amqp}, {"excludeUnacknowledged", "true"}}, {}, "excludeUnacknowledged: is " + management},
      {"rate", {{"host", amqp}, {"mode", "MessageRate"}}, {}, "mode: other than QueueLength is " + management},
      {"rate by amqp", {{"hostFromEnv", "X"}, {"protocol", "amqp"}, {"mode", "MessageRate"}}, {}, "mode: other than"},
      {"rate by a secret address", {{"mode", "MessageRate"}}, {{"host", amqp}}, "mode: other than QueueLength"},
      {"password shown", {{"host", "amqp://u:s3cret@rabbit"}}, {}, "host: must not hold a password in the manifest"},
      {"password hidden", {}, {{"host", "amqp://u:s3cret@rabbit"}}, ""},
      {"tls without", {{"host", amqp}}, {{"tls", "enable"}}, "tls: is enable, but host is not"},
      {"tls without at http", {{"host", http}}, {{"tls", "enable"}}, "tls: is enable, but host is not"},
      {"tls of no kind", {{"host", amqp}}, {{"tls", "on"}}, " is not a mode of TLS; use enable or disable"},
      {"user alone", {{"host", amqp}}, {{"username", "u"}}, "username: and password go together"},
      {"password alone", {{"host", amqp}}, {{"password", "s3cret"}}, "username: and password go together"},
      {"cert alone", {{"host", "amqps://rabbit"}}, {{"cert", "s3cret"}}, "cert: and key go together"},
      {"key password by http", {{"host", http}}, {{"keyPassword", "s3cret"}}, "keyPassword: is for amqps:// only"},
      {"token by amqp", {{"host", amqp}}, {{"bearerToken", "s3cret"}}, "cert and key is " + management},
  };
  for (const auto& row : rows) {
    const std::string problems = Problems(row.metadata, row.secrets);
    EXPECT_EQ(problems.empty(), row.expected.empty()) << row.name << ": " << problems;
    EXPECT_THAT(problems, HasSubstr(row.expected)) << row.name;
    EXPECT_THAT(problems, Not(HasSubstr("s3cret"))) << row.name;
  }
}

}  // namespace
}  // namespace tidewright::scaler
