// Load on simulated workloads: rates as functions of time.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/mutex.h"

namespace tidewright::sandbox {

// A rate (per second) as a piecewise-linear function of the seconds since the start. After its last point it either
// stays there or begins again. Value type; empty is a rate of 0.
class LoadCurve {
 public:
  struct Point {
    double at_seconds;
    double rate;
  };
  LoadCurve() = default;
  // `points` by ascending time; before the first one the rate is that of the first.
  explicit LoadCurve(std::vector<Point> points, bool repeat = false);

  double RateAt(double seconds) const;
  // How much has come since the start: the integral of the rate. Counters that grow by differences of it have exactly
  // the rates of the curve.
  double TotalAt(double seconds) const;
  const std::vector<Point>& points() const { return points_; }

 private:
  double TotalWithin(double seconds) const;

  std::vector<Point> points_;
  bool repeat_ = false;
};

// Requests that arrive at one Service through its Ingress.
struct LoadSource {
  std::string name;
  std::string ns = "shop";
  std::string service;  // Also the ingress's name.
  std::string host;
  LoadCurve curve;
};

// The 90-second demo: low, a ramp to the peak, the peak, and back to low by second 52, so that a scale-down with a
// short stabilization window is over before second 85. `peak` in requests per second.
LoadCurve ScriptedRequests(double low, double peak);
// The demo's queue: silence, a burst of `rate` items per second from second 12 to 27, silence.
LoadCurve ScriptedBurst(double rate);
// An endless day of `day_seconds`: quiet night, morning ramp, noon peak, afternoon dip, evening peak.
LoadCurve DayCurve(double low, double peak, double day_seconds);

// The named sources of one sandbox. Thread-safe.
class LoadSources {
 public:
  // Adds or replaces a source by name.
  void Set(LoadSource source);
  std::vector<LoadSource> All() const;
  // The requests per second of a source at `seconds`; 0 for unknown names.
  double RateAt(const std::string& name, double seconds) const;

 private:
  mutable base::Mutex mu_;
  std::map<std::string, LoadSource> sources_ GUARDED_BY(mu_);
};

}  // namespace tidewright::sandbox
