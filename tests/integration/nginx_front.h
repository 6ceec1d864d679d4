// NginxFront: a real nginx before a server that speaks plain HTTP, for TLS and for passwords that the server has not.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <memory>
#include <string>

#include "base/file.h"
#include "tests/integration/source_scenario.h"

namespace tidewright::scaler {

// Answers on a port of its own with what the server says, or with 502 while that is away.
class NginxFront {
 public:
  static bool Available() { return base::HaveProgram("nginx"); }

  enum class Asks { kNothing, kLogin };  // kLogin: the user "shop" with kPassword.
  enum class Speaks { kHttp, kHttps };   // kHttps: by a certificate of ca_pem().

  NginxFront(const std::string& server_port, Asks asks, Speaks speaks) {
    std::string settings = "listen 127.0.0.1:" + port_ + (speaks == Speaks::kHttps ? " ssl" : "") + ";\n";
    if (speaks == Speaks::kHttps) {
      const Certificates certificates = NewCertificates();
      ca_pem_ = certificates.ca_pem;
      Write("certificate", certificates.server.certificate_pem);
      Write("key", certificates.server.private_key_pem);
      settings += "ssl_certificate certificate;\nssl_certificate_key key;\n";
    }
    if (asks == Asks::kLogin) {
      Write("passwords", std::string("shop:{PLAIN}") + kPassword + "\n");
      settings += "auth_basic shop;\nauth_basic_user_file passwords;\n";
    }
    std::string temporary;
    for (const char* what : {"client_body", "proxy", "fastcgi", "uwsgi", "scgi"}) {
      temporary += std::string(what) + "_temp_path " + folder_.path() + "/" + what + ";\n";
    }
    Write("nginx.conf", std::string(geteuid() == 0 ? "user root;\n" : "") +
                            "daemon off;\nmaster_process off;\nerror_log stderr;\npid " + folder_.path() +
                            "/pid;\nevents {}\nhttp {\naccess_log off;\n" + temporary + "server {\n" + settings +
                            "location / { proxy_pass http://127.0.0.1:" + server_port + "; }\n}\n}\n");
    auto started = base::Subprocess::Start(
        {"nginx", "-e", "stderr", "-p", folder_.path(), "-c", folder_.path() + "/nginx.conf"}, folder_.path() + "/log");
    EXPECT_TRUE(started.ok()) << started.status().ToString();
    process_ = std::make_unique<base::Subprocess>(std::move(*started));
  }

  // Host and port, without a scheme.
  std::string address() const { return "127.0.0.1:" + port_; }
  const std::string& ca_pem() const { return ca_pem_; }

 private:
  void Write(const std::string& name, const std::string& text) {
    EXPECT_TRUE(base::WriteFileAtomic(folder_.path() + "/" + name, text).ok());
  }

  const base::TempDir folder_ = *base::TempDir::Create("nginx");
  const std::string port_ = std::to_string(*base::FreePort());
  std::string ca_pem_;
  std::unique_ptr<base::Subprocess> process_;
};

}  // namespace tidewright::scaler
