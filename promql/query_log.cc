#include "promql/query_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "base/duration.h"
#include "promql/value_json.h"

namespace tidewright::promql {
namespace {

class ObjectWriter {
 public:
  explicit ObjectWriter(std::string* out) : out_(*out) { out_ += '{'; }
  ObjectWriter& Key(std::string_view name) {
    if (out_.back() != '{') out_ += ',';
    AppendJsonString(name, &out_);
    out_ += ':';
    return *this;
  }
  ObjectWriter& Text(std::string_view name, std::string_view value) {
    Key(name);
    AppendJsonString(value, &out_);
    return *this;
  }
  void End() { out_ += '}'; }

 private:
  std::string& out_;
};

std::string TimeOf(int64_t ms) { return base::FormatTime(ms, /*millis=*/true); }

void AppendParams(const QueryRequest& request, std::string* out) {
  bool instant = request.step_ms == 0;
  ObjectWriter params(out);
  params.Text("end", TimeOf(instant ? request.start_ms : request.end_ms)).Text("query", request.expr);
  params.Text("start", TimeOf(request.start_ms)).Key("step");
  *out += std::to_string(request.step_ms / 1000);
  params.End();
}

void AppendOrigin(const QueryOrigin& origin, ObjectWriter& line, std::string* out) {
  bool rule = !origin.rule_group.empty();
  line.Key(rule ? "ruleGroup" : "httpRequest");
  ObjectWriter from(out);
  if (rule) {
    from.Text("file", origin.rule_file).Text("name", origin.rule_group);
  } else {
    from.Text("clientIP", origin.client_ip).Text("method", origin.method).Text("path", origin.path);
  }
  from.End();
}

}  // namespace

QueryLog::QueryLog(const base::Clock& clock, base::MetricRegistry* metrics) : clock_(clock) {
  if (metrics == nullptr) return;
  enabled_metric_ = &metrics->GetGauge("prometheus_engine_query_log_enabled", "State of the query log.");
  failures_ = &metrics->GetCounter("prometheus_engine_query_log_failures_total",
                                   "Lines of the query log that could not be written.");
}

QueryLog::~QueryLog() {
  base::MutexLock lock(mu_);
  if (fd_ >= 0) close(fd_);
}

base::Status QueryLog::Open(const std::string& path) {
  int fd = path.empty() ? -1 : open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (!path.empty() && fd < 0) {
    return base::InvalidArgumentError("query_log_file " + path + ": " + std::generic_category().message(errno) +
                                      "; name a file that can be written");
  }
  base::MutexLock lock(mu_);
  if (fd_ >= 0) close(fd_);
  fd_ = fd;
  enabled_.store(fd >= 0, std::memory_order_relaxed);
  if (enabled_metric_ != nullptr) enabled_metric_->Set(fd >= 0 ? 1 : 0);
  return base::Status::Ok();
}

void QueryLog::Write(const QueryRequest& request, const base::Status& outcome, const QueryStatistics& statistics) {
  std::string out;
  ObjectWriter line(&out);
  line.Text("time", TimeOf(clock_.NowMs())).Text("level", "INFO").Text("msg", "promql query logged").Key("params");
  AppendParams(request, &out);
  if (!outcome.ok()) line.Text("error", outcome.message());
  line.Key("stats");
  AppendJson(statistics, &out);
  if (request.origin != nullptr) AppendOrigin(*request.origin, line, &out);
  line.End();
  out += '\n';
  base::MutexLock lock(mu_);
  if (fd_ < 0) return;
  bool whole = write(fd_, out.data(), out.size()) == static_cast<ssize_t>(out.size());
  if (!whole && failures_ != nullptr) failures_->Add();
}

}  // namespace tidewright::promql
