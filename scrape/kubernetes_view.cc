#include "scrape/kubernetes_view.h"

#include <algorithm>
#include <utility>

#include "base/json.h"

namespace tidewright::scrape {
namespace {

// The configuration's decoder has refused what cannot be parsed.
kube::LabelSelector SelectorOf(const std::string& text) {
  auto selector = kube::LabelSelector::Parse(text);
  return selector.ok() ? *selector : kube::LabelSelector();
}

}  // namespace

KubernetesView::KubernetesView(kube::SharedCaches& caches, Options options)
    : caches_(caches), options_(std::move(options)), labels_(SelectorOf(options_.label_selector)) {}

KubernetesView::~KubernetesView() { Close(); }

void KubernetesView::Open(Changed changed) {
  changed_ = std::move(changed);
  Follow("");
}

void KubernetesView::Follow(const std::string& ns) {
  kube::InformerOptions options;
  options.ns = ns;
  options.field_selector = options_.field_selector;
  auto informer = caches_.Get(options_.resource, options);
  auto handler = informer->AddHandler([this](kube::EventType, const Object& object) {
    std::string object_ns = kube::NamespaceOf(*object);
    if (ShowsNamespace(object_ns)) changed_(object_ns, kube::NameOf(*object));
  });
  followed_.push_back({std::move(informer), handler});
}

void KubernetesView::Close() {
  for (const Followed& followed : followed_) followed.informer->RemoveHandler(followed.handler);
  followed_.clear();
}

bool KubernetesView::HasSynced() const {
  return std::all_of(followed_.begin(), followed_.end(), [](const Followed& f) { return f.informer->HasSynced(); });
}

bool KubernetesView::ShouldNarrow() const {
  if (narrow_ || options_.namespaces.empty()) return false;
  return std::any_of(followed_.begin(), followed_.end(), [](const Followed& f) {
    return !f.informer->HasSynced() && f.informer->last_error().code() == base::Code::kPermissionDenied;
  });
}

void KubernetesView::Narrow() {
  Close();
  narrow_ = true;
  for (const std::string& ns : options_.namespaces) Follow(ns);
}

bool KubernetesView::ShowsNamespace(const std::string& ns) const {
  return options_.namespaces.empty() || options_.namespaces.count(ns) > 0;
}

KubernetesView::Object KubernetesView::Find(const std::string& ns, const std::string& name) const {
  if (!ShowsNamespace(ns)) return nullptr;
  for (const Followed& followed : followed_) {
    Object object = followed.informer->Get(ns, name);
    if (object == nullptr) continue;
    return labels_.empty() || labels_.Matches(kube::LabelsOf(*object)) ? object : nullptr;
  }
  return nullptr;
}

}  // namespace tidewright::scrape
