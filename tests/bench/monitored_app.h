// Values as an application under monitoring exposes them, for benchmarks: counters of requests, histograms, resource
// gauges. Of the values of a step about half are those of the step before, most are integers, some have decimals.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "tsdb/labels.h"

namespace tidewright::bench {

// One request handler and one container: 28 series that move together.
class MonitoredApp {
 public:
  static constexpr int kSeries = 28;

  explicit MonitoredApp(uint64_t seed) : random_(seed * 0x9e3779b97f4a7c15 | 1), idle_(seed % 3 == 2) {
    for (int64_t& value : values_) value = static_cast<int64_t>(Next() % 200'000);
    values_[kSum] = static_cast<int64_t>(Next() % 1'000'000'000'000);
    values_[kCpu] = static_cast<int64_t>(Next() % 900'000'000'000);
    values_[kMemory] = static_cast<int64_t>(20'000 + Next() % 60'000) * 4096;
  }

  // One scrape later.
  void Advance() {
    uint64_t r = Next();
    if (!idle_) {
      auto requests = static_cast<int64_t>(r & 31) * static_cast<int64_t>(1 + (r >> 60) % 7);
      static constexpr int64_t kShares[12] = {20, 60, 130, 180, 215, 240, 248, 252, 254, 255, 256, 256};
      for (int i = 0; i < 12; ++i) values_[kBuckets + i] += requests * kShares[i] / 256;
      values_[kSum] += requests * static_cast<int64_t>(20'000'000 + (r >> 10 & 0x1ffffff));
      values_[kCount] += requests;
      values_[0] += requests * 3 / 4;
      values_[3] += requests - requests * 3 / 4;
      values_[1] += (r >> 12 & 7) == 0;
      values_[2] += (r >> 16 & 15) == 0;
      values_[4] += (r >> 20 & 15) == 0;
      values_[5] += (r >> 24 & 63) == 0;
    }
    uint64_t q = Next();
    values_[kCpu] += static_cast<int64_t>(q & 0x1fffff);
    values_[kMemory] += (static_cast<int64_t>(q >> 21 & 0xff) - 127) * 4096;
    values_[kNetwork] += static_cast<int64_t>(q >> 29 & 0xfffff);
    if ((q & 1) != 0) values_[kQueue] = static_cast<int64_t>(q >> 50 & 63);
    if ((q >> 2 & 3) == 0) values_[kDuration] = static_cast<int64_t>(Next() >> 34);
    values_[kCache] += static_cast<int64_t>(q >> 54 & 15) - 7;
  }

  double Value(int series) const {
    auto value = static_cast<double>(values_[static_cast<size_t>(series)]);
    if (series == kSum || series == kDuration) return value / 1e9;
    return series == kCpu ? value / 1e6 : value;
  }

  // Labels of a series of application `app` in pod `pod`.
  static tsdb::Labels LabelsOf(int pod, int app, int series) {
    tsdb::LabelsBuilder labels;
    const std::string number = std::to_string(app);
    labels.Set("job", "pods").Set("instance", "10.0." + std::to_string(pod / 250) + "." + std::to_string(pod % 250));
    labels.Set("namespace", "ns-" + std::to_string(pod % 10)).Set("pod", "app-" + std::to_string(pod) + "-x2b4z");
    if (series < kBuckets) {
      labels.Set("__name__", "http_requests_total").Set("handler", "/api/v1/resource-" + number);
      labels.Set("method", series < 3 ? "GET" : "POST").Set("code", std::to_string(200 + series % 3 * 150));
    } else if (series < kSum) {
      labels.Set("__name__", "http_request_duration_seconds_bucket").Set("handler", "/api/v1/resource-" + number);
      labels.Set("le", std::to_string(series - kBuckets));
    } else {
      labels.Set("__name__", "metric_" + std::to_string(series)).Set("container", "c-" + number);
      labels.Set("node", "node-" + std::to_string(pod % 25) + ".cluster.example");
      if (series == kMemory) labels.Set("id", "/kubepods/pod" + std::to_string(pod * 7919 + app) + "/" + number);
    }
    return labels.Build();
  }

 private:
  static constexpr int kBuckets = 6, kSum = 18, kCount = 19, kCpu = 20, kMemory = 21, kNetwork = 22, kQueue = 23,
                       kDuration = 24, kCache = 25;

  uint64_t Next() {
    random_ ^= random_ << 13;
    random_ ^= random_ >> 7;
    random_ ^= random_ << 17;
    return random_ * 0xd1342543de82ef95;
  }

  uint64_t random_;
  bool idle_;
  std::array<int64_t, kSeries> values_{};
};

// A scrape target of `size` series.
class MonitoredPod {
 public:
  MonitoredPod(int pod, int size) : pod_(pod), size_(size) {
    for (int app = 0; app * MonitoredApp::kSeries < size; ++app) apps_.emplace_back(pod * 1000 + app);
    values_.resize(static_cast<size_t>(size));
    Scrape();
  }
  tsdb::Labels LabelsOf(int series) const {
    return MonitoredApp::LabelsOf(pod_, series / MonitoredApp::kSeries, series % MonitoredApp::kSeries);
  }
  const std::vector<double>& values() const { return values_; }
  int size() const { return size_; }
  void Advance() {
    for (MonitoredApp& app : apps_) app.Advance();
    Scrape();
  }

 private:
  void Scrape() {
    for (int i = 0; i < size_; ++i) {
      values_[static_cast<size_t>(i)] =
          apps_[static_cast<size_t>(i / MonitoredApp::kSeries)].Value(i % MonitoredApp::kSeries);
    }
  }

  int pod_;
  int size_;
  std::vector<MonitoredApp> apps_;
  std::vector<double> values_;
};

}  // namespace tidewright::bench
