// The mysql trigger against MariaDB.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <memory>
#include <string>

#include "base/file.h"
#include "scaler/trigger/libmariadb.h"
#include "tests/integration/source_scenario.h"

namespace tidewright::scaler {
namespace {

using testing::HasSubstr;
using testing::Not;

class MariadbServer : public SourceServer {
 public:
  MariadbServer() {
    std::filesystem::create_directory(Data());
    EXPECT_TRUE(base::WriteFileAtomic(folder_.path() + "/init.sql",
                                      "create database if not exists shop;\n"
                                      "create table if not exists shop.orders (id int primary key);\n"
                                      "create user if not exists shop@'%' identified by '" +
                                          std::string(kPassword) + "';\ngrant all on shop.* to shop@'%';\n")
                    .ok());
    EXPECT_TRUE(Done(Unprivileged({"mariadb-install-db", "--no-defaults", "--datadir=" + Data(),
                                   "--auth-root-authentication-method=normal", "--skip-test-db"}),
                     own_))
        << Log();
  }

  void Start() override {
    Launch(
        Unprivileged({"mariadbd", "--no-defaults", "--datadir=" + Data(), "--bind-address=127.0.0.1", "--port=" + port_,
                      "--skip-name-resolve", "--socket=" + Data() + "/socket", "--skip-log-bin",
                      "--innodb-flush-log-at-trx-commit=2", "--innodb-buffer-pool-size=8M",
                      "--init-file=" + folder_.path() + "/init.sql"}),
        [this] { return Ask("select 1") == "1"; }, own_);
  }
  void Hold(int64_t value) override {
    EXPECT_TRUE(value == 0 || Eventually([&] {
                  Ask("insert ignore into orders select seq from seq_1_to_" + std::to_string(value));
                  return Ask("select count(*) from orders") == std::to_string(value);
                }))
        << Log();
  }
  const std::string& port() const { return port_; }

 private:
  // The first value that the server gives, or the error.
  std::string Ask(const std::string& query) {
    trigger::MysqlAddress address{"127.0.0.1", static_cast<uint16_t>(std::stoi(port_)), "shop", kPassword, "shop"};
    auto connection = trigger::MariadbConnection::Open(address, 3000);
    if (!connection.ok()) return connection.status().message();
    auto value = (*connection)->FirstValue(query, 3000);
    return value.ok() ? *value : value.status().message();
  }
  std::string Data() const { return folder_.path() + "/data"; }

  const std::string port_ = NewPort();
  // In a folder that servers share, one that starts removes temporary tables of the others.
  const std::map<std::string, std::string> own_ = {{"TMPDIR", folder_.path()}};
};

class MysqlTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!base::HaveProgram("mariadbd")) GTEST_SKIP() << "mariadb-server-core is not installed";
    server_ = std::make_unique<MariadbServer>();
    server_->Start();
  }

  std::unique_ptr<MariadbServer> server_;
};

TEST_F(MysqlTest, RowsBecomeReplicas) {
  const ScaledSource::Metadata query = {{"queryValue", "5"}, {"query", "select count(*) from orders"}};
  const std::string refusal = "mysql: connect: Access denied for user 'shop'";
  ScaledSource::Metadata fields = query;
  fields.insert({{"host", "127.0.0.1"}, {"port", server_->port()}, {"username", "shop"}, {"dbName", "shop"}});
  SourceScenario({.type = "mysql", .metadata = fields, .secrets = {{"password", kPassword}}, .refusal = refusal})
      .ExpectFollowed(*server_);
  const std::string login = std::string("shop:") + kPassword;
  SourceScenario({.type = "mysql",
                  .metadata = query,
                  .secrets = {{"connectionString", login + "@tcp(127.0.0.1:" + server_->port() + ")/shop"}},
                  .refusal = refusal})
      .ExpectRefused(5);
}

TEST_F(MysqlTest, QueriesAndConnectionStrings) {
  const std::string address = "@tcp(127.0.0.1:" + server_->port() + ")/shop";
  const ScaledSource::Metadata env = {{"DSN", "shop:pa55word" + address + "?parseTime=true"},
                                      {"TLS", "shop:pa55word" + address + "?tls=true"}};
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
  };
  for (const auto& row : rows) {
    const std::string text =
        ReadOnce("mysql", {{"connectionStringFromEnv", row.variable}, {"query", row.query}, {"queryValue", "1"}}, env);
    EXPECT_THAT(text, HasSubstr(row.expected)) << row.query;
    EXPECT_THAT(text, Not(HasSubstr(kPassword)));
  }
}

}  // namespace
}  // namespace tidewright::scaler
