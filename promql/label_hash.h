// The hash by which limit_ratio() selects series.
#pragma once

#include <cstdint>
#include <string_view>

#include "promql/value.h"

namespace tidewright::promql {

// XXH64 with seed 0.
uint64_t XxHash64(std::string_view bytes);

// Where in [0, 1] a series lies: XXH64 of its labels, each written as length, name, length, value, over 2^64. A length
// is one byte, or 255 and three bytes little endian from 255 on. The same for the same labels everywhere, so that
// limit_ratio(0.1, ...) keeps the series that Prometheus keeps.
double HashFraction(const Labels& labels);

}  // namespace tidewright::promql
