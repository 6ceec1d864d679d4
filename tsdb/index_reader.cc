#include "tsdb/index_reader.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <iterator>
#include <optional>
#include <set>
#include <tuple>

#include "tsdb/encoding.h"
#include "tsdb/index_format.h"

namespace tidewright::tsdb {

namespace {

constexpr uint32_t kSymbolStep = 8;  // Between symbols whose place is kept in memory.
constexpr uint32_t kValueStep = 32;  // Between values.

// What is behind `pairs` pairs of varints, whose values do not matter.
std::string_view BehindVarints(std::string_view bytes, uint64_t pairs) {
  size_t at = 0;
  for (uint64_t ends = 0; ends / 2 < pairs && at < bytes.size(); ++at) ends += (bytes[at] & 0x80) == 0 ? 1 : 0;
  return bytes.substr(at);
}

}  // namespace

uint32_t PostingsList::operator[](size_t i) const {
  uint32_t id;
  std::memcpy(&id, bytes_.data() + i * 4, 4);
  return std::endian::native == std::endian::little ? __builtin_bswap32(id) : id;
}

size_t PostingsList::Seek(size_t from, uint32_t id) const {
  // Doubling steps, then halving ones: what is sought is usually near.
  size_t low = from;
  size_t step = 1;
  while (low + step < size() && (*this)[low + step] < id) {
    low += step;
    step *= 2;
  }
  size_t high = std::min(low + step, size());
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if ((*this)[middle] < id) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

base::Result<std::unique_ptr<IndexReader>> IndexReader::Open(const std::string& path) {
  TW_ASSIGN_OR_RETURN(MappedFile file, MappedFile::Open(path));
  std::unique_ptr<IndexReader> reader(new IndexReader(path, std::move(file)));
  TW_RETURN_IF_ERROR(reader->Load());
  return reader;
}

base::Status IndexReader::Damaged(const std::string& what) const {
  return base::DataLossError("read " + path_ + ": " + what);
}

base::Result<std::string_view> IndexReader::Section(uint64_t offset, const char* what) const {
  const std::string_view bytes = file_.bytes();
  const auto damaged = [&](const char* how) {
    return Damaged(std::string(what) + " at byte " + std::to_string(offset) + ": " + how);
  };
  if (offset > bytes.size()) return damaged("beyond the end");
  ByteReader in(bytes.substr(offset));
  const uint32_t length = in.U32();
  const std::string_view content = in.Bytes(length);
  const uint32_t checksum = in.U32();
  if (!in.ok()) return damaged("ends beyond the end");
  if (Crc32c(content) != checksum) return damaged("wrong checksum");
  return content;
}

base::Status IndexReader::Load() {
  const std::string_view bytes = file_.bytes();
  if (bytes.size() < kIndexHeaderBytes + kIndexTocBytes) return Damaged("at byte 0: too short for an index");
  ByteReader header(bytes);
  if (header.U32() != kIndexMagic) return Damaged("at byte 0: not an index");
  const uint8_t version = header.U8();
  if (version != kIndexVersion) {
    return base::UnimplementedError("read " + path_ + ": at byte 4: version " + std::to_string(version) +
                                    " is not known");
  }
  const std::string_view toc = bytes.substr(bytes.size() - kIndexTocBytes);
  ByteReader in(toc);
  const uint64_t symbols = in.U64();
  series_begin_ = in.U64();
  in.Bytes(2 * 8);  // Label indices and their table, which nobody needs.
  series_end_ = in.U64();
  const uint64_t table = in.U64();
  if (Crc32c(toc.substr(0, toc.size() - kChecksumBytes)) != in.U32()) {
    return Damaged("table of contents at byte " + std::to_string(bytes.size() - kIndexTocBytes) + ": wrong checksum");
  }
  if (series_begin_ > series_end_ || series_end_ > bytes.size()) {
    return Damaged("table of contents at byte " + std::to_string(bytes.size() - kIndexTocBytes) +
                   ": the sections are out of order");
  }
  TW_RETURN_IF_ERROR(LoadSymbols(symbols));
  return LoadTable(table);
}

base::Status IndexReader::LoadSymbols(uint64_t offset) {
  TW_ASSIGN_OR_RETURN(const std::string_view section, Section(offset, "symbols"));
  ByteReader in(section);
  symbol_count_ = in.U32();
  symbols_ = section.substr(section.size() - in.remaining());
  const std::string place = "symbols at byte " + std::to_string(offset) + ": ";
  if (!in.ok() || symbol_count_ > symbols_.size()) return Damaged(place + "more symbols than bytes");
  symbol_samples_.reserve(symbol_count_ / kSymbolStep + 1);
  for (uint32_t i = 0; i < symbol_count_; ++i) {
    if (i % kSymbolStep == 0) symbol_samples_.push_back(static_cast<uint32_t>(symbols_.size() - in.remaining()));
    (void)in.String();
  }
  return in.ok() ? base::Status::Ok() : Damaged(place + "a symbol ends beyond their end");
}

base::Result<std::string_view> IndexReader::Symbol(uint32_t position) const {
  if (position >= symbol_count_) return Damaged("there is no symbol " + std::to_string(position));
  ByteReader in(symbols_.substr(symbol_samples_[position / kSymbolStep]));
  for (uint32_t i = position % kSymbolStep; i > 0; --i) (void)in.String();
  return in.String();
}

bool IndexReader::ReadEntry(uint32_t* position, TableEntry* entry) const {
  ByteReader in(table_.substr(*position));
  const uint64_t fields = in.Uvarint();
  entry->name = in.String();
  entry->value = in.String();
  entry->offset = in.Uvarint();
  *position = static_cast<uint32_t>(table_.size() - in.remaining());
  return in.ok() && fields == kPostingsKeyFields;
}

base::Status IndexReader::LoadTable(uint64_t offset) {
  TW_ASSIGN_OR_RETURN(const std::string_view section, Section(offset, "postings table"));
  ByteReader in(section);
  const uint32_t count = in.U32();
  table_ = section.substr(section.size() - in.remaining());
  const std::string place = "postings table at byte " + std::to_string(offset) + ": ";
  if (!in.ok() || count > table_.size()) return Damaged(place + "more label pairs than bytes");
  TableEntry previous;
  for (uint32_t i = 0, position = 0; i < count; ++i) {
    const uint32_t begin = position;
    TableEntry entry;
    if (!ReadEntry(&position, &entry)) return Damaged(place + "a label pair is torn");
    if (i > 0 && std::tie(entry.name, entry.value) <= std::tie(previous.name, previous.value)) {
      return Damaged(place + "the label pairs do not ascend");
    }
    if (i == 0 || entry.name != previous.name) names_.push_back({entry.name, 0, 0, {}});
    NameEntries& entries = names_.back();
    if (entries.count++ % kValueStep == 0) entries.samples.push_back(begin);
    entries.end = position;
    previous = entry;
  }
  names_.shrink_to_fit();
  return base::Status::Ok();
}

const IndexReader::NameEntries* IndexReader::FindName(std::string_view name) const {
  auto it = std::lower_bound(names_.begin(), names_.end(), name,
                             [](const NameEntries& entries, std::string_view text) { return entries.name < text; });
  return it == names_.end() || it->name != name ? nullptr : &*it;
}

// The last sample that is not behind the value.
uint32_t IndexReader::SampleBefore(const NameEntries& entries, std::string_view value) const {
  auto behind = std::partition_point(entries.samples.begin() + 1, entries.samples.end(), [&](uint32_t position) {
    TableEntry entry;
    return ReadEntry(&position, &entry) && entry.value <= value;
  });
  return static_cast<uint32_t>(behind - entries.samples.begin() - 1);
}

template <class Visit>
base::Status IndexReader::ForEachValue(const NameEntries& entries, uint32_t first_sample, Visit visit) const {
  TableEntry entry;
  for (uint32_t position = entries.samples[first_sample]; position < entries.end;) {
    if (!ReadEntry(&position, &entry)) return Damaged("a label pair of the postings table is torn");
    if (!visit(entry.value, entry.offset)) break;
  }
  return base::Status::Ok();
}

base::Result<PostingsList> IndexReader::ReadPostings(uint64_t offset) const {
  TW_ASSIGN_OR_RETURN(const std::string_view section, Section(offset, "postings"));
  ByteReader in(section);
  const uint64_t count = in.U32();
  if (!in.ok() || in.remaining() != count * 4) {
    return Damaged("postings at byte " + std::to_string(offset) + " are of another length than they say");
  }
  return PostingsList(section.substr(4));
}

base::Result<PostingsList> IndexReader::Postings(std::string_view name, std::string_view value) const {
  const NameEntries* entries = FindName(name);
  if (entries == nullptr) return PostingsList();
  uint64_t offset = 0;
  TW_RETURN_IF_ERROR(
      ForEachValue(*entries, SampleBefore(*entries, value), [&](std::string_view candidate, uint64_t at) {
        if (candidate == value) offset = at;
        return candidate < value;
      }));
  return offset == 0 ? PostingsList() : ReadPostings(offset);
}

std::vector<std::string> IndexReader::LabelNames() const {
  std::vector<std::string> names;
  for (const NameEntries& entries : names_) {
    if (!entries.name.empty()) names.emplace_back(entries.name);
  }
  return names;
}

base::Result<std::vector<std::string>> IndexReader::LabelValues(std::string_view name) const {
  std::vector<std::string> values;
  const NameEntries* entries = FindName(name);
  if (entries == nullptr || name.empty()) return values;
  values.reserve(entries->count);
  TW_RETURN_IF_ERROR(ForEachValue(*entries, 0, [&values](std::string_view value, uint64_t) {
    values.emplace_back(value);
    return true;
  }));
  return values;
}

base::Result<std::vector<std::string>> IndexReader::SymbolsOf(const Matchers& matchers, const std::string* name) const {
  TW_ASSIGN_OR_RETURN(const std::vector<uint32_t> ids, Select(matchers));
  std::vector<std::pair<uint32_t, uint32_t>> labels;
  std::set<uint32_t> found;
  std::optional<uint32_t> position;  // Of the name, as soon as a series has it.
  for (uint32_t id : ids) {
    TW_RETURN_IF_ERROR(SeriesSymbols(id, &labels, nullptr));
    for (const auto& [name_position, value_position] : labels) {
      if (name == nullptr) {
        found.insert(name_position);
        continue;
      }
      if (!position.has_value()) {
        TW_ASSIGN_OR_RETURN(const std::string_view text, Symbol(name_position));
        if (text == *name) position = name_position;
      }
      if (position == name_position) found.insert(value_position);
    }
  }
  std::vector<std::string> texts;
  for (uint32_t symbol : found) {
    TW_ASSIGN_OR_RETURN(const std::string_view text, Symbol(symbol));
    texts.emplace_back(text);
  }
  std::sort(texts.begin(), texts.end());
  texts.erase(std::unique(texts.begin(), texts.end()), texts.end());
  return texts;
}

base::Status IndexReader::SeriesSymbols(uint32_t id, std::vector<std::pair<uint32_t, uint32_t>>* labels,
                                        std::vector<IndexedChunk>* chunks) const {
  const uint64_t offset = uint64_t{id} * kSeriesAlignment;
  const auto damaged = [&](const char* what) {
    return Damaged("series " + std::to_string(id) + " at byte " + std::to_string(offset) + ": " + what);
  };
  if (offset < series_begin_ || offset >= series_end_) return damaged("there is none");
  ByteReader frame(file_.bytes().substr(offset, series_end_ - offset));
  const std::string_view body = frame.String();
  const uint32_t checksum = frame.U32();
  if (!frame.ok()) return damaged("it ends beyond the end of the series");
  if (Crc32c(body) != checksum) return damaged("wrong checksum");

  ByteReader in(body);
  const uint64_t label_count = in.Uvarint();
  if (labels == nullptr) {
    in = ByteReader(BehindVarints(body.substr(body.size() - in.remaining()), label_count));
  } else {
    labels->clear();
  }
  for (uint64_t count = labels == nullptr ? 0 : label_count; count > 0 && in.ok(); --count) {
    const uint64_t name = in.Uvarint();
    const uint64_t value = in.Uvarint();
    if (name > UINT32_MAX || value > UINT32_MAX) return damaged("a label's symbol does not exist");
    labels->push_back({static_cast<uint32_t>(name), static_cast<uint32_t>(value)});
  }
  if (!in.ok()) return damaged("its labels are torn");
  if (chunks == nullptr) return base::Status::Ok();
  chunks->clear();
  // Sums wrap around, so that hostile numbers are only wrong.
  uint64_t end = 0;
  uint64_t ref = 0;
  for (uint64_t left = in.Uvarint(), first = left; left > 0 && in.ok(); --left) {
    const uint64_t mint = left == first ? static_cast<uint64_t>(in.Varint()) : end + in.Uvarint();
    end = mint + in.Uvarint();
    ref = left == first ? in.Uvarint() : ref + static_cast<uint64_t>(in.Varint());
    chunks->push_back({static_cast<int64_t>(mint), static_cast<int64_t>(end), ref});
  }
  return in.ok() ? base::Status::Ok() : damaged("its chunks are torn");
}

base::Status IndexReader::Series(uint32_t id, Labels* labels, std::vector<IndexedChunk>* chunks) const {
  std::vector<std::pair<uint32_t, uint32_t>> symbols;
  TW_RETURN_IF_ERROR(SeriesSymbols(id, &symbols, chunks));
  if (labels == nullptr) return base::Status::Ok();
  std::vector<Label> pairs;
  pairs.reserve(symbols.size());
  for (const auto& [name_position, value_position] : symbols) {
    TW_ASSIGN_OR_RETURN(const std::string_view name, Symbol(name_position));
    TW_ASSIGN_OR_RETURN(const std::string_view value, Symbol(value_position));
    pairs.push_back({std::string(name), std::string(value)});
  }
  auto misplaced = [](const Label& a, const Label& b) { return a.name >= b.name; };
  const bool sorted = std::adjacent_find(pairs.begin(), pairs.end(), misplaced) == pairs.end() &&
                      std::none_of(pairs.begin(), pairs.end(), [](const Label& pair) { return pair.value.empty(); });
  *labels = sorted ? Labels::FromSorted(std::move(pairs)) : Labels::FromPairs(std::move(pairs));
  return base::Status::Ok();
}

base::Result<std::string_view> IndexReader::SeriesValue(uint32_t id, std::string_view name) const {
  std::vector<std::pair<uint32_t, uint32_t>> symbols;
  TW_RETURN_IF_ERROR(SeriesSymbols(id, &symbols, nullptr));
  for (const auto& [name_position, value_position] : symbols) {
    TW_ASSIGN_OR_RETURN(const std::string_view one, Symbol(name_position));
    if (one == name) return Symbol(value_position);
  }
  return std::string_view();
}

// The lists of series that a set of matchers leads to, and their intersection.
class IndexReader::Selection {
 public:
  explicit Selection(const IndexReader& index) : index_(index) {}

  base::Status Add(const Matcher& matcher) {
    // A matcher that the empty string satisfies also selects the series that lack the label. What it rejects is known:
    // values that are there.
    const bool names_one = matcher.type() == Matcher::Type::kEqual || matcher.type() == Matcher::Type::kNotEqual;
    if (matcher.MatchesEmpty()) {
      if (names_one && !matcher.value().empty()) return AddList(matcher.name(), matcher.value(), &rejected_);
      return Gather(matcher, /*matching=*/false, &rejected_);
    }
    std::vector<uint32_t> ids;
    if (matcher.type() == Matcher::Type::kEqual) {
      TW_ASSIGN_OR_RETURN(const PostingsList list, index_.Postings(matcher.name(), matcher.value()));
      required_.push_back(list);
      return base::Status::Ok();
    }
    TW_RETURN_IF_ERROR(Gather(matcher, /*matching=*/true, &ids));
    Sort(&ids);
    unions_.push_back(std::move(ids));
    return base::Status::Ok();
  }

  base::Result<std::vector<uint32_t>> Run() {
    TW_ASSIGN_OR_RETURN(std::vector<uint32_t> ids, Start());
    for (const std::vector<uint32_t>& list : unions_) {
      std::vector<uint32_t> both;
      std::set_intersection(ids.begin(), ids.end(), list.begin(), list.end(), std::back_inserter(both));
      ids.swap(both);
    }
    for (const PostingsList& list : required_) Intersect(list, &ids);
    if (rejected_.empty()) return ids;
    Sort(&rejected_);
    std::vector<uint32_t> left;
    std::set_difference(ids.begin(), ids.end(), rejected_.begin(), rejected_.end(), std::back_inserter(left));
    return left;
  }

 private:
  static void Sort(std::vector<uint32_t>* ids) {
    std::sort(ids->begin(), ids->end());
    ids->erase(std::unique(ids->begin(), ids->end()), ids->end());
  }

  static std::vector<uint32_t> Copy(const PostingsList& list) {
    std::vector<uint32_t> ids(list.size());
    for (size_t i = 0; i < ids.size(); ++i) ids[i] = list[i];
    return ids;
  }

  static void Intersect(const PostingsList& list, std::vector<uint32_t>* ids) {
    size_t at = 0;
    size_t kept = 0;
    for (uint32_t id : *ids) {
      at = list.Seek(at, id);
      if (at == list.size()) break;
      if (list[at] == id) (*ids)[kept++] = id;
    }
    ids->resize(kept);
  }

  // The shortest list there is to begin with; the others are intersected with it.
  base::Result<std::vector<uint32_t>> Start() {
    if (!unions_.empty()) {
      std::vector<uint32_t> ids = std::move(unions_.back());
      unions_.pop_back();
      return ids;
    }
    if (required_.empty()) {
      TW_ASSIGN_OR_RETURN(const PostingsList all, index_.Postings("", ""));
      return Copy(all);
    }
    auto shortest = std::min_element(required_.begin(), required_.end(),
                                     [](const PostingsList& a, const PostingsList& b) { return a.size() < b.size(); });
    std::vector<uint32_t> ids = Copy(*shortest);
    required_.erase(shortest);
    return ids;
  }

  static void Append(const PostingsList& list, std::vector<uint32_t>* ids) {
    for (size_t i = 0; i < list.size(); ++i) ids->push_back(list[i]);
  }

  base::Status AddList(std::string_view name, std::string_view value, std::vector<uint32_t>* ids) {
    TW_ASSIGN_OR_RETURN(const PostingsList list, index_.Postings(name, value));
    Append(list, ids);
    return base::Status::Ok();
  }

  base::Status AddList(uint64_t offset, std::vector<uint32_t>* ids) {
    TW_ASSIGN_OR_RETURN(const PostingsList list, index_.ReadPostings(offset));
    Append(list, ids);
    return base::Status::Ok();
  }

  // The series with a value of the label that the matcher accepts (or, otherwise, that it rejects).
  base::Status Gather(const Matcher& matcher, bool matching, std::vector<uint32_t>* ids) {
    const bool negated = matcher.type() == Matcher::Type::kNotEqual || matcher.type() == Matcher::Type::kNotRegex;
    const std::vector<std::string>* literals = matcher.Literals();
    if (literals != nullptr && matching != negated) {
      for (const std::string& value : *literals) TW_RETURN_IF_ERROR(AddList(matcher.name(), value, ids));
      return base::Status::Ok();
    }
    const NameEntries* entries = index_.FindName(matcher.name());
    if (entries == nullptr) return base::Status::Ok();
    const std::string_view prefix = matching != negated ? matcher.Prefix() : std::string_view();
    base::Status failure;
    const auto visit = [&](std::string_view value, uint64_t offset) {
      if (value.substr(0, prefix.size()) > prefix) return false;
      if (matcher.Matches(value) == matching) failure = AddList(offset, ids);
      return failure.ok();
    };
    TW_RETURN_IF_ERROR(index_.ForEachValue(*entries, index_.SampleBefore(*entries, prefix), visit));
    return failure;
  }

  const IndexReader& index_;
  std::vector<PostingsList> required_;
  std::vector<std::vector<uint32_t>> unions_;
  std::vector<uint32_t> rejected_;
};

base::Result<std::vector<uint32_t>> IndexReader::Select(const Matchers& matchers) const {
  Selection selection(*this);
  for (const Matcher& matcher : matchers) TW_RETURN_IF_ERROR(selection.Add(matcher));
  return selection.Run();
}

}  // namespace tidewright::tsdb
