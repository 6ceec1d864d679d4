#include "base/metrics.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "base/strings.h"

namespace tidewright::base {

namespace {

void AtomicAdd(std::atomic<double>& target, double delta) {
  double old = target.load(std::memory_order_relaxed);
  while (!target.compare_exchange_weak(old, old + delta, std::memory_order_relaxed)) {
  }
}

std::string EscapeLabel(const std::string& value) {
  std::string out;
  for (char c : value) {
    if (c == '\\' || c == '"') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else {
      out += c;
    }
  }
  return out;
}

// a="1",b="2"
std::string RenderLabels(const MetricLabels& labels) {
  std::string text;
  for (const auto& [name, value] : labels) {
    if (!text.empty()) text += ',';
    text += name + "=\"" + EscapeLabel(value) + "\"";
  }
  return text;
}

void AppendSample(std::string& out, const std::string& name, const std::string& labels, double value) {
  out += name;
  if (!labels.empty()) out += "{" + labels + "}";
  out += ' ';
  out += FormatDouble(value);
  out += '\n';
}

bool IncludesAll(const std::string& rendered, const std::vector<std::string>& parts) {
  std::string delimited = "," + rendered + ",";
  return std::all_of(parts.begin(), parts.end(),
                     [&](const std::string& part) { return delimited.find("," + part + ",") != std::string::npos; });
}

}  // namespace

void Counter::Add(double delta) { AtomicAdd(value_, delta); }

Histogram::Histogram(std::vector<double> bounds) : bounds_(std::move(bounds)), counts_(bounds_.size() + 1) {}

void Histogram::Observe(double value) {
  auto at = std::lower_bound(bounds_.begin(), bounds_.end(), value) - bounds_.begin();
  counts_[at].fetch_add(1, std::memory_order_relaxed);
  AtomicAdd(sum_, value);
}

MetricRegistry::Family& MetricRegistry::FamilyOf(const std::string& name, const std::string& help, Type type) {
  auto [it, added] = families_.try_emplace(name);
  if (added) {
    it->second.type = type;
    it->second.help = help;
  }
  return it->second;
}

Counter& MetricRegistry::GetCounter(const std::string& name, const std::string& help, const MetricLabels& labels) {
  MutexLock lock(mu_);
  auto& slot = FamilyOf(name, help, Type::kCounter).counters[RenderLabels(labels)];
  if (slot == nullptr) slot = std::make_unique<Counter>();
  return *slot;
}

Gauge& MetricRegistry::GetGauge(const std::string& name, const std::string& help, const MetricLabels& labels) {
  MutexLock lock(mu_);
  auto& slot = FamilyOf(name, help, Type::kGauge).gauges[RenderLabels(labels)];
  if (slot == nullptr) slot = std::make_unique<Gauge>();
  return *slot;
}

Histogram& MetricRegistry::GetHistogram(const std::string& name, const std::string& help, std::vector<double> bounds,
                                        const MetricLabels& labels) {
  MutexLock lock(mu_);
  auto& slot = FamilyOf(name, help, Type::kHistogram).histograms[RenderLabels(labels)];
  if (slot == nullptr) slot = std::make_unique<Histogram>(std::move(bounds));
  return *slot;
}

void MetricRegistry::Remove(const std::string& name, const MetricLabels& labels) {
  MutexLock lock(mu_);
  auto family = families_.find(name);
  if (family == families_.end()) return;
  const std::string exact = RenderLabels(labels);  // As nearly always, and then nothing else has these labels.
  if (family->second.gauges.erase(exact) + family->second.counters.erase(exact) > 0) return;
  std::vector<std::string> parts;
  for (const auto& label : labels) parts.push_back(RenderLabels({label}));
  auto matches = [&](const auto& entry) { return IncludesAll(entry.first, parts); };
  std::erase_if(family->second.counters, matches);
  std::erase_if(family->second.gauges, matches);
  std::erase_if(family->second.histograms, matches);
}

void MetricRegistry::OnCollect(std::function<void()> collect) {
  MutexLock lock(mu_);
  collectors_.push_back(std::move(collect));
}

std::string MetricRegistry::Render() const {
  std::vector<std::function<void()>> collectors;
  {
    MutexLock lock(mu_);
    collectors = collectors_;
  }
  for (const auto& collect : collectors) collect();  // Without the lock: they set gauges of this registry.

  static constexpr std::array kTypeNames = {"counter", "gauge", "histogram"};
  MutexLock lock(mu_);
  std::string out;
  for (const auto& [name, family] : families_) {
    out += "# HELP " + name + " " + family.help + "\n# TYPE " + name + " ";
    out += kTypeNames[static_cast<size_t>(family.type)];
    out += '\n';
    for (const auto& [labels, counter] : family.counters) AppendSample(out, name, labels, counter->Value());
    for (const auto& [labels, gauge] : family.gauges) AppendSample(out, name, labels, gauge->Value());
    for (const auto& [labels, histogram] : family.histograms) {
      uint64_t cumulative = 0;
      std::string prefix = labels.empty() ? "" : labels + ",";
      for (size_t i = 0; i < histogram->counts_.size(); ++i) {
        cumulative += histogram->counts_[i].load(std::memory_order_relaxed);
        std::string bound = i < histogram->bounds_.size() ? FormatDouble(histogram->bounds_[i]) : "+Inf";
        AppendSample(out, name + "_bucket", prefix + "le=\"" + bound + "\"", static_cast<double>(cumulative));
      }
      AppendSample(out, name + "_sum", labels, histogram->sum_.load(std::memory_order_relaxed));
      AppendSample(out, name + "_count", labels, static_cast<double>(cumulative));
    }
  }
  return out;
}

std::string FormatDouble(double value) {
  // Prometheus switches to an exponent below 1e-6 and from 1e21 on.
  double magnitude = std::fabs(value);
  bool exponent = std::isfinite(value) && magnitude != 0 && (magnitude < 1e-6 || magnitude >= 1e21);
  if (!exponent) return FormatFixed(value);
  std::array<char, 40> text{};
  char* end = std::to_chars(text.data(), text.data() + text.size(), value, std::chars_format::scientific).ptr;
  return {text.data(), end};
}

}  // namespace tidewright::base
