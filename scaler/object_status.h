// ObjectStatus: the status of one autoscaler object, written only when it changes. Private to scaler.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/json_fwd.h"
#include "base/status.h"
#include "kube/client.h"
#include "scaler/decide.h"
#include "scaler/status_board.h"

namespace tidewright::scaler {

// Keeps the authoritative copy of an object's status between passes: members as JSON texts, which take a tenth of the
// memory of documents, and conditions in a list that is shared with the board. Not thread-safe.
class ObjectStatus {
 public:
  // The decision that status.decision shows.
  struct ShownDecision {
    int32_t replicas = 0;
    bool held = false;
  };

  // Starts from what the object says.
  void Reset(const base::Json& object);

  // Sets status.<key>, which is neither the conditions nor the decision; null removes it.
  void Set(const std::string& key, const base::Json& value);
  bool Has(const std::string& key) const { return members_.count(key) > 0; }
  // Whether status.<key> is this value.
  bool Is(const std::string& key, const base::Json& value) const;
  // None when there is no such number.
  std::optional<int64_t> FindInt(const std::string& key) const;

  // Sets a condition with lastTransitionTime and observedGeneration. Returns whether its status or reason changed.
  bool SetCondition(const std::string& type, const std::string& status, const std::string& reason,
                    const std::string& message, int64_t generation, int64_t now_ms);
  // Null if there is none of this type. Valid until the next change.
  const ConditionStatus* FindCondition(const std::string& type) const;
  const ConditionList& conditions() const { return conditions_; }

  // status.decision: replicas, why, time and steps.
  void SetDecision(ShownDecision shown, const std::string& why, const std::vector<Step>& steps, int64_t now_ms);
  const std::optional<ShownDecision>& decision() const { return decision_; }

  // Patches the status subresource if anything differs from what was written last. On failure the next call tries
  // again.
  base::Status Write(kube::Client& client, const kube::Resource& resource, const std::string& ns,
                     const std::string& name);

 private:
  bool ConditionsChanged() const;
  base::Json Patch() const;
  ConditionStatus& ConditionToChange(std::vector<ConditionStatus>& list, const std::string& type);

  std::map<std::string, std::string> members_;    // Without the conditions.
  std::map<std::string, std::string> unwritten_;  // Of those that changed: what was written last, "" for nothing.
  ConditionList conditions_;
  std::optional<ConditionList> written_conditions_;  // Those written last, once others came.
  std::optional<ShownDecision> decision_;
};

}  // namespace tidewright::scaler
