// Remote write 1.0 requests, read in place: prometheus.WriteRequest in the protocol buffers wire format. The result of
// a remote read, prometheus.QueryResult, has its time series alike. Source: Prometheus' prompb/remote.proto and
// prompb/types.proto, as the Remote-Write 1.0 specification names them.
//
//   WriteRequestReader reader(bytes);
//   while (reader.Next()) use(reader.label_bytes(), reader.samples());
//   if (!reader.ok()) return broken;
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"
#include "tsdb/appender.h"
#include "tsdb/exemplar.h"
#include "tsdb/histogram.h"
#include "tsdb/labels.h"

namespace tidewright::remote {

// Walks over the time series of one request. What it returns refers to the request's bytes; the lists are good until
// the next Next(). Not thread-safe.
class WriteRequestReader {
 public:
  // Series, samples, histograms, exemplars and families together; bounds the memory that small bytes can ask for.
  static constexpr size_t kMaxParts = 2'000'000;

  // Borrows the bytes.
  explicit WriteRequestReader(std::string_view request, size_t max_parts = kMaxParts)
      : max_parts_(max_parts), rest_(request) {}

  // Moves to the next time series; false at the end and at damage.
  bool Next();
  bool ok() const { return error_.empty(); }
  const std::string& error() const { return error_; }

  // The labels of the series as the sender spelled them: senders spell a series the same each time, so this is what to
  // look it up by. DecodeLabels() makes labels of it.
  std::string_view label_bytes() const { return label_bytes_; }
  // Whether label_bytes() is a copy, made because the labels did not come in one run.
  bool gathered_labels() const { return label_bytes_.data() == gathered_labels_.data(); }
  std::span<const tsdb::Sample> samples() const { return samples_; }
  // Encoded histograms, for DecodeHistogram().
  std::span<const std::string_view> histograms() const { return histograms_; }
  // Encoded exemplars, for DecodeExemplar().
  std::span<const std::string_view> exemplars() const { return exemplars_; }
  // Encoded MetricMetadata messages passed so far, for DecodeMetadata().
  const std::vector<std::string_view>& metadata() const { return metadata_; }

 private:
  bool ReadSeries(std::string_view message);
  bool TakeLabels(std::string_view* message);
  bool ReadField(uint32_t field, std::string_view value);
  bool CountPart();

  const size_t max_parts_;
  std::string_view rest_;
  std::string error_;
  size_t parts_ = 0;
  std::string_view label_bytes_;
  std::string gathered_labels_;  // When they do not come in one run.
  std::vector<tsdb::Sample> samples_;
  std::vector<std::string_view> histograms_;
  std::vector<std::string_view> exemplars_;
  std::vector<std::string_view> metadata_;
};

// Labels sorted by name, without those that are empty. kInvalidArgument when they name no series: no metric name, a
// name that is empty or comes twice, text that is not UTF-8.
base::Result<tsdb::Labels> DecodeLabels(std::string_view label_bytes);

// A native histogram: whichever of the two kinds it is.
struct WrittenHistogram {
  int64_t t = 0;
  bool is_float = false;
  tsdb::Histogram integer;
  tsdb::FloatHistogram fractions;
};

// Histograms finer than the store's finest schema are made as coarse as that. What is returned is valid for the store;
// kInvalidArgument names what is not.
base::Result<WrittenHistogram> DecodeHistogram(std::string_view bytes);

// False when the bytes are damaged or the labels are not UTF-8.
bool DecodeExemplar(std::string_view bytes, tsdb::Exemplar* exemplar);

// A metric family and what is said of it; false when the bytes are damaged.
bool DecodeMetadata(std::string_view bytes, std::string* family, tsdb::Metadata* metadata);

}  // namespace tidewright::remote
