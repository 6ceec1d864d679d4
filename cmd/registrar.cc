#include "cmd/registrar.h"

#include <utility>

#include "base/log.h"

namespace tidewright::cmd {

namespace {

constexpr int64_t kLookMs = 2'000;
constexpr int64_t kRepeatMs = 60'000;  // Somebody may have changed or deleted the objects.

// What is to be written; a reload may have added or removed an API.
std::string ContentOf(const apiservice::RegistrationOptions& registration,
                      const std::vector<apiservice::ServedGroup>& groups) {
  std::string content = registration.ca_bundle;
  for (const apiservice::ServedGroup& group : groups) {
    for (const std::string& version : group.versions) content += version + "." + group.group + "\n";
  }
  return content;
}

}  // namespace

Registrar::Registrar(Options options, kube::Client& client, apiservice::ApiService& service, Groups groups,
                     base::Clock& clock, base::Scheduler& scheduler)
    : options_(std::move(options)),
      client_(client),
      service_(service),
      groups_(std::move(groups)),
      clock_(clock),
      scheduler_(scheduler) {}

void Registrar::Start() {
  base::MutexLock lock(mu_);
  task_ = scheduler_.At(clock_.NowMs(), [this] { Tick(); });
}

void Registrar::Stop() {
  base::Scheduler::TaskId task = 0;
  {
    base::MutexLock lock(mu_);
    stopped_ = true;
    task = task_;
  }
  if (task != 0) scheduler_.Cancel(task);
}

void Registrar::Lead(bool leads) {
  base::MutexLock lock(mu_);
  leads_ = leads;
  next_ms_ = 0;
}

void Registrar::Tick() {
  Look();
  base::MutexLock lock(mu_);
  if (!stopped_) task_ = scheduler_.At(clock_.NowMs() + kLookMs, [this] { Tick(); });
}

void Registrar::Look() {
  base::Status maintained = service_.Maintain();
  if (!maintained.ok()) {
    base::LogError("cmd", "the serving certificate cannot be renewed; the present one stays",
                   {{"error", maintained.ToString()}});
  }
  if (!options_.enabled) return;
  bool leads = false;
  {
    base::MutexLock lock(mu_);
    leads = leads_;
  }
  std::vector<apiservice::ServedGroup> groups = groups_();
  apiservice::RegistrationOptions registration = options_.registration;
  registration.ca_bundle = service_.ca_bundle();
  std::string content = ContentOf(registration, groups);
  if (leads && IsDue(content)) Register(registration, groups, content);
  if (!service_.certificate_waits()) return;
  auto published = apiservice::PublishedCaBundle(client_, registration, groups);
  if (published.ok()) service_.BundlePublished(*published);
}

bool Registrar::IsDue(const std::string& content) {
  base::MutexLock lock(mu_);
  return content != registered_ || clock_.NowMs() >= next_ms_;
}

void Registrar::Register(const apiservice::RegistrationOptions& registration,
                         const std::vector<apiservice::ServedGroup>& groups, const std::string& content) {
  base::Status registered = apiservice::RegisterApiServices(client_, registration, groups);
  // Another program's APIService stays its own however often we ask.
  bool foreign = registered.code() == base::Code::kFailedPrecondition;
  base::MutexLock lock(mu_);
  if (!leads_) return;
  if (!registered.ok()) base::LogWarn("cmd", "APIServices not registered", {{"error", registered.ToString()}});
  registered_ = registered.ok() || foreign ? content : "";  // "": again at the next look.
  next_ms_ = clock_.NowMs() + kRepeatMs;
}

}  // namespace tidewright::cmd
