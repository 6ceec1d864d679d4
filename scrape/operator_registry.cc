#include "scrape/operator_registry.h"

#include <utility>

#include "base/json.h"
#include "base/strings.h"
#include "kube/meta.h"
#include "scrape/operator_sections.h"

namespace tidewright::scrape {
namespace {

std::string KeyOf(const std::string& kind, const std::string& ns, const std::string& name) {
  return kind + "/" + ns + "/" + name;
}

bool IsMonitor(const std::string& kind) {
  return kind == "ServiceMonitor" || kind == "PodMonitor" || kind == "Probe" || kind == "ScrapeConfig";
}

// Values of a Secret are base64, those of a ConfigMap are not, but for binaryData.
std::map<std::string, std::string> ValuesOf(const std::string& kind, const base::Json& object) {
  std::map<std::string, std::string> values;
  auto take = [&](std::string_view member, bool encoded) {
    const base::Json& data = ObjectAt(object, member);
    if (!data.is_object()) return;
    for (const auto& [key, value] : data.items()) {
      if (!value.is_string()) continue;
      std::string text = value.get<std::string>(), decoded;
      if (!encoded)
        values[key] = std::move(text);
      else if (base::Base64Decode(text, &decoded))
        values[key] = std::move(decoded);
    }
  };
  take("data", kind == "Secret");
  take("binaryData", true);
  return values;
}

}  // namespace

struct OperatorRegistry::Entry {
  base::Json object;
  OperatorObjectStatus status;
  std::vector<ScrapeConfig> configs;
  std::set<Reference> references;  // That the conversion looked at, there or not.
};

OperatorRegistry::OperatorRegistry(const base::Json& prometheus, GlobalConfig global)
    // The lookup runs inside Convert(), which holds the lock.
    : converter_(std::make_unique<const OperatorConverter>(
          prometheus,
          [this](const std::string& kind, const std::string& ns, const std::string& name, const std::string& key)
              REQUIRES_LOCK(mu_) {
                return Lookup({kind, ns, name}, key);
              })),
      global_(std::move(global)) {}

OperatorRegistry::~OperatorRegistry() = default;

base::Result<std::string> OperatorRegistry::Lookup(const Reference& reference, const std::string& key) {
  looked_up_->insert(reference);
  const std::string what = reference.kind + " " + reference.ns + "/" + reference.name;
  const auto values = references_.find(reference);
  if (values == references_.end()) return base::NotFoundError(what + " does not exist");
  TW_RETURN_IF_ERROR(values->second.status());
  const auto value = values->second->find(key);
  if (value != values->second->end()) return value->second;
  return base::NotFoundError(what + " has no key " + base::Quoted(key));
}

void OperatorRegistry::Convert(Entry* entry) {
  entry->references.clear();
  entry->status.warnings.clear();
  entry->configs.clear();
  looked_up_ = &entry->references;
  auto converted = converter_->Convert(entry->object);
  looked_up_ = nullptr;
  entry->status.error = converted.status();
  if (converted.ok()) {
    const OperatorObjectStatus& status = entry->status;
    auto configs = DecodeConverted(*converted, status.kind + " " + status.ns + "/" + status.name, global_,
                                   &entry->status.warnings);
    entry->status.error = configs.status();
    if (configs.ok()) entry->configs = std::move(*configs);
  }
  entry->status.jobs = entry->configs.size();
  changed_ = true;
}

void OperatorRegistry::Upsert(const base::Json& object) {
  const std::string kind = TextAt(object, "kind");
  if (!IsMonitor(kind)) return;
  auto entry = std::make_unique<Entry>();
  entry->object = {{"kind", kind}, {"metadata", ObjectAt(object, "metadata")}, {"spec", ObjectAt(object, "spec")}};
  entry->status.kind = kind;
  entry->status.ns = kube::NamespaceOf(object);
  entry->status.name = kube::NameOf(object);
  const base::Json& metadata = ObjectAt(object, "metadata");
  entry->status.uid = TextAt(metadata, "uid");
  const base::Json& generation = ObjectAt(metadata, "generation");
  if (generation.is_number_integer()) entry->status.generation = generation.get<int64_t>();
  base::MutexLock lock(mu_);
  std::unique_ptr<Entry>& known = entries_[KeyOf(kind, entry->status.ns, entry->status.name)];
  // Status updates and annotations change nothing.
  if (known != nullptr && known->object["spec"] == entry->object["spec"]) {
    known->status.generation = entry->status.generation;
    known->status.uid = entry->status.uid;
    return;
  }
  known = std::move(entry);
  Convert(known.get());
}

void OperatorRegistry::Remove(const std::string& kind, const std::string& ns, const std::string& name) {
  base::MutexLock lock(mu_);
  if (entries_.erase(KeyOf(kind, ns, name)) > 0) changed_ = true;
}

std::set<OperatorRegistry::Reference> OperatorRegistry::References() const {
  std::set<Reference> references;
  base::MutexLock lock(mu_);
  for (const auto& [key, entry] : entries_) references.insert(entry->references.begin(), entry->references.end());
  return references;
}

void OperatorRegistry::SetReference(const Reference& reference, const base::Result<base::Json>& object) {
  const bool missing = object.status().code() == base::Code::kNotFound;
  base::Result<Values> values = Values();
  if (object.ok()) {
    values = ValuesOf(reference.kind, *object);
  } else {
    values = object.status();
  }
  base::MutexLock lock(mu_);
  auto known = references_.find(reference);
  const bool same = known == references_.end() ? missing
                    : values.ok()              ? known->second.ok() && *known->second == *values
                                               : known->second.status().ToString() == values.status().ToString();
  if (same) return;
  if (missing) {
    references_.erase(known);
  } else {
    references_.insert_or_assign(reference, std::move(values));
  }
  for (auto& [key, entry] : entries_) {
    if (entry->references.count(reference) > 0) Convert(entry.get());
  }
}

void OperatorRegistry::ForgetReference(const Reference& reference) {
  base::MutexLock lock(mu_);
  references_.erase(reference);
}

void OperatorRegistry::SetDefaults(const GlobalConfig& global) {
  base::MutexLock lock(mu_);
  if (global_ == global) return;
  global_ = global;
  for (auto& [key, entry] : entries_) Convert(entry.get());
}

bool OperatorRegistry::TakeChanged() {
  base::MutexLock lock(mu_);
  return std::exchange(changed_, false);
}

std::vector<ScrapeConfig> OperatorRegistry::ScrapeConfigs() const {
  std::vector<ScrapeConfig> configs;
  base::MutexLock lock(mu_);
  for (const auto& [key, entry] : entries_) {
    configs.insert(configs.end(), entry->configs.begin(), entry->configs.end());
  }
  return configs;
}

std::vector<OperatorObjectStatus> OperatorRegistry::Statuses() const {
  std::vector<OperatorObjectStatus> statuses;
  base::MutexLock lock(mu_);
  for (const auto& [key, entry] : entries_) statuses.push_back(entry->status);
  return statuses;
}

}  // namespace tidewright::scrape
