#include "cmd/control_plane.h"

#include <map>
#include <utility>

#include "adapter/adapter.h"
#include "apiservice/discovery.h"
#include "apiservice/registration.h"
#include "apiservice/server.h"
#include "base/file.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/mutex.h"
#include "base/thread_pool.h"
#include "promql/engine.h"
#include "rules/manager.h"
#include "scaler/hpa_controller.h"
#include "scaler/scaled_object_controller.h"
#include "scrape/config.h"
#include "scrape/manager.h"
#include "tsdb/db.h"
#include "web/server.h"

namespace tidewright::cmd {

namespace {

// Blocking work of the two halves never waits for each other: a slow redis must not delay a scrape.
constexpr int kDataThreads = 4;
constexpr int kScalerThreads = 8;
constexpr int64_t kMaintenanceMs = 60'000;
constexpr int64_t kRegistrationRetryMs = 5'000;
constexpr int64_t kAuthenticationWaitMs = 10'000;
constexpr const char* kSelfJob = "tidewright";

constexpr const char* kDefaultConfig =
    "global: {scrape_interval: 15s, evaluation_interval: 15s}\n"
    "scrape_configs:\n"
    "- job_name: kubernetes-nodes\n"
    "  scheme: https\n"
    "  metrics_path: /metrics/resource\n"
    "  authorization: {credentials_file: /var/run/secrets/kubernetes.io/serviceaccount/token}\n"
    "  tls_config: {ca_file: /var/run/secrets/kubernetes.io/serviceaccount/ca.crt}\n"
    "  kubernetes_sd_configs: [{role: node}]\n"
    "  relabel_configs: [{source_labels: [__meta_kubernetes_node_name], target_label: node}]\n";

}  // namespace

class ControlPlane::Impl {
 public:
  Impl(const ControlPlaneOptions& options, kube::Client& client, base::Clock& clock, base::Clock& calendar)
      : options_(options),
        client_(client),
        clock_(clock),
        calendar_(calendar),
        data_pool_("data", kDataThreads),
        scaler_pool_("scaler", kScalerThreads),
        data_scheduler_(clock, data_pool_),
        scaler_scheduler_(clock, scaler_pool_),
        board_(metrics_) {}

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

  const scaler::StatusBoard& board() const { return board_; }
  uint16_t web_port() const { return web_ != nullptr ? web_->port() : 0; }
  uint16_t api_port() const { return api_service_ != nullptr ? api_service_->port() : 0; }

 private:
  base::Status StartAll();
  base::Status StartData();
  base::Status StartAdapter();
  base::Status StartScaler();
  base::Status StartWeb();
  base::Status ReadScrapeConfig(scrape::Config* config);
  base::Status LoadScrapeConfig(scrape::Config* config);
  base::Status LoadAdapterConfig();
  base::Status ReadAdapterConfig();
  base::Status ApplyScrapeConfig(scrape::Config config);
  base::Status Note(const std::string& part, base::Status status);
  void Maintain();
  void Register();
  std::map<std::string, std::string> FileContents();

  const ControlPlaneOptions options_;
  kube::Client& client_;
  base::Clock& clock_;
  base::Clock& calendar_;

  base::MetricRegistry metrics_;
  base::ThreadPool data_pool_;
  base::ThreadPool scaler_pool_;
  base::Scheduler data_scheduler_;
  base::Scheduler scaler_scheduler_;
  scaler::StatusBoard board_;
  scaler::TargetRegistry targets_;

  // In the order in which Start() makes them.
  std::unique_ptr<tsdb::Db> db_;
  std::unique_ptr<promql::QueryEngine> engine_;
  std::unique_ptr<web::WebServer> web_;
  std::unique_ptr<scrape::Manager> scrape_;
  std::unique_ptr<rules::Manager> rules_;
  std::unique_ptr<adapter::Adapter> adapter_;
  std::unique_ptr<apiservice::DelegatedAuthenticator> authenticator_;
  std::unique_ptr<apiservice::DelegatedAuthorizer> authorizer_;
  std::unique_ptr<apiservice::ApiService> api_service_;
  std::unique_ptr<scaler::ScaledObjectController> scaled_objects_;
  std::unique_ptr<scaler::HpaController> hpas_;

  mutable base::Mutex problems_mu_;
  std::map<std::string, std::string> problems_ GUARDED_BY(problems_mu_);  // By part: scrape, rules, adapter.

  base::Mutex reload_mu_;                                                   // One Reload() at a time.
  std::map<std::string, std::string> loaded_files_ GUARDED_BY(reload_mu_);  // Content by path, at the last load.
};

base::Status ControlPlane::Impl::StartAll() {
  TW_RETURN_IF_ERROR(StartData());
  TW_RETURN_IF_ERROR(StartAdapter());
  TW_RETURN_IF_ERROR(StartScaler());
  data_scheduler_.At(clock_.NowMs() + kMaintenanceMs, [this] { Maintain(); });
  return base::Status::Ok();
}

base::Status ControlPlane::Impl::StartData() {
  tsdb::DbOptions db_options;
  db_options.retention_ms = options_.retention_ms;
  TW_ASSIGN_OR_RETURN(db_, tsdb::Db::Open(options_.data_dir, db_options, clock_, &metrics_));
  engine_ = promql::NewEmbeddedEngine(*db_, {}, &metrics_);
  scrape_ = std::make_unique<scrape::Manager>(*db_, clock_, data_scheduler_, &metrics_, &client_);
  scrape::Config config;
  bool readable = LoadScrapeConfig(&config).ok();
  rules::ManagerOptions rule_options;
  rule_options.default_interval_ms = config.global.evaluation_interval.ms;
  rule_options.default_query_offset_ms = config.global.rule_query_offset.ms;
  rules_ = std::make_unique<rules::Manager>(*engine_, *db_, clock_, data_scheduler_, &metrics_, rule_options);
  adapter::AdapterOptions adapter_options;
  adapter_options.registry.relist_interval_ms = options_.relist_interval_ms;
  adapter_ = std::make_unique<adapter::Adapter>(*engine_, client_, clock_, data_scheduler_, metrics_, adapter_options);
  // The web port opens first, because the scrape configuration may name it.
  TW_RETURN_IF_ERROR(StartWeb());
  if (readable) (void)ApplyScrapeConfig(std::move(config));  // Noted.
  scrape_->Start();
  rules_->Start();
  return base::Status::Ok();
}

base::Status ControlPlane::Impl::StartWeb() {
  web::WebSources sources;
  sources.engine = engine_.get();
  sources.store = db_.get();
  sources.board = &board_;
  sources.metrics = &metrics_;
  sources.clock = &clock_;
  sources.calendar = &calendar_;
  sources.scrape = scrape_.get();
  sources.rules = rules_.get();
  sources.adapter = adapter_.get();
  sources.reload = [this] { return Reload(); };
  sources.problems = [this] { return ConfigProblems(); };
  web_ = std::make_unique<web::WebServer>(std::move(sources));
  return web_->Start(options_.web_address, options_.web_port);
}

base::Status ControlPlane::Impl::StartAdapter() {
  (void)LoadAdapterConfig();  // Noted.
  adapter_->Start();
  authenticator_ = std::make_unique<apiservice::DelegatedAuthenticator>(client_, clock_);
  authorizer_ = std::make_unique<apiservice::DelegatedAuthorizer>(client_, clock_);
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
  api.certificate.service = options_.service;
  api.certificate.ns = options_.service_ns;
  if (!options_.ca_secret.empty() && options_.tls_certificate_file.empty()) {
    TW_ASSIGN_OR_RETURN(api.certificate.ca,
                        apiservice::LoadOrCreateCa(client_, options_.service_ns, options_.ca_secret, clock_.NowMs()));
  }
  api_service_ = std::make_unique<apiservice::ApiService>(
      api, [this] { return adapter_->providers(); }, *authenticator_, *authorizer_, clock_, metrics_);
  TW_RETURN_IF_ERROR(api_service_->Start());
  if (options_.register_api_services) Register();
  return base::Status::Ok();
}

base::Status ControlPlane::Impl::StartScaler() {
  scaler::ScaledObjectControllerOptions objects;
  objects.watch_keda = options_.watch_keda;
  objects.resolve_host = options_.resolve_host;
  objects.board = &board_;
  objects.targets = &targets_;
  scaled_objects_ = std::make_unique<scaler::ScaledObjectController>(client_, *engine_, clock_, calendar_,
                                                                     scaler_scheduler_, metrics_, objects);
  TW_RETURN_IF_ERROR(scaled_objects_->Start());
  if (!options_.hpa_controller) return base::Status::Ok();
  scaler::HpaControllerOptions hpas;
  hpas.sync_period_ms = options_.hpa_sync_period_ms;
  hpas.board = &board_;
  hpas.targets = &targets_;
  hpas_ = std::make_unique<scaler::HpaController>(client_, clock_, scaler_scheduler_, metrics_, hpas);
  hpas_->Start();
  return base::Status::Ok();
}

void ControlPlane::Impl::Stop() {
  if (hpas_ != nullptr) hpas_->Stop();
  if (scaled_objects_ != nullptr) scaled_objects_->Stop();
  if (web_ != nullptr) web_->Stop();
  if (api_service_ != nullptr) api_service_->Stop();
  if (authenticator_ != nullptr) authenticator_->Stop();
  if (adapter_ != nullptr) adapter_->Stop();
  if (rules_ != nullptr) rules_->Stop();
  if (scrape_ != nullptr) scrape_->Stop();
  scaler_scheduler_.Stop();
  data_scheduler_.Stop();
  scaler_pool_.Stop();
  data_pool_.Stop();
  if (db_ == nullptr) return;
  base::Status closed = db_->Close();
  if (!closed.ok()) base::LogError("cmd", "closing the store", {{"error", closed.ToString()}});
}

// Remembers what is wrong with one part of the configuration, or that nothing is.
base::Status ControlPlane::Impl::Note(const std::string& part, base::Status status) {
  base::MutexLock lock(problems_mu_);
  if (status.ok()) {
    problems_.erase(part);
  } else {
    base::LogError("cmd", "configuration not taken", {{"part", part}, {"error", status.message()}});
    problems_[part] = status.message();
  }
  return status;
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
    TW_ASSIGN_OR_RETURN(*config, scrape::ParseConfig(kDefaultConfig, "the built-in configuration"));
    config->scrape_configs.push_back(scrape::DefaultKubernetesPodsJob(config->global.scrape_interval));
    return base::Status::Ok();
  }
  TW_ASSIGN_OR_RETURN(*config, scrape::LoadConfig(options_.config_file));
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
  base::Status rules = Note("rules", rules_->Load(config.rule_files));
  base::Status scrape = scrape_->ApplyConfig(config);
  return scrape.ok() ? rules : scrape;
}

base::Status ControlPlane::Impl::LoadAdapterConfig() { return Note("adapter", ReadAdapterConfig()); }

base::Status ControlPlane::Impl::ReadAdapterConfig() {
  if (options_.adapter_file.empty()) {
    return adapter_->LoadConfig(adapter::DefaultConfigText(), "the built-in adapter rules");
  }
  TW_ASSIGN_OR_RETURN(std::string text, base::ReadFile(options_.adapter_file));
  return adapter_->LoadConfig(text, options_.adapter_file);
}

base::Status ControlPlane::Impl::Reload() {
  base::MutexLock lock(reload_mu_);
  loaded_files_ = FileContents();
  scrape::Config config;
  base::Status scrape = LoadScrapeConfig(&config);
  if (scrape.ok()) scrape = ApplyScrapeConfig(std::move(config));
  base::Status adapter = LoadAdapterConfig();
  base::LogInfo("cmd", "configuration read again");
  return scrape.ok() ? adapter : scrape;
}

void ControlPlane::Impl::ReloadIfChanged() {
  {
    base::MutexLock lock(reload_mu_);
    auto contents = FileContents();
    if (loaded_files_.empty()) loaded_files_ = contents;  // The first look: Start() has just read them.
    if (contents == loaded_files_) return;
  }
  (void)Reload();  // What is wrong has been noted.
}

std::map<std::string, std::string> ControlPlane::Impl::FileContents() {
  std::map<std::string, std::string> contents;
  std::vector<std::string> paths = {options_.config_file, options_.adapter_file};
  if (!options_.config_file.empty()) {
    auto config = scrape::LoadConfig(options_.config_file);
    if (config.ok()) {
      for (std::string& path : scrape::MatchFiles(config->rule_files)) paths.push_back(std::move(path));
    }
  }
  for (const std::string& path : paths) {
    if (path.empty()) continue;
    auto text = base::ReadFile(path);
    contents[path] = text.ok() ? *text : "";
  }
  return contents;
}

void ControlPlane::Impl::Maintain() {
  base::Status maintained = db_->Maintain();
  if (!maintained.ok()) base::LogError("cmd", "store maintenance", {{"error", maintained.ToString()}});
  maintained = api_service_->Maintain();
  if (!maintained.ok()) base::LogError("cmd", "certificate renewal", {{"error", maintained.ToString()}});
  data_scheduler_.At(clock_.NowMs() + kMaintenanceMs, [this] { Maintain(); });
}

void ControlPlane::Impl::Register() {
  apiservice::RegistrationOptions registration;
  registration.service = options_.service;
  registration.ns = options_.service_ns;
  registration.port = options_.service_port;
  registration.ca_bundle = api_service_->ca_bundle();
  registration.take_over = options_.take_over_api_services;
  auto groups = apiservice::ServedGroups(adapter_->providers());
  base::Status registered = apiservice::RegisterApiServices(client_, registration, groups);
  if (!registered.ok()) base::LogWarn("cmd", "APIServices not registered", {{"error", registered.ToString()}});
  // Once more now and then: a reload may have added or removed a section, and somebody may have deleted the objects.
  int64_t wait = registered.ok() ? kMaintenanceMs : kRegistrationRetryMs;
  data_scheduler_.At(clock_.NowMs() + wait, [this] { Register(); });
}

ControlPlane::ControlPlane(const ControlPlaneOptions& options, kube::Client& client, base::Clock& clock,
                           base::Clock& calendar)
    : impl_(std::make_unique<Impl>(options, client, clock, calendar)) {}

ControlPlane::~ControlPlane() = default;

base::Status ControlPlane::Start() { return impl_->Start(); }
void ControlPlane::Stop() { impl_->Stop(); }
base::Status ControlPlane::Reload() { return impl_->Reload(); }
void ControlPlane::ReloadIfChanged() { impl_->ReloadIfChanged(); }
std::vector<std::string> ControlPlane::ConfigProblems() const { return impl_->ConfigProblems(); }
const scaler::StatusBoard& ControlPlane::board() const { return impl_->board(); }
uint16_t ControlPlane::web_port() const { return impl_->web_port(); }
uint16_t ControlPlane::api_port() const { return impl_->api_port(); }

}  // namespace tidewright::cmd
