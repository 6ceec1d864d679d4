#include "rules/manager.h"

#include <glob.h>

#include <algorithm>
#include <iterator>
#include <set>
#include <utility>

#include "base/file.h"
#include "base/log.h"
#include "base/strings.h"
#include "rules/group.h"
#include "rules/workers.h"

namespace tidewright::rules {

std::string_view AlertStateName(AlertState state) {
  switch (state) {
    case AlertState::kPending: return "pending";
    case AlertState::kFiring: return "firing";
    case AlertState::kInactive: break;
  }
  return "inactive";
}

AlertState RuleStatus::state() const {
  AlertState most = AlertState::kInactive;
  for (const Alert& alert : alerts) most = std::max(most, alert.state);
  return most;
}

struct Manager::Environment {
  Environment(promql::QueryEngine& e, tsdb::Appendable& s, base::Clock& c, base::Scheduler& sched,
              base::MetricRegistry* metrics, const ManagerOptions& o)
      : engine(e), storage(s), clock(c), scheduler(sched), instruments(metrics ? *metrics : own_registry), options(o) {
    if (o.max_concurrent_evaluations > 0) workers = std::make_unique<Workers>(o.max_concurrent_evaluations);
  }

  promql::QueryEngine& engine;
  tsdb::Appendable& storage;
  base::Clock& clock;
  base::Scheduler& scheduler;
  base::MetricRegistry own_registry;  // Used when the owner gave none.
  Instruments instruments;
  const ManagerOptions options;
  std::unique_ptr<Workers> workers;  // Null: each group is evaluated in order.
};

// Keeps one group on its schedule. Start() and Stop() are called by one thread at a time, Start() once.
class GroupRunner : public std::enable_shared_from_this<GroupRunner> {
 public:
  GroupRunner(std::unique_ptr<Group> group, base::Clock& clock, base::Scheduler& scheduler)
      : group_(std::move(group)), clock_(clock), scheduler_(scheduler) {}

  Group& group() { return *group_; }
  const Group& group() const { return *group_; }

  void Start() {
    base::MutexLock lock(mu_);
    if (stopped_ || task_ != 0) return;
    ScheduleAfter(clock_.NowMs() - 1);
  }

  // Waits for an evaluation that is under way.
  void Stop() {
    base::Scheduler::TaskId task;
    {
      base::MutexLock lock(mu_);
      stopped_ = true;
      task = task_;
    }
    if (task != 0) scheduler_.Cancel(task);
  }

 private:
  // Schedules the first slot after `t`. Times are multiples of the interval, plus the offset.
  void ScheduleAfter(int64_t t) REQUIRES_LOCK(mu_) {
    const int64_t interval = group_->interval_ms();
    const int64_t offset = group_->OffsetMs();
    int64_t into = (t - offset) % interval;
    if (into < 0) into += interval;
    const int64_t slot = t - into + interval;
    task_ = scheduler_.At(slot, [self = shared_from_this(), slot] { self->Run(slot); });
  }

  void Run(int64_t slot) {
    group_->Evaluate(slot);
    if (group_->RestoreDue()) group_->Restore(slot);
    const int64_t interval = group_->interval_ms();
    const int64_t late = std::max<int64_t>(0, (clock_.NowMs() - slot) / interval);
    if (late > 0) group_->CountMissed(late);
    base::MutexLock lock(mu_);
    if (!stopped_) ScheduleAfter(slot + late * interval);
  }

  const std::unique_ptr<Group> group_;
  base::Clock& clock_;
  base::Scheduler& scheduler_;
  base::Mutex mu_;
  base::Scheduler::TaskId task_ GUARDED_BY(mu_) = 0;
  bool stopped_ GUARDED_BY(mu_) = false;
};

Manager::Manager(promql::QueryEngine& engine, tsdb::Appendable& storage, base::Clock& clock, base::Scheduler& scheduler,
                 base::MetricRegistry* metrics, const ManagerOptions& options)
    : environment_(std::make_unique<Environment>(engine, storage, clock, scheduler, metrics, options)),
      default_interval_ms_(options.default_interval_ms),
      default_query_offset_ms_(options.default_query_offset_ms),
      external_labels_(options.external_labels) {}

Manager::~Manager() { Stop(); }

base::Result<std::vector<GroupSpec>> Manager::ReadFiles(const std::vector<std::string>& patterns) const {
  std::set<std::string> paths;
  for (const std::string& pattern : patterns) {
    glob_t found = {};
    if (glob(pattern.c_str(), 0, nullptr, &found) == 0) {
      for (size_t i = 0; i < found.gl_pathc; ++i) paths.insert(found.gl_pathv[i]);
    } else {
      base::LogWarn("rules", "no rule file matches", {{"pattern", pattern}});
    }
    globfree(&found);
  }
  std::vector<GroupSpec> groups;
  std::vector<std::string> errors;
  for (const std::string& path : paths) {
    base::Result<std::string> text = base::ReadFile(path);
    auto parsed = text.ok()
                      ? ParseRuleFile(*text, path, RuleFileOptions{.legacy_names = environment_->options.legacy_names})
                      : base::Result<std::vector<GroupSpec>>(text.status());
    if (!parsed.ok()) {
      errors.push_back(parsed.status().message());
      continue;
    }
    groups.insert(groups.end(), std::make_move_iterator(parsed->begin()), std::make_move_iterator(parsed->end()));
  }
  if (!errors.empty()) return base::InvalidArgumentError(base::Join(errors, "\n"));
  return groups;
}

base::Status Manager::Load(const std::vector<std::string>& files, std::vector<GroupSpec> objects) {
  TW_ASSIGN_OR_RETURN(std::vector<GroupSpec> specs, ReadFiles(files));
  specs.insert(specs.end(), std::make_move_iterator(objects.begin()), std::make_move_iterator(objects.end()));
  Environment& env = *environment_;
  base::MutexLock load(load_mu_);
  for (GroupSpec& spec : specs) {  // A group with another default is another group.
    if (spec.interval_ms == 0) spec.interval_ms = default_interval_ms_;
    if (!spec.query_offset_ms) spec.query_offset_ms = default_query_offset_ms_;
  }
  std::map<std::pair<std::string, std::string>, std::shared_ptr<GroupRunner>> old;
  for (auto& runner : CurrentRunners()) {
    const GroupSpec& spec = runner->group().spec();
    old[{spec.file, spec.name}] = std::move(runner);
  }
  std::vector<std::shared_ptr<GroupRunner>> runners, fresh;
  ManagerOptions options = env.options;
  options.external_labels = external_labels_;
  for (const GroupSpec& spec : specs) {
    auto before = old.extract({spec.file, spec.name});
    if (!before.empty() && before.mapped()->group().Is(spec, external_labels_)) {
      runners.push_back(std::move(before.mapped()));
      continue;
    }
    auto group = std::make_unique<Group>(spec, options, env.engine, env.storage, env.instruments, env.workers.get());
    if (!before.empty()) {
      before.mapped()->Stop();
      group->CopyState(before.mapped()->group());
    }
    fresh.push_back(std::make_shared<GroupRunner>(std::move(group), env.clock, env.scheduler));
    runners.push_back(fresh.back());
  }
  for (auto& [key, removed] : old) {
    removed->Stop();
    removed->group().EndSeries(env.clock.NowMs());
  }
  {
    base::MutexLock lock(mu_);
    runners_ = std::move(runners);
  }
  for (auto& [key, removed] : old) RemoveGroupInstruments(env.instruments.registry, removed->group().spec());
  if (running_) {
    for (auto& runner : fresh) runner->Start();
  }
  base::LogInfo("rules", "rules loaded", {{"groups", std::to_string(specs.size())}});
  return base::Status::Ok();
}

void Manager::SetDefaults(int64_t interval_ms, int64_t query_offset_ms) {
  base::MutexLock load(load_mu_);
  default_interval_ms_ = interval_ms;
  default_query_offset_ms_ = query_offset_ms;
}

void Manager::SetExternalLabels(const std::map<std::string, std::string>& labels) {
  base::MutexLock load(load_mu_);
  external_labels_ = labels;
}

void Manager::Start() {
  base::MutexLock load(load_mu_);
  running_ = true;
  for (auto& runner : CurrentRunners()) runner->Start();
}

void Manager::Stop() {
  base::MutexLock load(load_mu_);
  running_ = false;
  for (auto& runner : CurrentRunners()) runner->Stop();
}

std::vector<std::shared_ptr<GroupRunner>> Manager::CurrentRunners() const {
  base::MutexLock lock(mu_);
  return runners_;
}

std::vector<GroupStatus> Manager::Groups() const {
  std::vector<GroupStatus> groups;
  for (const auto& runner : CurrentRunners()) groups.push_back(runner->group().Status());
  return groups;
}

}  // namespace tidewright::rules
