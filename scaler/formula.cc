#include "scaler/formula.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "base/document.h"
#include "base/strings.h"

namespace tidewright::scaler {

struct Formula::Node {
  enum class Kind { kNumber, kName, kElement, kUnary, kBinary, kChoice, kList, kCall };
  Kind kind = Kind::kNumber;
  double number = 0;
  std::string word;  // The name, operator or function.
  std::vector<std::unique_ptr<const Node>> parts;
};

namespace {

using Node = Formula::Node;
using Kind = Node::Kind;
using NodePtr = std::unique_ptr<const Node>;

constexpr size_t kMaxLength = 4096;
constexpr int kMaxDepth = 64;
// From weak to strong; all bind to the left.
constexpr std::string_view kLevels[][6] = {
    {"??"}, {"||", "or"}, {"&&", "and"}, {"==", "!=", "<=", ">=", "<", ">"}, {"+", "-"}, {"*", "/", "%"}};
constexpr std::string_view kFunctions[] = {"abs", "avg",  "ceil",   "count", "float", "floor", "int",
                                           "max", "mean", "median", "min",   "round", "sum"};
constexpr std::string_view kSymbols[] = {"??", "||", "&&", "==", "!=", "<=", ">=", "**", "<", ">", "+", "-", "*", "/",
                                         "%",  "^",  "!",  "?",  ":",  "(",  ")",  "[",  "]", "{", "}", ",", "#"};

bool IsLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }

struct Token {
  enum class Type { kNumber, kWord, kSymbol, kEnd };
  Type type = Type::kEnd;
  std::string text;
  size_t at = 0;
};

base::Status BadFormula(size_t at, const std::string& what) {
  return base::InvalidArgumentError("character " + std::to_string(at + 1) + ": " + what);
}

base::Result<Token> NextToken(std::string_view text, size_t at) {
  while (at < text.size() && (text[at] == ' ' || text[at] == '\t' || text[at] == '\n' || text[at] == '\r')) ++at;
  if (at == text.size()) return Token{Token::Type::kEnd, "", at};
  size_t end = at;
  if (IsLetter(text[at])) {
    while (end < text.size() && (IsLetter(text[end]) || IsDigit(text[end]))) ++end;
    return Token{Token::Type::kWord, std::string(text.substr(at, end - at)), at};
  }
  if (IsDigit(text[at]) || text[at] == '.') {
    while (end < text.size() && (IsDigit(text[end]) || text[end] == '.' || text[end] == 'e' ||
                                 ((text[end] == '-' || text[end] == '+') && text[end - 1] == 'e'))) {
      ++end;
    }
    return Token{Token::Type::kNumber, std::string(text.substr(at, end - at)), at};
  }
  for (std::string_view symbol : kSymbols) {
    if (text.substr(at).starts_with(symbol)) return Token{Token::Type::kSymbol, std::string(symbol), at};
  }
  return BadFormula(at, base::Quoted(text.substr(at, 1)) + " is not part of a formula; use numbers, triggers' names, " +
                            "operators and functions");
}

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  base::Result<NodePtr> Run(std::set<std::string>* names) {
    names_ = names;
    TW_RETURN_IF_ERROR(Advance());
    TW_ASSIGN_OR_RETURN(NodePtr root, Choice());
    if (token_.type != Token::Type::kEnd) return Unexpected("an operator");
    return root;
  }

 private:
  base::Status Advance() {
    TW_ASSIGN_OR_RETURN(token_, NextToken(text_, end_));
    end_ = token_.at + token_.text.size();
    return base::Status::Ok();
  }
  bool Is(std::string_view text) const { return token_.type != Token::Type::kEnd && token_.text == text; }
  base::Status Unexpected(const std::string& wanted) const {
    return BadFormula(token_.at, (token_.type == Token::Type::kEnd ? "the end" : base::Quoted(token_.text)) +
                                     " stands where " + wanted + " is expected");
  }
  base::Status Expect(std::string_view text) {
    if (!Is(text)) return Unexpected(base::Quoted(text));
    return Advance();
  }

  static NodePtr Make(Kind kind, std::string word, NodePtr a = nullptr, NodePtr b = nullptr, NodePtr c = nullptr) {
    auto node = std::make_unique<Node>();
    node->kind = kind;
    node->word = std::move(word);
    for (NodePtr* part : {&a, &b, &c}) {
      if (*part != nullptr) node->parts.push_back(std::move(*part));
    }
    return node;
  }

  base::Result<NodePtr> Choice() {
    if (++depth_ > kMaxDepth) return BadFormula(token_.at, "the formula is nested too deeply; simplify it");
    TW_ASSIGN_OR_RETURN(NodePtr condition, Binary(0));
    if (Is("?")) {
      TW_RETURN_IF_ERROR(Advance());
      TW_ASSIGN_OR_RETURN(NodePtr yes, Choice());
      TW_RETURN_IF_ERROR(Expect(":"));
      TW_ASSIGN_OR_RETURN(NodePtr no, Choice());
      condition = Make(Kind::kChoice, "?", std::move(condition), std::move(yes), std::move(no));
    }
    --depth_;
    return condition;
  }

  bool AtOperator(size_t level) const {
    return token_.type != Token::Type::kEnd &&
           std::find(std::begin(kLevels[level]), std::end(kLevels[level]), token_.text) != std::end(kLevels[level]);
  }

  base::Result<NodePtr> Binary(size_t level) {
    if (level == std::size(kLevels)) return Unary();
    TW_ASSIGN_OR_RETURN(NodePtr left, Binary(level + 1));
    while (AtOperator(level)) {
      std::string word = token_.text == "or" ? "||" : (token_.text == "and" ? "&&" : token_.text);
      TW_RETURN_IF_ERROR(Advance());
      TW_ASSIGN_OR_RETURN(NodePtr right, Binary(level + 1));
      left = Make(Kind::kBinary, std::move(word), std::move(left), std::move(right));
    }
    return left;
  }

  base::Result<NodePtr> Unary() {
    if (!Is("-") && !Is("+") && !Is("!") && !Is("not")) return Power();
    if (++depth_ > kMaxDepth) return BadFormula(token_.at, "the formula is nested too deeply; simplify it");
    std::string word = Is("not") ? "!" : token_.text;
    TW_RETURN_IF_ERROR(Advance());
    TW_ASSIGN_OR_RETURN(NodePtr operand, Unary());
    --depth_;
    return Make(Kind::kUnary, std::move(word), std::move(operand));
  }

  base::Result<NodePtr> Power() {
    TW_ASSIGN_OR_RETURN(NodePtr base, Primary());
    if (!Is("**") && !Is("^")) return base;
    TW_RETURN_IF_ERROR(Advance());
    TW_ASSIGN_OR_RETURN(NodePtr exponent, Unary());
    return Make(Kind::kBinary, "**", std::move(base), std::move(exponent));
  }

  base::Result<NodePtr> Primary() {
    const Token token = token_;
    if (token.type == Token::Type::kNumber) return Number(token);
    if (token.type == Token::Type::kWord) {
      TW_RETURN_IF_ERROR(Advance());
      return Is("(") ? Call(token) : Name(token);
    }
    if (Is("#") && in_predicate_) {
      TW_RETURN_IF_ERROR(Advance());
      return Make(Kind::kElement, "#");
    }
    if (Is("(")) {
      TW_RETURN_IF_ERROR(Advance());
      TW_ASSIGN_OR_RETURN(NodePtr inner, Choice());
      TW_RETURN_IF_ERROR(Expect(")"));
      return inner;
    }
    if (Is("[")) return List();
    return Unexpected("a number or the name of a trigger");
  }

  base::Result<NodePtr> Number(const Token& token) {
    auto node = std::make_unique<Node>();
    if (!base::ParseDouble(token.text, &node->number)) {
      return BadFormula(token.at, base::Quoted(token.text) + " is not a number");
    }
    TW_RETURN_IF_ERROR(Advance());
    return NodePtr(std::move(node));
  }

  base::Result<NodePtr> Name(const Token& token) {
    if (token.text == "nil" || token.text == "true" || token.text == "false") {
      return BadFormula(token.at,
                        base::Quoted(token.text) + " is not supported; write a number, or ?? for what is absent");
    }
    names_->insert(token.text);
    return Make(Kind::kName, token.text);
  }

  base::Result<NodePtr> List() {
    auto list = std::make_unique<Node>();
    list->kind = Kind::kList;
    do {
      TW_RETURN_IF_ERROR(Advance());
      TW_ASSIGN_OR_RETURN(NodePtr element, Choice());
      list->parts.push_back(std::move(element));
    } while (Is(","));
    TW_RETURN_IF_ERROR(Expect("]"));
    return NodePtr(std::move(list));
  }

  base::Result<NodePtr> Call(const Token& function) {
    if (std::find(std::begin(kFunctions), std::end(kFunctions), function.text) == std::end(kFunctions)) {
      std::vector<std::string> known(std::begin(kFunctions), std::end(kFunctions));
      std::string nearest = base::NearestName(function.text, known);
      return BadFormula(function.at, base::Quoted(function.text) + " is not a function; " +
                                         (nearest.empty() ? "use one of " + base::Join(known, ", ")
                                                          : "did you mean " + nearest + "?"));
    }
    auto call = std::make_unique<Node>();
    call->kind = Kind::kCall;
    call->word = function.text;
    do {
      TW_RETURN_IF_ERROR(Advance());
      TW_ASSIGN_OR_RETURN(NodePtr argument, Is("{") ? Predicate(*call) : Choice());
      call->parts.push_back(std::move(argument));
    } while (Is(","));
    TW_RETURN_IF_ERROR(Expect(")"));
    return NodePtr(std::move(call));
  }

  // {# > 1}, the second argument of count().
  base::Result<NodePtr> Predicate(const Node& call) {
    if (call.word != "count" || call.parts.size() != 1) return Unexpected("a number (only count() takes a predicate)");
    TW_RETURN_IF_ERROR(Advance());
    bool outer = std::exchange(in_predicate_, true);
    TW_ASSIGN_OR_RETURN(NodePtr predicate, Choice());
    in_predicate_ = outer;
    TW_RETURN_IF_ERROR(Expect("}"));
    return predicate;
  }

  const std::string_view text_;
  size_t end_ = 0;
  Token token_;
  int depth_ = 0;
  bool in_predicate_ = false;
  std::set<std::string>* names_ = nullptr;
};

// One evaluation: numbers, lists of numbers, and what is absent.
class Evaluator {
 public:
  explicit Evaluator(const Formula::Variables& variables) : variables_(variables) {}

  // None: absent, which only `??` may see.
  base::Result<std::optional<double>> Value(const Node& node) {
    switch (node.kind) {
      case Kind::kNumber: return std::optional(node.number);
      case Kind::kName: return Named(node.word);
      case Kind::kElement: return std::optional(element_);
      case Kind::kUnary: return Unary(node);
      case Kind::kBinary: return node.word == "??" ? Default(node) : Binary(node);
      case Kind::kChoice: return ChoiceOf(node);
      case Kind::kCall: return Call(node);
      case Kind::kList: break;
    }
    return base::FailedPreconditionError("a list stands where a number is due; give it to sum, avg, min, max or count");
  }

  base::Result<double> Number(const Node& node) {
    TW_ASSIGN_OR_RETURN(std::optional<double> value, Value(node));
    if (value) return *value;
    return base::FailedPreconditionError((node.kind == Kind::kName ? base::Quoted(node.word) : "a part of it") +
                                         " has no value; write for example " +
                                         (node.kind == Kind::kName ? node.word : "name") + " ?? 0");
  }

 private:
  base::Result<std::optional<double>> Named(const std::string& name) {
    auto it = variables_.find(name);
    if (it == variables_.end()) return base::FailedPreconditionError(base::Quoted(name) + " is not a trigger");
    return it->second;
  }

  base::Result<std::optional<double>> Default(const Node& node) {
    TW_ASSIGN_OR_RETURN(std::optional<double> left, Value(*node.parts[0]));
    return left ? left : Value(*node.parts[1]);
  }

  base::Result<std::optional<double>> ChoiceOf(const Node& node) {
    TW_ASSIGN_OR_RETURN(double condition, Number(*node.parts[0]));
    return Value(*node.parts[condition != 0 ? 1 : 2]);
  }

  base::Result<std::optional<double>> Unary(const Node& node) {
    TW_ASSIGN_OR_RETURN(double value, Number(*node.parts[0]));
    if (node.word == "!") return std::optional<double>(value == 0 ? 1 : 0);
    return std::optional(node.word == "-" ? -value : value);
  }

  base::Result<std::optional<double>> Binary(const Node& node) {
    TW_ASSIGN_OR_RETURN(double a, Number(*node.parts[0]));
    if (node.word == "||" && a != 0) return std::optional<double>(1);
    if (node.word == "&&" && a == 0) return std::optional<double>(0);
    TW_ASSIGN_OR_RETURN(double b, Number(*node.parts[1]));
    return std::optional(Apply(node.word, a, b));
  }

  static double Apply(const std::string& word, double a, double b) {
    if (word == "+") return a + b;
    if (word == "-") return a - b;
    if (word == "*") return a * b;
    if (word == "/") return a / b;
    if (word == "%") return std::fmod(a, b);
    if (word == "**") return std::pow(a, b);
    if (word == "==") return a == b;
    if (word == "!=") return a != b;
    if (word == "<") return a < b;
    if (word == "<=") return a <= b;
    if (word == ">") return a > b;
    if (word == ">=") return a >= b;
    return b != 0;  // && and ||, whose left side did not decide.
  }

  // The arguments of a function, lists opened up.
  base::Status Collect(const Node& node, size_t count, std::vector<double>* out) {
    for (size_t i = 0; i < std::min(count, node.parts.size()); ++i) {
      const Node& part = *node.parts[i];
      if (part.kind == Kind::kList) {
        TW_RETURN_IF_ERROR(Collect(part, part.parts.size(), out));
        continue;
      }
      TW_ASSIGN_OR_RETURN(double value, Number(part));
      out->push_back(value);
    }
    return base::Status::Ok();
  }

  base::Result<std::optional<double>> Call(const Node& node) {
    std::vector<double> values;
    bool count = node.word == "count";
    TW_RETURN_IF_ERROR(Collect(node, count ? 1 : node.parts.size(), &values));
    if (values.empty()) return base::FailedPreconditionError(node.word + "() has no arguments");
    if (count) return Count(node, values);
    if (std::optional<double> result = OverAll(node.word, values)) return result;
    if (values.size() != 1) return base::FailedPreconditionError(node.word + "() takes one number");
    return std::optional(OfOne(node.word, values[0]));
  }

  base::Result<std::optional<double>> Count(const Node& node, const std::vector<double>& values) {
    if (node.parts.size() == 1) return std::optional(static_cast<double>(values.size()));
    double found = 0;
    const double outer = element_;
    for (double value : values) {
      element_ = value;
      TW_ASSIGN_OR_RETURN(double holds, Number(*node.parts[1]));
      found += holds != 0 ? 1 : 0;
    }
    element_ = outer;
    return std::optional(found);
  }

  static std::optional<double> OverAll(const std::string& word, std::vector<double> values) {
    double sum = 0;
    for (double value : values) sum += value;
    if (word == "sum") return sum;
    if (word == "avg" || word == "mean") return sum / static_cast<double>(values.size());
    std::sort(values.begin(), values.end());
    if (word == "min") return values.front();
    if (word == "max") return values.back();
    size_t half = values.size() / 2;
    if (word == "median") return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
    return std::nullopt;
  }

  static double OfOne(const std::string& word, double value) {
    if (word == "abs") return std::fabs(value);
    if (word == "ceil") return std::ceil(value);
    if (word == "floor") return std::floor(value);
    if (word == "round") return std::round(value);
    return word == "int" ? std::trunc(value) : value;
  }

  const Formula::Variables& variables_;
  double element_ = 0;
};

}  // namespace

Formula::~Formula() = default;

base::Result<std::shared_ptr<const Formula>> Formula::Parse(std::string_view text) {
  if (text.size() > kMaxLength) {
    return base::InvalidArgumentError("the formula is longer than " + std::to_string(kMaxLength) + " bytes");
  }
  std::shared_ptr<Formula> formula(new Formula);
  std::set<std::string> names;
  auto root = Parser(text).Run(&names);
  if (!root.ok()) return root.status().Annotate("formula " + base::Quoted(text));
  formula->text_ = text;
  formula->root_ = std::move(*root);
  formula->variables_.assign(names.begin(), names.end());
  return std::shared_ptr<const Formula>(std::move(formula));
}

base::Result<double> Formula::Evaluate(const Variables& variables) const {
  auto value = Evaluator(variables).Number(*root_);
  if (!value.ok()) return value.status().Annotate("formula " + base::Quoted(text_));
  if (std::isfinite(*value)) return *value;
  return base::FailedPreconditionError("formula " + base::Quoted(text_) + " gives no finite number");
}

}  // namespace tidewright::scaler
