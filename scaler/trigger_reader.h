// TriggerReader: the triggers of one object, from their specs to the signals of a decision. Private to the controllers.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/json_fwd.h"
#include "base/status.h"
#include "scaler/cluster.h"
#include "scaler/decide.h"
#include "scaler/object_status.h"
#include "scaler/status_board.h"
#include "scaler/target.h"
#include "scaler/trigger.h"

namespace tidewright::scaler {

// Whose triggers they are.
struct TriggerOwner {
  std::string ns, name;
  std::string group;          // Of its TriggerAuthentications: that of the object itself.
  std::string env_container;  // Whose environment <key>FromEnv means; "": the first container.
  int64_t max_age_ms = 0;     // How old a value may be that another object's trigger has read.
};

// Builds triggers when they are read for the first time, keeps them with their connections, and builds them anew after
// a failure, and when their secrets have changed, which it looks for once a minute: rotation needs no failure, nor the
// right to watch Secrets. Not thread-safe. Borrows cluster, context and board.
class TriggerReader {
 public:
  TriggerReader(const Cluster& cluster, const TriggerContext& context, StatusBoard& board)
      : cluster_(cluster), context_(context), board_(board) {}

  // Sources that can push ask for readings by this; nobody pushes before. `hasten` is thread-safe.
  void PushTo(Trigger::Hasten hasten) { hasten_ = std::move(hasten); }
  // Forgets all triggers and begins with others.
  void Follow(TriggerOwner owner, std::vector<TriggerSpec> triggers);

  size_t size() const { return triggers_.size(); }
  // One reading. The target's object has the pod template (spec.template) with the environment. What went wrong is the
  // signal's error.
  Signal Read(size_t index, const Target& target);
  // Of a trigger as it was built last; without a type while it never was.
  const TriggerInfo& info(size_t index) const {
    const Source& source = sources_[index];
    return source.trigger == nullptr ? source.info : source.trigger->info();
  }
  // Failed readings in a row. A source that has no value at present did not fail.
  int32_t failures(size_t index) const { return sources_[index].failures; }

  // "cron", "redis", ...: one word per trigger.
  std::vector<std::string> Types() const;
  // Sets triggersTypes, externalMetricNames, triggersActivity and health of a status. Failures are counted no further
  // than `most_failures`, so that a long outage is not a stream of writes.
  void Report(const std::vector<Signal>& signals, int32_t most_failures, ObjectStatus* status);

 private:
  struct Source {
    std::unique_ptr<Trigger> trigger;  // Null while it cannot be built.
    bool failed = false;               // It is built anew before it reads again.
    std::string error;                 // Why.
    TriggerInfo info;                  // Of the last one that was built, while there is none.
    int32_t failures = 0;
    uint64_t secrets = 0;     // Stands for the values that the trigger was built with.
    int64_t compared_ms = 0;  // When these were looked up last.
  };
  struct Secrets;
  Secrets LookUp(const TriggerSpec& trigger, const base::Json& workload);
  void Build(size_t index, const Target& target);
  bool SecretsChanged(size_t index, const Target& target);

  const Cluster& cluster_;
  const TriggerContext& context_;
  StatusBoard& board_;
  Trigger::Hasten hasten_;
  TriggerOwner owner_;
  std::vector<TriggerSpec> triggers_;
  std::vector<Source> sources_;
  std::string reported_;  // What Report() made the status of last.
};

// A message that fits into a condition or an event.
std::string CutText(const std::string& text);

// What keeps signals from being read, in one line; empty if nothing does.
std::string ErrorsOf(const std::vector<Signal>& signals);

}  // namespace tidewright::scaler
