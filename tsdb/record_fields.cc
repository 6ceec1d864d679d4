#include "tsdb/record_fields.h"

namespace tidewright::tsdb {

namespace {
// How a start timestamp is given: not at all, as before, or as a difference to the first.
enum StartMarker : uint8_t { kUnknown = 0, kSame = 1, kExplicit = 2 };
}  // namespace

base::Status MalformedRecord(std::string_view what) {
  return base::DataLossError("log record: " + std::string(what) + " record ends early or has an invalid number");
}

void PutLabels(const Labels& labels, std::string* out) {
  PutUvarint(out, labels.size());
  for (const Label& label : labels) {
    PutString(out, label.name);
    PutString(out, label.value);
  }
}

bool ReadLabels(ByteReader* in, Labels* labels) {
  const uint64_t count = in->Uvarint();
  if (count > in->remaining() / 2) return false;  // A label is at least two length bytes.
  std::vector<Label> pairs;
  pairs.reserve(count);
  for (uint64_t i = 0; i < count && in->ok(); ++i) {
    std::string name(in->String());
    pairs.push_back({std::move(name), std::string(in->String())});
  }
  *labels = Labels::FromPairs(std::move(pairs));
  return in->ok();
}

void FirstPosition::Put(SeriesRef ref, int64_t t, std::string* out) {
  if (!begun_) {
    begun_ = true;
    ref_ = ref;
    t_ = t;
    PutU64(out, ref);
    PutU64(out, static_cast<uint64_t>(t));
  }
  PutVarint(out, Delta(ref, ref_));
  PutVarint(out, Delta(t, t_));
}

void FirstPosition::Read(ByteReader* in, SeriesRef* ref, int64_t* t) {
  if (!begun_) {
    begun_ = true;
    ref_ = in->U64();
    t_ = static_cast<int64_t>(in->U64());
  }
  *ref = Plus(ref_, in->Varint());
  *t = Plus(t_, in->Varint());
}

void RecordPosition::Put(SeriesRef ref, int64_t t, int64_t start_time, std::string* out) {
  PutVarint(out, Delta(ref, previous_ref_));
  PutVarint(out, Delta(t, first_t_));
  if (!begun_) {
    begun_ = true;
    first_t_ = t;
    first_start_ = start_time;
    PutVarint(out, start_time);
  } else if (start_time == 0) {
    PutU8(out, kUnknown);
  } else if (start_time == previous_start_) {
    PutU8(out, kSame);
  } else {
    PutU8(out, kExplicit);
    PutVarint(out, Delta(start_time, first_start_));
  }
  previous_ref_ = ref;
  previous_start_ = start_time;
}

bool RecordPosition::Read(ByteReader* in, SeriesRef* ref, int64_t* t, int64_t* start_time) {
  *ref = previous_ref_ = Plus(previous_ref_, in->Varint());
  *t = Plus(first_t_, in->Varint());
  if (!begun_) {
    begun_ = true;
    first_t_ = *t;
    *start_time = first_start_ = in->Varint();
  } else {
    const uint8_t marker = in->U8();
    if (marker > kExplicit) return false;
    *start_time = marker == kUnknown ? 0 : marker == kSame ? previous_start_ : Plus(first_start_, in->Varint());
  }
  previous_start_ = *start_time;
  return in->ok();
}

}  // namespace tidewright::tsdb
