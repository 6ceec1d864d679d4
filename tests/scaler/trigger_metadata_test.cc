// What the checks of a manifest say about the settings of triggers that need a server to be tested further.
#include <gtest/gtest.h>

#include <map>
#include <string>

#include "base/document.h"
#include "scaler/trigger.h"

namespace tidewright::scaler {
namespace {

struct MetadataRow {
  const char* name;
  const char* type;
  std::map<std::string, std::string> metadata;
  std::string error;  // Empty: the manifest is right.
};

const MetadataRow kRows[] = {
    {"mysql", "mysql", {{"host", "db"}, {"username", "u"}, {"dbName", "d"}, {"query", "q"}, {"queryValue", "1"}}, ""},
    {"mysql_by_string", "mysql", {{"connectionStringFromEnv", "DSN"}, {"query", "q"}, {"queryValue", "1"}}, ""},
    {"mysql_no_host",
     "mysql",
     {{"query", "q"}, {"queryValue", "1"}},
     "host: is missing; give host, username and dbName"},
    {"mysql_misspelt",
     "mysql",
     {{"host", "db"}, {"userName", "u"}, {"query", "q"}, {"queryValue", "1"}},
     "userName: is not a setting of the mysql trigger; did you mean \"username\"?"},
    {"mysql_port", "mysql", {{"host", "db"}, {"port", "0"}, {"query", "q"}, {"queryValue", "1"}}, "port: \"0\" is not"},
    {"mysql_tls",
     "mysql",
     {{"host", "db"}, {"tls", "preferred"}, {"query", "q"}, {"queryValue", "1"}},
     "tls: \"preferred\" is not a mode of TLS; use false, true or skip-verify"},
    {"mysql_plain_password",
     "mysql",
     {{"host", "db"}, {"password", "x"}, {"query", "q"}, {"queryValue", "1"}},
     "password: must not stand in the manifest; use passwordFromEnv"},
};

class TriggerMetadataTest : public testing::TestWithParam<MetadataRow> {};

TEST_P(TriggerMetadataTest, IsChecked) {
  TriggerSpec spec;
  spec.type = GetParam().type;
  spec.metadata = GetParam().metadata;
  base::ErrorList errors("test");
  CheckTrigger(spec, "spec.triggers[0]", errors);
  const std::string text = errors.ToStatus().ok() ? "" : errors.ToStatus().message();
  if (GetParam().error.empty()) {
    EXPECT_EQ(text, "");
  } else {
    EXPECT_NE(text.find("spec.triggers[0].metadata." + GetParam().error), std::string::npos) << text;
  }
}

INSTANTIATE_TEST_SUITE_P(All, TriggerMetadataTest, testing::ValuesIn(kRows),
                         [](const auto& row) { return std::string(row.param.name); });

}  // namespace
}  // namespace tidewright::scaler
