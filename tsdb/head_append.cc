// Head: how samples come in.
#include <algorithm>
#include <bit>
#include <cstring>

#include "base/log.h"
#include "tsdb/head.h"

namespace tidewright::tsdb {

namespace {

// What the text formats append to a family's name to get the names of its series.
constexpr std::string_view kSuffixes[] = {"", "_total", "_bucket", "_sum", "_count", "_info", "_created"};

// Enough for the memory to answer while as many samples are put into their series.
constexpr size_t kPrefetchAhead = 8;

bool SameMetadata(const Metadata& a, const Metadata& b) {
  return a.type == b.type && a.unit == b.unit && a.help == b.help;
}

bool HasSeries(const SeriesIndex& index, const std::string& family) {
  return std::any_of(std::begin(kSuffixes), std::end(kSuffixes),
                     [&](std::string_view suffix) { return index.HasMetric(family + std::string(suffix)); });
}

}  // namespace

base::Result<SeriesRef> Head::GetOrCreate(HeadBatch* batch, const Labels& labels) {
  if (labels.size() > kMaxSeriesLabels) {
    instruments_.series_limit.Add();
    return base::ResourceExhaustedError("the series " + std::string(labels.MetricName()) + " has " +
                                        std::to_string(labels.size()) + " labels; at most " +
                                        std::to_string(kMaxSeriesLabels) + " are taken");
  }
  bool created = false, limited = false;
  IndexedSeries series = index_.GetOrCreate(labels, 0, &created, [&](const IndexedSeries& one) {
    limited = options_.max_series > 0 && series_count_.load(std::memory_order_relaxed) >= options_.max_series;
    return !limited && PublishSeries(one);
  });
  if (limited) {
    instruments_.series_limit.Add();
    return base::ResourceExhaustedError(
        "series limit of " + std::to_string(options_.max_series) +
        " reached; raise it or drop labels with many values by relabelling: " + labels.ToString());
  }
  if (series.ref == 0) return base::ResourceExhaustedError("no memory for another series: " + labels.ToString());
  if (created) batch->created.push_back(series.ref);
  return series.ref;
}

// Decides on a sample in view of what the series has and of what the same batch brought before.
Head::Admission Head::AdmitTo(HeadBatch* batch, const SeriesData& series, SeriesRef ref, const Sample& sample,
                              SeriesChunks::NewestTime* newest_time) const {
  std::optional<int64_t> last = chunks_.LastTime(series, newest_time);
  double value = series.last;
  bool repeated = false;
  if (series.pending > 0 && !batch->entries.empty()) {
    if (!batch->indexed && batch->entries.back().ref != ref) {
      for (const HeadBatch::Entry& entry : batch->entries) batch->newest[entry.ref] = {entry.t, entry.v};
      batch->indexed = true;
    }
    auto newest = batch->newest.find(ref);
    if (batch->entries.back().ref == ref) {
      last = batch->entries.back().t;
      value = batch->entries.back().v;
      repeated = true;
    } else if (newest != batch->newest.end()) {
      last = newest->second.t;
      value = newest->second.v;
      repeated = true;
    }
  }
  if (last && sample.t == *last) {
    bool same = std::bit_cast<uint64_t>(sample.v) == std::bit_cast<uint64_t>(value);
    return same ? Admission::kRepeated : Admission::kConflict;
  }
  if (series.histogram) {
    std::optional<int64_t> histogram = histograms_.LastTime(ref);
    auto pending = batch->newest_histograms.find(ref);
    if (pending != batch->newest_histograms.end()) histogram = std::max(histogram, {pending->second});
    if (histogram == sample.t) return Admission::kConflict;
    last = std::max(last, histogram);
  }
  const Admission admission = Judge(last, sample.t);
  batch->repeats = batch->repeats || (repeated && admission == Admission::kAdmitted);
  return admission;
}

// What becomes of a sample at `t`, when the newest of its series has another time.
Head::Admission Head::Judge(std::optional<int64_t> newest, int64_t t) const {
  const bool too_old = TooOld(t);
  if (!too_old && (!newest || t > *newest)) return Admission::kAdmitted;
  if (TakesLate(t)) return Admission::kLate;
  const bool window = out_of_order_window_.load(std::memory_order_relaxed) > 0;
  return too_old || window ? Admission::kTooOld : Admission::kOutOfOrder;
}

void Head::Take(HeadBatch* batch, SeriesData* series, SeriesRef ref, const Sample& sample) {
  batch->entries.push_back({ref, sample.t, sample.v});
  if (batch->indexed) batch->newest[ref] = sample;
  ++series->pending;
}

void Head::TakeLate(HeadBatch* batch, SeriesData* series, SeriesRef ref, const Sample& sample) {
  batch->late.push_back({ref, sample.t, sample.v});
  series->late = true;
  ++series->pending;
}

base::Status Head::Refuse(Admission admission, const std::string& labels, const Sample& sample) {
  std::string where = labels + " at " + std::to_string(sample.t) + " ms";
  if (admission == Admission::kConflict) {
    instruments_.conflicting.Add();
    return base::AlreadyExistsError("another value is already stored for " + where);
  }
  if (admission == Admission::kTooOld) {
    instruments_.too_old.Add();
    return base::OutOfRangeError("too old: " + where +
                                 " is before the retention, in a finished block, or before the out-of-order window");
  }
  instruments_.out_of_order.Add();
  return base::OutOfRangeError("a newer sample is already stored for " + where);
}

bool Head::TooOld(int64_t t) const { return t < MinValidTime() || t < write_floor_.load(std::memory_order_relaxed); }

bool Head::TakesLate(int64_t t) const {
  const int64_t window = out_of_order_window_.load(std::memory_order_relaxed), newest = MaxTime();
  return window > 0 && newest != kNever && t >= MinValidTime() && (newest < INT64_MIN + window || t >= newest - window);
}

base::Result<SeriesRef> Head::Admit(HeadBatch* batch, SeriesRef ref, const Labels& labels, const Sample& sample) {
  while (true) {
    if (ref == 0 && Judge({}, sample.t) == Admission::kTooOld) {
      ref = index_.Find(labels).ref;
      if (ref == 0) return Refuse(Admission::kTooOld, labels.ToString(), sample);
    }
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
        SeriesChunks::NewestTime newest_time;
        admission = AdmitTo(batch, *series, ref, sample, &newest_time);
        if (admission == Admission::kAdmitted) Take(batch, series, ref, sample);
        if (admission == Admission::kLate) TakeLate(batch, series, ref, sample);
      }
    }
    switch (admission) {
      case Admission::kAdmitted:
      case Admission::kLate:
      case Admission::kRepeated: return ref;
      case Admission::kUnknownSeries: ref = 0; continue;
      default: return Refuse(admission, index_.Materialize(label_set).ToString(), sample);
    }
  }
}

void Head::AdmitAll(HeadBatch* batch, std::span<const SeriesRef> refs, std::span<const double> values, int64_t t,
                    std::vector<BatchRejection>* rejected) {
  const bool too_old = Judge({}, t) == Admission::kTooOld, of_head = !TooOld(t);
  // Exact for the usual one call per batch; at least doubled when there are many small ones.
  const size_t needed = batch->entries.size() + refs.size();
  if (needed > batch->entries.capacity()) batch->entries.reserve(std::max(needed, batch->entries.size() * 2));
  for (size_t i = 0; i < refs.size();) {
    Page* page = pages_.Find(refs[i]);
    const uint64_t number = refs[i] / SeriesPages::kPageSeries;
    if (page == nullptr || too_old) {
      (too_old ? instruments_.too_old : instruments_.skipped_samples).Add();
      rejected->push_back({i++, too_old ? base::Code::kOutOfRange : base::Code::kInvalidArgument});
      continue;
    }
    SeriesChunks::NewestTime newest_time;
    base::MutexLock lock(page->mu);
    for (; i < refs.size() && refs[i] / SeriesPages::kPageSeries == number; ++i) {
      SeriesData* series = page->Find(refs[i]);
      Sample sample{t, values[i]};
      if (series != nullptr && of_head && series->pending == 0 && !series->histogram) {
        const std::optional<int64_t> newest = chunks_.LastTime(*series, &newest_time);
        if (!newest || t > *newest) {  // Nearly always: what AdmitTo() would say.
          Take(batch, series, refs[i], sample);
          continue;
        }
      }
      Admission admission =
          series == nullptr ? Admission::kUnknownSeries : AdmitTo(batch, *series, refs[i], sample, &newest_time);
      switch (admission) {
        case Admission::kAdmitted: Take(batch, series, refs[i], sample); break;
        case Admission::kLate: TakeLate(batch, series, refs[i], sample); break;
        case Admission::kRepeated: break;
        case Admission::kUnknownSeries: rejected->push_back({i, base::Code::kInvalidArgument}); break;
        case Admission::kConflict:
          instruments_.conflicting.Add();
          rejected->push_back({i, base::Code::kAlreadyExists});
          break;
        case Admission::kTooOld:
          instruments_.too_old.Add();
          rejected->push_back({i, base::Code::kOutOfRange});
          break;
        case Admission::kOutOfOrder:
          instruments_.out_of_order.Add();
          rejected->push_back({i, base::Code::kOutOfRange});
          break;
      }
    }
  }
}

void Head::LetGo(SeriesRef ref) {
  Page* page = pages_.Find(ref);
  base::MutexLock lock(page->mu);
  --page->Find(ref)->pending;
}

void Head::Rollback(HeadBatch* batch) {
  for (const HeadBatch::Entry& entry : batch->entries) LetGo(entry.ref);
  for (const HeadBatch::HistogramEntry& entry : batch->histograms) LetGo(entry.ref);
  for (const HeadBatch::Entry& entry : batch->late) LetGo(entry.ref);
  for (const HeadBatch::HistogramEntry& entry : batch->late_histograms) LetGo(entry.ref);
  for (const HeadBatch::ExemplarEntry& entry : batch->exemplars) LetGo(entry.ref);
  // A series that nobody else has begun to use leaves no trace.
  if (!batch->created.empty()) {
    base::MutexLock lock(commit_mu_);
    Forget(batch->created);
  }
  batch->Clear();
}

base::Status Head::Commit(HeadBatch* batch) {
  base::Status written;
  {
    base::MutexLock lock(commit_mu_);
    while (held_) let_go_.Wait(commit_mu_);
    std::vector<IndexedSeries> unlogged;
    std::vector<Group> groups = MakeGroups(batch, &unlogged);
    CheckSide(batch, &unlogged);
    written = WriteLog(batch, groups, unlogged);
    if (written.ok()) {
      Publish(batch, groups);
    } else {
      for (const IndexedSeries& one : unlogged) {
        Page* page = pages_.Find(one.ref);
        base::MutexLock page_lock(page->mu);
        page->Find(one.ref)->logged = false;
      }
    }
  }
  if (!written.ok()) {
    instruments_.failed_commits.Add();
    Rollback(batch);
  }
  batch->Clear();
  return written;
}

// Sorts the batch by time, and drops what a batch that committed in between has made too old.
std::vector<Head::Group> Head::MakeGroups(HeadBatch* batch, std::vector<IndexedSeries>* unlogged) {
  std::vector<HeadBatch::Entry>& entries = batch->entries;
  auto earlier = [](const HeadBatch::Entry& a, const HeadBatch::Entry& b) { return a.t < b.t; };
  if (!std::is_sorted(entries.begin(), entries.end(), earlier)) {
    std::stable_sort(entries.begin(), entries.end(), earlier);
  }
  std::vector<Group> groups;
  auto kept = entries.begin();
  for (size_t i = 0; i < entries.size();) {
    Page* page = pages_.Find(entries[i].ref);
    const uint64_t number = entries[i].ref / SeriesPages::kPageSeries;
    SeriesChunks::NewestTime newest_time;
    base::MutexLock lock(page->mu);
    for (; i < entries.size() && entries[i].ref / SeriesPages::kPageSeries == number; ++i) {
      const HeadBatch::Entry entry = entries[i];
      SeriesData* series = page->Find(entry.ref);
      std::optional<int64_t> last = chunks_.LastTime(*series, &newest_time);
      if ((last && *last >= entry.t) || TooOld(entry.t)) {
        if (last != entry.t && TakesLate(entry.t)) {
          batch->late.push_back(entry);
          series->late = true;
          continue;
        }
        --series->pending;
        (TooOld(entry.t) ? instruments_.too_old : instruments_.out_of_order).Add();
        continue;
      }
      *kept++ = entry;
      if (!series->logged) unlogged->push_back({entry.ref, series->labels});
      series->logged = true;
      if (groups.empty() || groups.back().t != entry.t) {
        groups.emplace_back();
        groups.back().t = entry.t;
        // All that is left, usually, as the batch is sorted by time.
        const size_t left = entries.back().t == entry.t ? entries.size() - i : 0;
        groups.back().refs.reserve(left);
        groups.back().values.reserve(left);
        groups.back().previous.reserve(left);
      }
      groups.back().refs.push_back(entry.ref);
      groups.back().values.push_back(entry.v);
      groups.back().previous.push_back(series->last);
    }
  }
  entries.erase(kept, entries.end());
  return groups;
}

// Only what is new, since scrapes repeat their metadata each time. A family without series waits until it has one.
void Head::EncodeFamilies(HeadBatch* batch) {
  for (auto& [name, metadata] : batch->families) {
    bool known = false;
    {
      base::MutexLock lock(metadata_mu_);
      auto it = families_.find(name);
      known = it != families_.end() && it->second.logged && SameMetadata(it->second.metadata, metadata);
    }
    if (known || !HasSeries(index_, name)) continue;
    encoder_.AddMetadata(name, metadata);
    batch->logged_families.push_back(name);
  }
}

base::Status Head::WriteLog(HeadBatch* batch, const std::vector<Group>& groups,
                            const std::vector<IndexedSeries>& unlogged) {
  if (closed_) return base::FailedPreconditionError("the database is closed");
  if (log_ == nullptr) return base::Status::Ok();
  if (encoder_stale_) {
    TW_RETURN_IF_ERROR(log_->Cut().status());
    encoder_stale_ = false;
  }
  TW_ASSIGN_OR_RETURN(bool fresh, log_->Prepare());
  fresh ? encoder_.StartSegment() : encoder_.StartRecord();
  if (!unlogged.empty()) {
    index_.WithSymbols(unlogged, [this](SeriesRef ref, std::span<const SymbolPair> labels)
                                     NO_THREAD_SAFETY_ANALYSIS { encoder_.AddSeries(ref, labels); });
  }
  EncodeFamilies(batch);
  for (const Group& group : groups) {
    encoder_.AddSamples(group.t, group.refs, group.values, group.previous, batch->repeats);
  }
  EncodeSide(*batch);
  if (encoder_.record().empty()) return base::Status::Ok();
  TW_RETURN_IF_ERROR(log_->Append(encoder_.record()));
  SyncLog();
  return base::Status::Ok();
}

void Head::SyncLog() {
  int64_t now = clock_.NowMs();
  if (now - last_sync_ms_ < options_.fsync_interval_ms && now >= last_sync_ms_) return;
  last_sync_ms_ = now;
  base::Status flushed = log_->Sync();
  if (flushed.ok()) return;
  flush_failed_ = true;
  base::LogError("tsdb", "flushing the log failed; a checkpoint will write everything again",
                 {{"error", flushed.ToString()}});
}

// Puts the samples of a batch into their series.
//
// The open chunks of a target lie scattered in memory, and its last scrape was long enough ago for them to be in no
// cache. So each is asked for a few series ahead.
uint64_t Head::Apply(int64_t t, std::span<const SeriesRef> refs, std::span<const double> values,
                     CommitSequence sequence) {
  CommitCursor cursor;
  cursor.sequence = sequence;
  cursor.SetTime(t);
  uint64_t appended = 0;
  for (size_t i = 0; i < refs.size();) {
    Page* page = pages_.Find(refs[i]);
    const uint64_t number = refs[i] / SeriesPages::kPageSeries;
    base::MutexLock lock(page->mu);
    for (; i < refs.size() && refs[i] / SeriesPages::kPageSeries == number; ++i) {
      SeriesData* series = page->Find(refs[i]);
      const size_t ahead = std::min(i + kPrefetchAhead, refs.size() - 1);
      if (refs[ahead] / SeriesPages::kPageSeries == number) chunks_.PrefetchEnd(*page->Find(refs[ahead]));
      --series->pending;
      if (chunks_.Append(series, values[i], &cursor)) {
        ++appended;
      } else {
        instruments_.skipped_samples.Add();
        encoder_stale_ = true;
      }
    }
  }
  if (appended > 0) NoteTime(t);
  return appended;
}

void Head::Publish(HeadBatch* batch, const std::vector<Group>& groups) {
  CommitSequence sequence;
  {
    base::MutexLock lock(readers_mu_);
    sequence = committed_ + 1;
  }
  uint64_t appended = 0;
  for (const Group& group : groups) appended += Apply(group.t, group.refs, group.values, sequence);
  appended += PublishSide(batch, sequence);
  samples_appended_.fetch_add(appended, std::memory_order_relaxed);
  instruments_.appended.Add(static_cast<double>(appended));
  StoreFamilies(batch);
  base::MutexLock lock(readers_mu_);
  committed_ = sequence;
}

void Head::StoreFamilies(HeadBatch* batch) {
  if (batch->families.empty()) return;
  base::MutexLock lock(metadata_mu_);
  for (auto& [name, metadata] : batch->families) {
    Family& family = families_[name];
    family.logged = family.logged && SameMetadata(family.metadata, metadata);
    family.metadata = std::move(metadata);
  }
  for (const std::string& name : batch->logged_families) families_[name].logged = true;
}

// Metadata lives as long as a series of its family.
void Head::ForgetFamilies() {
  std::vector<std::string> names;
  {
    base::MutexLock lock(metadata_mu_);
    for (const auto& [name, family] : families_) names.push_back(name);
  }
  for (const std::string& name : names) {
    if (HasSeries(index_, name)) continue;
    base::MutexLock lock(metadata_mu_);
    families_.erase(name);
  }
}

}  // namespace tidewright::tsdb
