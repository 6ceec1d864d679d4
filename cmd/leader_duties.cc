#include "cmd/leader_duties.h"

#include <utility>

namespace tidewright::cmd {

namespace {

kube::EventRecorderOptions EventsOf(const char* component, const std::string& instance) {
  kube::EventRecorderOptions options;
  options.component = component;
  options.instance = instance;
  return options;
}

}  // namespace

LeaderDuties::LeaderDuties(LeaderContext context)
    : context_(std::move(context)),
      arrivals_(*context_.arrivals),
      scaler_events_(*context_.client, *context_.clock, EventsOf("tidewright-scaler", context_.instance),
                     context_.metrics),
      hpa_events_(*context_.client, *context_.clock, EventsOf("horizontal-pod-autoscaler", context_.instance),
                  context_.metrics),
      scrape_events_(*context_.client, *context_.clock, EventsOf("tidewright-scraper", context_.instance),
                     context_.metrics) {}

LeaderDuties::~LeaderDuties() { Stop(); }

scaler::Cluster LeaderDuties::ClusterFor(kube::EventRecorder& events) {
  scaler::Cluster cluster;
  cluster.client = context_.client;
  cluster.caches = context_.caches;
  cluster.objects = context_.objects;
  cluster.own_namespace = context_.own_namespace;
  cluster.record_event = [&events](const base::Json& object, std::string_view type, std::string_view reason,
                                   std::string_view message) { events.Record(object, type, reason, message); };
  return cluster;
}

base::Status LeaderDuties::Start() {
  if (context_.monitoring != nullptr) {
    scrape_events_.Start();
    context_.monitoring->ReportTo([this](const base::Json& object, std::string_view reason, const std::string& what) {
      scrape_events_.Record(object, "Warning", reason, what);
    });
  }
  if (context_.metric_rules != nullptr) {
    metric_rules_ = std::make_unique<adapter::MetricRuleReporter>(
        *context_.metric_rules, context_.rule_status, *context_.client, *context_.clock, *context_.scheduler);
    metric_rules_->Start();
  }
  if (context_.scale_objects) TW_RETURN_IF_ERROR(FollowObjects());
  if (context_.hpa_controller) FollowAutoscalers();
  return base::Status::Ok();
}

base::Status LeaderDuties::FollowObjects() {
  scaler_events_.Start();
  scaler::ScaledObjectControllerOptions objects;
  objects.follows = context_.follows;
  objects.watch_keda = context_.watch_keda;
  objects.resolve_host = context_.resolve_host;
  objects.resource_metrics = context_.resource_metrics;
  objects.board = context_.board;
  objects.targets = &targets_;
  objects.values = context_.values;
  objects.arrivals = &arrivals_;
  scaled_objects_ = std::make_unique<scaler::ScaledObjectController>(ClusterFor(scaler_events_), *context_.engine,
                                                                     *context_.clock, *context_.calendar,
                                                                     *context_.scheduler, *context_.metrics, objects);
  return scaled_objects_->Start();
}

void LeaderDuties::FollowAutoscalers() {
  hpa_events_.Start();
  scaler::HpaControllerOptions hpas;
  hpas.sync_period_ms = context_.hpa_sync_period_ms;
  hpas.board = context_.board;
  hpas.targets = &targets_;
  hpas_ = std::make_unique<scaler::HpaController>(ClusterFor(hpa_events_), *context_.clock, *context_.scheduler,
                                                  *context_.metrics, hpas);
  hpas_->Start();
}

void LeaderDuties::Stop() {
  if (context_.monitoring != nullptr) context_.monitoring->ReportTo({});
  if (metric_rules_ != nullptr) metric_rules_->Stop();
  if (hpas_ != nullptr) hpas_->Stop();
  if (scaled_objects_ != nullptr) scaled_objects_->Stop();
  scrape_events_.Stop();
  hpa_events_.Stop();
  scaler_events_.Stop();
}

}  // namespace tidewright::cmd
