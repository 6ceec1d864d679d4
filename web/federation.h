// /federate: the newest sample of each series, for a Prometheus that scrapes us.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/clock.h"
#include "http/message.h"
#include "http/server.h"
#include "tsdb/labels.h"
#include "tsdb/querier.h"

namespace tidewright::web {

// Answers GET /federate?match[]=...: of each series that a selector matches, the newest sample of the last five minutes
// unless it is a staleness marker, with its time. External labels are added where a series has none of that name; a
// series without `instance` gets an empty one, so that the scraper does not add its own.
//
// Formats, by the Accept header: Prometheus' text, or its protobuf, which alone carries native histograms. Those with
// custom buckets become classic ones in both. Every family is untyped but histograms. Names that are not of the
// legacy kind are written with underscores, unless the client takes `escaping=allow-utf-8`.
// Stateless; thread-safe. Borrows its arguments. Source: Prometheus "Federation", and what 3.14 answers.
class Federation {
 public:
  using ExternalLabels = std::function<tsdb::Labels()>;
  Federation(tsdb::Queryable& store, base::Clock& clock, ExternalLabels external)
      : store_(store), clock_(clock), external_(std::move(external)) {}

  http::Response Handle(const http::ServerRequest& request) const;

 private:
  tsdb::Queryable& store_;
  base::Clock& clock_;
  const ExternalLabels external_;
};

}  // namespace tidewright::web
