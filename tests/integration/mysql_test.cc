// The mysql trigger against MariaDB.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/file.h"
#include "scaler/trigger.h"
#include "scaler/trigger/libmariadb.h"
#include "tests/integration/scaled_source.h"

namespace tidewright::scaler {
namespace {

using testing::HasSubstr;
using testing::Not;

class MysqlTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!base::HaveProgram("mariadbd")) GTEST_SKIP() << "mariadb-server-core is not installed";
    const std::string data = folder_.path() + "/data";
    std::filesystem::create_directory(data);
    ASSERT_TRUE(base::WriteFileAtomic(folder_.path() + "/init.sql",
                                      "create database if not exists shop;\n"
                                      "create table if not exists shop.orders (id int primary key);\n"
                                      "create user if not exists shop@'%' identified by 'pa55';\n"
                                      "grant all on shop.* to shop@'%';\n")
                    .ok());
    // The server refuses to run as root.
    if (geteuid() == 0) {
      as_user_ = {"setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups"};
      auto owned = base::Subprocess::Start({"chown", "-R", "nobody", folder_.path()});
      ASSERT_TRUE(owned.ok() && owned->Wait() == 0);
    }
    auto made = base::Subprocess::Start(AsUser({"mariadb-install-db", "--no-defaults", "--datadir=" + data,
                                                "--auth-root-authentication-method=normal", "--skip-test-db"}),
                                        folder_.path() + "/log", own_);
    ASSERT_TRUE(made.ok() && made->Wait() == 0) << Log();
    StartServer();
  }

  void StartServer() {
    auto started = base::Subprocess::Start(
        AsUser({"mariadbd", "--no-defaults", "--datadir=" + folder_.path() + "/data", "--bind-address=127.0.0.1",
                "--port=" + port_, "--skip-name-resolve", "--socket=" + folder_.path() + "/data/socket",
                "--skip-log-bin", "--innodb-flush-log-at-trx-commit=2", "--innodb-buffer-pool-size=8M",
                "--init-file=" + folder_.path() + "/init.sql"}),
        folder_.path() + "/log", own_);
    ASSERT_TRUE(started.ok()) << started.status().ToString();
    server_ = std::make_unique<base::Subprocess>(std::move(*started));
    ASSERT_TRUE(Eventually([this] { return Ask("select 1") == "1"; })) << Ask("select 1") << "\n" << Log();
  }

  std::vector<std::string> AsUser(std::vector<std::string> argv) {
    argv.insert(argv.begin(), as_user_.begin(), as_user_.end());
    return argv;
  }

  // The first value that the server gives, or the error.
  std::string Ask(const std::string& query) {
    trigger::MysqlAddress address{"127.0.0.1", static_cast<uint16_t>(std::stoi(port_)), "shop", "pa55", "shop"};
    auto connection = trigger::MariadbConnection::Open(address, 3000);
    if (!connection.ok()) return connection.status().message();
    auto value = (*connection)->FirstValue(query, 3000);
    return value.ok() ? *value : value.status().message();
  }

  // What a trigger reads in milli-units, or its error.
  std::string Read(ScaledSource::Metadata metadata) {
    TriggerSpec spec;
    spec.type = "mysql";
    spec.metadata = std::move(metadata);
    TriggerSecrets secrets;
    secrets.env = [this](const std::string& name) -> base::Result<std::string> { return env_[name]; };
    auto trigger = NewTrigger(spec, secrets, context_);
    if (!trigger.ok()) return trigger.status().message();
    auto reading = (*trigger)->Read();
    return reading.ok() ? std::to_string(reading->value_milli) : reading.status().message();
  }

  std::string Log() {
    auto text = base::ReadFile(folder_.path() + "/log");
    return text.ok() ? *text : text.status().ToString();
  }

  base::TempDir folder_ = *base::TempDir::Create("mysql");
  const std::string port_ = std::to_string(*base::FreePort());
  // In a folder that servers share, one that starts removes temporary tables of the others.
  const std::map<std::string, std::string> own_ = {{"TMPDIR", folder_.path()}};
  std::vector<std::string> as_user_;
  std::unique_ptr<base::Subprocess> server_;
  TriggerContext context_;
  std::map<std::string, std::string> env_;
};

TEST_F(MysqlTest, RowsBecomeReplicasAndAnOutageChangesNothing) {
  const ScaledSource::Metadata metadata = {{"host", "127.0.0.1"}, {"port", port_},
                                           {"username", "shop"},  {"dbName", "shop"},
                                           {"queryValue", "5"},   {"query", "select count(*) from orders"}};
  ScaledSource source;
  source.Follow("mysql", metadata, {{"password", "pa55"}});
  EXPECT_EQ(source.NextReplicas(), 0);
  EXPECT_TRUE(source.Ready()) << source.Readiness();
  ASSERT_EQ(Ask("insert into orders select seq from seq_1_to_11 returning 1"), "1");
  EXPECT_EQ(source.NextReplicas(), 3);

  server_->Signal(9);
  server_->Wait();
  for (int i = 0; i < 5; ++i) EXPECT_EQ(source.NextReplicas(), 3) << i;
  EXPECT_THAT(source.Readiness(), HasSubstr("mysql: connect: Can't connect to server on '127.0.0.1'"));
  StartServer();
  ASSERT_EQ(Ask("insert into orders select seq from seq_12_to_21 returning 1"), "1");
  EXPECT_EQ(source.NextReplicas(), 5);
  EXPECT_TRUE(source.Ready()) << source.Readiness();

  source.Follow("mysql", metadata, {{"password", "s3cret"}}, 9);
  EXPECT_EQ(source.NextReplicas(), 5);
  EXPECT_THAT(source.Readiness(), HasSubstr("mysql: connect: Access denied for user 'shop'"));
  EXPECT_THAT(source.Readiness(), Not(HasSubstr("s3cret")));
  for (int i = 0; i < 4; ++i) source.NextReplicas();
  EXPECT_EQ(source.NextReplicas(), 9) << "the fallback";
}

TEST_F(MysqlTest, QueriesAndConnectionStrings) {
  env_ = {{"DSN", "shop:pa55@tcp(127.0.0.1:" + port_ + ")/shop?parseTime=true"},
          {"WRONG", "shop:s3cret@tcp(127.0.0.1:" + port_ + ")/shop"},
          {"TLS", "shop:pa55@tcp(127.0.0.1:" + port_ + ")/shop?tls=true"},
          {"BAD", "shop:s3cret@unix(/run/x)/shop"}};
  struct {
    const char* variable;
    const char* query;
    const char* expected;
  } rows[] = {
      {"DSN", "select 12.5", "12500"},
      {"DSN", "select seq from seq_7_to_20000", "7000"},
      {"DSN", "select null union all select seq from seq_1_to_100000", "mysql: the query gives NULL; use coalesce()"},
      {"DSN", "select 1 from orders", "mysql: the query gives no row"},
      {"DSN", "delete from orders", "mysql: the query gives no row"},
      {"DSN", "select 'many'", "mysql: the query gives \"many\", which is not a number"},
      {"DSN", "select nonsense", "mysql: the server answered: Unknown column 'nonsense'"},
      {"DSN", "select sleep(60)", "mysql: no answer within the timeout"},
      {"TLS", "select 1", "mysql: connect: TLS/SSL error: SSL is required"},
      {"WRONG", "select 1", "mysql: connect: Access denied for user 'shop'"},
      {"BAD", "select 1", "connectionString: has no address of the form tcp(host:port)"},
  };
  for (const auto& row : rows) {
    std::string text = Read({{"connectionStringFromEnv", row.variable}, {"query", row.query}, {"queryValue", "1"}});
    EXPECT_THAT(text, HasSubstr(row.expected)) << row.query;
    EXPECT_THAT(text, Not(HasSubstr("s3cret")));
    EXPECT_THAT(text, Not(HasSubstr("pa55")));
  }
}

}  // namespace
}  // namespace tidewright::scaler
