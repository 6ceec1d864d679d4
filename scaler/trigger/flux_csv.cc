#include "scaler/trigger/flux_csv.h"

#include <algorithm>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "base/document.h"
#include "base/strings.h"

namespace tidewright::scaler::trigger {

namespace {

using Row = std::vector<std::string>;

constexpr size_t kMaxColumns = 1024;
constexpr size_t kMaxMessage = 200;

base::Status NotCsv(const char* what) {
  return base::UnavailableError(std::string("the reply is not CSV as InfluxDB sends it: ") + what);
}

// Rows by RFC 4180, which says where quotes may stand; lines may also end with a line feed alone.
class CsvReader {
 public:
  explicit CsvReader(std::string_view text) : text_(text) {}

  // The next row: false at the end.
  base::Result<bool> Next(Row* row) {
    row->clear();
    if (at_ == text_.size()) return false;
    while (true) {
      if (row->size() == kMaxColumns) return NotCsv("a row has more than 1024 columns");
      TW_ASSIGN_OR_RETURN(std::string field, Field());
      row->push_back(std::move(field));
      if (at_ == text_.size()) return true;
      if (text_[at_++] == ',') continue;
      return true;
    }
  }

 private:
  // A field; what follows is a comma, a line feed (a carriage return before it is skipped) or the end.
  base::Result<std::string> Field() {
    std::string field;
    if (at_ < text_.size() && text_[at_] == '"') {
      TW_ASSIGN_OR_RETURN(field, Quoted());
    } else {
      size_t end = std::min(text_.find_first_of(",\r\n\"", at_), text_.size());
      field = text_.substr(at_, end - at_);
      at_ = end;
    }
    if (text_.substr(at_).starts_with("\r\n")) ++at_;
    if (at_ == text_.size() || text_[at_] == ',' || text_[at_] == '\n') return field;
    return NotCsv("a quote or a carriage return stands inside of a field");
  }

  base::Result<std::string> Quoted() {
    std::string field;
    while (true) {
      const size_t end = text_.find('"', ++at_);
      if (end == std::string_view::npos) return NotCsv("a quoted field has no end");
      field += text_.substr(at_, end - at_);
      at_ = end + 1;
      if (at_ == text_.size() || text_[at_] != '"') return field;
      field += '"';
    }
  }

  const std::string_view text_;
  size_t at_ = 0;
};

// What stands above the records of a table.
struct Table {
  Row header, types, defaults;

  bool ReportsError() const { return header.size() > 1 && header[1] == "error"; }

  void Annotate(Row row) {
    if (!header.empty()) *this = Table();
    // The other annotations say nothing about the value.
    if (row[0] == "#datatype") {
      types = std::move(row);
    } else if (row[0] == "#default") {
      defaults = std::move(row);
    }
  }
};

base::Result<double> ValueOf(const Table& table, const Row& record) {
  if (record.size() != table.header.size()) return NotCsv("a record has not as many fields as the table has columns");
  if (table.ReportsError()) {
    return base::FailedPreconditionError("the query failed: " + record[1].substr(0, kMaxMessage));
  }
  const size_t column = std::find(table.header.begin(), table.header.end(), "_value") - table.header.begin();
  if (column == table.header.size()) {
    return base::FailedPreconditionError("the query gives records without _value; name the column so with rename()");
  }
  const std::string type = column < table.types.size() ? table.types[column] : "";
  if (!type.empty() && type != "double" && type != "long" && type != "unsignedLong") {
    return base::FailedPreconditionError("the query gives a _value of the type " + type.substr(0, kMaxMessage) +
                                         "; make it a number with toFloat()");
  }
  std::string text = record[column];
  if (text.empty() && column < table.defaults.size()) text = table.defaults[column];
  double value = 0;
  if (text.empty()) return base::FailedPreconditionError("the query gives a _value that is null; use fill()");
  if (base::ParseDouble(text, &value)) return value;
  return base::FailedPreconditionError("the query gives " + base::Quoted(text.substr(0, kMaxMessage)) +
                                       ", which is not a number");
}

}  // namespace

base::Result<double> FirstFluxValue(std::string_view csv) {
  CsvReader reader(csv);
  Table table;
  Row row;
  while (true) {
    TW_ASSIGN_OR_RETURN(bool more, reader.Next(&row));
    if (!more) break;
    if (row.size() == 1 && row[0].empty()) {
      table = Table();  // An empty line ends a table.
    } else if (row[0].starts_with('#')) {
      table.Annotate(std::move(row));
    } else if (table.header.empty()) {
      table.header = std::move(row);
    } else {
      return ValueOf(table, row);
    }
  }
  return base::FailedPreconditionError("the query gives no record; look further back with range()");
}

}  // namespace tidewright::scaler::trigger
