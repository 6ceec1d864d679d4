#include "kube/shared_caches.h"

#include <utility>
#include <vector>

#include "kube/slim_object.h"

namespace tidewright::kube {

SharedCaches::SharedCaches(Client& client, base::Clock& clock, base::MetricRegistry* metrics)
    : client_(client), clock_(clock), metrics_(metrics) {}

SharedCaches::~SharedCaches() { Stop(); }

std::shared_ptr<Informer> SharedCaches::Get(const Resource& resource, const InformerOptions& options) {
  const std::string key = resource.Path(options.ns, "") + "?" + options.label_selector + "&" + options.field_selector;
  base::MutexLock lock(mu_);
  std::weak_ptr<Informer>& known = informers_[key];
  if (auto informer = known.lock()) return informer;
  InformerOptions completed = options;
  if (completed.metrics == nullptr) completed.metrics = metrics_;
  if (!completed.transform) completed.transform = SlimmingOf(resource);
  auto informer = std::make_shared<Informer>(client_, clock_, resource, std::move(completed));
  if (stopped_) {
    informer->Stop();
  } else {
    informer->Start();
  }
  known = informer;
  return informer;
}

void SharedCaches::Stop() {
  std::vector<std::shared_ptr<Informer>> running;
  {
    base::MutexLock lock(mu_);
    stopped_ = true;
    for (const auto& [key, known] : informers_) {
      if (auto informer = known.lock()) running.push_back(std::move(informer));
    }
  }
  for (const auto& informer : running) informer->Stop();
}

}  // namespace tidewright::kube
