#include "tsdb/histogram_chunk.h"

#include <bit>
#include <cstring>
#include <type_traits>

#include "tsdb/encoding.h"

namespace tidewright::tsdb {

namespace {

// Without start timestamps: two bytes for the number of samples, and one whose top two bits are the CounterHeader. With
// them: these two bits take the top of the number, and the third byte is the header of the start timestamps.
constexpr size_t kHeaderBytes = 3;
constexpr uint32_t kMaxSamples = 0xffff;
constexpr uint32_t kMaxSamplesSt = 0x3fff;

CounterHeader HeaderFor(CounterResetHint hint, CounterHeader otherwise) {
  if (hint == CounterResetHint::kGauge) return CounterHeader::kGauge;
  return hint == CounterResetHint::kCounterReset ? CounterHeader::kReset : otherwise;
}

// Absolute counts of buckets that are stored as differences, or are absolute.
std::vector<int64_t> Counts(const std::vector<int64_t>& deltas) {
  std::vector<int64_t> counts(deltas.size());
  uint64_t count = 0;
  for (size_t i = 0; i < deltas.size(); ++i) {
    counts[i] = static_cast<int64_t>(count += static_cast<uint64_t>(deltas[i]));
  }
  return counts;
}
const std::vector<double>& Counts(const std::vector<double>& counts) { return counts; }

// Whether a bucket of the sample has less than the same bucket of the chunk's last sample.
template <class Buckets>
bool BucketFell(const Buckets& chunk, const Buckets& sample, const BucketMerge& merge) {
  const auto& before = Counts(chunk);
  const auto& now = Counts(sample);
  const size_t merged = merge.chunk_grows() ? merge.from_chunk.size() : before.size();
  for (size_t i = 0; i < merged; ++i) {
    int a = merge.chunk_grows() ? merge.from_chunk[i] : static_cast<int>(i);
    int b = merge.sample_grows() ? merge.from_sample[i] : static_cast<int>(i);
    if (a < 0) continue;
    if (b < 0 ? before[a] != 0 : now[b] < before[a]) return true;
  }
  return false;
}

template <class Buckets>
void SpreadIfGrown(const std::vector<int>& from, Buckets* buckets) {
  if (!from.empty()) *buckets = Spread(*buckets, from);
}

}  // namespace

// What it takes to append a sample to a chunk.
template <class H>
struct HistogramChunkWriter<H>::Fit {
  bool fits = false;
  CounterHeader next = CounterHeader::kUnknown;
  BucketMerge positive;
  BucketMerge negative;
};

template <class H>
HistogramChunkWriter<H>::HistogramChunkWriter(bool start_times, CounterHeader header)
    : with_start_times_(start_times), header_(header), bytes_(kHeaderBytes, '\0'), out_(&bytes_) {
  WriteHeader();
}

template <class H>
ChunkEncoding HistogramChunkWriter<H>::encoding() const {
  constexpr bool kIntegers = std::is_same_v<H, Histogram>;
  if (with_start_times_) return kIntegers ? ChunkEncoding::kHistogramSt : ChunkEncoding::kFloatHistogramSt;
  return kIntegers ? ChunkEncoding::kHistogram : ChunkEncoding::kFloatHistogram;
}

template <class H>
void HistogramChunkWriter<H>::WriteHeader() {
  auto header = static_cast<uint32_t>(header_);
  uint32_t number = with_start_times_ ? count_ | header << 14 : count_;
  uint32_t third = with_start_times_ ? start_times_.header() : header << 6;
  bytes_[0] = static_cast<char>(number >> 8);
  bytes_[1] = static_cast<char>(number);
  bytes_[2] = static_cast<char>(third);
}

template <class H>
bool HistogramChunkWriter<H>::SameKind(const H& h) const {
  return h.schema == layout_.schema &&
         std::bit_cast<uint64_t>(h.zero_threshold) == std::bit_cast<uint64_t>(layout_.zero_threshold);
}

template <class H>
bool HistogramChunkWriter<H>::CountsFell(const H& h, const Fit& fit) const {
  return h.count < codec_.count() || h.zero_count < codec_.zero_count() ||
         BucketFell(codec_.positive(), h.positive_buckets, fit.positive) ||
         BucketFell(codec_.negative(), h.negative_buckets, fit.negative);
}

template <class H>
typename HistogramChunkWriter<H>::Fit HistogramChunkWriter<H>::FitOf(const H& h) const {
  Fit fit;
  const bool gauge = h.hint == CounterResetHint::kGauge;
  if (gauge) fit.next = CounterHeader::kGauge;
  if (gauge != (header_ == CounterHeader::kGauge)) {
    fit.next = HeaderFor(h.hint, CounterHeader::kUnknown);
    return fit;
  }
  if (h.hint == CounterResetHint::kCounterReset) {
    fit.next = CounterHeader::kReset;
    return fit;
  }
  const bool full = count_ >= (with_start_times_ ? kMaxSamplesSt : kMaxSamples);
  if (IsStale(h)) {
    fit.fits = !full;
    fit.positive.spans = layout_.positive_spans;
    fit.negative.spans = layout_.negative_spans;
    return fit;
  }
  if (IsStaleNan(codec_.sum())) return fit;  // Behind a staleness marker comes nothing but staleness markers.
  const bool fewer = !gauge && h.count < codec_.count();
  if (!SameKind(h) || h.custom_values != layout_.custom_values) {
    // Other custom bounds count as a reset; a change of resolution is not known to be one.
    bool bounds_alone = SameKind(h) && h.schema == kCustomBucketsSchema;
    if (!gauge && (fewer || bounds_alone)) fit.next = CounterHeader::kReset;
    return fit;
  }
  fit.positive = MergeBuckets(layout_.positive_spans, h.positive_spans);
  fit.negative = MergeBuckets(layout_.negative_spans, h.negative_spans);
  if (!gauge && CountsFell(h, fit)) {
    fit.next = CounterHeader::kReset;
    return fit;
  }
  fit.fits = !full;
  return fit;
}

template <class H>
CounterHeader HistogramChunkWriter<H>::HeaderAfter(const H& h) const {
  return count_ == 0 ? CounterHeader::kUnknown : FitOf(h).next;
}

template <class H>
bool HistogramChunkWriter<H>::Append(int64_t t, const H& h, int64_t start_time, CounterHeader* next) {
  if (count_ == 0) {
    header_ = HeaderFor(h.hint, header_);
    layout_ = IsStale(h) ? HistogramLayout{} : LayoutOf(h);
    mint_ = t;
    layout_.Write(&out_);
    AppendFitting(t, h, start_time);
    return true;
  }
  const Fit fit = FitOf(h);
  if (!fit.fits) {
    *next = fit.next;
    return false;
  }
  if (fit.positive.chunk_grows() || fit.negative.chunk_grows()) Recode(fit);
  if (fit.positive.sample_grows() || fit.negative.sample_grows()) {
    H grown = h;
    SpreadIfGrown(fit.positive.from_sample, &grown.positive_buckets);
    SpreadIfGrown(fit.negative.from_sample, &grown.negative_buckets);
    AppendFitting(t, grown, start_time);
  } else {
    AppendFitting(t, h, start_time);
  }
  return true;
}

template <class H>
void HistogramChunkWriter<H>::AppendFitting(int64_t t, const H& h, int64_t start_time) {
  codec_.Write(count_, t, h, &out_);
  if (with_start_times_) start_times_.Write(count_, t, start_time, &out_);
  ++count_;
  WriteHeader();
}

// Writes the chunk again with the merged buckets.
template <class H>
void HistogramChunkWriter<H>::Recode(const Fit& fit) {
  const std::string old = std::move(bytes_);
  std::unique_ptr<ChunkReader> reader = NewHistogramChunkReader(encoding(), old);
  bytes_.assign(kHeaderBytes, '\0');
  out_ = BitWriter(&bytes_);
  codec_ = {};
  start_times_ = {};
  count_ = 0;
  layout_.positive_spans = fit.positive.spans;
  layout_.negative_spans = fit.negative.spans;
  layout_.Write(&out_);
  H sample;
  while (reader->Next() != ValueType::kNone) {
    reader->At(&sample);
    SpreadIfGrown(fit.positive.from_chunk, &sample.positive_buckets);
    SpreadIfGrown(fit.negative.from_chunk, &sample.negative_buckets);
    AppendFitting(reader->time(), sample, reader->start_time());
  }
}

template class HistogramChunkWriter<Histogram>;
template class HistogramChunkWriter<FloatHistogram>;

namespace {

template <class H>
class HistogramChunkReader : public ChunkReader {
 public:
  HistogramChunkReader(std::string_view bytes, bool start_times)
      : in_(bytes, kHeaderBytes * 8), with_start_times_(start_times) {
    corrupt_ = bytes.size() < kHeaderBytes;
    if (corrupt_) return;
    ByteReader header(bytes);
    uint16_t number = header.U16();
    uint8_t third = header.U8();
    samples_ = start_times ? number & kMaxSamplesSt : number;
    header_ = static_cast<CounterHeader>(start_times ? number >> 14 : third >> 6);
    if (start_times) start_times_ = StartTimesReader(third);
  }

  ValueType Next() override {
    if (corrupt_ || read_ >= samples_) return ValueType::kNone;
    if (read_ == 0 && !ReadLayout()) return Corrupt();
    codec_.Read(read_, positive_, negative_, &in_);
    if (with_start_times_) start_times_.Read(read_, codec_.time(), &in_);
    if (!in_.ok()) return Corrupt();
    ++read_;
    return std::is_same_v<H, Histogram> ? ValueType::kHistogram : ValueType::kFloatHistogram;
  }

  int64_t time() const override { return codec_.time(); }
  int64_t start_time() const override { return start_times_.start(); }
  bool corrupt() const override { return corrupt_; }

  void At(Histogram* out) const override {
    if constexpr (std::is_same_v<H, Histogram>) Fill(out);
  }
  void At(FloatHistogram* out) const override {
    if constexpr (std::is_same_v<H, FloatHistogram>) {
      Fill(out);
    } else {
      Histogram integers;
      Fill(&integers);
      *out = ToFloat(integers);
    }
  }

 private:
  bool ReadLayout() {
    if (!layout_.Read(&in_)) return false;
    positive_ = BucketCount(layout_.positive_spans);
    negative_ = BucketCount(layout_.negative_spans);
    return positive_ + negative_ <= in_.remaining();
  }

  ValueType Corrupt() {
    corrupt_ = true;
    return ValueType::kNone;
  }

  // What the chunk alone can say: whether its first sample is a reset depends on the chunk before.
  CounterResetHint Hint() const {
    if (header_ == CounterHeader::kGauge) return CounterResetHint::kGauge;
    return read_ > 1 ? CounterResetHint::kNotCounterReset : CounterResetHint::kUnknown;
  }

  void Fill(H* out) const {
    *out = {};
    out->sum = codec_.sum();
    out->hint = Hint();
    if (IsStale(*out)) return;
    out->schema = layout_.schema;
    out->zero_threshold = layout_.zero_threshold;
    out->positive_spans = layout_.positive_spans;
    out->negative_spans = layout_.negative_spans;
    out->custom_values = layout_.custom_values;
    out->count = codec_.count();
    out->zero_count = codec_.zero_count();
    out->positive_buckets = codec_.positive();
    out->negative_buckets = codec_.negative();
  }

  BitReader in_;
  const bool with_start_times_;
  bool corrupt_ = false;
  CounterHeader header_ = CounterHeader::kUnknown;
  uint32_t samples_ = 0;
  uint32_t read_ = 0;
  HistogramLayout layout_;
  size_t positive_ = 0;
  size_t negative_ = 0;
  HistogramCodec<H> codec_;
  StartTimesReader start_times_;
};

}  // namespace

std::unique_ptr<ChunkReader> NewHistogramChunkReader(ChunkEncoding encoding, std::string_view bytes) {
  const bool start_times = encoding == ChunkEncoding::kHistogramSt || encoding == ChunkEncoding::kFloatHistogramSt;
  if (encoding == ChunkEncoding::kHistogram || encoding == ChunkEncoding::kHistogramSt) {
    return std::make_unique<HistogramChunkReader<Histogram>>(bytes, start_times);
  }
  return std::make_unique<HistogramChunkReader<FloatHistogram>>(bytes, start_times);
}

}  // namespace tidewright::tsdb
