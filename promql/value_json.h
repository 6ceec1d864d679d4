// Query results as the JSON of Prometheus' HTTP API. Text is appended directly: a range query can have millions of
// points.
#pragma once

#include <string>
#include <string_view>

#include "promql/value.h"

namespace tidewright::promql {

// {"resultType":"vector","result":[{"metric":{...},"value":[1.5,"2"]}, {"metric":{...},"histogram":[1.5,{...}]}]} and
// its like for the other types.
void AppendJson(const Value& value, std::string* out);

// {"name":"value"}.
void AppendJson(const Labels& labels, std::string* out);

// A quoted JSON string.
void AppendJsonString(std::string_view text, std::string* out);

// {"count":"5","sum":"8","buckets":[[0,"1","4","5"]]}. The first number of a bucket says which ends belong to it: 0 the
// upper, 1 the lower, 2 none, 3 both. Empty buckets are left out.
void AppendJson(const Histogram& histogram, std::string* out);

// What a query cost, as the API and the query log of Prometheus write it.
void AppendJson(const QueryStatistics& statistics, std::string* out);

}  // namespace tidewright::promql
