// Exemplars: single observations behind a series, which mostly name a trace by a label.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "tsdb/labels.h"

namespace tidewright::tsdb {

struct Exemplar {
  Labels labels;
  int64_t t = 0;  // ms
  double v = 0;
  friend bool operator==(const Exemplar& a, const Exemplar& b) {
    return a.t == b.t && a.v == b.v && a.labels == b.labels;
  }
};

// The names and values of an exemplar's labels have at most this many UTF-8 characters together.
inline constexpr size_t kMaxExemplarCharacters = 128;

struct SeriesExemplars {
  Labels series;
  std::vector<Exemplar> exemplars;  // Oldest first.
};

}  // namespace tidewright::tsdb
