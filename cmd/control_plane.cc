#include "cmd/control_plane.h"

#include <atomic>
#include <iterator>
#include <map>
#include <utility>

#include "adapter/adapter.h"
#include "adapter/metric_rule.h"
#include "apiservice/server.h"
#include "base/boot_clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/mutex.h"
#include "base/thread_pool.h"
#include "cmd/alerting.h"
#include "cmd/leader_duties.h"
#include "cmd/registrar.h"
#include "cmd/self_metrics.h"
#include "cmd/shard_duties.h"
#include "cmd/start_options.h"
#include "kube/object_reader.h"
#include "kube/shared_caches.h"
#include "notify/config.h"
#include "promql/engine.h"
#include "remote/fanout.h"
#include "remote/manager.h"
#include "rule_files.h"
#include "rules/manager.h"
#include "rules/rule_object.h"
#include "scaler/external_metrics.h"
#include "scaler/target.h"
#include "scrape/config.h"
#include "scrape/config_print.h"
#include "scrape/default_config.h"
#include "scrape/manager.h"
#include "scrape/operator_source.h"
#include "tsdb/db.h"
#include "web/server.h"

namespace tidewright::cmd {

namespace {

// Blocking work of one part never waits for that of another: neither a slow redis nor a heavy rule delays a scrape.
constexpr int kScrapeThreads = 2;
constexpr int kDataThreads = 4;
constexpr int kScalerThreads = 8;
constexpr int64_t kMaintenanceMs = 30'000;
constexpr int64_t kAuthenticationWaitMs = 10'000;
constexpr const char* kReceiversState = "receivers.json";  // In the folder of the samples.
constexpr const char* kScalingAlerts = "scaling-alerts";   // How their groups are shown.
constexpr const char* kSelfJob = "tidewright";

}  // namespace

class ControlPlane::Impl {
 public:
  Impl(const ControlPlaneOptions& options, kube::Client* client, base::Clock& clock, base::Clock& calendar,
       base::MetricRegistry& metrics)
      : options_(options),
        client_(client),
        clock_(clock),
        calendar_(calendar),
        metrics_(metrics),
        caches_(client != nullptr ? std::make_unique<kube::SharedCaches>(*client, clock, &metrics) : nullptr),
        objects_(client != nullptr ? kube::NewCachedReader(*caches_) : nullptr),
        scrape_pool_("scrape", kScrapeThreads),
        data_pool_("data", kDataThreads),
        scaler_pool_("scaler", kScalerThreads),
        scrape_scheduler_(clock, scrape_pool_),
        data_scheduler_(clock, data_pool_),
        scaler_scheduler_(clock, scaler_pool_),
        board_(metrics_),
        config_ok_(metrics.GetGauge("prometheus_config_last_reload_successful",
                                    "Whether the last configuration reload attempt was successful.")),
        config_time_(metrics.GetGauge("prometheus_config_last_reload_success_timestamp_seconds",
                                      "Timestamp of the last successful configuration reload.")) {}

  ~Impl() { Stop(); }

  base::Status Start() {
    base::Status started = StartAll();
    if (!started.ok()) Stop();
    return started;
  }

  void Stop();
  base::Status Reload();
  void ReloadIfChanged();
  std::vector<std::string> ConfigProblems() const;
  std::string ShownConfig() const;
  Leadership leadership() const;

  const scaler::StatusBoard& board() const { return board_; }
  uint16_t web_port() const { return web_ != nullptr ? web_->port() : 0; }
  uint16_t api_port() const { return api_service_ != nullptr ? api_service_->port() : 0; }

 private:
  base::Status StartAll();
  base::Status StartData();
  void StartAlerting();
  base::Status StartSelfMetrics();
  base::Status StartMonitoringObjects();
  base::Status StartAdapter();
  base::Status StartLeading();
  void FollowObjects();
  LeaderContext DutiesContext();
  base::Status BeLeader();
  void EndLeading();
  base::Status Ready() const;
  base::Status StartWeb();
  base::Status ReadScrapeConfig(scrape::Config* config);
  base::Status LoadScrapeConfig(scrape::Config* config);
  base::Status LoadAdapterConfig();
  base::Status ReadAdapterConfig();
  base::Status LoadReceivers() REQUIRES_LOCK(reload_mu_);
  base::Status ReadReceivers() REQUIRES_LOCK(reload_mu_);
  base::Status ApplyScrapeConfig(scrape::Config config) REQUIRES_LOCK(reload_mu_);
  apiservice::Providers Providers();
  void MakeScaledObjectMetrics();
  base::Status ApplyRules() REQUIRES_LOCK(reload_mu_);
  base::Status ApplyJobs() REQUIRES_LOCK(reload_mu_);
  base::Status Note(const std::string& part, base::Status status);
  void NoteReload(bool successful);
  void ShowConfig();
  tsdb::Labels ExternalLabels() const;
  web::RuntimeStatus Runtime() const;
  void Maintain();
  void NoteLowestTime();
  kube::Client& WritingClient() { return guarded_ != nullptr ? *guarded_ : *client_; }
  std::map<std::string, std::string> FileContents() REQUIRES_LOCK(reload_mu_);
  void RememberFiles(const std::map<std::string, std::string>& before) REQUIRES_LOCK(reload_mu_);

  const ControlPlaneOptions options_;
  kube::Client* const client_;  // nullptr: there is no cluster.
  base::Clock& clock_;
  base::Clock& calendar_;

  base::MetricRegistry& metrics_;
  const std::unique_ptr<kube::SharedCaches> caches_;   // With a client.
  const std::unique_ptr<kube::ObjectReader> objects_;  // With a client.
  base::ThreadPool scrape_pool_;
  base::ThreadPool data_pool_;
  base::ThreadPool scaler_pool_;
  base::Scheduler scrape_scheduler_;
  base::Scheduler data_scheduler_;
  base::Scheduler scaler_scheduler_;
  scaler::StatusBoard board_;
  scaler::SignalValues signal_values_;
  base::Gauge& config_ok_;
  base::Gauge& config_time_;

  // In the order in which Start() makes them.
  std::unique_ptr<tsdb::Db> db_;
  std::unique_ptr<remote::Manager> remote_;
  std::unique_ptr<remote::Fanout> readable_;  // The store, and the servers of remote_read.
  std::unique_ptr<promql::QueryEngine> engine_;
  std::unique_ptr<promql::QueryEngine> remote_engine_;  // Of the metrics APIs, if they have another.
  std::unique_ptr<web::WebServer> web_;
  std::unique_ptr<scrape::Manager> scrape_;
  std::unique_ptr<scrape::OperatorSource> monitoring_;
  std::unique_ptr<Alerting> alerting_;
  std::unique_ptr<SelfMetrics> self_metrics_;  // With alerts about scaling.
  std::unique_ptr<rules::Manager> rules_;
  std::unique_ptr<adapter::Adapter> adapter_;
  std::unique_ptr<adapter::MetricRuleSource> metric_rules_;
  std::unique_ptr<apiservice::ExternalDelegates> delegates_;  // With other servers.
  std::unique_ptr<scaler::ScaledObjectMetrics> scaled_object_metrics_;
  std::unique_ptr<apiservice::DelegatedAuthenticator> authenticator_;
  std::unique_ptr<apiservice::DelegatedAuthorizer> authorizer_;
  std::unique_ptr<apiservice::ApiService> api_service_;
  std::unique_ptr<kube::LeaderElector> elector_;
  std::atomic<const kube::LeaderElector*> election_{nullptr};  // The same, for the web port, which opens earlier.
  std::atomic<bool> started_{false};
  std::unique_ptr<kube::Client> guarded_;  // Writes only while the elector's lease lasts.
  std::unique_ptr<Registrar> registrar_;

  base::Mutex duties_mu_;
  std::unique_ptr<LeaderDuties> duties_ GUARDED_BY(duties_mu_);  // While this process leads.
  std::unique_ptr<ShardDuties> shards_;                          // With several shards.

  mutable base::Mutex problems_mu_;
  std::map<std::string, std::string> problems_ GUARDED_BY(problems_mu_);  // By part: scrape, rules, adapter.
  std::string shown_config_ GUARDED_BY(problems_mu_);                     // What is in force of prometheus.yml.
  tsdb::Labels external_labels_ GUARDED_BY(problems_mu_);                 // Likewise.
  tsdb::DbOptions store_options_ GUARDED_BY(problems_mu_);                // That the store was opened with.
  const int64_t started_ms_ = clock_.NowMs();

  base::Mutex reload_mu_;                                                   // One Reload() at a time.
  std::map<std::string, std::string> loaded_files_ GUARDED_BY(reload_mu_);  // Content by path, at the last load.
  std::vector<std::shared_ptr<const base::Json>> rule_objects_ GUARDED_BY(reload_mu_);  // PrometheusRules in force.
  scrape::Config config_ GUARDED_BY(reload_mu_);                                        // The last good prometheus.yml.
  std::shared_ptr<const notify::Config> receivers_ GUARDED_BY(reload_mu_);  // The last good file of receivers.
};

base::Status ControlPlane::Impl::StartAll() {
  std::map<std::string, std::string> files;
  {
    base::MutexLock lock(reload_mu_);
    files = FileContents();
  }
  TW_RETURN_IF_ERROR(StartData());
  if (client_ != nullptr) TW_RETURN_IF_ERROR(StartAdapter());
  {
    base::MutexLock lock(reload_mu_);
    RememberFiles(files);
  }
  if (client_ != nullptr) TW_RETURN_IF_ERROR(StartLeading());
  started_ = true;
  data_scheduler_.At(clock_.NowMs() + kMaintenanceMs, [this] { Maintain(); });
  return base::Status::Ok();
}

base::Status ControlPlane::Impl::StartData() {
  scrape::Config config;
  bool readable = LoadScrapeConfig(&config).ok();
  const tsdb::DbOptions store = StoreOptions(options_, config);
  {
    base::MutexLock lock(problems_mu_);
    store_options_ = store;
  }
  TW_ASSIGN_OR_RETURN(db_, tsdb::Db::Open(options_.data_dir, store, clock_, &metrics_));
  NoteLowestTime();
  remote::ManagerOptions sending;
  sending.data_directory = options_.data_dir;
  sending.metadata = [this] { return db_->AllMetadata(); };
  sending.newest_ms = [this] { return db_->Stats().max_time; };
  remote_ = std::make_unique<remote::Manager>(std::move(sending), clock_, metrics_);
  promql::EngineOptions query = options_.query;
  query.clock = &calendar_;
  auto local_start = [this] {
    const tsdb::DbStats stats = db_->Stats();
    return stats.min_time == 0 && stats.max_time == 0 ? INT64_MAX : stats.min_time;
  };
  readable_ = std::make_unique<remote::Fanout>(*db_, local_start, clock_, metrics_);
  engine_ = promql::NewEmbeddedEngine(*readable_, query, &metrics_);
  scrape_ = std::make_unique<scrape::Manager>(*db_, clock_, scrape_scheduler_, &metrics_, caches_.get());
  StartAlerting();
  if (client_ != nullptr) {
    adapter::AdapterOptions adapter_options;
    adapter_options.registry.relist_interval_ms = options_.relist_interval_ms;
    bool remote = !options_.query_servers.urls.empty();
    if (remote) {
      TW_ASSIGN_OR_RETURN(remote_engine_, adapter::NewRemoteEngine(options_.query_servers, clock_, metrics_));
    } else {
      adapter_options.registry.series_epoch = [this] { return db_->SeriesEpoch(); };
    }
    adapter_options.lookback_ms = options_.query.lookback_ms;
    adapter_options.last_value_ms = options_.last_value_ms;
    adapter_ = std::make_unique<adapter::Adapter>(remote ? *remote_engine_ : *engine_, *client_, *objects_, clock_,
                                                  data_scheduler_, metrics_, adapter_options);
  }
  // The web port opens first, because the scrape configuration may name it.
  TW_RETURN_IF_ERROR(StartWeb());
  if (readable) {
    base::MutexLock lock(reload_mu_);
    readable = ApplyScrapeConfig(std::move(config)).ok();  // Noted.
  }
  {
    base::MutexLock lock(reload_mu_);
    (void)LoadReceivers();  // Noted.
  }
  NoteReload(readable);
  scrape_->Start();
  if (options_.scaling_alerts) TW_RETURN_IF_ERROR(StartSelfMetrics());
  rules_->Start();
  return StartMonitoringObjects();
}

// The rules and what sends their alerts; nothing is evaluated before there is a configuration.
void ControlPlane::Impl::StartAlerting() {
  rules::NotifierOptions sending;
  sending.queue_capacity = options_.notification_queue_capacity;
  notify::ReceiversOptions receivers;
  receivers.external_url = ExternalUrl(options_);
  if (!options_.data_dir.empty()) receivers.state_file = options_.data_dir + "/" + kReceiversState;
  // A pending alert may take the grace period until it fires again.
  receivers.leads = [this] { return leadership().leads; };
  receivers.hold_restored_ms = options_.for_grace_period_ms + 4 * options_.resend_delay_ms;
  alerting_ = std::make_unique<Alerting>(clock_, data_scheduler_, caches_.get(), &metrics_, sending, receivers);
  rules::ManagerOptions evaluation;
  evaluation.outage_tolerance_ms = options_.for_outage_tolerance_ms;
  evaluation.for_grace_period_ms = options_.for_grace_period_ms;
  evaluation.resend_delay_ms = options_.resend_delay_ms;
  evaluation.max_concurrent_evaluations = options_.max_concurrent_rule_evals;
  evaluation.external_url = ExternalUrl(options_);
  evaluation.notify = [this](const std::vector<rules::AlertNotice>& alerts) { alerting_->notifier().Send(alerts); };
  rules_ = std::make_unique<rules::Manager>(*engine_, *db_, clock_, data_scheduler_, &metrics_, evaluation);
}

base::Status ControlPlane::Impl::StartSelfMetrics() {
  auto& leader_known = metrics_.GetGauge("tidewright_leader_known", "Whether it is known who scales.");
  self_metrics_ = std::make_unique<SelfMetrics>(metrics_, *db_, clock_, data_scheduler_,
                                                HostName() + ":" + std::to_string(web_->port()), [this, &leader_known] {
                                                  const Leadership now = leadership();
                                                  leader_known.Set(now.leads || !now.leader.empty() ? 1 : 0);
                                                });
  return self_metrics_->Start();
}

base::Status ControlPlane::Impl::StartMonitoringObjects() {
  if (client_ == nullptr || !options_.monitoring_objects) return base::Status::Ok();
  scrape::OperatorSourceOptions options;
  options.allow_files = options_.monitoring_allow_files;
  auto objects = kube::LabelSelector::Parse(options_.monitoring_selector);
  if (!objects.ok()) return objects.status().Annotate("--monitoring-objects-selector");
  options.objects = *std::move(objects);
  auto namespaces = kube::LabelSelector::Parse(options_.monitoring_namespace_selector);
  if (!namespaces.ok()) return namespaces.status().Annotate("--monitoring-objects-namespace-selector");
  options.namespaces = *std::move(namespaces);
  options.check_rule = [](const base::Json& object) { return rules::ReadRuleObject(object).status(); };
  base::MutexLock lock(reload_mu_);
  monitoring_ = std::make_unique<scrape::OperatorSource>(std::move(options), *client_, *caches_, data_scheduler_);
  monitoring_->SetDefaults(config_.global);
  monitoring_->Start([this] {
    base::MutexLock changed(reload_mu_);
    if (monitoring_->RuleObjects() != rule_objects_) (void)ApplyRules();  // What is wrong is noted.
    (void)ApplyJobs();  // It fails only once the scraper has been stopped.
  });
  return base::Status::Ok();
}

base::Status ControlPlane::Impl::StartWeb() {
  web::WebSources sources;
  sources.engine = engine_.get();
  sources.store = db_.get();
  if (options_.remote_write_receiver) sources.remote_write = db_.get();
  if (options_.web_admin_api) sources.admin_db = db_.get();
  sources.data_directory = options_.data_dir;
  sources.board = &board_;
  sources.metrics = &metrics_;
  sources.clock = &clock_;
  sources.calendar = &calendar_;
  sources.scrape = scrape_.get();
  sources.rules = rules_.get();
  sources.alertmanagers = [this] { return alerting_->notifier().alertmanagers(); };
  sources.adapter = adapter_.get();
  sources.reload = [this] { return Reload(); };
  sources.config = [this] { return ShownConfig(); };
  sources.problems = [this] { return ConfigProblems(); };
  sources.ready = [this] { return Ready(); };
  sources.quit = options_.quit;
  sources.external_labels = [this] { return ExternalLabels(); };
  sources.runtime = [this] { return Runtime(); };
  sources.flags = options_.flags;
  sources.cors_origin = options_.web_cors_origin;
  sources.config_file = options_.web_config_file;
  sources.leader = [this] {
    Leadership now = leadership();
    return web::LeaderStatus{now.elected, now.leads, now.leader, options_.leader_election.identity};
  };
  web_ = std::make_unique<web::WebServer>(std::move(sources));
  return web_->Start(options_.web_address, options_.web_port);
}

base::Status ControlPlane::Impl::StartAdapter() {
  (void)LoadAdapterConfig();  // Noted.
  metric_rules_ = std::make_unique<adapter::MetricRuleSource>(*caches_);
  metric_rules_->Start([this](auto rules) { adapter_->SetObjectRules(std::move(rules)); });
  adapter_->Start();
  authenticator_ = std::make_unique<apiservice::DelegatedAuthenticator>(*client_, clock_);
  authorizer_ = std::make_unique<apiservice::DelegatedAuthorizer>(*client_, clock_);
  authenticator_->Start();
  base::Status configured = authenticator_->WaitForConfig(kAuthenticationWaitMs);
  if (!configured.ok()) {
    base::LogWarn("cmd", "requests of the front proxy are refused until its CA is known",
                  {{"error", configured.ToString()}});
  }
  apiservice::ApiServiceOptions api;
  api.address = options_.api_address;
  api.port = options_.api_port;
  api.certificate.certificate_file = options_.tls_certificate_file;
  api.certificate.private_key_file = options_.tls_private_key_file;
  api.certificate.ca_file = options_.tls_ca_file;
  api.certificate.wait_for_publication = options_.register_api_services;
  api.certificate.service = options_.service;
  api.certificate.ns = options_.service_ns;
  if (!options_.ca_secret.empty() && options_.tls_certificate_file.empty()) {
    TW_ASSIGN_OR_RETURN(api.certificate.ca,
                        apiservice::LoadOrCreateCa(*client_, options_.service_ns, options_.ca_secret, clock_.NowMs()));
  }
  if (!options_.delegates.delegates.empty()) {
    TW_ASSIGN_OR_RETURN(delegates_,
                        apiservice::ExternalDelegates::Create(
                            options_.delegates, [this] { return adapter_->providers().external; }, clock_, metrics_));
  }
  MakeScaledObjectMetrics();
  api.ready = {{"started", [this] { return Ready(); }}};
  api_service_ = std::make_unique<apiservice::ApiService>(
      api, [this] { return Providers(); }, *authenticator_, *authorizer_, clock_, metrics_);
  return api_service_->Start();
}

// What the rules call for, with other servers behind it.
apiservice::Providers ControlPlane::Impl::Providers() {
  apiservice::Providers providers = adapter_->providers();
  if (delegates_ != nullptr) providers.external = delegates_.get();
  if (scaled_object_metrics_->InUse()) providers.external = scaled_object_metrics_.get();
  return providers;
}

// What ScaledObjects that keep HPAs serve, before everybody else.
void ControlPlane::Impl::MakeScaledObjectMetrics() {
  scaler::ScaledObjectMetricsContext context;
  context.cluster.client = client_;
  context.cluster.caches = caches_.get();
  context.cluster.objects = objects_.get();
  context.cluster.own_namespace = options_.service_ns;
  context.triggers.control = &clock_;
  context.triggers.calendar = &calendar_;
  context.triggers.engine = engine_.get();
  context.triggers.objects = objects_.get();
  context.triggers.client = client_;
  context.triggers.resolve_host = options_.resolve_host;
  context.board = &board_;
  context.values = &signal_values_;
  context.watch_keda = options_.watch_keda;
  context.next = [this]() -> apiservice::ExternalMetricsProvider* {
    if (delegates_ != nullptr) return delegates_.get();
    return adapter_->providers().external;
  };
  scaled_object_metrics_ = std::make_unique<scaler::ScaledObjectMetrics>(std::move(context));
}

base::Status ControlPlane::Impl::StartLeading() {
  FollowObjects();
  if (options_.leader_elect) {
    kube::LeaderCallbacks callbacks;
    callbacks.on_started_leading = [this] {
      base::Status led = BeLeader();
      if (!led.ok()) base::LogError("cmd", "leading, but nothing is scaled", {{"error", led.ToString()}});
    };
    callbacks.on_stopped_leading = [this] { EndLeading(); };
    callbacks.on_new_leader = [](const std::string& identity) {
      base::LogInfo("cmd", "new leader", {{"identity", identity}});
    };
    TW_ASSIGN_OR_RETURN(elector_, kube::LeaderElector::Create(*client_, base::BootClock::Get(), clock_,
                                                              options_.leader_election, callbacks, &metrics_));
    guarded_ = client_->Guarded(elector_->fence());
    election_ = elector_.get();
  }
  Registrar::Options registration;
  registration.enabled = options_.register_api_services;
  registration.registration.service = options_.service;
  registration.registration.ns = options_.service_ns;
  registration.registration.port = options_.service_port;
  registration.registration.take_over = options_.take_over_api_services;
  registrar_ = std::make_unique<Registrar>(
      registration, WritingClient(), *api_service_, [this] { return apiservice::ServedGroups(Providers()); }, clock_,
      data_scheduler_);
  registrar_->Start();
  if (elector_ == nullptr) return BeLeader();
  elector_->Start();
  if (options_.scaler_shards == 1) return base::Status::Ok();
  shards_ = std::make_unique<ShardDuties>(ShardOptions{options_.scaler_shards, options_.leader_election},
                                          DutiesContext(), base::BootClock::Get(), clock_);
  shards_->Start();
  return base::Status::Ok();
}

// What a leader needs to know at once, so that a standby knows it beforehand.
void ControlPlane::Impl::FollowObjects() {
  objects_->Follow(kube::resources::kScaledObjects);
  objects_->Follow(scaler::kScaledJobs);
  objects_->Follow(kube::resources::kTriggerAuthentications);
  objects_->Follow(kube::resources::kHorizontalPodAutoscalers);
  objects_->Follow(kube::resources::kDeployments);
  objects_->Follow(kube::resources::kStatefulSets);
  if (options_.hpa_controller) objects_->Follow(kube::resources::kPods);
  if (!options_.watch_keda) return;
  for (kube::Resource keda :
       {kube::resources::kScaledObjects, scaler::kScaledJobs, kube::resources::kTriggerAuthentications}) {
    keda.group = "keda.sh";
    objects_->Follow(keda);
  }
}

// What any controller needs, with the client that nothing guards.
LeaderContext ControlPlane::Impl::DutiesContext() {
  LeaderContext context;
  context.client = client_;
  context.caches = caches_.get();
  context.objects = objects_.get();
  context.engine = engine_.get();
  context.arrivals = &db_->arrivals();
  context.clock = &clock_;
  context.calendar = &calendar_;
  context.scheduler = &scaler_scheduler_;
  context.metrics = &metrics_;
  context.board = &board_;
  context.values = &signal_values_;
  context.instance = options_.leader_election.identity;
  context.own_namespace = options_.service_ns;
  context.watch_keda = options_.watch_keda;
  context.resource_metrics = [this] { return adapter_->providers().resource; };
  context.resolve_host = options_.resolve_host;
  return context;
}

base::Status ControlPlane::Impl::BeLeader() {
  LeaderContext context = DutiesContext();
  context.client = &WritingClient();
  context.scale_objects = options_.scaler_shards == 1;
  context.monitoring = monitoring_.get();
  context.metric_rules = metric_rules_.get();
  context.rule_status = [this] { return adapter_->Rules(); };
  context.hpa_controller = options_.hpa_controller;
  context.hpa_sync_period_ms = options_.hpa_sync_period_ms;
  base::MutexLock lock(duties_mu_);
  duties_ = std::make_unique<LeaderDuties>(std::move(context));
  registrar_->Lead(true);
  return duties_->Start();
}

void ControlPlane::Impl::EndLeading() {
  if (registrar_ != nullptr) registrar_->Lead(false);
  base::MutexLock lock(duties_mu_);
  duties_.reset();
}

Leadership ControlPlane::Impl::leadership() const {
  if (!options_.leader_elect) return {false, true, ""};
  const kube::LeaderElector* election = election_;
  if (election == nullptr) return {true, false, ""};
  return {true, election->IsLeader(), election->Leader()};
}

// Whoever leads: a standby serves the metrics APIs, too.
base::Status ControlPlane::Impl::Ready() const {
  if (!started_) return base::UnavailableError("starting");
  return base::Status::Ok();
}

void ControlPlane::Impl::Stop() {
  if (shards_ != nullptr) shards_->Stop();
  if (elector_ != nullptr) elector_->Stop();
  EndLeading();
  if (registrar_ != nullptr) registrar_->Stop();
  if (web_ != nullptr) web_->Stop();
  if (api_service_ != nullptr) api_service_->Stop();
  if (authenticator_ != nullptr) authenticator_->Stop();
  if (metric_rules_ != nullptr) metric_rules_->Stop();
  if (adapter_ != nullptr) adapter_->Stop();
  if (rules_ != nullptr) rules_->Stop();
  if (self_metrics_ != nullptr) self_metrics_->Stop();
  if (alerting_ != nullptr) alerting_->Stop();
  if (monitoring_ != nullptr) monitoring_->Stop();
  if (scrape_ != nullptr) scrape_->Stop();
  if (remote_ != nullptr) remote_->Stop();
  scaler_scheduler_.Stop();
  scrape_scheduler_.Stop();
  data_scheduler_.Stop();
  scaler_pool_.Stop();
  scrape_pool_.Stop();
  data_pool_.Stop();
  if (caches_ != nullptr) caches_->Stop();
  if (db_ == nullptr) return;
  base::Status closed = db_->Close();
  if (!closed.ok()) base::LogError("cmd", "closing the store", {{"error", closed.ToString()}});
}

// Remembers what is wrong with one part of the configuration, or that nothing is.
base::Status ControlPlane::Impl::Note(const std::string& part, base::Status status) {
  {
    base::MutexLock lock(problems_mu_);
    if (status.ok()) {
      problems_.erase(part);
    } else {
      base::LogError("cmd", "configuration not taken", {{"part", part}, {"error", status.message()}});
      problems_[part] = status.message();
    }
  }
  if (web_ != nullptr) web_->ProblemsChanged();
  return status;
}

void ControlPlane::Impl::ShowConfig() {
  base::Result<std::string> text = std::string(client_ != nullptr ? scrape::DefaultConfigText() : "");
  if (!options_.config_file.empty()) text = base::ReadFile(options_.config_file);
  if (text.ok()) text = scrape::PrintConfig(*text, options_.config_file, options_.scrape_defaults);
  if (!text.ok()) return;  // It has just changed; that is going to be noticed.
  base::MutexLock lock(problems_mu_);
  shown_config_ = *std::move(text);
}

tsdb::Labels ControlPlane::Impl::ExternalLabels() const {
  base::MutexLock lock(problems_mu_);
  return external_labels_;
}

web::RuntimeStatus ControlPlane::Impl::Runtime() const {
  web::RuntimeStatus status;
  status.started_ms = started_ms_;
  status.reload_successful = config_ok_.Value() == 1;
  status.last_config_ms = static_cast<int64_t>(config_time_.Value() * 1000);
  base::MutexLock lock(problems_mu_);
  status.retention = base::FormatDuration({store_options_.retention_ms});
  if (store_options_.retention_bytes > 0)
    status.retention += " or " + std::to_string(store_options_.retention_bytes) + "B";
  return status;
}

std::string ControlPlane::Impl::ShownConfig() const {
  base::MutexLock lock(problems_mu_);
  return shown_config_;
}

// Of prometheus.yml and what it names. The adapter has figures of its own.
void ControlPlane::Impl::NoteReload(bool successful) {
  config_ok_.Set(successful ? 1 : 0);
  if (successful) config_time_.Set(static_cast<double>(clock_.NowMs()) / 1000);
}

std::vector<std::string> ControlPlane::Impl::ConfigProblems() const {
  base::MutexLock lock(problems_mu_);
  std::vector<std::string> problems;
  for (const auto& [part, message] : problems_) problems.push_back(message);
  return problems;
}

base::Status ControlPlane::Impl::LoadScrapeConfig(scrape::Config* config) {
  return Note("scrape", ReadScrapeConfig(config));
}

base::Status ControlPlane::Impl::ReadScrapeConfig(scrape::Config* config) {
  if (options_.config_file.empty()) {
    *config = scrape::Config();
    if (client_ == nullptr) return base::Status::Ok();
    TW_ASSIGN_OR_RETURN(*config, scrape::ParseConfig(scrape::DefaultConfigText(), "the built-in configuration", "",
                                                     options_.scrape_defaults));
    return base::Status::Ok();
  }
  TW_ASSIGN_OR_RETURN(*config, scrape::LoadConfig(options_.config_file, options_.scrape_defaults));
  for (const std::string& warning : config->warnings) {
    base::LogWarn("cmd", warning, {{"file", options_.config_file}});
  }
  return base::Status::Ok();
}

base::Status ControlPlane::Impl::ApplyScrapeConfig(scrape::Config config) {
  if (options_.scrape_self) {
    scrape::TargetGroup self{
        kSelfJob, {}, {tsdb::Labels::Of({{"__address__", "127.0.0.1:" + std::to_string(web_->port())}})}};
    for (scrape::ScrapeConfig& job : config.scrape_configs) {
      if (job.job_name == kSelfJob) job.static_groups = {self};
    }
  }
  ShowConfig();
  db_->SetMaxExemplars(MaxExemplars(config));
  db_->SetOutOfOrderWindow(config.out_of_order_time_window.ms);
  config_ = std::move(config);
  {
    base::MutexLock lock(problems_mu_);
    tsdb::LabelsBuilder labels;
    for (const auto& [name, value] : config_.global.external_labels) labels.Set(name, value);
    external_labels_ = labels.Build();
  }
  readable_->Apply(config_.remote_read, ExternalLabels());
  base::Status sending = Note("remote write", remote_->Apply(config_.remote_write, ExternalLabels()));
  base::Status log = Note("query log", engine_->SetQueryLog(config_.global.query_log_file));
  rules_->SetDefaults(config_.global.evaluation_interval.ms, config_.global.rule_query_offset.ms);
  rules_->SetExternalLabels(config_.global.external_labels);
  alerting_->Apply(config_);
  base::Status rules = ApplyRules();
  if (monitoring_ != nullptr) monitoring_->SetDefaults(config_.global);
  base::Status scrape = ApplyJobs();
  if (!scrape.ok()) return scrape;
  if (!rules.ok()) return rules;
  return log.ok() ? sending : log;
}

// The rules of the files and of the PrometheusRules together.
base::Status ControlPlane::Impl::ApplyRules() {
  std::vector<rules::GroupSpec> groups;
  if (options_.scaling_alerts) {
    TW_ASSIGN_OR_RETURN(groups, rules::ParseRuleFile(embedded::kScalingAlertsYml, kScalingAlerts));
  }
  if (monitoring_ != nullptr) rule_objects_ = monitoring_->RuleObjects();
  for (const auto& object : rule_objects_) {
    auto read = rules::ReadRuleObject(*object);
    if (!read.ok()) continue;  // It has been checked.
    groups.insert(groups.end(), std::make_move_iterator(read->begin()), std::make_move_iterator(read->end()));
  }
  return Note("rules", rules_->Load(config_.rule_files, std::move(groups)));
}

// The jobs of the file and of the monitoring objects together.
base::Status ControlPlane::Impl::ApplyJobs() {
  scrape::Config config = config_;
  if (monitoring_ != nullptr) {
    for (scrape::ScrapeConfig& job : monitoring_->ScrapeConfigs()) config.scrape_configs.push_back(std::move(job));
  }
  return scrape_->ApplyConfig(config);
}

base::Status ControlPlane::Impl::LoadAdapterConfig() { return Note("adapter", ReadAdapterConfig()); }

base::Status ControlPlane::Impl::ReadAdapterConfig() {
  if (options_.adapter_file.empty()) {
    return adapter_->LoadConfig(adapter::DefaultConfigText(), "the built-in adapter rules");
  }
  TW_ASSIGN_OR_RETURN(std::string text, base::ReadFile(options_.adapter_file));
  return adapter_->LoadConfig(text, options_.adapter_file);
}

base::Status ControlPlane::Impl::LoadReceivers() { return Note("receivers", ReadReceivers()); }

base::Status ControlPlane::Impl::ReadReceivers() {
  if (options_.receivers_file.empty()) return base::Status::Ok();
  TW_ASSIGN_OR_RETURN(auto read, notify::LoadConfig(options_.receivers_file));
  if (receivers_ != nullptr && receivers_->source == read->source) return base::Status::Ok();
  receivers_ = std::move(read);
  alerting_->ApplyReceivers(receivers_);
  return base::Status::Ok();
}

base::Status ControlPlane::Impl::Reload() {
  base::MutexLock lock(reload_mu_);
  auto before = FileContents();
  scrape::Config config;
  base::Status scrape = LoadScrapeConfig(&config);
  if (scrape.ok()) scrape = ApplyScrapeConfig(std::move(config));
  NoteReload(scrape.ok());
  base::Status adapter = adapter_ != nullptr ? LoadAdapterConfig() : base::Status::Ok();
  base::Status receivers = LoadReceivers();
  RememberFiles(before);
  base::LogInfo("cmd", "configuration read again");
  for (const base::Status& status : {scrape, adapter}) TW_RETURN_IF_ERROR(status);
  return receivers;
}

void ControlPlane::Impl::ReloadIfChanged() {
  {
    base::MutexLock lock(reload_mu_);
    auto contents = FileContents();
    if (contents == loaded_files_) return;
  }
  (void)Reload();  // What is wrong has been noted.
}

// What was there before the load counts as loaded, so that a change during it is noticed; rule files that only the load
// brought up count as they are.
void ControlPlane::Impl::RememberFiles(const std::map<std::string, std::string>& before) {
  loaded_files_ = FileContents();
  for (auto& [path, text] : loaded_files_) {
    auto earlier = before.find(path);
    if (earlier != before.end()) text = earlier->second;
  }
}

std::map<std::string, std::string> ControlPlane::Impl::FileContents() {
  std::map<std::string, std::string> contents;
  std::vector<std::string> paths = {options_.config_file, options_.adapter_file, options_.receivers_file};
  if (receivers_ != nullptr) {
    for (std::string& path : notify::TemplateFiles(*receivers_)) paths.push_back(std::move(path));
  }
  for (const auto* patterns : {&config_.rule_files, &config_.scrape_config_files}) {
    for (std::string& path : scrape::MatchFiles(*patterns)) paths.push_back(std::move(path));
  }
  for (const std::string& path : paths) {
    if (path.empty()) continue;
    auto text = base::ReadFile(path);
    contents[path] = text.ok() ? *text : "";
  }
  return contents;
}

// What a Thanos sidecar reads from /metrics, to be asked for no earlier times.
void ControlPlane::Impl::NoteLowestTime() {
  metrics_.GetGauge("prometheus_tsdb_lowest_timestamp_seconds", "Time of the oldest sample of the store.")
      .Set(static_cast<double>(db_->Stats().min_time) / 1000);
}

void ControlPlane::Impl::Maintain() {
  base::Status maintained = db_->Maintain();
  if (!maintained.ok()) base::LogError("cmd", "store maintenance", {{"error", maintained.ToString()}});
  remote_->Maintain();
  NoteLowestTime();
  data_scheduler_.At(clock_.NowMs() + kMaintenanceMs, [this] { Maintain(); });
}

ControlPlane::ControlPlane(const ControlPlaneOptions& options, kube::Client* client, base::Clock& clock,
                           base::Clock& calendar, base::MetricRegistry& metrics)
    : impl_(std::make_unique<Impl>(options, client, clock, calendar, metrics)) {}

ControlPlane::~ControlPlane() = default;

base::Status ControlPlane::Start() { return impl_->Start(); }
void ControlPlane::Stop() { impl_->Stop(); }
base::Status ControlPlane::Reload() { return impl_->Reload(); }
void ControlPlane::ReloadIfChanged() { impl_->ReloadIfChanged(); }
std::vector<std::string> ControlPlane::ConfigProblems() const { return impl_->ConfigProblems(); }
Leadership ControlPlane::leadership() const { return impl_->leadership(); }
const scaler::StatusBoard& ControlPlane::board() const { return impl_->board(); }
uint16_t ControlPlane::web_port() const { return impl_->web_port(); }
uint16_t ControlPlane::api_port() const { return impl_->api_port(); }

}  // namespace tidewright::cmd
