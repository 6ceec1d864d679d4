#include "adapter/registry.h"

#include <algorithm>
#include <iterator>
#include <set>
#include <unordered_set>

#include "base/document.h"
#include "base/duration.h"
#include "base/log.h"
#include "base/strings.h"

namespace tidewright::adapter {
namespace {

constexpr int64_t kNamesTtlMs = 5'000;
constexpr int64_t kNamesShare = 20;  // Looking for what is not listed takes at most this part of the time.
constexpr int64_t kTemplateRefreshMs = 10 * 60'000;
constexpr int64_t kLookBackMs = 3'600'000;
constexpr size_t kMaxNotes = 50;
constexpr size_t kMaxReasons = 4000;  // Bytes of a message that ends up in a condition of an autoscaler.

void Note(RuleStatus* status, const std::string& text) {
  if (status->notes.size() < kMaxNotes) {
    status->notes.push_back(text);
  } else if (status->notes.size() == kMaxNotes) {
    status->notes.push_back("more notes are left out");
  }
}

RuleStatus StatusOf(const Rule& rule) {
  RuleStatus status;
  status.section = rule.section;
  status.index = rule.index;
  status.line = rule.line;
  status.object = rule.object;
  status.series_query = rule.series_query;
  status.metrics_query = rule.promql.empty() ? rule.metrics_query : rule.promql;
  return status;
}

// A metric's name becomes one segment of a path.
bool IsServableName(const std::string& name) {
  return !name.empty() && name != "." && name != ".." && name != "*" && name.find('/') == std::string::npos &&
         name.find('%') == std::string::npos;
}

// The type that an override means, which may be spelled in singular or plural.
bool IsOverrideFor(const GroupResource& override_target, const ResourceType& type, const ResourceMapper& mapper) {
  std::optional<ResourceType> found = mapper.Find(override_target.group, override_target.resource);
  return found && found->group_resource() == type.group_resource();
}

}  // namespace

std::string LabelOf(const LabelMapping& mapping, const ResourceType& type, const ResourceMapper& mapper) {
  for (const auto& [label, target] : mapping.overrides()) {
    if (IsOverrideFor(target, type, mapper)) return label;
  }
  return mapping.ToTemplateLabel(type.resource.group, type.singular);
}

std::string NamespaceLabelOf(const LabelMapping& mapping, const ResourceMapper& mapper) {
  return LabelOf(mapping, *mapper.Find("", "namespaces"), mapper);
}

// Finds the types that labels name, once per label of a listing.
class Registry::LabelResolver {
 public:
  LabelResolver(const LabelMapping& mapping, ResourceMapper& mapper) : mapping_(mapping), mapper_(mapper) {}

  // The type and whether an override says so; nullptr for a label that names no resource.
  const ResourceType* Find(const std::string& label, RuleStatus* status) {
    auto [it, fresh] = cache_.try_emplace(label);
    if (fresh) it->second = Resolve(label, status);
    return it->second ? &*it->second : nullptr;
  }

 private:
  std::optional<ResourceType> Resolve(const std::string& label, RuleStatus* status) {
    auto override_it = mapping_.overrides().find(label);
    if (override_it != mapping_.overrides().end()) {
      base::Result<ResourceType> type = mapper_.Resolve(override_it->second.group, override_it->second.resource);
      if (type.ok()) return *std::move(type);
      Note(status, "resources.overrides." + label + ": " + type.status().message());
      return std::nullopt;
    }
    std::optional<GroupResource> spelled = mapping_.FromTemplate(label);
    if (!spelled) return std::nullopt;
    std::optional<ResourceType> type = mapper_.Find(spelled->group, spelled->resource);
    if (type || !mapper_.RefreshIfOlder(kTemplateRefreshMs).ok()) return type;
    return mapper_.Find(spelled->group, spelled->resource);
  }

  const LabelMapping& mapping_;
  ResourceMapper& mapper_;
  std::map<std::string, std::optional<ResourceType>> cache_;
};

Registry::Registry(promql::QueryEngine& engine, ResourceMapper& mapper, base::Clock& clock, base::Scheduler& scheduler,
                   base::MetricRegistry& metrics, const RegistryOptions& options)
    : engine_(engine),
      mapper_(mapper),
      clock_(clock),
      scheduler_(scheduler),
      options_(options),
      failures_(metrics.GetCounter("tidewright_adapter_relist_failures_total",
                                   "Times that a rule's series could not be listed.")),
      duration_(metrics.GetHistogram("tidewright_adapter_relist_duration_seconds",
                                     "How long listing the series of all rules took.", {0.01, 0.1, 0.5, 1, 5, 30})),
      custom_count_(metrics.GetGauge("tidewright_adapter_metrics", "Metrics that are listed.", {{"api", "custom"}})),
      external_count_(
          metrics.GetGauge("tidewright_adapter_metrics", "Metrics that are listed.", {{"api", "external"}})),
      listing_(std::make_shared<const Listing>()) {}

Registry::~Registry() { Stop(); }

void Registry::SetRules(std::vector<std::shared_ptr<const Rule>> rules,
                        std::vector<std::shared_ptr<const Rule>> external_rules) {
  {
    base::MutexLock lock(mu_);
    rules_ = std::move(rules);
    external_rules_ = std::move(external_rules);
  }
  Kick();
}

void Registry::SetObjectRules(std::vector<std::shared_ptr<const Rule>> rules) {
  {
    base::MutexLock lock(mu_);
    object_rules_ = std::move(rules);
  }
  Kick();
}

void Registry::Kick() {
  base::Scheduler::TaskId old = 0;
  {
    base::MutexLock lock(mu_);
    names_.clear();
    if (!started_) return;
    old = std::exchange(kick_, scheduler_.At(clock_.NowMs(), [this] {
      if (auto pass = gate_.TryEnter()) Relist();
    }));
  }
  if (old != 0) scheduler_.Cancel(old);
}

void Registry::Start() {
  {
    base::MutexLock lock(mu_);
    if (started_) return;
    started_ = true;
  }
  Schedule(clock_.NowMs());
}

void Registry::Schedule(int64_t when_ms) {
  base::MutexLock lock(mu_);
  task_ = scheduler_.At(when_ms, [this] {
    auto pass = gate_.TryEnter();
    if (!pass) return;
    Relist();
    Schedule(clock_.NowMs() + options_.relist_interval_ms);
  });
}

void Registry::Stop() {
  gate_.CloseAndWait();
  base::Scheduler::TaskId tasks[2] = {0, 0};
  {
    base::MutexLock lock(mu_);
    started_ = false;
    tasks[0] = std::exchange(task_, 0);
    tasks[1] = std::exchange(kick_, 0);
  }
  for (base::Scheduler::TaskId task : tasks) {
    if (task != 0) scheduler_.Cancel(task);
  }
}

std::shared_ptr<const Registry::Listing> Registry::listing() const {
  base::MutexLock lock(mu_);
  return listing_;
}

Registry::RuleList Registry::RulesOf(bool external) const {
  base::MutexLock lock(mu_);
  RuleList rules = external ? external_rules_ : rules_;
  for (const auto& rule : object_rules_) {
    if (rule->external() == external) rules.push_back(rule);
  }
  return rules;
}

Registry::RuleList Registry::RulesFor(bool external, const std::string& scope) const {
  RuleList rules = RulesOf(external);
  std::erase_if(rules, [&](const auto& rule) { return !rule->ns.empty() && rule->ns != scope; });
  if (options_.last_rule_wins) std::reverse(rules.begin(), rules.end());
  std::stable_partition(rules.begin(), rules.end(), [](const auto& rule) { return !rule->ns.empty(); });
  return rules;
}

void Registry::Relist() {
  base::MutexLock relist(relist_mu_);
  int64_t begin = base::MonotonicNanos();
  RuleList rules = RulesOf(false);
  RuleList external = RulesOf(true);
  rules.insert(rules.end(), external.begin(), external.end());
  int64_t now = clock_.NowMs();
  std::map<std::string, base::Result<Shapes>> shapes;  // Equal selectors are read once.
  std::map<std::shared_ptr<const Rule>, RuleListing> fresh;
  for (const auto& rule : rules) {
    RuleListing& own = fresh[rule];
    if (!rule->promql.empty()) {
      ListPromql(rule, &own);
      continue;
    }
    std::string key = rule->ns + '\0' + rule->series_query;
    auto it = shapes.find(key);
    if (it == shapes.end()) it = shapes.emplace(key, ReadShapes(*rule, now)).first;
    auto previous = by_rule_.find(rule);
    if (previous != by_rule_.end()) own = std::move(previous->second);
    ListRule(rule, it->second, now, &own);
  }
  by_rule_ = std::move(fresh);
  std::shared_ptr<const Listing> merged = Merge(rules);
  duration_.Observe(static_cast<double>(base::MonotonicNanos() - begin) / 1e9);
  base::MutexLock lock(mu_);
  listing_ = std::move(merged);
}

std::shared_ptr<const Registry::Listing> Registry::Merge(const RuleList& rules) {
  auto listing = std::make_shared<Listing>();
  listing->statuses.resize(rules.size());
  auto merge = [](const auto& from, auto* into, RuleStatus* status, auto label) {
    for (const auto& [key, metric] : from) {
      auto [it, added] = into->try_emplace(key, metric);
      if (added) {
        status->metrics.push_back(label(key));
      } else {
        Note(status, label(key) + " is also defined by " + it->second.rule->Title() + ", which keeps it");
      }
    }
  };
  for (size_t i = 0; i < rules.size(); ++i) {
    size_t at = options_.last_rule_wins ? rules.size() - 1 - i : i;
    const RuleListing& own = by_rule_[rules[at]];
    RuleStatus& status = listing->statuses[at];
    status = own.status;
    merge(own.custom, &listing->custom, &status,
          [](const CustomKey& key) { return std::get<0>(key).ToString() + "/" + std::get<1>(key); });
    merge(own.external, &listing->external, &status, [](const ExternalKey& key) { return key.first; });
  }
  for (const auto& [key, metric] : listing->custom) {
    const auto& [resource, name, ns] = key;
    auto& list = listing->custom_list;
    if (!list.empty() && list.back().resource == resource && list.back().metric == name) continue;
    list.push_back({resource, metric.type.resource.namespaced, name});
  }
  for (const auto& [key, metric] : listing->external) {
    auto& list = listing->external_list;
    if (list.empty() || list.back() != key.first) list.push_back(key.first);
  }
  std::shared_ptr<const Listing> before = this->listing();
  bool same = before->external_list == listing->external_list && before->custom_list == listing->custom_list;
  listing->version = before->version + (same && before->version > 0 ? 0 : 1);
  custom_count_.Set(static_cast<double>(listing->custom_list.size()));
  external_count_.Set(static_cast<double>(listing->external_list.size()));
  return listing;
}

base::Result<Registry::Shapes> Registry::ReadShapes(const Rule& rule, int64_t now_ms) {
  base::Result<std::vector<promql::Labels>> series =
      engine_.Series({rule.selector}, now_ms - options_.max_age_ms, now_ms);
  if (!series.ok()) return series.status();
  Shapes shapes;
  std::unordered_set<std::string> seen;
  for (const promql::Labels& labels : *series) {
    std::string key;
    for (const auto& label : labels) {
      key += label.name;
      key += '\0';
      if (label.name == "__name__") key += label.value + '\0';
    }
    if (!seen.insert(std::move(key)).second) continue;
    Shape shape;
    shape.series = labels.MetricName();
    for (const auto& label : labels) {
      if (label.name != "__name__") shape.labels.push_back(label.name);
    }
    shapes.push_back(std::move(shape));
  }
  return shapes;
}

void Registry::ListRule(const std::shared_ptr<const Rule>& rule, const base::Result<Shapes>& shapes, int64_t now_ms,
                        RuleListing* own) {
  if (!shapes.ok()) {
    bool first = own->status.error.ok();
    if (own->status.series_query.empty()) own->status = StatusOf(*rule);
    own->status.error = shapes.status();
    failures_.Add();
    if (first) {
      base::LogWarn("adapter", "cannot list the series of a rule",
                    {{"rule", rule->Title()}, {"error", shapes.status().ToString()}});
    }
    return;
  }
  *own = RuleListing();
  own->status = StatusOf(*rule);
  own->status.listed_at_ms = now_ms;
  LabelResolver resolver(rule->resources, mapper_);
  std::map<std::string, std::optional<std::string>> metric_of;
  for (const Shape& shape : *shapes) {
    auto [it, fresh] = metric_of.try_emplace(shape.series);
    if (fresh && rule->AcceptsSeries(shape.series)) it->second = rule->name->Apply(shape.series);
    if (fresh && it->second && !IsServableName(*it->second)) {
      Note(&own->status, shape.series + " would become the metric " + base::Quoted(*it->second) +
                             ", which no URL can name; change name.as");
      it->second.reset();
    }
    if (!it->second) continue;
    if (rule->external()) {
      own->external.try_emplace(ExternalKey{*it->second, rule->ns},
                                ExternalMetric{rule, shape.series, NamespaceLabelOf(rule->resources, mapper_)});
    } else {
      AddCustom(rule, shape, *it->second, resolver, own);
    }
  }
  own->status.series = metric_of.size();
}

void Registry::ListPromql(const std::shared_ptr<const Rule>& rule, RuleListing* own) {
  own->status = StatusOf(*rule);
  own->status.listed_at_ms = clock_.NowMs();
  std::string namespace_label = NamespaceLabelOf(rule->resources, mapper_);
  if (rule->external()) {
    own->external.try_emplace(ExternalKey{rule->metric, rule->ns}, ExternalMetric{rule, "", namespace_label});
    return;
  }
  LabelResolver resolver(rule->resources, mapper_);
  bool only_namespaces = rule->resources.overrides().size() == 1;
  for (const auto& [label, target] : rule->resources.overrides()) {
    const ResourceType* type = resolver.Find(label, &own->status);
    // A label for the namespace next to another tells where that object is.
    if (type == nullptr || (label == namespace_label && !only_namespaces)) continue;
    own->custom.try_emplace(CustomKey{type->group_resource(), rule->metric, rule->ns},
                            CustomMetric{rule, "", *type, label, namespace_label});
  }
}

void Registry::AddCustom(const std::shared_ptr<const Rule>& rule, const Shape& shape, const std::string& metric,
                         LabelResolver& resolver, RuleListing* own) {
  std::string namespace_label = NamespaceLabelOf(rule->resources, mapper_);
  bool any = false;
  // Labels of overrides first: they win over what the template says about the same type.
  for (bool overrides : {true, false}) {
    for (const std::string& label : shape.labels) {
      if ((rule->resources.overrides().count(label) > 0) != overrides) continue;
      const ResourceType* type = resolver.Find(label, &own->status);
      if (type == nullptr) continue;
      any = true;
      own->custom.try_emplace(CustomKey{type->group_resource(), metric, rule->ns},
                              CustomMetric{rule, shape.series, *type, label, namespace_label});
    }
  }
  if (!any) {
    Note(&own->status, shape.series +
                           " has no label that names a Kubernetes object; see resources.template and "
                           "resources.overrides (its labels: " +
                           base::Join(shape.labels, ", ") + ")");
  }
}

std::vector<apiservice::CustomMetricInfo> Registry::ListCustom() const { return listing()->custom_list; }

std::vector<std::string> Registry::ListExternal() const { return listing()->external_list; }

uint64_t Registry::version() const { return listing()->version; }

std::string Registry::NearestCustom(const GroupResource& resource, const std::string& metric) {
  base::Result<ResourceType> type = mapper_.Resolve(resource.group, resource.resource);
  if (!type.ok()) return "";
  std::vector<std::string> names;
  std::shared_ptr<const Listing> current = listing();
  for (const auto& info : current->custom_list) {
    if (info.resource == type->group_resource()) names.push_back(info.metric);
  }
  return base::NearestName(metric, names);
}

std::string Registry::NearestExternal(const std::string& metric) const {
  return base::NearestName(metric, listing()->external_list);
}

std::vector<RuleStatus> Registry::Status() const { return listing()->statuses; }

base::Result<std::vector<std::string>> Registry::SeriesNames(const Rule& rule, int64_t max_age_ms) {
  int64_t now = clock_.NowMs();
  std::string key = std::to_string(max_age_ms) + rule.ns + '\0' + rule.series_query;
  uint64_t epoch = options_.series_epoch ? options_.series_epoch() : 0;
  {
    base::MutexLock lock(mu_);
    auto it = names_.find(key);
    bool same = it != names_.end() && epoch != 0 && it->second.epoch == epoch;
    if (it != names_.end() && now - it->second.at_ms < (same ? kNamesTtlMs : it->second.keep_ms)) {
      return it->second.names;
    }
  }
  int64_t begin = base::MonotonicNanos();
  base::Result<std::vector<std::string>> names = engine_.LabelValues("__name__", rule.selector, now - max_age_ms, now);
  int64_t took_ms = (base::MonotonicNanos() - begin) / 1'000'000;
  base::MutexLock lock(mu_);
  names_.insert_or_assign(key, Names{now, epoch, epoch != 0 ? took_ms * kNamesShare : kNamesTtlMs, names});
  return names;
}

base::Result<std::vector<std::string>> Registry::SeriesFor(const Rule& rule, const std::string& metric) {
  base::Result<std::vector<std::string>> names = SeriesNames(rule, options_.max_age_ms);
  if (!names.ok()) return names.status().Annotate(rule.Title() + ": cannot list the series of " + rule.series_query);
  auto fits = [&](const std::string& name) { return rule.AcceptsSeries(name) && rule.name->Apply(name) == metric; };
  std::vector<std::string> result;
  std::copy_if(names->begin(), names->end(), std::back_inserter(result), fits);
  if (!result.empty()) return result;
  base::Result<std::vector<std::string>> older = SeriesNames(rule, kLookBackMs);
  if (older.ok()) {
    auto it = std::find_if(older->begin(), older->end(), fits);
    if (it != older->end()) {
      return base::NotFoundError(rule.Title() + ": the series " + *it + " has had no sample for " +
                                 base::FormatDuration({options_.max_age_ms}) + "; is it still scraped?");
    }
  }
  if (names->empty()) return base::NotFoundError(rule.Title() + ": no series matches " + rule.series_query);
  return base::NotFoundError(rule.Title() + ": none of the " + std::to_string(names->size()) +
                             " series names that match " + rule.series_query + " becomes " + metric +
                             " after seriesFilters and name");
}

base::Result<CustomMetric> Registry::TryRule(const std::shared_ptr<const Rule>& rule, const ResourceType& type,
                                             const std::string& metric) {
  TW_ASSIGN_OR_RETURN(std::vector<std::string> candidates, SeriesFor(*rule, metric));
  std::string label = LabelOf(rule->resources, type, mapper_);
  if (label.empty()) {
    return base::NotFoundError(rule->Title() + ": resources maps no label to " + type.group_resource().ToString());
  }
  for (const std::string& series : candidates) {
    promql::Matchers matchers = rule->selector;
    matchers.push_back(promql::Matcher::Equal("__name__", series));
    int64_t now = clock_.NowMs();
    base::Result<std::vector<std::string>> labels = engine_.LabelNames(matchers, now - options_.max_age_ms, now);
    if (!labels.ok()) return labels.status().Annotate(rule->Title() + ": cannot list the labels of " + series);
    if (std::find(labels->begin(), labels->end(), label) == labels->end()) continue;
    return CustomMetric{rule, series, type, label, NamespaceLabelOf(rule->resources, mapper_)};
  }
  return base::NotFoundError(rule->Title() + ": the series " + candidates[0] + " has no label " + label +
                             ", which would name the " + type.group_resource().ToString());
}

base::Result<CustomMetric> Registry::TryPromql(const std::shared_ptr<const Rule>& rule, const ResourceType& type,
                                               const std::string& metric) const {
  if (rule->metric != metric) return base::NotFoundError(rule->Title() + ": gives the metric " + rule->metric);
  std::string label = LabelOf(rule->resources, type, mapper_);
  if (label.empty()) {
    return base::NotFoundError(rule->Title() + ": resources maps no label to " + type.group_resource().ToString());
  }
  return CustomMetric{rule, "", type, label, NamespaceLabelOf(rule->resources, mapper_)};
}

base::Result<CustomMetric> Registry::FindCustom(const GroupResource& resource, const std::string& metric,
                                                const std::string& scope) {
  TW_ASSIGN_OR_RETURN(ResourceType type, mapper_.Resolve(resource.group, resource.resource));
  std::shared_ptr<const Listing> current = listing();
  for (const std::string& ns : {scope, std::string()}) {
    auto it = current->custom.find({type.group_resource(), metric, ns});
    if (it != current->custom.end()) return it->second;
  }
  return TryRules<CustomMetric>(RulesFor(false, scope), [&](const auto& rule) {
    return rule->promql.empty() ? TryRule(rule, type, metric) : TryPromql(rule, type, metric);
  });
}

base::Result<ExternalMetric> Registry::FindExternal(const std::string& metric, const std::string& scope) {
  std::shared_ptr<const Listing> current = listing();
  for (const std::string& ns : {scope, std::string()}) {
    auto it = current->external.find({metric, ns});
    if (it != current->external.end()) return it->second;
  }
  return TryRules<ExternalMetric>(RulesFor(true, scope), [&](const auto& rule) -> base::Result<ExternalMetric> {
    std::string label = NamespaceLabelOf(rule->resources, mapper_);
    if (!rule->promql.empty()) {
      if (rule->metric == metric) return ExternalMetric{rule, "", label};
      return base::NotFoundError(rule->Title() + ": gives the metric " + rule->metric);
    }
    TW_ASSIGN_OR_RETURN(std::vector<std::string> series, SeriesFor(*rule, metric));
    return ExternalMetric{rule, series[0], label};
  });
}

template <typename T, typename Try>
base::Result<T> Registry::TryRules(const RuleList& rules, Try attempt) {
  std::string reasons;
  bool unknown = false;
  for (const auto& rule : rules) {
    base::Result<T> found = attempt(rule);
    if (found.ok()) return found;
    unknown = unknown || found.status().code() != base::Code::kNotFound;
    reasons += (reasons.empty() ? "" : "; ") + found.status().message();
  }
  if (reasons.size() > kMaxReasons) reasons = reasons.substr(0, kMaxReasons) + "...";
  if (unknown) return base::UnavailableError(reasons);
  return base::NotFoundError(reasons.empty() ? "no rule is configured" : reasons);
}

}  // namespace tidewright::adapter
