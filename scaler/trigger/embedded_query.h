// A query to the engine in this program whose result is one number. Private to scaler/trigger.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/status.h"
#include "promql/engine.h"
#include "scaler/trigger.h"
#include "scaler/trigger/empty_result.h"

namespace tidewright::scaler::trigger {

// The one number of a result; none for an empty vector. kFailedPrecondition: several series, or no instant value.
base::Result<std::optional<double>> OneValue(const promql::Value& value);
// The same error for a result of `count` series, whoever gave it.
base::Status TooManySeries(size_t count);

// Parsed once and evaluated at each reading. Not thread-safe. Borrows the context.
class EmbeddedQuery {
 public:
  EmbeddedQuery(std::string expr, const TriggerContext& context) : expr_(std::move(expr)), context_(context) {}

  const std::string& expr() const { return expr_; }
  // The value now; none for an empty result. Errors are the engine's, or those of OneValue().
  base::Result<std::optional<double>> Read();
  // What the store knows of the results of that time: EmptyResult::Ask. How far back it knows anything is seen by its
  // series `up`, which every scrape makes; where nothing is scraped it cannot tell.
  base::Result<PastResults> Past(int64_t start_ms, int64_t end_ms);

 private:
  base::Status Prepare();

  const std::string expr_;
  const TriggerContext& context_;
  std::unique_ptr<promql::PreparedQuery> prepared_;
};

}  // namespace tidewright::scaler::trigger
