// ObjectStatus: the status of one autoscaler object, written only when it changes. Private to scaler.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "base/json_fwd.h"
#include "base/status.h"
#include "kube/client.h"

namespace tidewright::scaler {

// Keeps the authoritative copy of an object's status between passes. Not thread-safe.
class ObjectStatus {
 public:
  ObjectStatus();
  ~ObjectStatus();

  // Starts from what the object says.
  void Reset(const base::Json& object);

  // Sets status.<key>; null removes it.
  void Set(const std::string& key, base::Json value);
  const base::Json* Find(const std::string& key) const;
  // Sets a condition with lastTransitionTime and observedGeneration. Returns whether its status or reason changed.
  bool SetCondition(const std::string& type, const std::string& status, const std::string& reason,
                    const std::string& message, int64_t generation, int64_t now_ms);

  // Patches the status subresource if anything differs from what was written last. On failure the next call tries
  // again.
  base::Status Write(kube::Client& client, const kube::Resource& resource, const std::string& ns,
                     const std::string& name);

  // {"status": {...}}
  const base::Json& object() const { return *object_; }

 private:
  std::unique_ptr<base::Json> object_;
  std::map<std::string, std::string> written_;  // The members of the status as last read or written, as texts.
  bool changed_ = false;                        // Since then, perhaps.
};

}  // namespace tidewright::scaler
