// Head: what is kept beside the series, native histograms, exemplars and samples that came out of order.
#include <algorithm>
#include <bit>
#include <utility>

#include "tsdb/encoding.h"
#include "tsdb/head.h"

namespace tidewright::tsdb {

std::string EncodeLate(std::span<const HeadBatch::Entry> samples) {
  std::string bytes;
  PutUvarint(&bytes, samples.size());
  HeadBatch::Entry last;
  for (const HeadBatch::Entry& sample : samples) {
    PutVarint(&bytes, static_cast<int64_t>(sample.ref - last.ref));
    PutVarint(&bytes, static_cast<int64_t>(static_cast<uint64_t>(sample.t) - static_cast<uint64_t>(last.t)));
    PutU64(&bytes, std::bit_cast<uint64_t>(sample.v));
    last = sample;
  }
  return bytes;
}

Head::Admission Head::AdmitHistogramTo(HeadBatch* batch, SeriesData* series, SeriesRef ref, HistogramSample* sample) {
  std::optional<int64_t> last = std::max(chunks_.LastTime(*series), histograms_.LastTime(ref));
  auto newest = batch->newest_histograms.find(ref);
  if (newest != batch->newest_histograms.end()) last = std::max(last, {newest->second});
  for (size_t i = batch->entries.size(); series->pending > 0 && i-- > 0;) {
    if (batch->entries[i].ref == ref) last = std::max(last, {batch->entries[i].t});
  }
  if (last == sample->t) return histograms_.IsLast(ref, *sample) ? Admission::kRepeated : Admission::kConflict;
  const Admission admission = Judge(last, sample->t);
  if (admission == Admission::kAdmitted) {
    batch->newest_histograms[ref] = sample->t;
    batch->histograms.push_back({ref, std::move(*sample)});
    series->histogram = true;
    ++series->pending;
  } else if (admission == Admission::kLate) {
    batch->late_histograms.push_back({ref, std::move(*sample)});
    series->late = true;
    ++series->pending;
  }
  return admission;
}

base::Result<SeriesRef> Head::AdmitHistogram(HeadBatch* batch, SeriesRef ref, const Labels& labels,
                                             HistogramSample sample) {
  const Sample where{sample.t, 0};
  if (Judge({}, sample.t) == Admission::kTooOld) return Refuse(Admission::kTooOld, labels.ToString(), where);
  while (true) {
    if (ref == 0) {
      if (labels.empty()) return base::InvalidArgumentError("a series needs at least one label with a value");
      TW_ASSIGN_OR_RETURN(ref, GetOrCreate(batch, labels));
    }
    Admission admission = Admission::kUnknownSeries;
    Slab::Handle label_set = 0;
    if (Page* page = pages_.Find(ref)) {
      base::MutexLock lock(page->mu);
      if (SeriesData* series = page->Find(ref)) {
        label_set = series->labels;
        admission = AdmitHistogramTo(batch, series, ref, &sample);
      }
    }
    switch (admission) {
      case Admission::kAdmitted:
      case Admission::kLate:
      case Admission::kRepeated: return ref;
      case Admission::kUnknownSeries: ref = 0; continue;
      default: return Refuse(admission, index_.Materialize(label_set).ToString(), where);
    }
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
    const std::optional<int64_t> last = std::max(chunks_.LastTime(*series), histograms_.LastTime(entry.ref));
    if ((last && *last >= entry.sample.t) || TooOld(entry.sample.t)) {
      --series->pending;
      instruments_.out_of_order.Add();
      return true;
    }
    note(entry.ref, series);
    return false;
  };
  std::vector<HeadBatch::HistogramEntry>& all = batch->histograms;
  all.erase(std::remove_if(all.begin(), all.end(), too_late), all.end());
  auto note_all = [&](const auto& entries) {
    for (const auto& entry : entries) {
      Page* page = pages_.Find(entry.ref);
      base::MutexLock lock(page->mu);
      note(entry.ref, page->Find(entry.ref));
    }
  };
  note_all(batch->exemplars);
  note_all(batch->late);
  note_all(batch->late_histograms);
}

void Head::EncodeSide(const HeadBatch& batch) {
  for (const HeadBatch::HistogramEntry& entry : batch.histograms) {
    encoder_.AddHistogram(LogPart::kHistogram, entry.ref, EncodeHistogramSample(entry.sample));
  }
  if (!batch.late.empty()) encoder_.AddPart(LogPart::kLate, EncodeLate(batch.late));
  for (const HeadBatch::HistogramEntry& entry : batch.late_histograms) {
    encoder_.AddHistogram(LogPart::kLateHistogram, entry.ref, EncodeHistogramSample(entry.sample));
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
  uint64_t late = 0;
  for (const HeadBatch::Entry& entry : batch->late) {
    late += late_.Insert(entry.ref, sequence, entry.t, entry.v) ? 1 : 0;
    LetGo(entry.ref);
  }
  for (HeadBatch::HistogramEntry& entry : batch->late_histograms) {
    late += late_histograms_.Insert(entry.ref, sequence, entry.sample.t, std::move(entry.sample.value)) ? 1 : 0;
    LetGo(entry.ref);
  }
  instruments_.late_samples.Add(static_cast<double>(late));
  instruments_.exemplars.Add(static_cast<double>(batch->exemplars.size()));
  return batch->histograms.size() + late;
}

// Merges what came out of order into `*columns`. Of the same time the sample in order is kept.
void Head::AddLate(SeriesRef ref, int64_t mint, int64_t maxt, CommitSequence reader, ColumnBuffer* buffer,
                   SampleColumns* columns) const {
  const auto late = late_.Read(ref, mint, maxt, reader);
  if (late.empty()) return;
  std::vector<int64_t> t;
  std::vector<double> v;
  size_t i = 0;
  auto take_late_before = [&](int64_t end) {
    for (; i < late.size() && late[i].t < end; ++i) {
      t.push_back(late[i].t);
      v.push_back(late[i].value);
    }
  };
  for (size_t k = 0; k < columns->t.size(); ++k) {
    take_late_before(columns->t[k]);
    if (i < late.size() && late[i].t == columns->t[k]) ++i;
    t.push_back(columns->t[k]);
    v.push_back(columns->v[k]);
  }
  take_late_before(INT64_MAX);
  buffer->t = std::move(t);
  buffer->v = std::move(v);
  buffer->timeline = 0;
  *columns = {buffer->t, buffer->v, 0};
}

}  // namespace tidewright::tsdb
