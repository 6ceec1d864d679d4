// Remote write requests, versions 1.0 and 2.0, as bytes to be sent: the message in one snappy block.
// Source: the Remote-Write 1.0 and 2.0 specifications.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/wire_writer.h"
#include "tsdb/appender.h"
#include "tsdb/log_tail.h"

namespace tidewright::remote {

using MetadataByFamily = std::map<std::string, tsdb::Metadata>;

// Some of the families, [begin, end), as a prometheus.WriteRequest.
std::string MetadataRequest(MetadataByFamily::const_iterator begin, MetadataByFamily::const_iterator end);

// What a request says of one series, in order of time. Borrowed.
struct SeriesContent {
  std::span<const tsdb::LogCommit::Float> floats;
  std::span<const tsdb::LogCommit::OneHistogram> histograms;
  std::span<const tsdb::LoggedExemplar> exemplars;
};

// prometheus.WriteRequest. Not thread-safe.
class WriteRequest1 {
 public:
  void Add(const tsdb::LabelViews& labels, const SeriesContent& content);
  std::string Finish() const;

 private:
  base::WireWriter request_;
  base::WireWriter series_;
};

// io.prometheus.write.v2.Request, which has the metadata of its series with it. A series without samples and histograms
// is left out, with its exemplars: the message may not have any. Borrows the metadata. Not thread-safe.
class WriteRequest2 {
 public:
  explicit WriteRequest2(const MetadataByFamily& metadata) : metadata_(metadata) { Symbol(""); }
  void Add(const tsdb::LabelViews& labels, const SeriesContent& content);
  std::string Finish() const;

 private:
  struct TextHash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };

  uint64_t Symbol(std::string_view text);  // Its number in the request's table.

  const MetadataByFamily& metadata_;
  std::unordered_map<std::string, uint64_t, TextHash, std::equal_to<>> symbols_;
  std::vector<uint64_t> refs_;
  base::WireWriter table_;
  base::WireWriter all_;
  base::WireWriter series_;
};

}  // namespace tidewright::remote
