#include "kube/config.h"

#include <cstdlib>
#include <filesystem>
#include <utility>

#include "base/document.h"
#include "base/file.h"
#include "base/json.h"
#include "base/strings.h"

namespace tidewright::kube {

namespace {

constexpr std::string_view kExecExtension = "client.authentication.k8s.io/exec";

// One of the files that make up a kubeconfig.
struct File {
  std::string path;
  base::Node root;

  // Paths in a kubeconfig start in its folder.
  std::string Resolve(const std::string& relative) const {
    return (std::filesystem::path(path).parent_path() / relative).string();
  }
  base::Status Wrong(base::Code code, const std::string& message) const {
    return base::Status(code, "kubeconfig " + path + ": " + message);
  }
};

// An entry of clusters, contexts or users, and the file that it is in.
struct Entry {
  const File* file = nullptr;
  const base::Node* node = nullptr;
};

std::string Text(const base::Node* node, std::string_view key) {
  const base::Node* found = node != nullptr ? node->Find(key) : nullptr;
  return found != nullptr ? found->text : "";
}

// The entry of that name in the first file that has one. `list` is the plural of the entry's own key.
Entry Named(const std::vector<File>& files, const std::string& list, std::string_view name) {
  for (const File& file : files) {
    const base::Node* items = file.root.Find(list);
    if (items == nullptr) continue;
    for (const base::Node& item : items->items) {
      if (Text(&item, "name") == name) return {&file, item.Find(list.substr(0, list.size() - 1))};
    }
  }
  return {};
}

base::Result<std::vector<File>> ReadFiles(const std::string& paths) {
  std::vector<File> files;
  base::Status missing = base::NotFoundError("no kubeconfig file is named; use --kubeconfig or $KUBECONFIG");
  for (const std::string& path : base::Split(paths, ':')) {
    if (path.empty()) continue;
    auto text = base::ReadFile(path);
    if (text.status().code() == base::Code::kNotFound) {
      missing = text.status();
      continue;
    }
    if (!text.ok()) return text.status();
    TW_ASSIGN_OR_RETURN(base::Node root, base::ParseYaml(*text, path));
    files.push_back({path, std::move(root)});
  }
  if (files.empty()) return missing;
  return files;
}

// PEM either from `<key>-data` (base64) or from the file named by `<key>`, which is read now to find mistakes early.
base::Status ReadPem(const Entry& entry, const std::string& key, std::string* pem, std::string* pem_file) {
  const std::string data = Text(entry.node, key + "-data");
  if (!data.empty()) {
    if (base::Base64Decode(data, pem)) return base::Status::Ok();
    return entry.file->Wrong(base::Code::kInvalidArgument, key + "-data is not base64");
  }
  const std::string relative = Text(entry.node, key);
  if (relative.empty()) return base::Status::Ok();
  *pem_file = entry.file->Resolve(relative);
  auto content = base::ReadFile(*pem_file);
  if (!content.ok()) return entry.file->Wrong(content.status().code(), key + ": " + content.status().message());
  *pem = *std::move(content);
  return base::Status::Ok();
}

base::Result<ExecPlugin> ReadExec(const Entry& user) {
  const Entry exec = {user.file, user.node->Find("exec")};
  auto wrong = [&exec](const std::string& message) {
    return exec.file->Wrong(base::Code::kInvalidArgument, "users[].user.exec" + message);
  };
  ExecPlugin plugin;
  plugin.api_version = Text(exec.node, "apiVersion");
  if (plugin.api_version != "client.authentication.k8s.io/v1" &&
      plugin.api_version != "client.authentication.k8s.io/v1beta1") {
    return wrong(".apiVersion: " + base::Quoted(plugin.api_version) +
                 " is not supported; use client.authentication.k8s.io/v1 or client.authentication.k8s.io/v1beta1");
  }
  const std::string mode = Text(exec.node, "interactiveMode");
  if (mode == "Always") return wrong(".interactiveMode: Always needs a terminal; use Never or IfAvailable");
  if (!mode.empty() && mode != "Never" && mode != "IfAvailable") {
    return wrong(".interactiveMode: " + base::Quoted(mode) + " is not one of Never, IfAvailable, Always");
  }
  plugin.command = Text(exec.node, "command");
  if (plugin.command.empty()) return wrong(".command is missing; name the program that prints the credentials");
  if (plugin.command.find('/') != std::string::npos) plugin.command = exec.file->Resolve(plugin.command);
  if (const base::Node* args = exec.node->Find("args")) {
    for (const base::Node& arg : args->items) plugin.args.push_back(arg.text);
  }
  if (const base::Node* env = exec.node->Find("env")) {
    for (const base::Node& pair : env->items) plugin.env.emplace_back(Text(&pair, "name"), Text(&pair, "value"));
  }
  plugin.install_hint = Text(exec.node, "installHint");
  plugin.provide_cluster_info = Text(exec.node, "provideClusterInfo") == "true";
  return plugin;
}

// What the cluster's entry tells exec plugins, as JSON.
std::string ExecClusterConfig(const base::Node& cluster) {
  const base::Node* extensions = cluster.Find("extensions");
  if (extensions == nullptr) return "";
  for (const base::Node& item : extensions->items) {
    const base::Node* extension = item.Find("extension");
    if (Text(&item, "name") == kExecExtension && extension != nullptr) {
      return base::DumpJson(base::NodeToJson(*extension));
    }
  }
  return "";
}

base::Status ReadUser(const Entry& user, ClientConfig* config) {
  if (user.node->Find("auth-provider") != nullptr) {
    return user.file->Wrong(base::Code::kUnimplemented,
                            "users[].user.auth-provider is not supported; use an exec plugin, a token, a token file or "
                            "a client certificate");
  }
  for (std::string_view key : {"as", "as-uid", "as-groups", "as-user-extra"}) {
    if (user.node->Find(key) == nullptr) continue;
    return user.file->Wrong(base::Code::kUnimplemented, "users[].user." + std::string(key) +
                                                            " is not supported: give that user credentials of its own");
  }
  TW_RETURN_IF_ERROR(ReadPem(user, "client-certificate", &config->tls.certificate_pem, &config->certificate_file));
  TW_RETURN_IF_ERROR(ReadPem(user, "client-key", &config->tls.private_key_pem, &config->private_key_file));
  config->bearer_token = Text(user.node, "token");
  const std::string token_file = Text(user.node, "tokenFile");
  if (!token_file.empty()) config->bearer_token_file = user.file->Resolve(token_file);
  config->username = Text(user.node, "username");
  config->password = Text(user.node, "password");
  if (user.node->Find("exec") == nullptr) return base::Status::Ok();
  TW_ASSIGN_OR_RETURN(config->exec, ReadExec(user));
  return base::Status::Ok();
}

base::Status ReadCluster(const Entry& cluster, ClientConfig* config) {
  config->server = Text(cluster.node, "server");
  config->tls.server_name = Text(cluster.node, "tls-server-name");
  config->tls.insecure_skip_verify = Text(cluster.node, "insecure-skip-tls-verify") == "true";
  config->proxy_url = Text(cluster.node, "proxy-url");
  if (!config->proxy_url.empty() && !http::Url::Parse(config->proxy_url).ok()) {
    return cluster.file->Wrong(base::Code::kInvalidArgument,
                               "clusters[].cluster.proxy-url is not an http or https URL");
  }
  return ReadPem(cluster, "certificate-authority", &config->tls.ca_pem, &config->ca_file);
}

}  // namespace

base::Result<ClientConfig> LoadKubeconfig(const std::string& paths, const std::string& context) {
  TW_ASSIGN_OR_RETURN(std::vector<File> files, ReadFiles(paths));
  std::string name = context;
  for (const File& file : files) {
    if (name.empty()) name = Text(&file.root, "current-context");
  }
  const Entry chosen = Named(files, "contexts", name);
  if (chosen.node == nullptr) {
    return base::NotFoundError("kubeconfig " + paths + ": there is no context " + base::Quoted(name) +
                               "; set current-context or name one of contexts[]");
  }
  const std::string cluster_name = Text(chosen.node, "cluster");
  const Entry cluster = Named(files, "clusters", cluster_name);
  if (cluster.node == nullptr || Text(cluster.node, "server").empty()) {
    return chosen.file->Wrong(base::Code::kNotFound, "context " + base::Quoted(name) + " names cluster " +
                                                         base::Quoted(cluster_name) + ", which has no server address");
  }
  ClientConfig config;
  TW_RETURN_IF_ERROR(ReadCluster(cluster, &config));
  if (std::string ns = Text(chosen.node, "namespace"); !ns.empty()) config.ns = std::move(ns);
  const std::string user_name = Text(chosen.node, "user");
  if (user_name.empty()) return config;
  const Entry user = Named(files, "users", user_name);
  if (user.file == nullptr) {
    return chosen.file->Wrong(base::Code::kNotFound, "context " + base::Quoted(name) + " names user " +
                                                         base::Quoted(user_name) + ", which is not in users[]");
  }
  if (user.node == nullptr || user.node->IsNull()) return config;
  TW_RETURN_IF_ERROR(ReadUser(user, &config));
  if (config.exec.has_value()) config.exec->cluster_config = ExecClusterConfig(*cluster.node);
  return config;
}

std::string DefaultKubeconfigPaths() {
  const char* named = std::getenv("KUBECONFIG");
  if (named != nullptr && *named != '\0') return named;
  const char* home = std::getenv("HOME");
  std::string path = std::string(home == nullptr ? "" : home) + "/.kube/config";
  std::error_code none;
  return std::filesystem::exists(path, none) ? path : "";
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
  config.ca_file = std::string(kFolder) + "/ca.crt";
  TW_ASSIGN_OR_RETURN(config.tls.ca_pem, base::ReadFile(config.ca_file));
  config.bearer_token_file = std::string(kFolder) + "/token";
  auto ns = base::ReadFile(std::string(kFolder) + "/namespace");
  if (ns.ok()) config.ns = std::string(base::TrimSpace(*ns));
  return config;
}

}  // namespace tidewright::kube
