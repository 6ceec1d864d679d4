// JobPool: the Jobs of one ScaledJob as the cluster has them: counting, starting, tidying up. Private to the
// controllers.
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/json_fwd.h"
#include "base/status.h"
#include "scaler/cluster.h"
#include "scaler/decide_jobs.h"
#include "scaler/scaled_job.h"

namespace tidewright::scaler {

// The label that says whose a Job is, as KEDA writes it, so that its Jobs are taken over.
inline constexpr char kScaledJobLabel[] = "scaledjob.keda.sh/name";

// Not thread-safe. Borrows the cluster.
class JobPool {
 public:
  explicit JobPool(const Cluster& cluster) : cluster_(cluster) {}

  // Forgets what it knows: the ScaledJob is another one of the same name.
  void Reset();

  // Looks at the Jobs again. A Job that was created here counts although the cache does not show it yet: without that
  // each pass would create it once more. Errors: what cannot be read; then nothing is known.
  base::Status Refresh(const base::Json& owner, const ScaledJob& spec);

  const JobCounts& counts() const { return counts_; }

  // Creates `count` Jobs; returns how many there are, and the first error in `error`.
  int32_t Create(const base::Json& owner, const ScaledJob& spec, int32_t count, base::Status* error);
  // Deletes what is finished and beyond the history limits, and, unless spec.keep_old_jobs, what runs with another
  // template. Returns the first error; the rest is tried all the same.
  base::Status TidyUp(const ScaledJob& spec);

 private:
  using Object = std::shared_ptr<const base::Json>;
  base::Status CountExpected(const ScaledJob& spec, const std::set<std::string>& known);
  base::Result<int32_t> CountPending(const ScaledJob& spec, const std::vector<Object>& jobs) const;
  base::Status TrimHistory(const ScaledJob& spec, bool failed);

  const Cluster& cluster_;
  JobCounts counts_;
  std::vector<Object> jobs_;        // As last seen in the cache.
  std::set<std::string> expected_;  // Created here and not seen there yet, by name.
};

}  // namespace tidewright::scaler
