#include "sandbox/load.h"

#include <algorithm>
#include <cmath>

namespace tidewright::sandbox {

LoadCurve::LoadCurve(std::vector<Point> points, bool repeat) : points_(std::move(points)), repeat_(repeat) {}

double LoadCurve::RateAt(double seconds) const {
  if (points_.empty()) return 0;
  const double period = points_.back().at_seconds;
  if (repeat_ && period > 0) seconds = std::fmod(std::max(0.0, seconds), period);
  if (seconds <= points_.front().at_seconds) return points_.front().rate;
  for (size_t i = 1; i < points_.size(); ++i) {
    const Point& a = points_[i - 1];
    const Point& b = points_[i];
    if (seconds < b.at_seconds) {
      return a.rate + (b.rate - a.rate) * (seconds - a.at_seconds) / (b.at_seconds - a.at_seconds);
    }
  }
  return points_.back().rate;
}

// The integral from 0 to `seconds`, without repetition.
double LoadCurve::TotalWithin(double seconds) const {
  double total = std::min(seconds, points_.front().at_seconds) * points_.front().rate;
  for (size_t i = 1; i < points_.size(); ++i) {
    const Point& a = points_[i - 1];
    const Point& b = points_[i];
    if (seconds <= a.at_seconds || b.at_seconds <= a.at_seconds) continue;
    const double end = std::min(seconds, b.at_seconds);
    const double rate_at_end = a.rate + (b.rate - a.rate) * (end - a.at_seconds) / (b.at_seconds - a.at_seconds);
    total += (a.rate + rate_at_end) / 2 * (end - a.at_seconds);
  }
  return total + std::max(0.0, seconds - points_.back().at_seconds) * points_.back().rate;
}

double LoadCurve::TotalAt(double seconds) const {
  if (points_.empty() || seconds <= 0) return 0;
  const double period = points_.back().at_seconds;
  if (!repeat_ || period <= 0) return TotalWithin(seconds);
  return std::floor(seconds / period) * TotalWithin(period) + TotalWithin(std::fmod(seconds, period));
}

LoadCurve ScriptedRequests(double low, double peak) {
  return LoadCurve({{0, low}, {10, low}, {22, peak}, {44, peak}, {52, low}});
}

LoadCurve ScriptedBurst(double rate) { return LoadCurve({{0, 0}, {12, 0}, {12, rate}, {27, rate}, {27, 0}}); }

LoadCurve DayCurve(double low, double peak, double day_seconds) {
  const double hour = day_seconds / 24;
  return LoadCurve({{0, low},
                    {6 * hour, low},
                    {10 * hour, 0.7 * peak},
                    {12 * hour, peak},
                    {15 * hour, 0.5 * peak},
                    {19 * hour, 0.9 * peak},
                    {23 * hour, low},
                    {24 * hour, low}},
                   true);
}

void LoadSources::Set(LoadSource source) {
  base::MutexLock lock(mu_);
  std::string name = source.name;
  sources_[name] = std::move(source);
}

std::vector<LoadSource> LoadSources::All() const {
  std::vector<LoadSource> all;
  base::MutexLock lock(mu_);
  for (const auto& [name, source] : sources_) all.push_back(source);
  return all;
}

double LoadSources::RateAt(const std::string& name, double seconds) const {
  base::MutexLock lock(mu_);
  auto it = sources_.find(name);
  return it == sources_.end() ? 0 : it->second.curve.RateAt(seconds);
}

}  // namespace tidewright::sandbox
