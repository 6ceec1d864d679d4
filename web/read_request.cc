#include "web/read_request.h"

#include <optional>
#include <string>
#include <utility>

#include "base/wire_reader.h"

namespace tidewright::web {

namespace {

using base::WireReader;

constexpr size_t kMaxParts = 1000;

// Fields of ReadRequest, Query and LabelMatcher.
constexpr uint32_t kQueries = 1, kResponseTypes = 2;
constexpr uint32_t kStart = 1, kEnd = 2, kMatchers = 3;
constexpr uint32_t kType = 1, kName = 2, kValue = 3;
constexpr uint64_t kSamples = 0, kStreamedXorChunks = 1;

ReadRequestError Damaged(const std::string& what) { return {400, base::InvalidArgumentError(what)}; }

bool ParseMatcher(std::string_view bytes, ReadQuery* query, ReadRequestError* error) {
  uint64_t type = 0;
  std::string name, value;
  WireReader reader(bytes);
  while (reader.Next()) {
    if (reader.field() == kType) type = reader.Varint();
    if (reader.field() == kName) name = reader.Bytes();
    if (reader.field() == kValue) value = reader.Bytes();
  }
  if (!reader.ok() || type > 3) {
    *error = Damaged("a matcher is not a LabelMatcher message");
    return false;
  }
  static constexpr tsdb::Matcher::Type kTypes[] = {tsdb::Matcher::Type::kEqual, tsdb::Matcher::Type::kNotEqual,
                                                   tsdb::Matcher::Type::kRegex, tsdb::Matcher::Type::kNotRegex};
  auto matcher = tsdb::Matcher::Create(kTypes[type], std::move(name), std::move(value));
  if (!matcher.ok()) {
    *error = {500, matcher.status()};
    return false;
  }
  query->matchers.push_back(*std::move(matcher));
  return true;
}

bool ParseQuery(std::string_view bytes, ReadQuery* query, ReadRequestError* error) {
  WireReader reader(bytes);
  while (reader.Next()) {
    if (reader.field() == kStart) query->start_ms = static_cast<int64_t>(reader.Varint());
    if (reader.field() == kEnd) query->end_ms = static_cast<int64_t>(reader.Varint());
    if (reader.field() != kMatchers) continue;
    if (query->matchers.size() == kMaxParts) {
      *error = Damaged("a query has more than " + std::to_string(kMaxParts) + " matchers");
      return false;
    }
    if (!ParseMatcher(reader.Bytes(), query, error)) return false;
  }
  if (!reader.ok()) *error = Damaged("a query is not a Query message");
  return reader.ok();
}

std::optional<ReadFormat> FormatOf(uint64_t type) {
  if (type == kSamples) return ReadFormat::kSamples;
  if (type == kStreamedXorChunks) return ReadFormat::kStreamedChunks;
  return std::nullopt;
}

}  // namespace

bool ParseReadRequest(std::string_view bytes, ReadRequest* request, ReadRequestError* error) {
  bool asked = false;
  std::optional<ReadFormat> format;
  WireReader reader(bytes);
  while (reader.Next()) {
    if (reader.field() == kQueries) {
      if (request->queries.size() == kMaxParts) {
        *error = Damaged("the request has more than " + std::to_string(kMaxParts) + " queries");
        return false;
      }
      if (!ParseQuery(reader.Bytes(), &request->queries.emplace_back(), error)) return false;
    }
    if (reader.field() != kResponseTypes) continue;
    reader.Varints([&](uint64_t type) {
      asked = true;
      if (!format) format = FormatOf(type);
    });
  }
  if (!reader.ok()) {
    *error = Damaged("the request is not a ReadRequest message");
    return false;
  }
  if (asked && !format) {
    *error =
        Damaged("server does not support any of the requested response types; supported: SAMPLES, STREAMED_XOR_CHUNKS");
    return false;
  }
  request->format = format.value_or(ReadFormat::kSamples);
  return true;
}

}  // namespace tidewright::web
