// The part of Go's text/template language that metric discovery rules and alerts use, with errors that name the
// position.
//
// Supported: text, comments, trim markers, pipelines, parentheses, variables ($, $x := ..., $x = ...), fields and map
// keys (.A.B), methods of times and durations, if / else if / else, with, range (lists, maps and whole numbers, with
// else, break and continue), define, template, block, literals, and the functions and, eq, ge, gt, html, index, js, le,
// len, lt, ne, not, or, print, printf, println, slice, urlquery. Not supported, and refused when parsing: call.
// Source of the language: Go's documentation of text/template.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"

namespace tidewright::base {

// A value that a template sees. Immutable; copies are cheap; thread-safe.
class TemplateValue {
 public:
  enum class Kind { kNil, kBool, kInt, kFloat, kString, kList, kMap, kRecord, kTime, kDuration };
  using List = std::vector<TemplateValue>;
  using Map = std::map<std::string, TemplateValue>;

  TemplateValue() = default;  // nil
  static TemplateValue Bool(bool value);
  static TemplateValue Int(int64_t value);
  static TemplateValue Float(double value);
  static TemplateValue String(std::string value);
  static TemplateValue Strings(const std::vector<std::string>& values);
  static TemplateValue FromList(List items);
  // A map: a missing key is no error; its value is nil, and "" in a map of strings where the options say so. A record
  // (Go's struct): a missing field is an error.
  static TemplateValue FromMap(Map members);
  static TemplateValue FromStrings(const std::map<std::string, std::string>& members);
  static TemplateValue Record(Map fields);
  // A map of strings with the methods that Alertmanager gives labels and annotations: SortedPairs (records of Name and
  // Value, with methods Names and Values of their own), Names, Values, and Remove with a list of names.
  static TemplateValue KeyValues(const std::map<std::string, std::string>& members);
  // This value with methods that take no arguments. A field of such a name is the method's result, even where a map has
  // a key of that name; the methods are no members.
  TemplateValue WithMethods(Map results) const;
  // Of a time, templates may call Unix, UnixMilli, Year, Day, Hour, Minute, Second and Format; of a duration, Hours,
  // Minutes, Seconds, Milliseconds.
  static TemplateValue Time(int64_t unix_nanos);
  static TemplateValue Duration(int64_t nanos);

  Kind kind() const { return kind_; }
  bool boolean() const { return int_ != 0; }
  int64_t integer() const { return int_; }  // Of times and durations: nanoseconds.
  bool of_strings() const { return of_strings_; }
  double number() const { return kind_ == Kind::kInt ? static_cast<double>(int_) : float_; }
  const std::string& text() const;
  const List& items() const;
  const Map& members() const;
  const Map& methods() const;
  bool key_values() const { return key_values_; }

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
  bool of_strings_ = false;
  bool key_values_ = false;
  std::shared_ptr<const std::string> text_;
  std::shared_ptr<const List> items_;
  std::shared_ptr<const Map> members_;
  std::shared_ptr<const Map> methods_;
};

struct TemplateOptions {
  // Not empty. Discovery rules use "<<" and ">>".
  std::string_view left = "<<";
  std::string_view right = ">>";
  // Functions beyond the language's own, which whoever executes the template provides. "tmpl" is known when listed: it
  // renders a defined template to a string.
  std::vector<std::string_view> functions;
  // Variables that are set from fields of the data: {"$labels", "Labels"}.
  std::vector<std::pair<std::string, std::string>> variables;
  // As Go does with missingkey=zero: a key that a map of strings lacks is "", and an argument that does not fit
  // printf's verb becomes text like %!d(string=a). Otherwise the one prints "<no value>" and the other is an error.
  bool lenient = false;
};

// Calls one of the functions that the options listed; the error is what is wrong, without a position.
using TemplateCaller =
    std::function<Result<TemplateValue>(const std::string& function, const std::vector<TemplateValue>& args)>;

namespace internal {
struct TemplateSet;
}

// A parsed template. Immutable; copies share the tree; thread-safe.
class GoTemplate {
 public:
  // kInvalidArgument "line:column: what is wrong".
  static Result<GoTemplate> Parse(std::string_view text, const TemplateOptions& options = {});

  // This template, which may also use what `library` defines. What both define is this one's.
  GoTemplate With(const GoTemplate& library) const;

  // Renders with `data` as the initial dot. kInvalidArgument with the position, kResourceExhausted when the output
  // passes 16 MiB or the evaluation 1,000,000 steps. `caller` may be null if the options listed no functions.
  Result<std::string> Execute(const TemplateValue& data, const TemplateCaller& caller = nullptr) const;

 private:
  std::shared_ptr<const internal::TemplateSet> set_;
};

}  // namespace tidewright::base
