#include <algorithm>

#include "base/document.h"
#include "base/json.h"
#include "base/strings.h"
#include "kube/meta.h"

namespace tidewright::kube {

namespace {

using Op = Requirement::Op;

bool IsNameByte(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
         c == '.' || c == '/';
}

// Reads the query-parameter form from left to right.
class SelectorParser {
 public:
  explicit SelectorParser(std::string_view text) : text_(text), rest_(text) {}

  base::Result<std::vector<Requirement>> Parse() {
    std::vector<Requirement> requirements;
    SkipSpace();
    while (!rest_.empty()) {
      TW_ASSIGN_OR_RETURN(Requirement requirement, ParseRequirement());
      requirements.push_back(std::move(requirement));
      SkipSpace();
      if (rest_.empty()) break;
      if (!Take(",")) return Wrong("a comma is expected before " + base::Quoted(rest_));
      SkipSpace();
      if (rest_.empty()) return Wrong("it ends with a comma");
    }
    return requirements;
  }

 private:
  base::Status Wrong(const std::string& why) const {
    return base::InvalidArgumentError("label selector " + base::Quoted(text_) + ": " + why +
                                      "; use for example app=web,tier in (a,b),!legacy");
  }

  void SkipSpace() {
    while (!rest_.empty() && (rest_.front() == ' ' || rest_.front() == '\t')) rest_.remove_prefix(1);
  }

  bool Take(std::string_view token) {
    if (rest_.substr(0, token.size()) != token) return false;
    rest_.remove_prefix(token.size());
    return true;
  }

  std::string TakeWord() {
    SkipSpace();
    size_t size = 0;
    while (size < rest_.size() && IsNameByte(rest_[size])) ++size;
    std::string word(rest_.substr(0, size));
    rest_.remove_prefix(size);
    SkipSpace();
    return word;
  }

  base::Result<Requirement> ParseRequirement() {
    Requirement requirement;
    bool absent = Take("!");
    requirement.key = TakeWord();
    if (requirement.key.empty()) return Wrong("a label name is expected before " + base::Quoted(rest_));
    if (absent) {
      requirement.op = Op::kDoesNotExist;
      return requirement;
    }
    if (rest_.empty() || rest_.front() == ',') return requirement;  // Exists.
    return ParseOperator(std::move(requirement));
  }

  base::Result<Requirement> ParseOperator(Requirement requirement) {
    struct Symbol {
      std::string_view text;
      Op op;
    };
    for (const Symbol& symbol : {Symbol{"==", Op::kEquals}, Symbol{"=", Op::kEquals}, Symbol{"!=", Op::kNotEquals},
                                 Symbol{">", Op::kGreaterThan}, Symbol{"<", Op::kLessThan}}) {
      if (!Take(symbol.text)) continue;
      requirement.op = symbol.op;
      requirement.values = {TakeWord()};
      int64_t number = 0;
      bool numeric = symbol.op == Op::kGreaterThan || symbol.op == Op::kLessThan;
      if (numeric && !base::ParseInt64(requirement.values[0], &number)) {
        return Wrong(base::Quoted(requirement.values[0]) + " is not a whole number");
      }
      return requirement;
    }
    std::string word = TakeWord();
    if (word != "in" && word != "notin") {
      return Wrong(base::Quoted(word.empty() ? std::string(rest_) : word) + " is not one of = == != in notin < >");
    }
    requirement.op = word == "in" ? Op::kIn : Op::kNotIn;
    return ParseValues(std::move(requirement));
  }

  base::Result<Requirement> ParseValues(Requirement requirement) {
    if (!Take("(")) return Wrong("( is expected after in and notin");
    do {
      requirement.values.push_back(TakeWord());
    } while (Take(","));
    if (!Take(")")) return Wrong("the list of values does not end with )");
    std::sort(requirement.values.begin(), requirement.values.end());
    return requirement;
  }

  std::string_view text_;
  std::string_view rest_;
};

bool Satisfies(const Requirement& requirement, const std::map<std::string, std::string>& labels) {
  auto it = labels.find(requirement.key);
  bool has = it != labels.end();
  auto among = [&] {
    return has &&
           std::find(requirement.values.begin(), requirement.values.end(), it->second) != requirement.values.end();
  };
  int64_t value = 0;
  int64_t bound = 0;
  switch (requirement.op) {
    case Op::kEquals:
    case Op::kIn: return among();
    case Op::kNotEquals:
    case Op::kNotIn: return !among();
    case Op::kExists: return has;
    case Op::kDoesNotExist: return !has;
    case Op::kGreaterThan:
    case Op::kLessThan: break;
  }
  if (!has || !base::ParseInt64(it->second, &value) || !base::ParseInt64(requirement.values[0], &bound)) return false;
  return requirement.op == Op::kGreaterThan ? value > bound : value < bound;
}

std::string ToText(const Requirement& requirement) {
  std::string list = "(" + base::Join(requirement.values, ",") + ")";
  switch (requirement.op) {
    case Op::kEquals: return requirement.key + "=" + requirement.values[0];
    case Op::kNotEquals: return requirement.key + "!=" + requirement.values[0];
    case Op::kIn: return requirement.key + " in " + list;
    case Op::kNotIn: return requirement.key + " notin " + list;
    case Op::kExists: return requirement.key;
    case Op::kDoesNotExist: return "!" + requirement.key;
    case Op::kGreaterThan: return requirement.key + ">" + requirement.values[0];
    case Op::kLessThan: return requirement.key + "<" + requirement.values[0];
  }
  return "";
}

bool ByKey(const Requirement& a, const Requirement& b) { return a.key < b.key; }

base::Result<Requirement> ExpressionFromJson(const base::Json& expression) {
  Requirement requirement;
  requirement.key = base::FindString(expression, {"key"});
  std::string op = base::FindString(expression, {"operator"});
  if (const base::Json* values = base::Find(expression, {"values"}); values != nullptr && values->is_array()) {
    for (const base::Json& value : *values) {
      if (value.is_string()) requirement.values.push_back(value.get<std::string>());
    }
  }
  std::sort(requirement.values.begin(), requirement.values.end());
  if (op == "In") {
    requirement.op = Op::kIn;
  } else if (op == "NotIn") {
    requirement.op = Op::kNotIn;
  } else if (op == "Exists") {
    requirement.op = Op::kExists;
  } else if (op == "DoesNotExist") {
    requirement.op = Op::kDoesNotExist;
  } else {
    return base::InvalidArgumentError("matchExpressions: operator " + base::Quoted(op) +
                                      " is not one of In, NotIn, Exists, DoesNotExist");
  }
  bool set = requirement.op == Op::kIn || requirement.op == Op::kNotIn;
  if (requirement.key.empty() || set == requirement.values.empty()) {
    return base::InvalidArgumentError("matchExpressions: " + base::Quoted(requirement.key) + " " + op +
                                      ": a key is needed, and values exactly for In and NotIn");
  }
  return requirement;
}

}  // namespace

base::Result<LabelSelector> LabelSelector::Parse(std::string_view text) {
  LabelSelector selector;
  TW_ASSIGN_OR_RETURN(selector.requirements_, SelectorParser(text).Parse());
  std::stable_sort(selector.requirements_.begin(), selector.requirements_.end(), ByKey);
  return selector;
}

base::Result<LabelSelector> LabelSelector::FromJson(const base::Json& json) {
  LabelSelector result;
  if (const base::Json* labels = base::Find(json, {"matchLabels"}); labels != nullptr && labels->is_object()) {
    for (const auto& [key, value] : labels->items()) {
      if (!value.is_string()) {
        return base::InvalidArgumentError("matchLabels." + key + ": is not a text; put it in quotes");
      }
      result.requirements_.push_back({key, Op::kEquals, {value.get<std::string>()}});
    }
  }
  if (const base::Json* list = base::Find(json, {"matchExpressions"}); list != nullptr && list->is_array()) {
    for (const base::Json& expression : *list) {
      TW_ASSIGN_OR_RETURN(Requirement requirement, ExpressionFromJson(expression));
      result.requirements_.push_back(std::move(requirement));
    }
  }
  std::stable_sort(result.requirements_.begin(), result.requirements_.end(), ByKey);
  return result;
}

bool LabelSelector::Matches(const std::map<std::string, std::string>& labels) const {
  return std::all_of(requirements_.begin(), requirements_.end(),
                     [&](const Requirement& requirement) { return Satisfies(requirement, labels); });
}

std::string LabelSelector::ToString() const {
  std::vector<std::string> parts;
  for (const Requirement& requirement : requirements_) parts.push_back(ToText(requirement));
  return base::Join(parts, ",");
}

}  // namespace tidewright::kube
