#include "cmd/registrar.h"

#include <utility>

#include "base/log.h"

namespace tidewright::cmd {

namespace {

constexpr int64_t kLookMs = 2'000;
constexpr int64_t kRetryMs = 5'000;
// A reload may have added or removed an API, and somebody may have deleted the objects.
constexpr int64_t kRepeatMs = 60'000;

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
  std::string bundle = service_.ca_bundle();
  if (leads && IsDue(bundle)) Register(bundle);
  if (!service_.certificate_waits()) return;
  auto published = apiservice::PublishedCaBundle(client_, options_.registration, groups_());
  if (published.ok()) service_.BundlePublished(*published);
}

bool Registrar::IsDue(const std::string& bundle) {
  base::MutexLock lock(mu_);
  return bundle != registered_ || clock_.NowMs() >= next_ms_;
}

void Registrar::Register(const std::string& bundle) {
  apiservice::RegistrationOptions registration = options_.registration;
  registration.ca_bundle = bundle;
  base::Status registered = apiservice::RegisterApiServices(client_, registration, groups_());
  // Another program's APIService stays its own however often we ask.
  bool foreign = registered.code() == base::Code::kFailedPrecondition;
  base::MutexLock lock(mu_);
  if (!leads_) return;
  if (!registered.ok()) base::LogWarn("cmd", "APIServices not registered", {{"error", registered.ToString()}});
  if (registered.ok() || foreign) registered_ = bundle;
  next_ms_ = clock_.NowMs() + (registered.ok() || foreign ? kRepeatMs : kRetryMs);
}

}  // namespace tidewright::cmd
