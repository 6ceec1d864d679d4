#include "kube/exec_plugin.h"

#include <algorithm>

#include "base/document.h"
#include "base/duration.h"
#include "base/json.h"
#include "base/strings.h"

namespace tidewright::kube {

namespace {

constexpr size_t kMaxOutputBytes = 1u << 20;

base::Status Failed(const std::string& message) { return base::UnauthenticatedError(message); }

// Reads the ExecCredential object that the plugin printed. Errors do not quote it: it is secret.
base::Result<ExecCredential> ParseCredential(const ExecPlugin& plugin, const std::string& text) {
  auto json = base::ParseJson(text);
  if (!json.ok() || !json->is_object()) return Failed("it did not print a JSON object");
  if (base::FindString(*json, {"kind"}) != "ExecCredential") return Failed("it printed no ExecCredential");
  if (base::FindString(*json, {"apiVersion"}) != plugin.api_version) {
    return Failed("it printed another apiVersion than " + plugin.api_version + ", which the kubeconfig asks for");
  }
  ExecCredential credential;
  credential.token = base::FindString(*json, {"status", "token"});
  credential.certificate_pem = base::FindString(*json, {"status", "clientCertificateData"});
  credential.private_key_pem = base::FindString(*json, {"status", "clientKeyData"});
  if (credential.certificate_pem.empty() != credential.private_key_pem.empty()) {
    return Failed("it printed only one of status.clientCertificateData and status.clientKeyData");
  }
  if (credential.token.empty() && credential.certificate_pem.empty()) {
    return Failed("it printed neither status.token nor status.clientCertificateData");
  }
  auto sendable = [](char c) { return c > 0x20 && c < 0x7f; };
  if (!std::all_of(credential.token.begin(), credential.token.end(), sendable)) {
    return Failed("it printed a status.token with characters that no token has");
  }
  std::string expires = base::FindString(*json, {"status", "expirationTimestamp"});
  if (!expires.empty()) {
    auto time = base::ParseTime(expires);
    if (!time.ok()) return Failed("its status.expirationTimestamp is not an RFC 3339 time");
    credential.expires_ms = *time;
  }
  return credential;
}

}  // namespace

std::string ExecInfo(const ClientConfig& config) {
  const ExecPlugin& plugin = *config.exec;
  base::Json spec = {{"interactive", false}};
  if (plugin.provide_cluster_info) {
    base::Json cluster = {{"server", config.server}};
    if (!config.tls.server_name.empty()) cluster["tls-server-name"] = config.tls.server_name;
    if (config.tls.insecure_skip_verify) cluster["insecure-skip-tls-verify"] = true;
    if (!config.tls.ca_pem.empty()) cluster["certificate-authority-data"] = base::Base64Encode(config.tls.ca_pem);
    if (!config.proxy_url.empty()) cluster["proxy-url"] = config.proxy_url;
    if (!plugin.cluster_config.empty()) {
      auto extension = base::ParseJson(plugin.cluster_config);
      if (extension.ok()) cluster["config"] = *std::move(extension);
    }
    spec["cluster"] = std::move(cluster);
  }
  return base::DumpJson({{"apiVersion", plugin.api_version}, {"kind", "ExecCredential"}, {"spec", spec}});
}

base::Result<ExecCredential> RunExecPlugin(const ClientConfig& config, ExecOutcome* outcome) {
  const ExecPlugin& plugin = *config.exec;
  const std::string what = "kubeconfig exec plugin " + base::Quoted(plugin.command);
  std::vector<std::string> argv = {plugin.command};
  argv.insert(argv.end(), plugin.args.begin(), plugin.args.end());
  std::map<std::string, std::string> env(plugin.env.begin(), plugin.env.end());
  env["KUBERNETES_EXEC_INFO"] = ExecInfo(config);
  auto output = RunProgram(argv, env, plugin.timeout_ms, kMaxOutputBytes);
  if (!output.ok()) {
    const bool missing = output.status().code() == base::Code::kNotFound;
    *outcome = {1, missing ? "plugin_not_found_error" : "plugin_execution_error"};
    std::string hint = missing && !plugin.install_hint.empty() ? "; " + plugin.install_hint : "";
    return Failed(what + ": " + output.status().message() + hint);
  }
  outcome->exit_code = output->exit_code;
  if (output->exit_code != 0) {
    outcome->call_status = "plugin_execution_error";
    return Failed(what + ": it ended with exit code " + std::to_string(output->exit_code) +
                  "; run it by hand to see what it says");
  }
  auto credential = ParseCredential(plugin, output->text);
  if (!credential.ok()) outcome->call_status = "client_internal_error";
  return credential.ok() ? credential : base::Result<ExecCredential>(credential.status().Annotate(what));
}

}  // namespace tidewright::kube
