#include "web/write_batch.h"

#include <algorithm>

namespace tidewright::web {

namespace {

std::string_view ReasonOf(base::Code code) {
  return code == base::Code::kAlreadyExists
             ? "duplicate sample for timestamp: another value is stored"
             : "out of order sample: a newer one is stored, or the time is before what the store still takes";
}

}  // namespace

void WriteBatch::Write(std::vector<Sample>* samples) {
  auto earlier = [](const Sample& a, const Sample& b) { return a.t < b.t; };
  if (!std::is_sorted(samples->begin(), samples->end(), earlier)) {
    std::stable_sort(samples->begin(), samples->end(), earlier);
  }
  for (auto run = samples->begin(); run != samples->end();) {
    auto end = std::find_if(run, samples->end(), [&](const Sample& sample) { return sample.t != run->t; });
    WriteRun({run, end});
    run = end;
  }
  Commit();
}

void WriteBatch::WriteRun(std::span<const Sample> run) {
  const int64_t t = run.front().t;
  for (const Sample& sample : run) {
    WrittenSeries& series = series_[sample.series];
    if (t > latest_ms_) {
      RefuseAt(sample.series, t, "out of bounds: timestamp is too far in the future");
      continue;
    }
    if (series.commit == commit_ && pending_ + refs_.size() >= kSmallestCommit) {
      FlushRun(t);
      Commit();
    }
    series.commit = commit_;
    if (series.ref == 0) {
      WriteOne(sample);
      continue;
    }
    refs_.push_back(series.ref);
    values_.push_back(sample.v);
    indexes_.push_back(sample.series);
  }
  FlushRun(t);
}

void WriteBatch::FlushRun(int64_t t) {
  if (refs_.empty()) return;
  rejected_.clear();
  appender_->AppendBatch(refs_, values_, t, &rejected_);
  pending_ += refs_.size() - rejected_.size();
  for (const tsdb::BatchRejection& rejection : rejected_) {
    const uint32_t index = indexes_[rejection.index];
    if (rejection.code == base::Code::kInvalidArgument) {
      series_[index].ref = 0;
      WriteOne({t, values_[rejection.index], index});
    } else {
      RefuseAt(index, t, ReasonOf(rejection.code));
    }
  }
  refs_.clear();
  values_.clear();
  indexes_.clear();
}

void WriteBatch::WriteOne(const Sample& sample) {
  Append(sample.series, sample.t, [&](tsdb::SeriesRef ref, const tsdb::Labels& labels) {
    return appender_->Append(ref, labels, sample.t, sample.v);
  });
}

void WriteBatch::Write(size_t series, int64_t t, const tsdb::Histogram& histogram) {
  pending_histograms_ += Append(series, t, [&](tsdb::SeriesRef ref, const tsdb::Labels& labels) {
    return appender_->AppendHistogram(ref, labels, t, histogram);
  });
}

void WriteBatch::Write(size_t series, int64_t t, const tsdb::FloatHistogram& histogram) {
  pending_histograms_ += Append(series, t, [&](tsdb::SeriesRef ref, const tsdb::Labels& labels) {
    return appender_->AppendFloatHistogram(ref, labels, t, histogram);
  });
}

void WriteBatch::Write(size_t series, const tsdb::Exemplar& exemplar) {
  if (series_[series].ref == 0) return;
  outcome_.exemplars += appender_->AppendExemplar(series_[series].ref, exemplar).ok() ? 1 : 0;
}

template <typename Add>
bool WriteBatch::Append(size_t index, int64_t t, Add add) {
  WrittenSeries& series = series_[index];
  if (series.unnamed) {
    ++outcome_.unnamed;
    return false;
  }
  if (t > latest_ms_) {
    RefuseAt(index, t, "out of bounds: timestamp is too far in the future");
    return false;
  }
  auto labels = labels_of_(index);
  if (!labels.ok()) {
    series.unnamed = true;
    if (outcome_.unnamed++ == 0) outcome_.unnamed_reason = labels.status();
    return false;
  }
  auto ref = add(series.ref, *labels);
  if (!ref.ok()) {
    Refuse(ref.status());
    return false;
  }
  series.learned = series.learned || series.ref != *ref;
  series.ref = *ref;
  ++pending_;
  return true;
}

void WriteBatch::RefuseAt(size_t series, int64_t t, std::string_view why) {
  if (outcome_.refused > 0) {
    ++outcome_.refused;
    return;
  }
  auto labels = labels_of_(series);
  Refuse(base::OutOfRangeError(std::string(why) + ": " +
                               (labels.ok() ? labels->ToString() : "a series without a name") + " at " +
                               std::to_string(t) + " ms"));
}

void WriteBatch::Refuse(const base::Status& why) {
  if (outcome_.refused++ == 0) outcome_.refusal = why;
}

void WriteBatch::Commit() {
  base::Status committed = appender_->Commit();
  if (committed.ok()) {
    outcome_.stored += pending_;
    outcome_.histograms += pending_histograms_;
  } else if (outcome_.failure.ok()) {
    outcome_.failure = committed;
  }
  pending_ = 0;
  pending_histograms_ = 0;
  ++commit_;
}

WriteOutcome WriteBatch::Finish() {
  Commit();
  return outcome_;
}

}  // namespace tidewright::web
