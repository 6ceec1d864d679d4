#include "tsdb/block_meta.h"

#include <random>

#include "base/file.h"
#include "base/json.h"

namespace tidewright::tsdb {

namespace {

constexpr std::string_view kUlidDigits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
constexpr size_t kUlidLength = 26;
constexpr size_t kUlidTimeLength = 10;
constexpr int kMetaVersion = 1;

std::string MetaPath(const std::string& block_directory) { return block_directory + "/meta.json"; }

using OrderedJson = nlohmann::ordered_json;

// Fields that are zero or empty are left out.
template <class T>
void PutIfAny(OrderedJson* object, const char* name, const T& value) {
  if (value != T{}) (*object)[name] = value;
}

OrderedJson FormatStats(const BlockStats& stats) {
  OrderedJson json = OrderedJson::object();
  PutIfAny(&json, "numSamples", stats.samples);
  PutIfAny(&json, "numFloatSamples", stats.float_samples);
  PutIfAny(&json, "numHistogramSamples", stats.histogram_samples);
  PutIfAny(&json, "numSeries", stats.series);
  PutIfAny(&json, "numChunks", stats.chunks);
  PutIfAny(&json, "numTombstones", stats.tombstones);
  return json;
}

OrderedJson FormatCompaction(const BlockMeta& meta) {
  OrderedJson json = OrderedJson::object();
  json["level"] = meta.level;
  PutIfAny(&json, "sources", meta.sources);
  PutIfAny(&json, "deletable", meta.deletable);
  for (const BlockParent& parent : meta.parents) {
    json["parents"].push_back({{"ulid", parent.ulid}, {"minTime", parent.mint}, {"maxTime", parent.maxt}});
  }
  PutIfAny(&json, "failed", meta.failed);
  PutIfAny(&json, "hints", meta.hints);
  return json;
}

uint64_t Count(const base::Json& meta, std::string_view name) {
  return static_cast<uint64_t>(base::FindInt(meta, {"stats", name}));
}

// Number of an object's field; false when it is none.
bool Time(const base::Json& object, const char* name, int64_t* value) {
  const base::Json* field = base::Find(object, {name});
  if (field == nullptr || !field->is_number_integer()) return false;
  *value = field->get<int64_t>();
  return true;
}

std::vector<std::string> Texts(const base::Json& meta, const char* name) {
  std::vector<std::string> texts;
  const base::Json* list = base::Find(meta, {"compaction", name});
  if (list == nullptr || !list->is_array()) return texts;
  for (const base::Json& item : *list) {
    if (item.is_string()) texts.push_back(item.get<std::string>());
  }
  return texts;
}

bool ParseParents(const base::Json& meta, std::vector<BlockParent>* parents) {
  const base::Json* list = base::Find(meta, {"compaction", "parents"});
  if (list == nullptr || !list->is_array()) return true;
  for (const base::Json& item : *list) {
    BlockParent parent;
    parent.ulid = base::FindString(item, {"ulid"});
    if (!IsUlid(parent.ulid) || !Time(item, "minTime", &parent.mint) || !Time(item, "maxTime", &parent.maxt)) {
      return false;
    }
    parents->push_back(std::move(parent));
  }
  return true;
}

}  // namespace

std::string NewUlid(int64_t now_ms) {
  std::string ulid(kUlidLength, '0');
  auto time = static_cast<uint64_t>(now_ms);
  for (size_t i = kUlidTimeLength; i-- > 0; time >>= 5) ulid[i] = kUlidDigits[time & 31];
  std::random_device random;
  for (size_t i = kUlidTimeLength; i < kUlidLength; ++i) ulid[i] = kUlidDigits[random() & 31];
  return ulid;
}

bool IsUlid(std::string_view text) {
  return text.size() == kUlidLength && text[0] <= '7' && text.find_first_not_of(kUlidDigits) == std::string_view::npos;
}

int64_t UlidTime(std::string_view ulid) {
  if (!IsUlid(ulid)) return 0;
  int64_t time = 0;
  for (char c : ulid.substr(0, kUlidTimeLength)) time = time << 5 | static_cast<int64_t>(kUlidDigits.find(c));
  return time;
}

base::Result<BlockMeta> ParseBlockMeta(std::string_view text) {
  base::Result<base::Json> json = base::ParseJson(text);
  if (!json.ok()) return base::DataLossError(json.status().message());
  if (base::FindInt(*json, {"version"}) != kMetaVersion) return base::DataLossError("\"version\" is not 1");
  BlockMeta meta;
  meta.ulid = base::FindString(*json, {"ulid"});
  if (!IsUlid(meta.ulid)) return base::DataLossError("\"ulid\" is not a ULID");
  if (!Time(*json, "minTime", &meta.mint) || !Time(*json, "maxTime", &meta.maxt) || meta.mint > meta.maxt) {
    return base::DataLossError("\"minTime\" and \"maxTime\" are not a range of times");
  }
  meta.stats.samples = Count(*json, "numSamples");
  meta.stats.float_samples = Count(*json, "numFloatSamples");
  meta.stats.histogram_samples = Count(*json, "numHistogramSamples");
  meta.stats.series = Count(*json, "numSeries");
  meta.stats.chunks = Count(*json, "numChunks");
  meta.stats.tombstones = Count(*json, "numTombstones");
  meta.level = static_cast<int>(base::FindInt(*json, {"compaction", "level"}, 1));
  meta.sources = Texts(*json, "sources");
  meta.deletable = base::FindBool(*json, {"compaction", "deletable"});
  meta.failed = base::FindBool(*json, {"compaction", "failed"});
  meta.hints = Texts(*json, "hints");
  if (!ParseParents(*json, &meta.parents)) return base::DataLossError("\"parents\" has an entry that is no block");
  return meta;
}

std::string FormatBlockMeta(const BlockMeta& meta) {
  OrderedJson json = OrderedJson::object();
  json["ulid"] = meta.ulid;
  json["minTime"] = meta.mint;
  json["maxTime"] = meta.maxt;
  json["stats"] = FormatStats(meta.stats);
  json["compaction"] = FormatCompaction(meta);
  json["version"] = kMetaVersion;
  return json.dump(1, '\t', /*ensure_ascii=*/false, OrderedJson::error_handler_t::replace);
}

base::Result<BlockMeta> ReadBlockMeta(const std::string& block_directory) {
  const std::string path = MetaPath(block_directory);
  TW_ASSIGN_OR_RETURN(const std::string text, base::ReadFile(path));
  base::Result<BlockMeta> meta = ParseBlockMeta(text);
  if (!meta.ok()) return meta.status().Annotate("read " + path);
  return meta;
}

base::Status WriteBlockMeta(const std::string& block_directory, const BlockMeta& meta) {
  return base::WriteFileAtomic(MetaPath(block_directory), FormatBlockMeta(meta));
}

}  // namespace tidewright::tsdb
