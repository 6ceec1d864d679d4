#include "kube/config.h"

#include <cstdlib>
#include <filesystem>

#include "base/document.h"
#include "base/file.h"
#include "base/strings.h"

namespace tidewright::kube {

namespace {

// The element of a kubeconfig list (clusters, contexts, users) with that name, or nullptr.
const base::Node* Named(const base::Node& root, std::string_view list, std::string_view name) {
  const base::Node* items = root.Find(list);
  if (items == nullptr) return nullptr;
  for (const base::Node& item : items->items) {
    const base::Node* item_name = item.Find("name");
    if (item_name != nullptr && item_name->text == name) return &item;
  }
  return nullptr;
}

std::string Text(const base::Node* node, std::string_view key) {
  const base::Node* found = node != nullptr ? node->Find(key) : nullptr;
  return found != nullptr ? found->text : "";
}

// Reads PEM either from `<key>-data` (base64) or from the file named by `<key>`, relative to the kubeconfig.
base::Status ReadPem(const base::Node* node, const std::string& key, const std::string& path, std::string* pem) {
  std::string data = Text(node, key + "-data");
  if (!data.empty()) {
    if (base::Base64Decode(data, pem)) return base::Status::Ok();
    return base::InvalidArgumentError("kubeconfig " + path + ": " + key + "-data is not base64");
  }
  std::string file = Text(node, key);
  if (file.empty()) return base::Status::Ok();
  std::filesystem::path full = std::filesystem::path(path).parent_path() / file;
  auto content = base::ReadFile(full.string());
  if (!content.ok()) return content.status().Annotate("kubeconfig " + path + ": " + key);
  *pem = *std::move(content);
  return base::Status::Ok();
}

base::Status ReadUser(const base::Node& user, const std::string& path, ClientConfig* config) {
  for (std::string_view unsupported : {"exec", "auth-provider", "username"}) {
    if (user.Find(unsupported) == nullptr) continue;
    return base::UnimplementedError("kubeconfig " + path + ": users[].user." + std::string(unsupported) +
                                    " is not supported; use a token, a token file or a client certificate");
  }
  TW_RETURN_IF_ERROR(ReadPem(&user, "client-certificate", path, &config->tls.certificate_pem));
  TW_RETURN_IF_ERROR(ReadPem(&user, "client-key", path, &config->tls.private_key_pem));
  config->bearer_token = Text(&user, "token");
  if (config->bearer_token.empty()) config->bearer_token_file = Text(&user, "tokenFile");
  return base::Status::Ok();
}

}  // namespace

base::Result<ClientConfig> LoadKubeconfig(const std::string& path, const std::string& context) {
  TW_ASSIGN_OR_RETURN(std::string text, base::ReadFile(path));
  TW_ASSIGN_OR_RETURN(base::Node root, base::ParseYaml(text, path));
  std::string name = context.empty() ? Text(&root, "current-context") : context;
  const base::Node* entry = Named(root, "contexts", name);
  const base::Node* chosen = entry != nullptr ? entry->Find("context") : nullptr;
  if (chosen == nullptr) {
    return base::NotFoundError("kubeconfig " + path + ": there is no context " + base::Quoted(name) +
                               "; set current-context or name one of contexts[]");
  }
  const base::Node* cluster_entry = Named(root, "clusters", Text(chosen, "cluster"));
  const base::Node* cluster = cluster_entry != nullptr ? cluster_entry->Find("cluster") : nullptr;
  if (cluster == nullptr || Text(cluster, "server").empty()) {
    return base::NotFoundError("kubeconfig " + path + ": context " + base::Quoted(name) + " names cluster " +
                               base::Quoted(Text(chosen, "cluster")) + ", which has no server address");
  }
  ClientConfig config;
  config.server = Text(cluster, "server");
  config.tls.server_name = Text(cluster, "tls-server-name");
  config.tls.insecure_skip_verify = Text(cluster, "insecure-skip-tls-verify") == "true";
  TW_RETURN_IF_ERROR(ReadPem(cluster, "certificate-authority", path, &config.tls.ca_pem));
  std::string ns = Text(chosen, "namespace");
  if (!ns.empty()) config.ns = ns;
  const base::Node* user_entry = Named(root, "users", Text(chosen, "user"));
  const base::Node* user = user_entry != nullptr ? user_entry->Find("user") : nullptr;
  if (user != nullptr) TW_RETURN_IF_ERROR(ReadUser(*user, path, &config));
  return config;
}

base::Result<ClientConfig> InClusterConfig() {
  constexpr std::string_view kFolder = "/var/run/secrets/kubernetes.io/serviceaccount";
  const char* host = std::getenv("KUBERNETES_SERVICE_HOST");
  const char* port = std::getenv("KUBERNETES_SERVICE_PORT");
  if (host == nullptr || port == nullptr) {
    return base::FailedPreconditionError(
        "not in a cluster: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set; use --kubeconfig");
  }
  ClientConfig config;
  http::Url url;
  url.scheme = "https";
  url.host = host;
  int64_t number = 0;
  if (!base::ParseInt64(port, &number) || number < 1 || number > 65535) {
    return base::InvalidArgumentError("KUBERNETES_SERVICE_PORT " + base::Quoted(port) + " is not a port");
  }
  url.port = static_cast<uint16_t>(number);
  config.server = "https://" + url.Authority();
  TW_ASSIGN_OR_RETURN(config.tls.ca_pem, base::ReadFile(std::string(kFolder) + "/ca.crt"));
  config.bearer_token_file = std::string(kFolder) + "/token";
  auto ns = base::ReadFile(std::string(kFolder) + "/namespace");
  if (ns.ok()) config.ns = std::string(base::TrimSpace(*ns));
  return config;
}

}  // namespace tidewright::kube
