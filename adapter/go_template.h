// The part of Go's text/template language that metric rules use, with errors that name the position.
//
// Supported: text, comments, trim markers, pipelines, parentheses, variables ($, $x := ..., $x = ...), fields and map
// keys (.A.B), if / else if / else, with, range (lists and maps, with else, break and continue), literals, and the
// functions and, eq, ge, gt, index, le, len, lt, ne, not, or, print, printf, println, slice. Not supported, and refused
// when parsing: define, template, block and the functions call, html, js, urlquery.
//
// A template that Go would render with an error marker inside (a printf verb that does not fit its argument) is an
// error here. Source of the language: Go's documentation of text/template.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace tidewright::adapter {

// A value that a template sees. Immutable; copies are cheap; thread-safe.
class TemplateValue {
 public:
  enum class Kind { kNil, kBool, kInt, kFloat, kString, kList, kMap, kRecord };
  using List = std::vector<TemplateValue>;
  using Map = std::map<std::string, TemplateValue>;

  TemplateValue() = default;  // nil
  static TemplateValue Bool(bool value);
  static TemplateValue Int(int64_t value);
  static TemplateValue Float(double value);
  static TemplateValue String(std::string value);
  static TemplateValue Strings(const std::vector<std::string>& values);
  static TemplateValue FromList(List items);
  // A map: a missing key is no error. A record (Go's struct): a missing field is one.
  static TemplateValue FromMap(Map members);
  static TemplateValue Record(Map fields);

  Kind kind() const { return kind_; }
  bool boolean() const { return int_ != 0; }
  int64_t integer() const { return int_; }
  double number() const { return kind_ == Kind::kInt ? static_cast<double>(int_) : float_; }
  const std::string& text() const;
  const List& items() const;
  const Map& members() const;

  // Go's truth: not nil, false, zero or empty. A record is true.
  bool IsTrue() const;
  // As Go's %v prints it: [a b], map[k:v].
  std::string ToString() const;
  // "string", "int", ...: for error messages.
  std::string_view KindName() const;

 private:
  Kind kind_ = Kind::kNil;
  int64_t int_ = 0;
  double float_ = 0;
  std::shared_ptr<const std::string> text_;
  std::shared_ptr<const List> items_;
  std::shared_ptr<const Map> members_;
};

namespace internal {
struct TemplateNode;
}

// A parsed template. Immutable; copies share the tree; thread-safe.
class GoTemplate {
 public:
  // kInvalidArgument "line:column: what is wrong". The delimiters must not be empty; rules use "<<" and ">>".
  static base::Result<GoTemplate> Parse(std::string_view text, std::string_view left = "<<",
                                        std::string_view right = ">>");

  // Renders with `data` as the initial dot. kInvalidArgument with the position, kResourceExhausted when the output
  // passes 16 MiB or the evaluation 1,000,000 steps.
  base::Result<std::string> Execute(const TemplateValue& data) const;

 private:
  std::shared_ptr<const std::vector<internal::TemplateNode>> nodes_;
};

// `text` as Go's %q writes it: double quotes, backslash escapes; bytes that are not UTF-8 become \xNN.
std::string GoQuote(std::string_view text);

}  // namespace tidewright::adapter
