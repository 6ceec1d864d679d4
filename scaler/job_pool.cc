#include "scaler/job_pool.h"

#include <algorithm>
#include <map>
#include <random>
#include <utility>

#include "base/json.h"
#include "base/strings.h"
#include "kube/meta.h"

namespace tidewright::scaler {

namespace {

constexpr char kGeneration[] = "scaledjob.keda.sh/generation";
constexpr char kExcludedLabels[] = "scaledjob.keda.sh/job-excluded-labels";
constexpr char kTemplate[] = "tidewright.dev/job-template";
constexpr char kLastApplied[] = "kubectl.kubernetes.io/last-applied-configuration";
constexpr size_t kLongestPrefix = 57;  // Of a name of 63 characters, "-" and five random ones apart.

bool HasCondition(const base::Json& object, const std::string& type) {
  const base::Json* conditions = base::Find(object, {"status", "conditions"});
  if (conditions == nullptr || !conditions->is_array()) return false;
  return std::any_of(conditions->begin(), conditions->end(), [&](const base::Json& condition) {
    return base::FindString(condition, {"type"}) == type && base::FindString(condition, {"status"}) == "True";
  });
}

bool IsFinished(const base::Json& job) { return HasCondition(job, "Complete") || HasCondition(job, "Failed"); }

bool IsOwnedBy(const base::Json& job, const std::string& uid) {
  const base::Json* owners = base::Find(job, {"metadata", "ownerReferences"});
  if (owners == nullptr || !owners->is_array()) return false;
  return std::any_of(owners->begin(), owners->end(),
                     [&](const base::Json& owner) { return base::FindString(owner, {"uid"}) == uid; });
}

// FNV-1a: only to notice that a template changed.
std::string HashOf(const base::Json& spec) {
  uint64_t hash = 14695981039346656037u;
  for (unsigned char c : base::DumpJson(spec)) hash = (hash ^ c) * 1099511628211u;
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (int i = 0; i < 16; ++i, hash >>= 4) text += kDigits[hash & 15];
  return text;
}

// Letters and digits that make no words, as Kubernetes' own generated names.
std::string RandomSuffix() {
  constexpr std::string_view kLetters = "bcdfghjklmnpqrstvwxz2456789";
  thread_local std::mt19937_64 generator{std::random_device()()};
  std::string suffix;
  for (int i = 0; i < 5; ++i) suffix += kLetters[generator() % kLetters.size()];
  return suffix;
}

std::set<std::string> Words(const std::string& list) {
  std::set<std::string> words;
  for (const std::string& word : base::Split(list, ',')) words.insert(std::string(base::TrimSpace(word)));
  return words;
}

base::Json MakeJob(const base::Json& owner, const ScaledJob& spec) {
  base::Json labels = base::Json::object();
  base::Json annotations = base::Json::object();
  std::map<std::string, std::string> of_owner = kube::AnnotationsOf(owner);
  const std::set<std::string> excluded = Words(of_owner[kExcludedLabels]);
  for (const auto& [key, value] : kube::LabelsOf(owner)) {
    if (excluded.count(key) == 0) labels[key] = value;
  }
  for (const auto& [key, value] : of_owner) {
    if (key != kLastApplied) annotations[key] = value;
  }
  const std::string name = spec.name.substr(0, kLongestPrefix) + "-" + RandomSuffix();
  labels["app.kubernetes.io/name"] = name;
  labels["app.kubernetes.io/part-of"] = spec.name;
  labels["app.kubernetes.io/managed-by"] = "tidewright";
  labels[kScaledJobLabel] = spec.name;
  annotations[kGeneration] = std::to_string(spec.generation);
  annotations[kTemplate] = HashOf(*spec.job_spec);
  base::Json job_spec = *spec.job_spec;
  base::Json& pod = job_spec["template"]["spec"];
  if (!pod.contains("restartPolicy")) pod["restartPolicy"] = "OnFailure";
  return {{"apiVersion", "batch/v1"},
          {"kind", "Job"},
          {"metadata",
           {{"name", name},
            {"namespace", spec.ns},
            {"labels", std::move(labels)},
            {"annotations", std::move(annotations)},
            {"ownerReferences", base::Json::array({{{"apiVersion", base::FindString(owner, {"apiVersion"})},
                                                    {"kind", "ScaledJob"},
                                                    {"name", spec.name},
                                                    {"uid", kube::UidOf(owner)},
                                                    {"controller", true}}})}}},
          {"spec", std::move(job_spec)}};
}

// Whether a pod has begun its work, as far as the ScaledJob cares.
bool HasBegun(const base::Json& pod, const std::vector<std::string>& conditions) {
  if (!conditions.empty()) {
    return std::all_of(conditions.begin(), conditions.end(),
                       [&](const std::string& condition) { return HasCondition(pod, condition); });
  }
  const std::string phase = base::FindString(pod, {"status", "phase"});
  return phase == "Running" || phase == "Succeeded";
}

// By the end of the Job, or its begin where the end is not known.
std::string FinishedAt(const base::Json& job) {
  return base::FindString(job, {"status", "completionTime"}, base::FindString(job, {"metadata", "creationTimestamp"}));
}

bool HasOtherTemplate(const base::Json& job, const ScaledJob& spec) {
  std::map<std::string, std::string> annotations = kube::AnnotationsOf(job);
  auto hash = annotations.find(kTemplate);
  if (hash != annotations.end()) return hash->second != HashOf(*spec.job_spec);
  auto generation = annotations.find(kGeneration);  // All that a Job of KEDA's says.
  return generation != annotations.end() && generation->second != std::to_string(spec.generation);
}

}  // namespace

void JobPool::Reset() {
  counts_ = JobCounts();
  jobs_.clear();
  expected_.clear();
}

base::Status JobPool::Refresh(const base::Json& owner, const ScaledJob& spec) {
  TW_ASSIGN_OR_RETURN(kube::LabelSelector selector,
                      kube::LabelSelector::Parse(std::string(kScaledJobLabel) + "=" + spec.name));
  TW_ASSIGN_OR_RETURN(std::vector<Object> jobs, cluster_.objects->List(kube::resources::kJobs, spec.ns, selector));
  const std::string uid = kube::UidOf(owner);
  std::erase_if(jobs, [&uid](const Object& job) { return !IsOwnedBy(*job, uid); });
  std::set<std::string> known;
  std::vector<Object> unfinished;
  for (const Object& job : jobs) {
    known.insert(kube::NameOf(*job));
    const bool ended = IsFinished(*job) || (kube::IsBeingDeleted(*job) && !spec.wait_for_old_jobs);
    if (!ended) unfinished.push_back(job);
  }
  TW_RETURN_IF_ERROR(CountExpected(spec, known));
  const auto expected = static_cast<int32_t>(expected_.size());
  TW_ASSIGN_OR_RETURN(int32_t pending, CountPending(spec, unfinished));
  counts_ = {static_cast<int32_t>(unfinished.size()) + expected, pending + expected};
  jobs_ = std::move(jobs);
  return base::Status::Ok();
}

// What the cache does not show yet may also have gone already: the API server knows.
base::Status JobPool::CountExpected(const ScaledJob& spec, const std::set<std::string>& known) {
  std::erase_if(expected_, [&known](const std::string& name) { return known.count(name) > 0; });
  if (expected_.empty()) return base::Status::Ok();
  kube::ListOptions options;
  options.label_selector = std::string(kScaledJobLabel) + "=" + spec.name;
  TW_ASSIGN_OR_RETURN(base::Json list, cluster_.client->List(kube::resources::kJobs, spec.ns, options));
  std::set<std::string> unfinished;
  for (const base::Json& job : list.value("items", base::Json::array())) {
    if (!IsFinished(job)) unfinished.insert(kube::NameOf(job));
  }
  std::erase_if(expected_, [&unfinished](const std::string& name) { return unfinished.count(name) == 0; });
  return base::Status::Ok();
}

base::Result<int32_t> JobPool::CountPending(const ScaledJob& spec, const std::vector<Object>& jobs) const {
  const bool matters = spec.scaling.strategy == JobStrategy::kAccurate || spec.scaling.strategy == JobStrategy::kEager;
  if (!matters || jobs.empty()) return 0;
  std::set<std::string> begun;  // UIDs of Jobs.
  TW_ASSIGN_OR_RETURN(std::vector<Object> pods, cluster_.objects->List(kube::resources::kPods, spec.ns, {}));
  for (const Object& pod : pods) {
    const base::Json* owners = base::Find(*pod, {"metadata", "ownerReferences"});
    if (owners == nullptr || !owners->is_array() || !HasBegun(*pod, spec.pending_conditions)) continue;
    for (const base::Json& owner : *owners) begun.insert(base::FindString(owner, {"uid"}));
  }
  return static_cast<int32_t>(std::count_if(
      jobs.begin(), jobs.end(), [&begun](const Object& job) { return begun.count(kube::UidOf(*job)) == 0; }));
}

int32_t JobPool::Create(const base::Json& owner, const ScaledJob& spec, int32_t count, base::Status* error) {
  for (int32_t created = 0; created < count; ++created) {
    base::Json job = MakeJob(owner, spec);
    auto made = cluster_.client->Create(kube::resources::kJobs, spec.ns, job);
    if (!made.ok()) {
      *error = made.status();
      return created;
    }
    expected_.insert(kube::NameOf(job));
  }
  return count;
}

base::Status JobPool::TrimHistory(const ScaledJob& spec, bool failed) {
  std::vector<Object> finished;
  for (const Object& job : jobs_) {
    if (HasCondition(*job, failed ? "Failed" : "Complete") && !kube::IsBeingDeleted(*job)) finished.push_back(job);
  }
  const auto keep = static_cast<size_t>(failed ? spec.failed_history : spec.successful_history);
  if (finished.size() <= keep) return base::Status::Ok();
  std::sort(finished.begin(), finished.end(),
            [](const Object& a, const Object& b) { return FinishedAt(*a) < FinishedAt(*b); });
  base::Status first;
  for (size_t i = 0; i + keep < finished.size(); ++i) {
    base::Status gone = cluster_.client->Delete(kube::resources::kJobs, spec.ns, kube::NameOf(*finished[i]));
    if (first.ok() && gone.code() != base::Code::kNotFound) first = gone;
  }
  return first;
}

base::Status JobPool::TidyUp(const ScaledJob& spec) {
  base::Status first = TrimHistory(spec, false);
  base::Status failed = TrimHistory(spec, true);
  if (first.ok()) first = failed;
  if (spec.keep_old_jobs) return first;
  for (const Object& job : jobs_) {
    if (IsFinished(*job) || kube::IsBeingDeleted(*job) || !HasOtherTemplate(*job, spec)) continue;
    const auto how = spec.wait_for_old_jobs ? kube::Propagation::kForeground : kube::Propagation::kBackground;
    base::Status gone = cluster_.client->Delete(kube::resources::kJobs, spec.ns, kube::NameOf(*job), how);
    if (gone.ok() && !spec.wait_for_old_jobs) --counts_.running;
    if (first.ok() && gone.code() != base::Code::kNotFound) first = gone;
  }
  return first;
}

}  // namespace tidewright::scaler
