#include "scaler/trigger/flux_csv.h"

#include <gtest/gtest.h>

#include <string>

#include "base/status.h"

namespace tidewright::scaler::trigger {
namespace {

std::string Read(const std::string& csv) {
  auto value = FirstFluxValue(csv);
  return value.ok() ? std::to_string(*value) : value.status().message();
}

constexpr char kTypes[] = "#datatype,string,long,dateTime:RFC3339,double,string\r\n";
constexpr char kHeader[] = ",result,table,_time,_value,queue\r\n";

struct Row {
  const char* name;
  std::string csv;
  const char* want;
};

TEST(FluxCsv, TheFirstRecordsValue) {
  const std::string types = kTypes, header = kHeader;
  const Row rows[] = {
      {"annotated",
       types + "#group,false,false,false,false,true\r\n#default,_result,,,,\r\n" + header +
           ",,0,2026-01-01T00:00:00Z,12.5,eu\r\n" + ",,0,2026-01-01T00:00:10Z,99,eu\r\n\r\n",
       "12.500000"},
      {"no_annotations", header + ",,0,t,-3e2,eu\r\n", "-300.000000"},
      {"line_feeds_and_no_end", "_value,a\n7,x", "7.000000"},
      {"quoted", "a,\"_value\"\r\n\"say \"\"no\"\",\r\n,\",\"4\"\r\n", "4.000000"},
      {"value_from_default", types + "#default,_result,,,8,\r\n" + header + ",,0,t,,eu\r\n", "8.000000"},
      {"table_without_records_before", types + header + "\r\n" + "#datatype,string,long\r\n,result,_value\r\n,,5\r\n",
       "5.000000"},
      {"next_table_without_empty_line", types + header + "#datatype,string,long\r\n,result,_value\r\n,,6\r\n",
       "6.000000"},
      {"unsigned", "#datatype,string,unsignedLong\r\n,result,_value\r\n,,18446744073709551615\r\n",
       "18446744073709551616.000000"},
      {"infinite", "_value\n+Inf\n", "inf"},
      {"what_follows_is_not_read", "_value\n1\n\"", "1.000000"},
  };
  for (const Row& row : rows) EXPECT_EQ(Read(row.csv), row.want) << row.name;
}

TEST(FluxCsv, WhatIsNoValue) {
  const std::string types = kTypes, header = kHeader;
  const std::string bad = "the reply is not CSV as InfluxDB sends it: ";
  const std::string none = "the query gives no record; look further back with range()";
  struct {
    const char* name;
    std::string csv;
    std::string want;
  } rows[] = {
      {"nothing", "", none},
      {"empty_result", "\r\n", none},
      {"only_a_header", types + header, none},
      {"null", types + header + ",,0,t,,eu\r\n", "the query gives a _value that is null; use fill()"},
      {"annotation_of_another_table", "#datatype,string\r\n_value\r\n",
       "the query gives no record; look further back with range()"},
      {"text_type", "#datatype,string,string\r\n,result,_value\r\n,,12\r\n",
       "the query gives a _value of the type string; make it a number with toFloat()"},
      {"no_number", "_value\nmany\n", "the query gives \"many\", which is not a number"},
      {"no_value_column", "a,b\n1,2\n", "the query gives records without _value; name the column so with rename()"},
      {"failure",
       "#datatype,string,string\r\n#group,true,true\r\n#default,,\r\n,error,reference\r\n,out of memory,897\r\n",
       "the query failed: out of memory"},
      {"short_record", header + ",,0\r\n", bad + "a record has not as many fields as the table has columns"},
      {"quote_inside", "_value\n1\"2\n", bad + "a quote or a carriage return stands inside of a field"},
      {"behind_a_quote", "_value\n\"1\"2\n", bad + "a quote or a carriage return stands inside of a field"},
      {"carriage_return_alone", "_value\r1\r", bad + "a quote or a carriage return stands inside of a field"},
      {"unfinished", "_value\n\"1", bad + "a quoted field has no end"},
      {"wide", std::string(2000, ','), bad + "a row has more than 1024 columns"},
  };
  for (const auto& row : rows) EXPECT_EQ(Read(row.csv), row.want) << row.name;
}

// However an answer is cut: an error, or the value; never another number than one of its beginning.
TEST(FluxCsv, CutAnywhere) {
  const std::string whole = std::string(kTypes) + kHeader + ",,0,t,125,\"e\"\"u\"\r\n";
  for (size_t size = 0; size < whole.size(); ++size) {
    auto value = FirstFluxValue(std::string_view(whole).substr(0, size));
    if (value.ok()) EXPECT_EQ(*value, 125) << size;
  }
}

}  // namespace
}  // namespace tidewright::scaler::trigger
