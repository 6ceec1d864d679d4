#include <algorithm>
#include <utility>

#include "scrape/config.h"

namespace tidewright::scrape {
namespace {

const std::string kPod = "__meta_kubernetes_pod_";
const std::string kScrape = kPod + "annotation_prometheus_io_scrape";
const std::string kPort = kPod + "annotation_prometheus_io_port";

RelabelRule Rule(RelabelAction action, std::vector<std::string> sources, std::string regex, std::string target = "",
                 std::string replacement = "$1") {
  RelabelRule rule;
  rule.action = action;
  rule.source_labels = std::move(sources);
  rule.regex = std::move(regex);
  rule.target_label = std::move(target);
  rule.replacement = std::move(replacement);
  // The expressions are constants of this file, and a test compiles each of them.
  static_cast<void>(rule.Compile().ok());
  return rule;
}

}  // namespace

ScrapeConfig DefaultKubernetesPodsJob(base::Duration interval) {
  ScrapeConfig job;
  job.job_name = "kubernetes-pods";
  job.scrape_interval = interval;
  job.scrape_timeout.ms = std::min<int64_t>(job.scrape_timeout.ms, interval.ms);
  KubernetesSdConfig sd;
  sd.role = "pod";
  job.kubernetes_sd.push_back(std::move(sd));
  job.relabel_rules = {
      // Annotated, or labelled log: prometheus without an annotation that says otherwise; then only the named port.
      Rule(RelabelAction::kKeep, {kScrape, kPod + "label_log", kPod + "container_port_name"},
           "true;.*|;prometheus;prometheus"),
      Rule(RelabelAction::kDrop, {kPod + "phase"}, "Succeeded|Failed"),
      Rule(RelabelAction::kDrop, {kPod + "container_init"}, "true"),
      Rule(RelabelAction::kDrop, {kPod + "container_port_protocol"}, "UDP|SCTP"),
      Rule(RelabelAction::kReplace, {kPod + "annotation_prometheus_io_path"}, "(.+)", "__metrics_path__"),
      Rule(RelabelAction::kReplace, {kPod + "annotation_prometheus_io_scheme"}, "(https?)", "__scheme__"),
      Rule(RelabelAction::kReplace, {"__address__", kPort}, "(.+?)(?::\\d+)?;(\\d+)", "__address__", "$1:$2"),
      Rule(RelabelAction::kReplace, {"__meta_kubernetes_namespace"}, "(.*)", "namespace"),
      Rule(RelabelAction::kReplace, {kPod + "name"}, "(.*)", "pod"),
      Rule(RelabelAction::kReplace, {kPod + "node_name"}, "(.*)", "node"),
      // An annotated port belongs to no particular container; without this label its targets are one.
      Rule(RelabelAction::kReplace, {kPort, kPod + "container_name"}, ";(.+)", "container"),
  };
  return job;
}

}  // namespace tidewright::scrape
