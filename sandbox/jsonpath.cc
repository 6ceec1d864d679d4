#include "sandbox/jsonpath.h"

#include <utility>

#include "base/document.h"
#include "base/json.h"
#include "base/strings.h"

namespace tidewright::sandbox {

namespace {

using base::Json;
using Values = std::vector<const Json*>;

constexpr size_t kMaxValues = 1000;

class Evaluator {
 public:
  Evaluator(const Json& object, std::string_view path) : path_(path), rest_(path), values_{&object} {}

  base::Result<Values> Run() {
    if (!rest_.empty() && rest_.front() == '{' && rest_.back() == '}') rest_ = rest_.substr(1, rest_.size() - 2);
    while (!rest_.empty()) {
      if (rest_.front() == '.') {
        rest_.remove_prefix(1);
        if (!rest_.empty() && rest_.front() == '[') continue;
        std::string name = TakeName();
        if (name.empty()) return Malformed();
        if (name == "*") {
          EachElement();
        } else {
          Member(name);
        }
      } else if (rest_.front() == '[') {
        size_t end = ClosingBracket();
        if (end == std::string_view::npos) return Malformed();
        std::string_view inside = rest_.substr(1, end - 1);
        rest_.remove_prefix(end + 1);
        if (!Subscript(inside)) return Malformed();
      } else {
        return Malformed();
      }
    }
    return values_;
  }

 private:
  base::Status Malformed() const {
    return base::InvalidArgumentError("JSONPath " + base::Quoted(path_) +
                                      " is not understood; use for example .spec.name or "
                                      ".status.conditions[?(@.type==\"Ready\")].status");
  }

  std::string TakeName() {
    std::string name;
    while (!rest_.empty() && rest_.front() != '.' && rest_.front() != '[') {
      if (rest_.front() == '\\' && rest_.size() > 1) rest_.remove_prefix(1);
      name += rest_.front();
      rest_.remove_prefix(1);
    }
    return name;
  }

  size_t ClosingBracket() const {
    char quote = 0;
    for (size_t i = 1; i < rest_.size(); ++i) {
      char c = rest_[i];
      if (quote != 0) {
        if (c == quote) quote = 0;
      } else if (c == '\'' || c == '"') {
        quote = c;
      } else if (c == ']') {
        return i;
      }
    }
    return std::string_view::npos;
  }

  void Member(const std::string& name) {
    Values next;
    for (const Json* value : values_) {
      if (!value->is_object()) continue;
      auto it = value->find(name);
      if (it != value->end()) next.push_back(&*it);
    }
    values_ = std::move(next);
  }

  void EachElement() {
    Values next;
    for (const Json* value : values_) {
      if (!value->is_structured()) continue;
      for (const Json& element : *value) {
        if (next.size() < kMaxValues) next.push_back(&element);
      }
    }
    values_ = std::move(next);
  }

  static bool Unquote(std::string_view text, std::string* out) {
    if (text.size() < 2 || (text.front() != '\'' && text.front() != '"') || text.back() != text.front()) return false;
    *out = std::string(text.substr(1, text.size() - 2));
    return true;
  }

  bool Subscript(std::string_view inside) {
    std::string name;
    int64_t index = 0;
    if (inside == "*") {
      EachElement();
    } else if (inside.size() > 3 && inside.substr(0, 2) == "?(" && inside.back() == ')') {
      return Filter(inside.substr(2, inside.size() - 3));
    } else if (Unquote(inside, &name)) {
      Member(name);
    } else if (base::ParseInt64(inside, &index)) {
      Values next;
      for (const Json* value : values_) {
        if (!value->is_array()) continue;
        int64_t at = index < 0 ? index + static_cast<int64_t>(value->size()) : index;
        if (at >= 0 && at < static_cast<int64_t>(value->size())) next.push_back(&(*value)[static_cast<size_t>(at)]);
      }
      values_ = std::move(next);
    } else {
      return false;
    }
    return true;
  }

  // "@.type=="Ready"" or "@.type!='x'".
  bool Filter(std::string_view condition) {
    bool equal = true;
    size_t at = condition.find("==");
    if (at == std::string_view::npos) {
      at = condition.find("!=");
      equal = false;
    }
    if (at == std::string_view::npos || condition.front() != '@') return false;
    std::string_view left = base::TrimSpace(condition.substr(1, at - 1));
    std::string_view right = base::TrimSpace(condition.substr(at + 2));
    std::string wanted;
    if (!Unquote(right, &wanted)) wanted = std::string(right);
    if (left.find('?') != std::string_view::npos) return false;  // Nested filters are not part of printer columns.
    EachElement();
    Values next;
    for (const Json* element : values_) {
      auto found = Evaluator(*element, left).Run();
      if (!found.ok()) return false;
      bool matches = !found->empty() && Text(*found->front()) == wanted;
      if (matches == equal) next.push_back(element);
    }
    values_ = std::move(next);
    return true;
  }

  static std::string Text(const Json& value) {
    return value.is_string() ? value.get<std::string>() : base::DumpJson(value);
  }

  const std::string_view path_;
  std::string_view rest_;
  Values values_;
};

}  // namespace

base::Result<Values> EvaluateJsonPath(const Json& object, std::string_view path) {
  return Evaluator(object, path).Run();
}

base::Status SetAtSimplePath(Json& object, std::string_view path, const Json& value) {
  if (path.empty() || path[0] != '.') {
    return base::InvalidArgumentError("path " + base::Quoted(path) + " must start with '.'");
  }
  Json* at = &object;
  for (const std::string& name : base::Split(path.substr(1), '.')) {
    if (!at->is_object() && !at->is_null()) {
      return base::InvalidArgumentError("path " + base::Quoted(path) + " leads through a value that is no object");
    }
    at = &(*at)[name];
  }
  *at = value;
  return base::Status::Ok();
}

}  // namespace tidewright::sandbox
