// tidewright: flags to commands.
#include <CLI/CLI.hpp>
#include <functional>
#include <string>
#include <vector>

#include "cmd/check.h"
#include "cmd/explain_command.h"
#include "cmd/promql_command.h"
#include "cmd/query_command.h"
#include "cmd/rules_command.h"
#include "cmd/run_command.h"
#include "cmd/sandbox_command.h"
#include "cmd/signals.h"
#include "cmd/tsdb_command.h"
#include "http/client.h"

namespace {

namespace kube = tidewright::kube;
using tidewright::cmd::RulesCommandOptions;
using tidewright::cmd::RunFlags;
using tidewright::cmd::SandboxFlags;

void AddElectionFlags(CLI::App& command, RunFlags& flags) {
  kube::LeaderElectionOptions& election = flags.options.leader_election;
  election.name = "tidewright";
  command.add_option("--leader-elect", flags.leader_elect,
                     "Only the replica that holds the Lease scales; default: true, with --kubeconfig false");
  command.add_option("--leader-elect-lease-duration", flags.lease_duration, "When others may take the Lease over")
      ->capture_default_str();
  command
      .add_option("--leader-elect-renew-deadline", flags.renew_deadline, "When a leader that cannot renew steps down")
      ->capture_default_str();
  command.add_option("--leader-elect-retry-period", flags.retry_period, "Between two attempts")->capture_default_str();
  command.add_option("--leader-elect-resource-name", election.name, "Name of the Lease")->capture_default_str();
  command.add_option("--leader-elect-resource-namespace", election.ns, "Its namespace; default: the pod's");
  constexpr int kMaxShards = 64;
  command
      .add_option("--scaler.shards", flags.options.scaler_shards,
                  "Among how many shards, each followed by one of the replicas, ScaledObjects are divided")
      ->check(CLI::Range(1, kMaxShards))
      ->capture_default_str();
  command.add_option("--kube-api-qps", flags.rate_limit.qps, "Requests per second to the API server; 0: no limit")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command.add_option("--kube-api-burst", flags.rate_limit.burst, "How many requests may be saved up")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
}

// Named as Prometheus names them.
void AddQueryFlags(CLI::App& command, RunFlags& flags) {
  auto& query = flags.options.query;
  command.add_option("--query.timeout", flags.query_timeout, "How long a query may take")->capture_default_str();
  command.add_option("--query.max-concurrency", query.max_concurrency, "Queries that run at a time; others wait")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command.add_option("--query.max-samples", query.max_samples, "Samples that a query may hold in memory")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command.add_option("--query.lookback-delta", flags.query_lookback, "How old the sample of an instant vector may be")
      ->capture_default_str();
}

void AddQueryServerFlags(CLI::App& command, RunFlags& flags) {
  auto& servers = flags.options.query_servers;
  command.add_option("--query-url", servers.urls,
                     "Prometheus-compatible server that answers the metrics APIs instead of our own store; several "
                     "(repeat it) stand in for one another");
  command.add_option("--query-url.header", flags.query_headers, "name=value, sent with each request; may be repeated");
  command.add_option("--query-url.token-file", servers.token_file, "Bearer token; read again each minute");
  command.add_option("--query-url.ca-file", flags.query_ca_file, "CA of the servers; default: the system's");
  command.add_option("--query-url.cert-file", flags.query_cert_file, "Client certificate");
  command.add_option("--query-url.key-file", flags.query_key_file, "Its private key");
  command.add_flag("--query-url.insecure-skip-verify", servers.tls.insecure_skip_verify,
                   "Do not verify the servers' certificates");
  command.add_option("--query-url.timeout", flags.query_timeout_per_server, "Of one request to one server")
      ->capture_default_str();
}

void AddDelegateFlags(CLI::App& command, RunFlags& flags) {
  auto& delegates = flags.options.delegates;
  command.add_option("--delegate", flags.delegates,
                     "external=https://server: asked for external metrics that no rule gives; "
                     "external/name-*=https://server: for all of such names. May be repeated");
  command.add_option("--delegate.ca-file", flags.delegate_ca_file, "CA of these servers; default: the system's");
  command.add_option("--delegate.token-file", delegates.token_file,
                     "Token for them; default: that of the service account");
  command.add_flag("--delegate.insecure-skip-verify", delegates.tls.insecure_skip_verify,
                   "Do not verify their certificates");
}

void AddMonitoringFlags(CLI::App& command, tidewright::cmd::ControlPlaneOptions& options) {
  command
      .add_option(
          "--monitoring-objects", options.monitoring_objects,
          "Follow ServiceMonitors, PodMonitors, Probes, ScrapeConfigs and PrometheusRules (monitoring.coreos.com)")
      ->capture_default_str();
  command.add_option("--monitoring-objects-selector", options.monitoring_selector,
                     "Those with such labels, for instance team=a,tier!=test; default: all");
  command.add_option("--monitoring-objects-namespace-selector", options.monitoring_namespace_selector,
                     "Those in namespaces with such labels; default: all");
  command.add_flag("--monitoring-objects-allow-files", options.monitoring_allow_files,
                   "They may name files that are read here and sent to their targets, such as bearerTokenFile");
}

// Named as Prometheus names them.
void AddAlertingFlags(CLI::App& command, RunFlags& flags) {
  command
      .add_option("--rules.alert.for-outage-tolerance", flags.for_outage_tolerance,
                  "How long an outage may be for pending alerts to keep their age")
      ->capture_default_str();
  command
      .add_option("--rules.alert.for-grace-period", flags.for_grace_period,
                  "Least time between a restart and an alert that was pending")
      ->capture_default_str();
  command
      .add_option("--rules.alert.resend-delay", flags.resend_delay, "Least time between two messages about one alert")
      ->capture_default_str();
  command
      .add_option("--rules.max-concurrent-rule-evals", flags.max_concurrent_rule_evals,
                  "With --enable-feature=concurrent-rule-eval: how many independent rules are evaluated side by side")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command.add_flag("--rules.scaling-alerts", flags.options.scaling_alerts,
                   "Evaluate the built-in alerts about scaling: at maximum, source failing, flapping and others");
  command.add_option("--alerting.receivers.file", flags.options.receivers_file,
                     "Webhooks, Slack and mailboxes that are told about alerts: a file with Alertmanager's key names");
  command
      .add_option("--alertmanager.notification-queue-capacity", flags.options.notification_queue_capacity,
                  "Alerts that may wait per Alertmanager")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
}

void AddRunFlags(CLI::App& command, RunFlags& flags) {
  auto& options = flags.options;
  command
      .add_option("--kubernetes", flags.kubernetes, "Connect to a cluster; without one: scrape, store, rules, queries")
      ->capture_default_str();
  command.add_option("--kubeconfig", flags.kubeconfig, "Kubeconfig file; without it the pod's service account is used");
  command.add_option("--context", flags.context, "Context of the kubeconfig; default: current-context");
  command.add_option("--config.file", options.config_file, "prometheus.yml; default: `check config --print-default`");
  command.add_option("--adapter.config", options.adapter_file, "prometheus-adapter rules; default: built-in rules");
  command.add_option("--adapter.relist-interval", options.relist_interval_ms, "How often metrics are listed, in ms")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command
      .add_option("--adapter.keep-last-value", flags.keep_last_value,
                  "How long a metric's last value stands in, with a warning, when there is none; 0s: not at all")
      ->capture_default_str();
  command.add_option("--storage.tsdb.path", options.data_dir, "Folder of the samples; default: memory only");
  command
      .add_option("--storage.tsdb.retention.size", flags.retention_size,
                  "The oldest blocks go when all are larger than this, for instance 10GB; 0: no limit")
      ->capture_default_str();
  command
      .add_option("--storage.tsdb.fsync-interval", flags.fsync_interval,
                  "How often the log is flushed to the disk; 0s: at each scrape, before it counts as stored")
      ->capture_default_str();
  command
      .add_option("--storage.tsdb.min-block-duration", flags.min_block,
                  "Time that a block spans before blocks are merged; 2h and nothing else")
      ->capture_default_str();
  command
      .add_option("--storage.tsdb.max-block-duration", flags.max_block,
                  "Longest time that a merged block spans; 2h: none are merged, as a Thanos sidecar that uploads them "
                  "wants it; 0s: a tenth of the retention")
      ->capture_default_str();
  command.add_option("--storage.tsdb.retention.time", flags.retention, "How long samples are kept")
      ->capture_default_str();
  command.add_option("--enable-feature", flags.enable_features,
                     "Switches of Prometheus, separated by commas; what has no effect is named in a warning");
  AddQueryFlags(command, flags);
  AddQueryServerFlags(command, flags);
  AddDelegateFlags(command, flags);
  AddAlertingFlags(command, flags);
  command.add_option("--web.external-url", options.external_url,
                     "Where others reach the web port, for links in alerts; default: by the name of this host");
  command.add_option("--web.address", options.web_address, "Address of the web port")->capture_default_str();
  command.add_option("--web.port", options.web_port, "Web port: page, Prometheus API, metrics")->capture_default_str();
  command.add_flag("--web.enable-remote-write-receiver", options.remote_write_receiver,
                   "Take samples at /api/v1/write (remote write 1.0 and 2.0)");
  command.add_flag("--web.enable-admin-api", options.web_admin_api,
                   "Allow snapshots and deletions of samples through the web port");
  command.add_flag("--web.enable-lifecycle", flags.web_lifecycle, "Allow to end the process by POST /-/quit");
  command.add_option("--web.config.file", options.web_config_file,
                     "TLS, users and headers of the web port, in the format of Prometheus' file of that name");
  command
      .add_option("--web.cors.origin", options.web_cors_origin, "Origins whose pages may read the API: an expression")
      ->capture_default_str();
  command.add_option("--bind-address", options.api_address, "Address of the aggregation port")->capture_default_str();
  command.add_option("--secure-port", options.api_port, "Aggregation port")->capture_default_str();
  command.add_option("--tls-cert-file", options.tls_certificate_file, "Certificate of the aggregation port");
  command.add_option("--tls-private-key-file", options.tls_private_key_file, "Its private key");
  command.add_option("--tls-ca-file", options.tls_ca_file, "CA of the certificate; default: its own chain");
  command.add_option("--service-name", options.service, "Service that the APIServices point at")->capture_default_str();
  command.add_option("--service-namespace", options.service_ns, "Its namespace")->capture_default_str();
  options.ca_secret = "tidewright-ca";
  command.add_option("--ca-secret", options.ca_secret, "Secret that keeps the CA of made certificates")
      ->capture_default_str();
  command.add_option("--register-apiservices", options.register_api_services, "Create and update the APIServices")
      ->capture_default_str();
  AddMonitoringFlags(command, options);
  AddElectionFlags(command, flags);
  command.add_flag("--take-over-apiservices", options.take_over_api_services, "Also those of other programs");
  command.add_flag("--hpa-controller", options.hpa_controller,
                   "Reconcile HorizontalPodAutoscalers; only where kube-controller-manager does not");
  command.add_option("--hpa-sync-period", options.hpa_sync_period_ms, "How often each HPA is evaluated, in ms")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command.add_flag("--watch-keda", options.watch_keda,
                   "Also reconcile the ScaledObjects and ScaledJobs of keda.sh/v1alpha1");
  command.add_option("--log.level", flags.log_level, "debug, info, warn or error")->capture_default_str();
}

CLI::Option* AddSandboxFlags(CLI::App& command, SandboxFlags& flags) {
  command.add_option("--examples", flags.examples, "Folder of manifests, with configuration in tidewright/")
      ->capture_default_str();
  command.add_option("--for", flags.duration, "End after this time, for instance 90s, and judge what was scaled");
  CLI::Option* port = command.add_option("--web-port", flags.web_port, "Web port; 0 picks a free one");
  port->capture_default_str();
  command.add_option("--api-port", flags.api_port, "Port of the Kubernetes API; 0 picks a free one")
      ->capture_default_str();
  command.add_option("--kubeconfig", flags.kubeconfig, "Kubeconfig file to write")->capture_default_str();
  command.add_option("--log-file", flags.log_file, "Log file; default: in a temporary folder");
  command.add_option("--calendar-start", flags.calendar_start, "Date that cron schedules see at the start")
      ->capture_default_str();
  command.add_option("--calendar-speed", flags.calendar_speed, "Seconds of the calendar per second")
      ->capture_default_str();
  command.add_flag("--plain", flags.plain, "Print changes only, no live table");
  return port;
}

// The flags in force, by name, without dashes.
std::map<std::string, std::string> FlagsOf(const CLI::App& command) {
  std::map<std::string, std::string> flags;
  for (const CLI::Option* option : command.get_options()) {
    const std::string name = option->get_single_name();
    if (name == "help") continue;
    std::string value = option->get_default_str();
    if (option->count() > 0)
      value = option->get_expected_max() == 0 ? "true" : CLI::detail::join(option->results(), ",");
    flags[name] = option->get_expected_max() == 0 && value.empty() ? "false" : value;
  }
  return flags;
}

CLI::App* AddCheckRules(CLI::App& check, RulesCommandOptions& options) {
  CLI::App* command = check.add_subcommand("rules", "Say what is wrong with rule files");
  command->add_option("FILE", options.files, "Files to check; default: standard input");
  command->add_flag("--ignore-unknown-fields", options.ignore_unknown_fields, "Read over fields that are not known");
  command->add_flag("--lint-fatal", options.lint_fatal, "Fail on rules that write the same series");
  command->add_flag("!--no-lint", options.lint_duplicates, "Do not look for rules that write the same series");
  return command;
}

CLI::App* AddTestRules(CLI::App& test, RulesCommandOptions& options) {
  CLI::App* command = test.add_subcommand("rules", "Run unit tests of rules, in promtool's format");
  command->add_option("FILE", options.files, "Files with tests")->required();
  command->add_option("--run", options.run, "Only groups whose name matches this regular expression; repeatable")
      ->allow_extra_args(false);
  command->add_flag("--ignore-unknown-fields", options.ignore_unknown_fields, "Read over fields that are not known");
  return command;
}

}  // namespace

int main(int argc, char** argv) {
  tidewright::cmd::BlockSignals();
  tidewright::http::InitializeCpprest();

  CLI::App app("Tidewright: an autoscaling control plane for Kubernetes");
  app.set_version_flag("--version", "tidewright " TIDEWRIGHT_VERSION);
  app.require_subcommand(1);

  RunFlags run_flags;
  CLI::App* run = app.add_subcommand("run", "Run the control plane of a cluster");
  AddRunFlags(*run, run_flags);

  SandboxFlags sandbox_flags;
  CLI::App* sandbox = app.add_subcommand("sandbox", "Run everything in one process, with simulated workloads");
  CLI::Option* web_port = AddSandboxFlags(*sandbox, sandbox_flags);

  std::vector<std::string> files;
  CLI::App* check = app.add_subcommand("check", "Say what is wrong with configuration, rules and manifests");
  check->add_option("FILE", files, "Files to check");
  bool print_default = false;
  CLI::App* check_config =
      check->add_subcommand("config", "Say what is wrong with a prometheus.yml and its rule files");
  check_config->add_option("FILE", files, "Files to check");
  check_config->add_flag("--print-default", print_default, "Print what holds in a cluster without --config.file");

  CLI::App* check_receivers = check->add_subcommand("receivers", "Say what is wrong with a file of receivers");
  check_receivers->add_option("FILE", files, "Files to check")->required();

  std::function<int()> explain_command;
  tidewright::cmd::AddExplainCommands(app, *check, &explain_command);

  tidewright::cmd::RulesCommandOptions rules;
  CLI::App* check_rules = AddCheckRules(*check, rules);
  CLI::App* test = app.add_subcommand("test", "Unit tests")->require_subcommand(1);
  CLI::App* test_rules = AddTestRules(*test, rules);

  std::vector<std::string> scripts;
  CLI::App* promql = app.add_subcommand("promql", "Tools around queries")->require_subcommand(1);
  CLI::App* promql_test = promql->add_subcommand("test", "Run PromQL acceptance scripts (load, clear, eval)");
  promql_test->add_option("FILE", scripts, "Scripts to run")->required();

  std::function<int()> tsdb_command;
  CLI::App* tsdb = tidewright::cmd::AddTsdbCommand(app, &tsdb_command);

  std::function<int()> query_command;
  tidewright::cmd::AddQueryCommands(app, &query_command);

  CLI11_PARSE(app, argc, argv);
  if (explain_command) return explain_command();
  if (query_command) return query_command();
  if (run->parsed()) {
    run_flags.options.flags = FlagsOf(*run);
    return tidewright::cmd::RunControlPlane(run_flags);
  }
  if (check_config->parsed() && print_default) return tidewright::cmd::PrintDefaultConfig();
  if (check_config->parsed()) return tidewright::cmd::RunCheckConfig(files);
  if (check_receivers->parsed()) return tidewright::cmd::RunCheckReceivers(files);
  if (check_rules->parsed()) return tidewright::cmd::RunCheckRules(rules);
  if (check->parsed()) return tidewright::cmd::RunCheck(files);
  if (test_rules->parsed()) return tidewright::cmd::RunTestRules(rules);
  if (tsdb->parsed()) return tsdb_command();
  if (promql_test->parsed()) return tidewright::cmd::RunPromqlTests(scripts);
  sandbox_flags.web_port_given = web_port->count() > 0;
  return tidewright::cmd::RunSandbox(sandbox_flags);
}
