#include "tsdb/log_codec.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <memory>
#include <utility>

#include "tsdb/value_codec.h"

namespace tidewright::tsdb {

namespace {

constexpr uint8_t kAbsolute = 1;

base::Status Corrupt(std::string_view what) {
  return base::DataLossError("record of the head's log: " + std::string(what));
}

}  // namespace

void LogEncoder::StartSegment() {
  known_symbols_ = IdMap();
  symbol_count_ = 0;
  known_values_.Clear();
  StartRecord();
}

void LogEncoder::StartRecord() {
  record_.clear();
  last_labels_.clear();
  last_ref_ = 0;
}

// The number that the segment gave the text; a text that is new to the segment follows the number 0.
void LogEncoder::PutSymbol(Symbol symbol) {
  uint32_t number = known_symbols_.Find(symbol);
  if (number != IdMap::kNone) return PutUvarint(&record_, number);
  PutUvarint(&record_, 0);
  PutString(&record_, symbols_.Text(symbol));
  known_symbols_.Insert(symbol, ++symbol_count_);
}

// Reference, number of labels, and which labels are those of the series before at the same place; then the others.
void LogEncoder::AddSeries(SeriesRef ref, std::span<const SymbolPair> labels) {
  PutU8(&record_, static_cast<uint8_t>(LogPart::kSeries));
  PutVarint(&record_, static_cast<int64_t>(ref - last_ref_));
  PutUvarint(&record_, labels.size());
  const size_t bitmap = record_.size();
  record_.append((labels.size() + 7) / 8, '\0');
  for (size_t i = 0; i < labels.size(); ++i) {
    if (i < last_labels_.size() && labels[i] == last_labels_[i]) {
      char& byte = record_[bitmap + i / 8];
      byte = static_cast<char>(byte | 1 << (i % 8));
      continue;
    }
    PutSymbol(labels[i].name);
    PutSymbol(labels[i].value);
  }
  last_labels_.assign(labels.begin(), labels.end());
  last_ref_ = ref;
}

void LogEncoder::AddMetadata(const std::string& family, const Metadata& metadata) {
  PutU8(&record_, static_cast<uint8_t>(LogPart::kMetadata));
  PutString(&record_, family);
  PutU8(&record_, static_cast<uint8_t>(metadata.type));
  PutString(&record_, metadata.unit);
  PutString(&record_, metadata.help);
}

void LogEncoder::AddHistogram(LogPart part, SeriesRef ref, std::string_view sample) {
  std::string body;
  PutUvarint(&body, ref);
  body += sample;
  AddPart(part, body);
}

void LogEncoder::AddPart(LogPart part, std::string_view bytes) {
  PutU8(&record_, static_cast<uint8_t>(part));
  PutString(&record_, bytes);
}

// Runs of neighbouring references: how far the run begins after the end of the one before, and its length.
void LogEncoder::PutRuns(std::span<const SeriesRef> refs) {
  SeriesRef end = 0;
  for (size_t i = 0; i < refs.size();) {
    size_t length = 1;
    while (i + length < refs.size() && refs[i + length] == refs[i] + length) ++length;
    PutVarint(&record_, static_cast<int64_t>(refs[i] - end));
    PutUvarint(&record_, length);
    end = refs[i] + length;
    i += length;
  }
}

void LogEncoder::AddSamples(int64_t t, std::span<const SeriesRef> refs, std::span<const double> values,
                            std::span<const double> previous, bool absolute) {
  if (refs.empty()) return;
  PutU8(&record_, static_cast<uint8_t>(LogPart::kSamples));
  PutU8(&record_, absolute ? kAbsolute : 0);
  PutVarint(&record_, t);
  PutUvarint(&record_, refs.size());
  PutRuns(refs);
  const size_t bitmap_bytes = (refs.size() + 7) / 8;
  std::string changed(bitmap_bytes, '\0');
  // Not filled with zeros: of this room a tenth is used, and writing it would drive as much out of the caches.
  const auto codes = std::make_unique_for_overwrite<char[]>(refs.size() * kMaxCodeBytes);
  auto* out = reinterpret_cast<uint8_t*>(codes.get());
  size_t size = 0;
  for (size_t i = 0; i < refs.size(); ++i) {
    bool known = known_values_.TestAndSet(refs[i]);
    double from = known && !absolute ? previous[i] : 0.0;
    if (std::bit_cast<uint64_t>(from) == std::bit_cast<uint64_t>(values[i])) continue;
    changed[i / 8] = static_cast<char>(changed[i / 8] | 1 << (i % 8));
    size += EncodeValue(from, values[i], out + size);
  }
  record_ += changed;
  PutUvarint(&record_, size);
  record_.append(codes.get(), size);
}

void LogDecoder::StartSegment() {
  symbols_.assign(1, 0);
  values_.clear();
  page_number_ = UINT64_MAX;
  page_ = nullptr;
}

base::Status LogDecoder::Decode(std::string_view record, LogHandler* handler) {
  ByteReader reader(record);
  last_labels_.clear();
  last_ref_ = 0;
  if (record.empty()) return Corrupt("empty");
  while (!reader.empty()) {
    auto part = static_cast<LogPart>(reader.U8());
    base::Status status;
    switch (part) {
      case LogPart::kSeries: status = DecodeSeries(&reader, handler); break;
      case LogPart::kSamples: status = DecodeSamples(record, &reader, handler); break;
      case LogPart::kMetadata: status = DecodeMetadata(&reader, handler); break;
      default: status = handler->OnOther(part, reader.String()); break;
    }
    TW_RETURN_IF_ERROR(status);
    if (!reader.ok()) return Corrupt("cut short");
  }
  return base::Status::Ok();
}

bool LogDecoder::ReadSymbol(ByteReader* reader, LogHandler* handler, Symbol* symbol) {
  uint64_t number = reader->Uvarint();
  if (number == 0) {
    symbols_.push_back(handler->OnSymbol(reader->String()));
    number = symbols_.size() - 1;
  }
  if (!reader->ok() || number >= symbols_.size()) return false;
  *symbol = symbols_[number];
  return true;
}

base::Status LogDecoder::DecodeSeries(ByteReader* reader, LogHandler* handler) {
  last_ref_ += static_cast<SeriesRef>(reader->Varint());
  uint64_t count = reader->Uvarint();
  if (!reader->ok() || count == 0 || count > kMaxSeriesLabels) return Corrupt("number of labels of a series");
  std::string_view same = reader->Bytes((count + 7) / 8);
  if (!reader->ok()) return Corrupt("series cut short");
  std::vector<SymbolPair> labels(count);
  bool usable = true;
  for (size_t i = 0; i < count; ++i) {
    if ((static_cast<unsigned char>(same[i / 8]) >> (i % 8) & 1) != 0) {
      if (i >= last_labels_.size()) return Corrupt("label of the series before");
      labels[i] = last_labels_[i];
    } else if (!ReadSymbol(reader, handler, &labels[i].name) || !ReadSymbol(reader, handler, &labels[i].value)) {
      return Corrupt("symbol of a label");
    }
    usable = usable && labels[i].name != 0 && labels[i].value != 0;
  }
  last_labels_ = std::move(labels);
  return usable ? handler->OnSeries(last_ref_, last_labels_) : base::Status::Ok();
}

base::Status LogDecoder::DecodeMetadata(ByteReader* reader, LogHandler* handler) {
  std::string family(reader->String());
  Metadata metadata;
  uint8_t type = reader->U8();
  if (type > static_cast<uint8_t>(MetricType::kStateset)) return Corrupt("metric type " + std::to_string(type));
  metadata.type = static_cast<MetricType>(type);
  metadata.unit = reader->String();
  metadata.help = reader->String();
  if (!reader->ok()) return Corrupt("metadata cut short");
  return handler->OnMetadata(std::move(family), std::move(metadata));
}

base::Result<bool> LogHandler::OnPackedSamples(const PackedSamples&) { return false; }

void LogDecoder::LoadPage(uint64_t number) {
  std::unique_ptr<Values>& page = values_[number];
  if (page == nullptr) page = std::make_unique<Values>();
  page_number_ = number;
  page_ = page.get();
}

bool LogDecoder::DecodeValues(std::string_view bitmap, std::string_view codes, bool absolute) {
  const auto* at = reinterpret_cast<const uint8_t*>(codes.data());
  const uint8_t* end = at + codes.size();
  decoded_.resize(refs_.size());
  for (size_t i = 0; i < refs_.size(); ++i) {
    const SeriesRef ref = refs_[i];
    if (ref / 256 != page_number_) LoadPage(ref / 256);
    uint64_t& known = page_->known[ref % 256 / 64];
    double& last = page_->last[ref % 256];
    double from = (known >> (ref % 64) & 1) != 0 && !absolute ? last : 0.0;
    known |= uint64_t{1} << (ref % 64);
    if ((static_cast<unsigned char>(bitmap[i / 8]) >> (i % 8) & 1) != 0) {
      size_t used = DecodeValue(at, static_cast<size_t>(end - at), from, &from);
      if (used == 0) return false;
      at += used;
    }
    decoded_[i] = last = from;
  }
  return at == end;
}

base::Status LogDecoder::DecodeSamples(std::string_view record, ByteReader* reader, LogHandler* handler) {
  PackedSamples samples;
  const uint8_t flags = reader->U8();
  samples.absolute = (flags & kAbsolute) != 0;
  samples.t = reader->Varint();
  samples.count = reader->Uvarint();
  // Every 8 samples take at least a byte.
  if (!reader->ok() || flags > kAbsolute || samples.count == 0 || samples.count / 8 > reader->remaining()) {
    return Corrupt("number of samples");
  }
  const size_t runs = record.size() - reader->remaining();
  SeriesRef at = 0;
  for (uint64_t found = 0; found < samples.count;) {
    at += static_cast<SeriesRef>(reader->Varint());
    const uint64_t length = reader->Uvarint();
    if (!reader->ok() || length == 0 || length > samples.count - found || at > UINT64_MAX - length) {
      return Corrupt("references of samples");
    }
    at += length;
    found += length;
  }
  samples.runs = record.substr(runs, record.size() - reader->remaining() - runs);
  samples.bitmap = reader->Bytes((samples.count + 7) / 8);
  samples.codes = reader->String();
  if (!reader->ok()) return Corrupt("samples cut short");
  TW_ASSIGN_OR_RETURN(const bool taken, handler->OnPackedSamples(samples));
  if (taken) return base::Status::Ok();
  refs_.clear();
  TW_RETURN_IF_ERROR(ForEachRun(samples.runs, [this](SeriesRef begin, uint64_t length) {
    for (uint64_t i = 0; i < length; ++i) refs_.push_back(begin + i);
    return base::Status::Ok();
  }));
  if (!DecodeValues(samples.bitmap, samples.codes, samples.absolute)) return Corrupt("values of samples");
  return handler->OnSamples(samples.t, refs_, decoded_);
}

}  // namespace tidewright::tsdb
