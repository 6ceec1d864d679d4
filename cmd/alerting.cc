#include "cmd/alerting.h"

#include <utility>

#include "http/client.h"

namespace tidewright::cmd {

namespace {

using Done = std::function<void(base::Status)>;

rules::AlertRelabeling Relabeling(std::vector<scrape::RelabelRule> relabel_rules) {
  if (relabel_rules.empty()) return nullptr;
  return [relabel_rules = std::move(relabel_rules)](tsdb::LabelsBuilder* labels) {
    return scrape::Relabel(relabel_rules, labels);
  };
}

base::Status Outcome(const base::Result<http::Response>& reply) {
  TW_RETURN_IF_ERROR(reply.status());
  if (reply->status >= 200 && reply->status < 300) return base::Status::Ok();
  constexpr size_t kShown = 200;
  return base::UnavailableError("HTTP status " + std::to_string(reply->status) + ": " + reply->body.substr(0, kShown));
}

http::ClientRequest Request(const scrape::AlertmanagerConfig& config, const std::string& url, std::string body) {
  http::ClientRequest request;
  request.method = "POST";
  request.url = url;
  request.body = std::move(body);
  request.connect_timeout_ms = config.timeout.ms;
  request.total_timeout_ms = config.timeout.ms;
  request.max_redirects = config.discovery.http.follow_redirects ? 10 : 0;
  return request;
}

}  // namespace

Alerting::Alerting(base::Clock& clock, base::Scheduler& scheduler, kube::SharedCaches* caches,
                   base::MetricRegistry* metrics, const rules::NotifierOptions& options,
                   const notify::ReceiversOptions& receivers)
    : clock_(clock),
      scheduler_(scheduler),
      receivers_(clock, scheduler, metrics, receivers),
      notifier_(options, metrics),
      discovery_(clock, scheduler, caches, [this](scrape::AlertmanagerTargets targets) { Found(std::move(targets)); }) {
  notifier_.SetSink([this](const std::vector<rules::AlertNotice>& alerts) { receivers_.Send(alerts); });
}

Alerting::~Alerting() { Stop(); }

void Alerting::Apply(const scrape::Config& config) {
  notifier_.SetLabels(config.global.external_labels, Relabeling(config.alerting.alert_relabel_rules));
  discovery_.Apply(config.alerting.alertmanagers);
}

void Alerting::Stop() {
  notifier_.Stop();
  discovery_.Stop();
  notifier_.SetAlertmanagers({}, {});
  receivers_.Stop();
}

void Alerting::Found(scrape::AlertmanagerTargets targets) {
  std::vector<rules::Alertmanager> alertmanagers;
  for (const scrape::AlertmanagerTarget& target : targets.active) alertmanagers.push_back(Reach(target));
  notifier_.SetAlertmanagers(std::move(alertmanagers), std::move(targets.dropped));
}

rules::Alertmanager Alerting::Reach(const scrape::AlertmanagerTarget& target) {
  rules::Alertmanager alertmanager;
  alertmanager.key = std::to_string(target.index) + " " + target.url;
  alertmanager.url = target.url;
  alertmanager.relabel = Relabeling(target.config->alert_relabel_rules);
  alertmanager.post = [this, url = target.url, config = target.config, transport = target.transport](std::string body,
                                                                                                     Done done) {
    // Off the threads of the client: the transport, and with it the client, may end together with what is called here.
    Done finish = [this, done = std::move(done)](base::Status status) {
      scheduler_.At(clock_.NowMs(), [done, status = std::move(status)] { done(status); });
    };
    auto client = transport->Client(clock_.NowMs(), url);
    if (!client.ok()) return finish(client.status());
    http::ClientRequest request = Request(*config, url, std::move(body));
    transport->Authorize(clock_.NowMs(), [client = *client, request = std::move(request),
                                          finish](base::Result<http::Headers> headers) mutable {
      if (!headers.ok()) return finish(headers.status());
      request.headers = *std::move(headers);
      request.headers.Set("Content-Type", "application/json");
      client->SendAsync(std::move(request), [finish](base::Result<http::Response> reply) { finish(Outcome(reply)); });
    });
  };
  return alertmanager;
}

}  // namespace tidewright::cmd
