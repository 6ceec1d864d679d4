// Remote write 2.0 requests, read in place: io.prometheus.write.v2.Request in the protocol buffers wire format. Names
// and values are in a table of symbols; a series refers to them by number. Source: the Remote-Write 2.0 specification.
//
//   WriteRequest2Reader reader(bytes);
//   while (reader.Next()) {
//     if (reader.series_error().ok()) use(reader.label_bytes(), reader.samples());
//   }
//   if (!reader.ok()) return broken;
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "base/wire_writer.h"
#include "tsdb/appender.h"
#include "tsdb/exemplar.h"
#include "tsdb/labels.h"

namespace tidewright::web {

// Walks over the time series of one request. What it returns is good until the next Next(). Not thread-safe.
class WriteRequest2Reader {
 public:
  // Of all labels together once references are replaced by what they mean: a small request can name one symbol often.
  static constexpr size_t kMaxSpelledBytes = 256u << 20;

  // Borrows the bytes. Reads the table of symbols.
  explicit WriteRequest2Reader(std::string_view request);

  // Moves to the next time series; false at the end and at damage.
  bool Next();
  bool ok() const { return error_.empty(); }
  const std::string& error() const { return error_; }

  // What is wrong with this series alone: references outside of the table, or neither samples nor histograms.
  const base::Status& series_error() const { return series_error_; }
  // Its labels as version 1.0 of the protocol spells them, for DecodeLabels() and to look the series up by.
  const std::string& label_bytes() const { return spelled_.bytes(); }
  std::string_view metric() const { return metric_; }  // The value of __name__.
  std::span<const tsdb::Sample> samples() const { return samples_; }
  std::span<const std::string_view> histograms() const { return histograms_; }  // For DecodeHistogram().
  std::span<const tsdb::Exemplar> exemplars() const { return exemplars_; }
  // What is said of the metric, if anything is.
  bool has_metadata() const { return has_metadata_; }
  const tsdb::Metadata& metadata() const { return metadata_; }

 private:
  struct Parts;
  bool CountPart();
  bool ReadSeries(std::string_view message);
  base::Status Understand(const Parts& parts);
  base::Status CheckRefs(const std::vector<uint64_t>& refs);
  base::Status ReadExemplar(std::string_view message);
  base::Status ReadMetadata(std::string_view message);

  std::string_view rest_;
  std::string error_;
  size_t parts_ = 0;
  size_t spelled_bytes_ = 0;
  std::vector<std::string_view> symbols_;
  base::Status series_error_;
  base::WireWriter spelled_, pair_;
  std::string_view metric_;
  std::vector<tsdb::Sample> samples_;
  std::vector<std::string_view> histograms_;
  std::vector<tsdb::Exemplar> exemplars_;
  bool has_metadata_ = false;
  tsdb::Metadata metadata_;
};

// The family that metadata of a series of this metric speaks of: a histogram's or summary's series have suffixes.
std::string FamilyOf(std::string_view metric, tsdb::MetricType type);

}  // namespace tidewright::web
