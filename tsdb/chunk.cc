#include "tsdb/chunk.h"

#include <algorithm>
#include <type_traits>
#include <variant>

#include "tsdb/histogram_chunk.h"

namespace tidewright::tsdb {

namespace {

template <class Reader>
class FloatChunkReader : public ChunkReader {
 public:
  explicit FloatChunkReader(std::string_view bytes) : reader_(bytes) {}
  ValueType Next() override { return reader_.Next() ? ValueType::kFloat : ValueType::kNone; }
  int64_t time() const override { return reader_.At().t; }
  double value() const override { return reader_.At().v; }
  int64_t start_time() const override {
    if constexpr (std::is_same_v<Reader, Xor2ChunkReader>) return reader_.start_time();
    return 0;
  }
  bool corrupt() const override { return reader_.corrupt(); }

 private:
  Reader reader_;
};

constexpr uint32_t kMinHistogramSamples = 10;

}  // namespace

ValueType ValueTypeOf(ChunkEncoding encoding) {
  switch (encoding) {
    case ChunkEncoding::kXor:
    case ChunkEncoding::kXor2: return ValueType::kFloat;
    case ChunkEncoding::kHistogram:
    case ChunkEncoding::kHistogramSt: return ValueType::kHistogram;
    case ChunkEncoding::kFloatHistogram:
    case ChunkEncoding::kFloatHistogramSt: return ValueType::kFloatHistogram;
    case ChunkEncoding::kNone: break;
  }
  return ValueType::kNone;
}

std::string EncodingName(ChunkEncoding encoding) {
  constexpr const char* kNames[] = {"none", "XOR",         "histogram",       "floathistogram",
                                    "XOR2", "histogramST", "floathistogramST"};
  const auto byte = static_cast<size_t>(encoding);
  return byte < std::size(kNames) ? kNames[byte] : "unknown (" + std::to_string(byte) + ")";
}

uint32_t ChunkSampleCount(ChunkEncoding encoding, std::string_view bytes) {
  if (bytes.size() < 2) return 0;
  uint32_t count = (static_cast<unsigned char>(bytes[0]) << 8) | static_cast<unsigned char>(bytes[1]);
  const bool counter_bits = encoding == ChunkEncoding::kHistogramSt || encoding == ChunkEncoding::kFloatHistogramSt;
  return counter_bits ? count & 0x3fff : count;
}

base::Result<std::unique_ptr<ChunkReader>> NewChunkReader(ChunkEncoding encoding, std::string_view bytes) {
  std::unique_ptr<ChunkReader> reader;
  if (encoding == ChunkEncoding::kXor) {
    reader = std::make_unique<FloatChunkReader<XorChunkReader>>(bytes);
  } else if (encoding == ChunkEncoding::kXor2) {
    reader = std::make_unique<FloatChunkReader<Xor2ChunkReader>>(bytes);
  } else if (ValueTypeOf(encoding) != ValueType::kNone) {
    reader = NewHistogramChunkReader(encoding, bytes);
  } else {
    return base::UnimplementedError("chunk encoding " + EncodingName(encoding) + " is not known to this build");
  }
  return reader;
}

bool DecodeFloatChunk(ChunkEncoding encoding, std::string_view bytes, std::vector<int64_t>* t, std::vector<double>* v) {
  if (encoding == ChunkEncoding::kXor) return DecodeXorChunk(bytes, t, v);
  if (encoding != ChunkEncoding::kXor2) return false;
  Xor2ChunkReader reader(bytes);
  while (reader.Next()) {
    t->push_back(reader.At().t);
    v->push_back(reader.At().v);
  }
  return !reader.corrupt();
}

size_t DecodeFloatChunks(std::span<const ChunkView> chunks, std::vector<int64_t>* t, std::vector<double>* v) {
  size_t done = 0;
  for (const ChunkView& chunk : chunks) {
    if (chunk.encoding != ChunkEncoding::kXor) {
      t->resize(done);
      v->resize(done);
      (void)DecodeFloatChunk(chunk.encoding, chunk.bytes, t, v);
      done = t->size();
      continue;
    }
    const size_t room = done + XorChunkRoom(chunk.bytes);
    if (t->size() < room) t->resize(room);
    if (v->size() < room) v->resize(room);
    done += DecodeXorChunk(chunk.bytes, t->data() + done, v->data() + done);
  }
  return done;
}

// The chunks finished so far, and the one under construction.
struct ChunkEncoder::State {
  struct Floats {
    XorChunkWriter writer;
    int64_t mint = 0;
    int64_t maxt = 0;
  };
  using Integers = HistogramChunkWriter<Histogram>;
  using FloatCounts = HistogramChunkWriter<FloatHistogram>;
  using Open =
      std::variant<std::monostate, std::unique_ptr<Floats>, std::unique_ptr<Integers>, std::unique_ptr<FloatCounts>>;

  EncodedChunk Copy() const {
    if (const auto* floats = std::get_if<std::unique_ptr<Floats>>(&open)) {
      return {(*floats)->mint, (*floats)->maxt, ChunkEncoding::kXor, (*floats)->writer.bytes()};
    }
    if (const auto* integers = std::get_if<std::unique_ptr<Integers>>(&open)) return CopyOf(**integers);
    if (const auto* counts = std::get_if<std::unique_ptr<FloatCounts>>(&open)) return CopyOf(**counts);
    return {};
  }

  template <class Writer>
  static EncodedChunk CopyOf(const Writer& writer) {
    return {writer.mint(), writer.maxt(), writer.encoding(), writer.bytes()};
  }

  void Close() {
    if (std::holds_alternative<std::monostate>(open)) return;
    done.push_back(Copy());
    open = std::monostate();
  }

  template <class H>
  bool HistogramsFull(const HistogramChunkWriter<H>& writer) const {
    if (writer.count() >= cut.max_samples) return true;
    return cut.max_histogram_bytes > 0 && writer.bytes().size() >= cut.max_histogram_bytes &&
           writer.count() >= kMinHistogramSamples;
  }

  template <class H>
  void AppendHistogram(int64_t t, const H& h) {
    using Writer = HistogramChunkWriter<H>;
    auto* writer = std::get_if<std::unique_ptr<Writer>>(&open);
    CounterHeader next = CounterHeader::kUnknown;
    if (writer != nullptr) {
      if (!HistogramsFull(**writer)) {
        if ((*writer)->Append(t, h, 0, &next)) return;
      } else {
        next = (*writer)->HeaderAfter(h);
      }
    }
    Close();
    auto fresh = std::make_unique<Writer>(/*start_times=*/false, next);
    fresh->Append(t, h, 0, &next);
    open = std::move(fresh);
  }

  ChunkCut cut;
  std::vector<EncodedChunk> done;
  Open open;
};

ChunkEncoder::ChunkEncoder(const ChunkCut& cut) : state_(std::make_unique<State>()) { state_->cut = cut; }
ChunkEncoder::~ChunkEncoder() = default;
ChunkEncoder::ChunkEncoder(ChunkEncoder&&) noexcept = default;

void ChunkEncoder::Append(int64_t t, double value) {
  using Floats = State::Floats;
  auto* floats = std::get_if<std::unique_ptr<Floats>>(&state_->open);
  if (floats == nullptr || (*floats)->writer.count() >= state_->cut.max_samples) {
    state_->Close();
    state_->open = std::make_unique<Floats>();
    floats = std::get_if<std::unique_ptr<Floats>>(&state_->open);
    (*floats)->mint = t;
  }
  (*floats)->writer.Append(t, value);
  (*floats)->maxt = t;
}

void ChunkEncoder::Append(int64_t t, const Histogram& histogram) { state_->AppendHistogram(t, histogram); }
void ChunkEncoder::Append(int64_t t, const FloatHistogram& histogram) { state_->AppendHistogram(t, histogram); }

void ChunkEncoder::Cut() { state_->Close(); }

std::vector<EncodedChunk> ChunkEncoder::Take() {
  state_->Close();
  return std::move(state_->done);
}

size_t ChunkEncoder::open_bytes() const {
  return std::visit(
      [](const auto& open) -> size_t {
        using T = std::decay_t<decltype(open)>;
        if constexpr (std::is_same_v<T, std::monostate>)
          return 0;
        else if constexpr (std::is_same_v<T, std::unique_ptr<State::Floats>>)
          return open->writer.bytes().size();
        else
          return open->bytes().size();
      },
      state_->open);
}

EncodedChunk ChunkEncoder::OpenChunk() const { return state_->Copy(); }

base::Status VerifyChunk(const ChunkView& chunk) {
  TW_ASSIGN_OR_RETURN(const std::unique_ptr<ChunkReader> reader, NewChunkReader(chunk.encoding, chunk.bytes));
  uint32_t samples = 0;
  for (; reader->Next() != ValueType::kNone; ++samples) {
    const bool inside = reader->time() >= chunk.mint && reader->time() <= chunk.maxt;
    if (!inside) return base::DataLossError("a sample is outside of the chunk's time range");
  }
  if (!reader->corrupt() && samples > 0) return base::Status::Ok();
  return base::DataLossError("the chunk ends after " + std::to_string(samples) + " of " +
                             std::to_string(ChunkSampleCount(chunk.encoding, chunk.bytes)) + " samples");
}

}  // namespace tidewright::tsdb
