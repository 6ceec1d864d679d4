#include "scaler/trigger/external_messages.h"

#include <cmath>
#include <utility>

#include "base/document.h"
#include "base/wire_reader.h"
#include "base/wire_writer.h"

namespace tidewright::scaler::trigger {

namespace {

using base::WireReader;
using base::WireWriter;

base::Status NoMessage(const char* call) {
  return base::UnavailableError(std::string("the reply to ") + call + " is not what the protocol says");
}

// A name, an integer and a fraction, which counts when it is positive: MetricSpec and MetricValue alike.
struct NamedNumber {
  std::string name;
  double number = 0;
};
base::Result<NamedNumber> DecodeNamedNumber(std::string_view bytes, const char* call) {
  NamedNumber decoded;
  int64_t whole = 0;
  double fraction = 0;
  WireReader reader(bytes);
  while (reader.Next()) {
    if (reader.field() == 1) decoded.name = reader.Bytes();
    if (reader.field() == 2) whole = static_cast<int64_t>(reader.Varint());
    if (reader.field() == 3) fraction = reader.Double();
  }
  if (!reader.ok()) return NoMessage(call);
  decoded.number = fraction > 0 || std::isnan(fraction) ? fraction : static_cast<double>(whole);
  return decoded;
}

}  // namespace

std::string EncodeScaledObjectRef(const std::string& name, const std::string& ns,
                                  const std::map<std::string, std::string>& metadata) {
  WireWriter ref;
  ref.Bytes(1, name).Bytes(2, ns);
  for (const auto& [key, value] : metadata) {
    WireWriter entry;
    entry.Bytes(1, key).Bytes(2, value);
    ref.Bytes(3, entry.bytes());
  }
  return ref.Take();
}

std::string EncodeGetMetrics(const std::string& scaled_object_ref, const std::string& metric) {
  return WireWriter().Bytes(1, scaled_object_ref).Bytes(2, metric).Take();
}

base::Result<bool> DecodeIsActive(std::string_view bytes) {
  bool active = false;
  WireReader reader(bytes);
  while (reader.Next()) {
    if (reader.field() == 1) active = reader.Varint() != 0;
  }
  if (!reader.ok()) return NoMessage("IsActive");
  return active;
}

base::Result<std::vector<ExternalMetric>> DecodeMetricSpecs(std::string_view bytes) {
  std::vector<ExternalMetric> metrics;
  WireReader reader(bytes);
  while (reader.Next()) {
    if (reader.field() != 1) continue;
    TW_ASSIGN_OR_RETURN(NamedNumber spec, DecodeNamedNumber(reader.Bytes(), "GetMetricSpec"));
    if (!std::isfinite(spec.number) || spec.number < 0.001) {
      return base::FailedPreconditionError("the scaler gives the metric " + base::Quoted(spec.name) +
                                           " no positive target");
    }
    if (metrics.size() == kMaxExternalMetrics) {
      return base::FailedPreconditionError("the scaler has more than " + std::to_string(kMaxExternalMetrics) +
                                           " metrics");
    }
    metrics.push_back({std::move(spec.name), spec.number});
  }
  if (!reader.ok()) return NoMessage("GetMetricSpec");
  if (metrics.empty()) return base::FailedPreconditionError("the scaler has no metric");
  return metrics;
}

base::Result<double> DecodeMetrics(std::string_view bytes) {
  double sum = 0;
  bool any = false;
  WireReader reader(bytes);
  while (reader.Next()) {
    if (reader.field() != 1) continue;
    TW_ASSIGN_OR_RETURN(NamedNumber value, DecodeNamedNumber(reader.Bytes(), "GetMetrics"));
    sum += value.number;
    any = true;
  }
  if (!reader.ok()) return NoMessage("GetMetrics");
  if (!any) return base::FailedPreconditionError("the scaler gives no value");
  return sum;
}

}  // namespace tidewright::scaler::trigger
