#include "cmd/check.h"

#include <unistd.h>

#include <cstdio>

#include "adapter/config.h"
#include "adapter/metric_rule.h"
#include "base/document.h"
#include "base/file.h"
#include "base/json.h"
#include "base/strings.h"
#include "cmd/rule_test_file.h"
#include "notify/config.h"
#include "rules/rule_file.h"
#include "scaler/scaled_job.h"
#include "scaler/scaled_object.h"
#include "scrape/config.h"
#include "scrape/default_config.h"

namespace tidewright::cmd {

namespace {

bool HasAny(const base::Node& node, std::initializer_list<std::string_view> keys) {
  for (std::string_view key : keys) {
    if (node.Find(key) != nullptr) return true;
  }
  return false;
}

// The elements of a List object, or the object itself.
std::vector<const base::Node*> ObjectsOf(const base::Node& document) {
  const base::Node* items = document.Find("items");
  if (items == nullptr) return {&document};
  std::vector<const base::Node*> objects;
  for (const base::Node& item : items->items) objects.push_back(&item);
  return objects;
}

bool IsKind(const base::Node& object, std::string_view wanted) {
  const base::Node* kind = object.Find("kind");
  return kind != nullptr && kind->text == wanted;
}

CheckResult CheckManifests(const std::vector<base::Node>& documents) {
  std::string all;
  int objects = 0;
  int scaled_objects = 0;
  int scaled_jobs = 0;
  int metric_rules = 0;
  for (const base::Node& document : documents) {
    for (const base::Node* object : ObjectsOf(document)) {
      ++objects;
      base::Status status;
      if (IsKind(*object, "ScaledObject")) {
        ++scaled_objects;
        status = scaler::DecodeScaledObject(base::NodeToJson(*object)).status();
      } else if (IsKind(*object, "ScaledJob")) {
        ++scaled_jobs;
        status = scaler::DecodeScaledJob(base::NodeToJson(*object)).status();
      } else if (IsKind(*object, "MetricRule")) {
        ++metric_rules;
        status = adapter::DecodeMetricRule(base::NodeToJson(*object)).status();
      }
      if (!status.ok()) all += (all.empty() ? "" : "\n") + status.message();
    }
  }
  CheckResult result;
  result.kind = std::to_string(objects) + " manifests, " + std::to_string(scaled_objects) + " ScaledObjects";
  if (scaled_jobs > 0) result.kind += ", " + std::to_string(scaled_jobs) + " ScaledJobs";
  if (metric_rules > 0) result.kind += ", " + std::to_string(metric_rules) + " MetricRules";
  if (!all.empty()) result.status = base::InvalidArgumentError(all);
  return result;
}

// Files that a configuration names. Those that Prometheus itself misses only when it needs them are errors here, so
// that they are found before that.
class ReferenceCheck {
 public:
  base::Status Run(const scrape::Config& config) {
    for (const std::string& pattern : config.rule_files) {
      if (pattern.find_first_of("*?[") == std::string::npos) NeedFile(pattern, "rule_files");
    }
    for (const scrape::ScrapeConfig& job : config.scrape_configs) CheckJob(job, "job " + base::Quoted(job.job_name));
    for (const scrape::AlertmanagerConfig& alertmanagers : config.alerting.alertmanagers) {
      CheckTargetFiles(alertmanagers.discovery, "alertmanagers");
    }
    if (errors_.empty()) return base::Status::Ok();
    return base::InvalidArgumentError(base::Join(errors_, "\n"));
  }

 private:
  void NeedFile(const std::string& path, const std::string& whose) {
    if (path.empty() || access(path.c_str(), F_OK) == 0) return;
    errors_.push_back(whose + ": there is no file " + path + "; create it, or name another");
  }

  void CheckJob(const scrape::ScrapeConfig& job, const std::string& whose) {
    NeedFile(job.http.credentials.file, whose);
    NeedFile(job.http.cert.file, whose);
    NeedFile(job.http.key.file, whose);
    CheckTargetFiles(job, whose);
  }

  void CheckTargetFiles(const scrape::ScrapeConfig& job, const std::string& whose) {
    for (const scrape::FileSdConfig& discovery : job.file_sd) {
      for (const std::string& path : scrape::MatchFiles(discovery.files)) {
        auto text = base::ReadFile(path);
        base::Status status = text.ok() ? scrape::ParseTargetFile(*text, path).status() : text.status();
        if (!status.ok()) errors_.push_back(whose + ": " + status.message());
      }
    }
  }

  std::vector<std::string> errors_;
};

CheckResult CheckPrometheusConfig(const std::string& path, std::vector<std::string>* rule_files) {
  CheckResult result{"prometheus.yml", base::Status::Ok(), {}};
  auto config = scrape::LoadConfig(path);
  result.status = config.status();
  if (!config.ok()) return result;
  result.warnings = config->warnings;
  if (rule_files == nullptr) return result;
  *rule_files = config->rule_files;
  result.status = ReferenceCheck().Run(*config);
  return result;
}

CheckResult CheckReceivers(const std::string& path) {
  auto config = notify::LoadConfig(path);
  CheckResult result{"receivers", config.status(), {}};
  if (config.ok()) result.kind = std::to_string((*config)->receivers.size()) + " receivers";
  return result;
}

bool Report(const std::string& path, const CheckResult& result) {
  std::printf("%s: %s: %s\n", path.c_str(), result.kind.c_str(), result.status.ok() ? "ok" : "NOT OK");
  for (const std::string& warning : result.warnings) std::printf("  warning: %s\n", warning.c_str());
  if (!result.status.ok()) std::printf("%s\n", result.status.message().c_str());
  return result.status.ok();
}

}  // namespace

CheckResult CheckFile(const std::string& path) {
  auto text = base::ReadFile(path);
  if (!text.ok()) return {"file", text.status(), {}};
  auto documents = base::ParseYamlDocuments(*text, path);
  if (!documents.ok()) return {"YAML", documents.status(), {}};
  if (documents->empty()) return {"empty file", base::Status::Ok(), {}};
  const base::Node& first = documents->front();
  if (HasAny(first, {"apiVersion", "kind"})) return CheckManifests(*documents);
  if (HasAny(first, {"groups"})) return {"rule file", rules::ParseRuleFile(*text, path).status(), {}};
  if (HasAny(first, {"tests"})) return {"rule tests", ParseRuleTestFile(*text, path).status(), {}};
  if (HasAny(first, {"rules", "externalRules", "resourceRules"})) {
    return {"adapter rules", adapter::ParseConfig(*text, path).status(), {}};
  }
  if (HasAny(first, {"receivers", "route"})) return CheckReceivers(path);
  return CheckPrometheusConfig(path, nullptr);
}

std::map<std::string, CheckResult> CheckConfig(const std::string& path) {
  std::map<std::string, CheckResult> results;
  std::vector<std::string> rule_files;
  results[path] = CheckPrometheusConfig(path, &rule_files);
  for (const std::string& file : scrape::MatchFiles(rule_files)) {
    auto text = base::ReadFile(file);
    base::Status status = text.ok() ? rules::ParseRuleFile(*text, file).status() : text.status();
    results[file] = {"rule file", std::move(status), {}};
  }
  return results;
}

int RunCheck(const std::vector<std::string>& paths) {
  if (paths.empty()) {
    std::fprintf(stderr, "tidewright: check: name the files to check\n");
    return 1;
  }
  bool fine = true;
  for (const std::string& path : paths) fine = Report(path, CheckFile(path)) && fine;
  return fine ? 0 : 1;
}

int RunCheckConfig(const std::vector<std::string>& paths) {
  if (paths.empty()) {
    std::fprintf(stderr, "tidewright: check config: name the files to check\n");
    return 1;
  }
  bool fine = true;
  for (const std::string& config : paths) {
    for (const auto& [path, result] : CheckConfig(config)) fine = Report(path, result) && fine;
  }
  return fine ? 0 : 1;
}

int RunCheckReceivers(const std::vector<std::string>& paths) {
  bool fine = true;
  for (const std::string& path : paths) fine = Report(path, CheckReceivers(path)) && fine;
  return fine ? 0 : 1;
}

int PrintDefaultConfig() {
  const std::string_view text = scrape::DefaultConfigText();
  return std::fwrite(text.data(), 1, text.size(), stdout) == text.size() ? 0 : 1;
}

}  // namespace tidewright::cmd
