// The postgresql trigger against PostgreSQL, with passwords by SCRAM, plain and by TLS.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <string>

#include "scaler/trigger/libpq.h"
#include "tests/integration/source_scenario.h"

namespace tidewright::scaler {
namespace {

using testing::HasSubstr;

class PostgresServer : public SourceServer {
 public:
  static constexpr char kPrograms[] = "/usr/lib/postgresql/15/bin/";

  // With a certificate for the address 127.0.0.1 and for no name.
  PostgresServer() {
    const Certificates certificates = NewCertificates();
    std::filesystem::create_directory(Data());
    Write("password", kPassword);
    Write("ca.pem", certificates.ca_pem);
    Write("server.pem", certificates.server.certificate_pem);
    Write("server.key", certificates.server.private_key_pem, 0600);
    EXPECT_TRUE(Done(Unprivileged({std::string(kPrograms) + "initdb", "-D", Data(), "-U", "shop", "-A", "scram-sha-256",
                                   "--pwfile", folder_.path() + "/password", "--no-sync"})))
        << Log();
  }

  void Start() override {
    const std::string folder = folder_.path() + "/";
    Launch(Unprivileged({std::string(kPrograms) + "postgres", "-D", Data(), "-p", port_, "-h", "127.0.0.1", "-k",
                         Data(), "-F", "-c", "ssl=on", "-c", "ssl_cert_file=" + folder + "server.pem", "-c",
                         "ssl_key_file=" + folder + "server.key"}),
           [this] { return Did("create table if not exists orders (id int primary key)"); });
  }
  void Hold(int64_t value) override {
    EXPECT_TRUE(Eventually([&] {
      return Did("insert into orders select generate_series(1, " + std::to_string(value) + ") on conflict do nothing");
    })) << Log();
  }

  const std::string& port() const { return port_; }
  std::string ca_file() const { return folder_.path() + "/ca.pem"; }
  std::string connection() const {
    return "host=127.0.0.1 port=" + port_ + " user=shop dbname=postgres password=" + kPassword;
  }

 private:
  bool Did(const std::string& statement) {
    auto opened = trigger::PostgresConnection::Open({{"dbname", connection()}}, 3000);
    return opened.ok() && (*opened)->FirstValue(statement + "; select 1", 3000).ok();
  }
  std::string Data() const { return folder_.path() + "/data"; }

  const std::string port_ = NewPort();
};

TEST(PostgresqlSource, RowsBecomeReplicas) {
  if (!std::filesystem::exists(PostgresServer::kPrograms)) GTEST_SKIP() << "postgresql-15 is not installed";
  PostgresServer server;
  server.Start();
  const ScaledSource::Metadata query = {{"query", "select count(*) from orders"}, {"targetQueryValue", "5"}};
  const std::string refusal = "password authentication failed for user \"shop\"";
  ScaledSource::Metadata fields = query;
  fields.insert({{"host", "127.0.0.1"}, {"port", server.port()}, {"userName", "shop"}, {"dbName", "postgres"}});
  SourceScenario({.type = "postgresql", .metadata = fields, .secrets = {{"password", kPassword}}, .refusal = refusal})
      .ExpectFollowed(server);
  for (const std::string& connection : {server.connection(), "postgres://shop:" + std::string(kPassword) +
                                                                 "@127.0.0.1:" + server.port() + "/postgres"}) {
    SourceScenario(
        {.type = "postgresql", .metadata = query, .secrets = {{"connection", connection}}, .refusal = refusal})
        .ExpectRefused(5);
  }

  const std::string verified = server.connection() + " sslmode=verify-full sslrootcert=";
  struct {
    const char* name;
    std::string connection;
    const char* query;
    const char* expected;
  } rows[] = {
      {"number", server.connection(), "select 12.5", "12500"},
      {"null", server.connection(), "select null", "postgresql: the query gives NULL; use coalesce()"},
      {"no row", server.connection(), "select 1 where false", "postgresql: the query gives no row"},
      {"nonsense", server.connection(), "select nonsense", "column \"nonsense\" does not exist"},
      {"verified", verified + server.ca_file(), "select ssl::int from pg_stat_ssl where pid = pg_backend_pid()",
       "1000"},
      {"another name", verified + server.ca_file() + " host=localhost hostaddr=127.0.0.1", "select 1",
       "does not match host name \"localhost\""},
      {"another authority", verified + "/etc/ssl/certs/ca-certificates.crt", "select 1", "certificate verify failed"},
  };
  for (const auto& row : rows) {
    EXPECT_THAT(ReadOnce("postgresql", {{"connectionFromEnv", "ALL"}, {"query", row.query}, {"targetQueryValue", "5"}},
                         {{"ALL", row.connection}}),
                HasSubstr(row.expected))
        << row.name;
  }
}

}  // namespace
}  // namespace tidewright::scaler
