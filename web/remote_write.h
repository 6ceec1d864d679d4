// The receiver of remote write: POST /api/v1/write.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/metrics.h"
#include "base/mutex.h"
#include "base/status.h"
#include "http/message.h"
#include "http/server.h"
#include "tsdb/appender.h"
#include "web/series_ref_cache.h"

namespace tidewright::web {

struct WriteOutcome;

// Takes versions 1.0 and 2.0 of the protocol: one snappy block with a prometheus.WriteRequest or, if the content type
// says so, an io.prometheus.write.v2.Request. Native histograms, staleness markers, exemplars and metadata are stored;
// start timestamps are not. Answers:
//   204  everything was stored; version 1.0: series whose labels name none (no metric name, a name twice, no UTF-8) are
//        passed over. In version 2.0 they are refused, as are references outside of its table of symbols
//   400  the body is not such a message, or the store refused some samples (out of order, another value at that time,
//        too old, more than ten minutes in the future, an invalid histogram). The others are stored: that is what the
//        Remote-Write specification asks for, where Prometheus drops the whole request
//   415  another message, or another compression
//   500  the store could not write: to be sent again
// Replies to version 2.0 say in headers how many samples, histograms and exemplars were written.
// A request may take 32 MiB when it is decompressed, and have two million parts. Thread-safe. Borrows its arguments.
// Source: the Remote-Write 1.0 and 2.0 specifications, and what Prometheus 3 answers.
class RemoteWriteReceiver {
 public:
  RemoteWriteReceiver(tsdb::Appendable& appendable, base::Clock& clock, base::MetricRegistry& metrics);
  ~RemoteWriteReceiver();

  http::Response Handle(const http::ServerRequest& request);

 private:
  struct Scratch;

  std::unique_ptr<Scratch> TakeScratch();
  void KeepScratch(std::unique_ptr<Scratch> scratch);
  static base::Status Read1(std::string_view message, Scratch* scratch);
  static base::Status Read2(std::string_view message, Scratch* scratch);
  static base::Status Decompress(const std::string& body, Scratch* scratch);
  void FindRefs(Scratch* scratch);
  void KeepRefs(const Scratch& scratch);
  WriteOutcome Write(Scratch* scratch);
  http::Response Answer(const WriteOutcome& outcome, bool version2);

  tsdb::Appendable& appendable_;
  base::Clock& clock_;
  base::Counter& samples_;
  base::Counter& refused_;
  base::Counter& unnamed_;
  base::Counter& failures_;

  base::Mutex cache_mu_;
  SeriesRefCache cache_ GUARDED_BY(cache_mu_);
  base::Mutex scratch_mu_;
  std::vector<std::unique_ptr<Scratch>> scratch_ GUARDED_BY(scratch_mu_);  // Not in use.
};

}  // namespace tidewright::web
