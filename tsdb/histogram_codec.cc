// Samples of histogram chunks as bits.
#include <bit>

#include "tsdb/histogram_chunk.h"

namespace tidewright::tsdb {

namespace {

// Times are written alike in both encodings: the time, then how the difference to the time before changes, from 0.
void WriteTime(uint32_t sample, int64_t t, uint64_t* last, uint64_t* last_delta, BitWriter* out) {
  uint64_t delta = static_cast<uint64_t>(t) - *last;
  if (sample == 0) {
    out->VarbitInt(t);
    delta = 0;
  } else {
    out->VarbitInt(static_cast<int64_t>(delta - *last_delta));
  }
  *last = static_cast<uint64_t>(t);
  *last_delta = delta;
}

void ReadTime(uint32_t sample, uint64_t* t, uint64_t* delta, BitReader* in) {
  if (sample == 0) {
    *t = static_cast<uint64_t>(in->VarbitInt());
    return;
  }
  *delta += static_cast<uint64_t>(in->VarbitInt());
  *t += *delta;
}

void WriteFirst(double value, XorValue* state, BitWriter* out) {
  out->Write(std::bit_cast<uint64_t>(value), 64);
  *state = XorValue(value);
}

// The first value of a chunk is written whole, later ones as what differs.
void WriteDouble(uint32_t sample, double value, XorValue* state, BitWriter* out) {
  if (sample == 0) return WriteFirst(value, state, out);
  state->Write(value, out);
}

void ReadDouble(uint32_t sample, XorValue* state, BitReader* in) {
  if (sample == 0) {
    *state = XorValue(std::bit_cast<double>(in->Read(64)));
  } else {
    state->Read(in);
  }
}

// A counter's first value, its difference, then how that changes.
template <class Number>
void WriteNumber(uint32_t sample, uint64_t value, bool stale, Number* state, BitWriter* out) {
  uint64_t delta = value - state->value;
  if (sample == 0) {
    out->VarbitUint(value);
    delta = 0;
  } else {
    uint64_t change = sample == 1 ? delta : delta - state->delta;
    out->VarbitInt(stale ? 0 : static_cast<int64_t>(change));
  }
  state->value = value;
  state->delta = delta;
}

template <class Number>
void ReadNumber(uint32_t sample, Number* state, BitReader* in) {
  if (sample == 0) {
    state->value = in->VarbitUint();
    return;
  }
  auto read = static_cast<uint64_t>(in->VarbitInt());
  state->delta = sample == 1 ? read : state->delta + read;
  state->value += state->delta;
}

int64_t Difference(int64_t a, int64_t b) {
  return static_cast<int64_t>(static_cast<uint64_t>(a) - static_cast<uint64_t>(b));
}
int64_t Sum(int64_t a, int64_t b) { return static_cast<int64_t>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b)); }

}  // namespace

void HistogramCodec<Histogram>::WriteBuckets(uint32_t sample, const std::vector<int64_t>& values, Buckets* state,
                                             BitWriter* out) {
  if (sample == 0) state->values.assign(values.size(), 0);
  state->deltas.resize(state->values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    int64_t delta = Difference(values[i], state->values[i]);
    out->VarbitInt(sample < 2 ? delta : Difference(delta, state->deltas[i]));
    state->values[i] = values[i];
    state->deltas[i] = sample == 0 ? 0 : delta;
  }
}

void HistogramCodec<Histogram>::ReadBuckets(uint32_t sample, size_t count, Buckets* state, BitReader* in) {
  state->values.resize(count);
  state->deltas.resize(count);
  for (size_t i = 0; i < count && in->ok(); ++i) {
    int64_t read = in->VarbitInt();
    if (sample == 0) {
      state->values[i] = read;
      continue;
    }
    state->deltas[i] = sample == 1 ? read : Sum(state->deltas[i], read);
    state->values[i] = Sum(state->values[i], state->deltas[i]);
  }
}

void HistogramCodec<Histogram>::Write(uint32_t sample, int64_t t, const Histogram& h, BitWriter* out) {
  const bool stale = IsStale(h);
  WriteTime(sample, t, &t_, &t_delta_, out);
  WriteNumber(sample, stale ? 0 : h.count, stale, &count_, out);
  WriteNumber(sample, stale ? 0 : h.zero_count, stale, &zero_count_, out);
  WriteDouble(sample, h.sum, &sum_, out);
  if (stale) return;
  WriteBuckets(sample, h.positive_buckets, &positive_, out);
  WriteBuckets(sample, h.negative_buckets, &negative_, out);
}

void HistogramCodec<Histogram>::Read(uint32_t sample, size_t positive, size_t negative, BitReader* in) {
  ReadTime(sample, &t_, &t_delta_, in);
  ReadNumber(sample, &count_, in);
  ReadNumber(sample, &zero_count_, in);
  ReadDouble(sample, &sum_, in);
  if (IsStaleNan(sum_.value())) return;
  ReadBuckets(sample, positive, &positive_, in);
  ReadBuckets(sample, negative, &negative_, in);
}

void HistogramCodec<FloatHistogram>::Write(uint32_t sample, int64_t t, const FloatHistogram& h, BitWriter* out) {
  const bool stale = IsStale(h);
  WriteTime(sample, t, &t_, &t_delta_, out);
  WriteDouble(sample, stale ? 0 : h.count, &count_, out);
  WriteDouble(sample, stale ? 0 : h.zero_count, &zero_count_, out);
  WriteDouble(sample, h.sum, &sum_, out);
  if (stale) return;
  positive_.resize(h.positive_buckets.size());
  negative_.resize(h.negative_buckets.size());
  for (size_t i = 0; i < positive_.size(); ++i) WriteDouble(sample, h.positive_buckets[i], &positive_[i], out);
  for (size_t i = 0; i < negative_.size(); ++i) WriteDouble(sample, h.negative_buckets[i], &negative_[i], out);
}

void HistogramCodec<FloatHistogram>::Read(uint32_t sample, size_t positive, size_t negative, BitReader* in) {
  ReadTime(sample, &t_, &t_delta_, in);
  ReadDouble(sample, &count_, in);
  ReadDouble(sample, &zero_count_, in);
  ReadDouble(sample, &sum_, in);
  if (IsStaleNan(sum_.value())) return;
  positive_.resize(positive);
  negative_.resize(negative);
  for (size_t i = 0; i < positive && in->ok(); ++i) ReadDouble(sample, &positive_[i], in);
  for (size_t i = 0; i < negative && in->ok(); ++i) ReadDouble(sample, &negative_[i], in);
}

std::vector<double> HistogramCodec<FloatHistogram>::Values(const std::vector<XorValue>& buckets) {
  std::vector<double> values;
  values.reserve(buckets.size());
  for (const XorValue& bucket : buckets) values.push_back(bucket.value());
  return values;
}

}  // namespace tidewright::tsdb
