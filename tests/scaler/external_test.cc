// The settings of external and external-push. Their scalers are asked in tests/integration/external_scaler_test.cc.
#include <gtest/gtest.h>

#include <map>
#include <string>

#include "base/document.h"
#include "scaler/trigger.h"
#include "scaler/trigger/metadata.h"

namespace tidewright::scaler {
namespace {

using Metadata = std::map<std::string, std::string>;

TriggerSpec Spec(const Metadata& metadata) {
  TriggerSpec spec;
  spec.ns = "shop";
  spec.object = "web";
  spec.type = "external";
  spec.metadata = metadata;
  return spec;
}

TEST(ExternalSettings, AreCheckedAndAllOthersPassedOn) {
  const struct {
    const char* name;
    Metadata metadata;
    const char* error;  // "": fine.
  } rows[] = {
      {"settings of its own", {{"scalerAddress", "scaler.shop:9090"}, {"queue", "a"}, {"keyFromEnv", "KEY"}}, ""},
      {"IPv6", {{"scalerAddress", "[::1]:9090"}}, ""},
      {"no address", {{"queue", "a"}}, "metadata.scalerAddress: is missing; it is required"},
      {"a scheme", {{"scalerAddress", "http://scaler:9090"}}, "is not host:port; use for example"},
      {"no port", {{"scalerAddress", "scaler"}}, "is not host:port; use for example"},
      {"another case", {{"scalerAddress", "a:1"}, {"enableTls", "true"}}, "did you mean \"enableTLS\"?"},
      {"no truth value", {{"scalerAddress", "a:1"}, {"enableTLS", "yes"}}, "\"yes\" is not a truth value"},
      {"a key in the manifest", {{"scalerAddress", "a:1"}, {"tlsClientKey", "x"}}, "must not stand in the manifest"},
      {"files", {{"scalerAddress", "a:1"}, {"tlsCertFile", "/certs/ca"}}, "is not supported by this version"},
  };
  for (const auto& row : rows) {
    base::ErrorList errors("test");
    CheckTrigger(Spec(row.metadata), "spec.triggers[0]", errors);
    const std::string text = errors.ToStatus().message();
    EXPECT_EQ(text.empty(), *row.error == '\0') << row.name << ": " << text;
    EXPECT_NE(text.find(row.error), std::string::npos) << row.name << ": " << text;
  }
}

TEST(ExternalSettings, VariablesArePassedOnUnderTheirKeys) {
  const TriggerSpec spec = Spec({{"queue", "a"}, {"keyFromEnv", "KEY"}, {"goneFromEnv", "GONE"}});
  TriggerSecrets secrets;
  secrets.env = [](const std::string& name) -> base::Result<std::string> {
    if (name == "KEY") return std::string(" s3cret\n");
    return base::NotFoundError("there is no variable " + name);
  };
  base::ErrorList errors("test");
  trigger::MetadataReader reader(spec, &secrets, "spec.triggers[0]", errors);
  const trigger::PassedOn passed = reader.PassOn();
  EXPECT_EQ(passed.values, (Metadata{{"queue", "a"}, {"keyFromEnv", "s3cret"}}));
  EXPECT_EQ(passed.secrets, std::vector<std::string>{"s3cret"});
  EXPECT_NE(errors.ToStatus().message().find("metadata.goneFromEnv: there is no variable GONE"), std::string::npos);
}

}  // namespace
}  // namespace tidewright::scaler
