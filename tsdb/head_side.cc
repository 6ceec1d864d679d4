// Head: what is kept beside the series, native histograms and exemplars.
#include <algorithm>
#include <utility>

#include "tsdb/head.h"

namespace tidewright::tsdb {

base::Result<SeriesRef> Head::AdmitHistogram(HeadBatch* batch, SeriesRef ref, const Labels& labels,
                                             HistogramSample sample) {
  const Sample where{sample.t, 0};
  if (TooOld(sample.t)) return RefuseOld(where);
  while (true) {
    if (ref == 0) {
      if (labels.empty()) return base::InvalidArgumentError("a series needs at least one label with a value");
      TW_ASSIGN_OR_RETURN(ref, GetOrCreate(batch, labels));
    }
    Admission admission = Admission::kAdmitted;
    Slab::Handle label_set = 0;
    if (Page* page = pages_.Find(ref)) {
      base::MutexLock lock(page->mu);
      SeriesData* series = page->Find(ref);
      if (series != nullptr) {
        label_set = series->labels;
        int64_t last =
            std::max(chunks_.LastTime(*series).value_or(INT64_MIN), histograms_.LastTime(ref).value_or(INT64_MIN));
        auto newest = batch->newest_histograms.find(ref);
        if (newest != batch->newest_histograms.end()) last = std::max(last, newest->second);
        for (size_t i = batch->entries.size(); series->pending > 0 && i-- > 0;) {
          if (batch->entries[i].ref == ref) last = std::max(last, batch->entries[i].t);
        }
        if (sample.t < last) admission = Admission::kOutOfOrder;
        if (sample.t == last && last != INT64_MIN) {
          admission = histograms_.IsLast(ref, sample) ? Admission::kRepeated : Admission::kConflict;
        }
        if (admission == Admission::kAdmitted) {
          batch->newest_histograms[ref] = sample.t;
          batch->histograms.push_back({ref, std::move(sample)});
          series->histogram = true;
          ++series->pending;
        }
      }
    }
    if (label_set == 0) {
      ref = 0;
      continue;
    }
    if (admission == Admission::kAdmitted || admission == Admission::kRepeated) return ref;
    return Refuse(admission, index_.Materialize(label_set).ToString(), where);
  }
}

base::Status Head::AdmitExemplar(HeadBatch* batch, SeriesRef ref, const Exemplar& exemplar) {
  Page* page = pages_.Find(ref);
  Slab::Handle labels = 0;
  const ExemplarRing::Admission admission = exemplars_.Check(ref, exemplar);
  if (page != nullptr) {
    base::MutexLock lock(page->mu);
    SeriesData* series = page->Find(ref);
    if (series != nullptr) labels = series->labels;
    if (series != nullptr && admission == ExemplarRing::Admission::kNew) ++series->pending;
  }
  if (labels == 0) return base::NotFoundError("the store does not know the series of an exemplar");
  switch (admission) {
    case ExemplarRing::Admission::kNew:
      batch->exemplars.push_back({ref, index_.Materialize(labels), exemplar});
      return base::Status::Ok();
    case ExemplarRing::Admission::kTooLong:
      return base::InvalidArgumentError("the labels of an exemplar of " + index_.Materialize(labels).ToString() +
                                        " have more than " + std::to_string(kMaxExemplarCharacters) + " characters");
    case ExemplarRing::Admission::kOutOfOrder:
      instruments_.late_exemplars.Add();
      return base::OutOfRangeError("a newer exemplar is already stored for " + index_.Materialize(labels).ToString() +
                                   " at " + std::to_string(exemplar.t) + " ms");
    default: return base::Status::Ok();
  }
}

// Drops histograms that a batch which committed in between has made too old, and notes which series the log must know.
void Head::CheckSide(HeadBatch* batch, std::vector<IndexedSeries>* unlogged) {
  auto note = [&](SeriesRef ref, SeriesData* series) {
    if (!series->logged) unlogged->push_back({ref, series->labels});
    series->logged = true;
  };
  auto too_late = [&](const HeadBatch::HistogramEntry& entry) {
    Page* page = pages_.Find(entry.ref);
    base::MutexLock lock(page->mu);
    SeriesData* series = page->Find(entry.ref);
    int64_t last =
        std::max(chunks_.LastTime(*series).value_or(INT64_MIN), histograms_.LastTime(entry.ref).value_or(INT64_MIN));
    if ((last >= entry.sample.t && last != INT64_MIN) || TooOld(entry.sample.t)) {
      --series->pending;
      instruments_.out_of_order.Add();
      return true;
    }
    note(entry.ref, series);
    return false;
  };
  std::vector<HeadBatch::HistogramEntry>& all = batch->histograms;
  all.erase(std::remove_if(all.begin(), all.end(), too_late), all.end());
  for (const HeadBatch::ExemplarEntry& entry : batch->exemplars) {
    Page* page = pages_.Find(entry.ref);
    base::MutexLock lock(page->mu);
    note(entry.ref, page->Find(entry.ref));
  }
}

void Head::EncodeSide(const HeadBatch& batch) {
  for (const HeadBatch::HistogramEntry& entry : batch.histograms) {
    encoder_.AddHistogram(entry.ref, EncodeHistogramSample(entry.sample));
  }
  for (const HeadBatch::ExemplarEntry& entry : batch.exemplars) {
    encoder_.AddPart(LogPart::kExemplar, EncodeExemplar(entry.ref, entry.series, entry.exemplar));
  }
}

// Returns the number of samples.
uint64_t Head::PublishSide(HeadBatch* batch, CommitSequence sequence) {
  for (HeadBatch::HistogramEntry& entry : batch->histograms) {
    NoteTime(entry.sample.t);
    histograms_.Append(entry.ref, sequence, std::move(entry.sample));
    LetGo(entry.ref);
  }
  for (HeadBatch::ExemplarEntry& entry : batch->exemplars) {
    exemplars_.Add(entry.ref, entry.series, std::move(entry.exemplar));
    LetGo(entry.ref);
  }
  instruments_.exemplars.Add(static_cast<double>(batch->exemplars.size()));
  return batch->histograms.size();
}

}  // namespace tidewright::tsdb
