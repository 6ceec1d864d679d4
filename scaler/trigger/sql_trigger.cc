#include "scaler/trigger/sql_trigger.h"

#include <utility>

#include "base/document.h"
#include "base/strings.h"
#include "scaler/trigger/http_source.h"

namespace tidewright::scaler::trigger {

namespace {

constexpr int64_t kTimeoutMs = 3000;

class SqlTrigger : public Trigger {
 public:
  SqlTrigger(TriggerInfo info, std::string query, SqlOpener open)
      : Trigger(std::move(info)), query_(std::move(query)), open_(std::move(open)) {}

  base::Result<Reading> Read() override {
    bool reused = connection_ != nullptr;
    auto reading = Attempt();
    // A kept connection may have died unnoticed since the last reading: one fresh attempt tells.
    if (!reading.ok() && reused) reading = Attempt();
    if (!reading.ok()) return reading.status().Annotate(info().type);
    return reading;
  }

 private:
  base::Result<Reading> Attempt() {
    if (connection_ == nullptr) {
      TW_ASSIGN_OR_RETURN(connection_, open_(kTimeoutMs));
    }
    auto text = connection_->FirstValue(query_, kTimeoutMs);
    if (!text.ok()) {
      connection_ = nullptr;
      return text.status();
    }
    double value = 0;
    if (!base::ParseDouble(base::TrimSpace(*text), &value)) {
      return base::FailedPreconditionError("the query gives " + base::Quoted(text->substr(0, 100)) +
                                           ", which is not a number");
    }
    TW_ASSIGN_OR_RETURN(int64_t milli, ToMilli(value));
    return Reading{milli, "query = " + FormatMilli(milli)};
  }

  const std::string query_;
  const SqlOpener open_;
  std::unique_ptr<SqlConnection> connection_;
};

}  // namespace

std::unique_ptr<Trigger> NewSqlTrigger(TriggerInfo info, std::string query, SqlOpener open) {
  return std::make_unique<SqlTrigger>(std::move(info), std::move(query), std::move(open));
}

}  // namespace tidewright::scaler::trigger
