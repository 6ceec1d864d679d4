// Strict decoding of what users write: YAML files and Kubernetes objects, with errors that name the place.
//
// A Node is a parsed document that remembers lines and spelling. An ObjectReader takes a mapping apart field by field
// and then insists that nothing is left over. Every error has the form
//
//   prometheus.yml:12: scrape_configs[0].scrape_interval: "5 minutes" is not a duration; use for example 30s or 1m30s
//
// so it names the file (or object) with line and column, the field, the value and the remedy.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/duration.h"
#include "base/json_fwd.h"
#include "base/quantity.h"
#include "base/status.h"

namespace tidewright::base {

// Where something is in a text, 1-based; 0 when the source has no lines (a Kubernetes object).
struct Place {
  int line = 0;
  int column = 0;
};

// One value of a parsed document. Immutable after parsing; thread-compatible.
struct Node {
  enum class Kind { kNull, kScalar, kList, kMap };

  Kind kind = Kind::kNull;
  std::string text;         // Scalars: the spelling, without quotes.
  bool plain = true;        // Scalars: not quoted, so `true` and `5` may be a bool and a number.
  Place at;                 // Of its key, if it is the member of a map.
  std::vector<Node> items;  // Lists.
  std::vector<std::pair<std::string, Node>> members;  // Maps, in order.

  // Defined out of line: the members hold Nodes themselves.
  Node();
  ~Node();
  Node(const Node& other);
  Node(Node&& other) noexcept;
  Node& operator=(const Node& other);
  Node& operator=(Node&& other) noexcept;

  bool IsNull() const { return kind == Kind::kNull; }
  const Node* Find(std::string_view key) const;  // Maps: the member, or nullptr.
};

// Parses the first YAML document of `text`. Duplicate keys, more than 200 levels, and more than 1,000,000 nodes after
// alias expansion are errors. Empty text is a null Node. `origin` is the file name for errors.
Result<Node> ParseYaml(std::string_view text, const std::string& origin);

// Every document of a multi-document YAML text; empty documents are left out.
Result<std::vector<Node>> ParseYamlDocuments(std::string_view text, const std::string& origin);

// The same tree from JSON (strings are quoted scalars, numbers and bools plain ones).
Node NodeFromJson(const Json& value);

// YAML 1.2 core schema: plain scalars become null, bool or number where they read as one.
Json NodeToJson(const Node& node);

// Reads the members of one mapping. Errors are collected in the shared ErrorList; after reading everything call
// Finish() once on each reader, which reports members that nobody asked for (with the nearest known name as a hint).
// Not thread-safe; borrows the Node and the ErrorList for its lifetime.
class ErrorList;

class ObjectReader {
 public:
  // `path` is the field path so far, "" at the top. A node that is neither a map nor null is an error; null is empty.
  ObjectReader(const Node& node, std::string path, ErrorList& errors);

  bool Has(std::string_view key) const;
  int line() const { return node_.at.line; }
  const std::string& path() const { return path_; }
  std::string PathOf(std::string_view key) const;

  // Reads `key` into `out` if it is present and not null; returns whether it was. A value of the wrong type is an error
  // and leaves `out` unchanged. Strings accept plain numbers and bools by their spelling, as YAML users expect, when
  // the source is YAML; quoted text is never a number or bool.
  bool Optional(std::string_view key, std::string* out);
  bool Optional(std::string_view key, bool* out);
  bool Optional(std::string_view key, int32_t* out);
  bool Optional(std::string_view key, int64_t* out);
  bool Optional(std::string_view key, double* out);
  bool Optional(std::string_view key, Duration* out);
  bool Optional(std::string_view key, Quantity* out);  // A string or a number.
  bool Optional(std::string_view key, std::vector<std::string>* out);
  bool Optional(std::string_view key, std::map<std::string, std::string>* out);

  // As Optional; absence is an error that says what is missing.
  template <typename T>
  bool Required(std::string_view key, T* out) {
    if (!Has(key)) {
      Missing(key);
      return false;
    }
    return Optional(key, out);
  }

  // Calls `read` with a reader for the mapping at `key`, if present; Finish() is called for it afterwards.
  bool Object(std::string_view key, const std::function<void(ObjectReader&)>& read);
  // Calls `read` for each element of the list of mappings at `key`; null elements are errors.
  bool Objects(std::string_view key, const std::function<void(ObjectReader&)>& read);
  // Calls `read(key, reader)` for each member of the mapping of mappings at `key`.
  bool ObjectMap(std::string_view key, const std::function<void(const std::string&, ObjectReader&)>& read);

  // The raw node, marked as read; nullptr when absent or null.
  const Node* Raw(std::string_view key);
  // Marks a key as known without reading it.
  void Ignore(std::string_view key);
  // Marks every remaining key as known (for objects that others extend).
  void IgnoreRest();

  // Reports an error about `key`: the message should name the value and the remedy.
  void Error(std::string_view key, const std::string& message);
  void Missing(std::string_view key);

  void Finish();

 private:
  const Node* Take(std::string_view key);
  const Node* TakeScalar(std::string_view key, std::string_view wanted);

  const Node& node_;
  std::string path_;
  ErrorList& errors_;
  std::vector<std::string> known_;
  bool ignore_rest_ = false;
};

// Collects decoding errors of one document. Not thread-safe.
class ErrorList {
 public:
  // `origin`: a file name, or an object such as "ScaledObject shop/checkout".
  explicit ErrorList(std::string origin) : origin_(std::move(origin)) {}

  void Add(Place at, const std::string& path, const std::string& message);
  bool empty() const { return errors_.empty(); }
  const std::vector<std::string>& errors() const { return errors_; }
  // OK when empty; else kInvalidArgument with all messages, one per line.
  Status ToStatus() const;

 private:
  std::string origin_;
  std::vector<std::string> errors_;
};

// The candidate nearest to `word` by edit distance, or "" when none is near (more than a third of its letters differ).
std::string NearestName(std::string_view word, const std::vector<std::string>& candidates);

// `value` in double quotes, escaped, and cut to 80 characters: for error messages.
std::string Quoted(std::string_view value);

}  // namespace tidewright::base
