#include "promql/parser.h"

#include <algorithm>
#include <array>

#include "base/strings.h"
#include "promql/functions.h"
#include "promql/parser_state.h"

namespace tidewright::promql {
namespace {

constexpr int kUnaryPrecedence = 6;  // Of the operand: only ^ binds tighter than a sign.

std::optional<AggOp> AggregationNamed(std::string_view word) {
  for (int i = 0; i <= static_cast<int>(AggOp::kLimitRatio); ++i) {
    if (base::EqualsIgnoreCase(word, AggText(static_cast<AggOp>(i)))) return static_cast<AggOp>(i);
  }
  return std::nullopt;
}

// Words that cannot name a metric without quotes.
bool IsReserved(std::string_view word) {
  static constexpr std::array<std::string_view, 6> kWords = {"bool",       "on",          "ignoring",
                                                             "group_left", "group_right", "atan2"};
  for (std::string_view reserved : kWords) {
    if (base::EqualsIgnoreCase(word, reserved)) return true;
  }
  return false;
}

bool IsNumberWord(std::string_view word) {
  return base::EqualsIgnoreCase(word, "inf") || base::EqualsIgnoreCase(word, "nan");
}

}  // namespace

int Precedence(Op op) {
  switch (op) {
    case Op::kOr: return 1;
    case Op::kAnd:
    case Op::kUnless: return 2;
    case Op::kAdd:
    case Op::kSub: return 4;
    case Op::kMul:
    case Op::kDiv:
    case Op::kMod:
    case Op::kAtan2: return 5;
    case Op::kPow: return 6;
    case Op::kNone: return 0;
    default: return 3;
  }
}

Parser::Parser(std::string_view text, const ParserOptions& options) : text_(text), lexer_(text), options_(options) {
  Advance();
}

void Parser::Advance(LexMode mode) {
  if (failed()) return;
  previous_end_ = current_.span.end;
  auto token = lexer_.At(current_.span.end, mode);
  if (token.ok()) {
    current_ = *std::move(token);
  } else {
    error_ = token.status();
  }
}

bool Parser::IsWord(std::string_view lower) const {
  return Is(TokenKind::kIdentifier) && base::EqualsIgnoreCase(current_.text, lower);
}

TokenKind Parser::Following() const {
  auto token = lexer_.At(current_.span.end, LexMode::kExpression);
  return token.ok() ? token->kind : TokenKind::kEnd;
}

std::nullptr_t Parser::Fail(size_t offset, const std::string& message) {
  if (!failed()) error_ = ErrorAt(text_, offset, message);
  return nullptr;
}

std::nullptr_t Parser::Unexpected(std::string_view place, std::string_view expected) {
  std::string message = "unexpected ";
  message += current_.kind == TokenKind::kEnd ? std::string("end of input") : Quote(current_.text);
  if (!place.empty()) message.append(" in ").append(place);
  if (!expected.empty()) message.append(", expected ").append(expected);
  return Fail(current_.span.begin, message);
}

bool Parser::Expect(TokenKind kind, std::string_view place, std::string_view expected, LexMode next) {
  if (!Is(kind)) return Unexpected(place, expected) != nullptr;
  Advance(next);
  return !failed();
}

bool Parser::Enter() {
  if (++depth_ <= kMaxNesting) return true;
  Fail(current_.span.begin,
       "the expression nests deeper than " + std::to_string(kMaxNesting) + " levels; record a part of it with a rule");
  return false;
}

bool Parser::Grow(Expr& node) {
  int below = 0;
  ForEachChild(node, [&](Expr& child) { below = std::max(below, child.height); });
  node.height = below + 1;
  if (node.height <= kMaxNesting) return true;
  return Fail(node.span.begin, "the expression nests deeper than " + std::to_string(kMaxNesting) +
                                   " levels; record a part of it with a rule") != nullptr;
}

bool Parser::CheckLength() {
  if (text_.size() <= kMaxQueryBytes) return true;
  return Fail(0, "the query has " + std::to_string(text_.size()) + " bytes, more than " +
                     std::to_string(kMaxQueryBytes) + "; record a part of it with a rule") != nullptr;
}

base::Result<ExprPtr> Parser::ParseQuery() {
  if (!CheckLength()) return error_;
  if (Is(TokenKind::kEnd)) Fail(0, "no expression found in input");
  ExprPtr expr = failed() ? nullptr : Expression(1);
  if (expr != nullptr && !Is(TokenKind::kEnd)) Unexpected("", "an operator or the end of the expression");
  if (failed()) return error_;
  return expr;
}

base::Result<Matchers> Parser::ParseBareSelector() {
  if (!CheckLength()) return error_;
  ExprPtr expr;
  if (Is(TokenKind::kLeftBrace)) {
    expr = Selector("", current_.span.begin);
  } else if (Is(TokenKind::kIdentifier) && !IsReserved(current_.text) && !IsNumberWord(current_.text)) {
    Token name = current_;
    Advance();
    expr = Selector(name.text, name.span.begin);
  } else {
    Unexpected("", "a selector such as up{job=\"node\"}");
  }
  if (!failed() && !Is(TokenKind::kEnd)) Unexpected("", "the end of the selector");
  if (failed()) return error_;
  return std::move(As<VectorSelector>(*expr).matchers);
}

Op Parser::CurrentOperator() const {
  if (Is(TokenKind::kOperator)) return current_.op;
  if (!Is(TokenKind::kIdentifier)) return Op::kNone;
  for (Op op : {Op::kAnd, Op::kOr, Op::kUnless, Op::kAtan2}) {
    if (base::EqualsIgnoreCase(current_.text, OpText(op))) return op;
  }
  return Op::kNone;
}

ExprPtr Parser::Expression(int min_precedence) {
  if (!Enter()) return nullptr;
  ExprPtr left = UnaryOrPostfix();
  if (left != nullptr) left = BinaryTail(std::move(left), min_precedence);
  Leave();
  return left;
}

ExprPtr Parser::BinaryTail(ExprPtr left, int min_precedence) {
  for (Op op = CurrentOperator(); Precedence(op) >= min_precedence; op = CurrentOperator()) {
    if (op == Op::kNone) break;
    auto node = std::make_unique<Binary>(Span{left->span.begin, left->span.end});
    node->op = op;
    node->op_span = current_.span;
    node->left = std::move(left);
    Advance();
    if (!Matching(*node)) return nullptr;
    node->right = Expression(op == Op::kPow ? Precedence(op) : Precedence(op) + 1);
    if (node->right == nullptr) return nullptr;
    node->span.end = node->right->span.end;
    if (!Grow(*node)) return nullptr;
    left = std::move(node);
  }
  return failed() ? nullptr : std::move(left);
}

ExprPtr Parser::UnaryOrPostfix() {
  if (!IsSign()) {
    ExprPtr expr = Primary();
    return expr == nullptr ? nullptr : Postfix(std::move(expr));
  }
  Op op = current_.op;
  size_t begin = current_.span.begin;
  Advance();
  ExprPtr operand = Expression(kUnaryPrecedence);
  if (operand == nullptr) return nullptr;
  if (operand->kind == NodeKind::kNumber) {
    if (op == Op::kSub) As<NumberLiteral>(*operand).value = -As<NumberLiteral>(*operand).value;
    operand->span.begin = begin;
    return operand;
  }
  auto node = std::make_unique<Unary>(Span{begin, operand->span.end});
  node->op = op;
  node->expr = std::move(operand);
  if (!Grow(*node)) return nullptr;
  return node;
}

ExprPtr Parser::Primary() {
  if (failed()) return nullptr;
  switch (current_.kind) {
    case TokenKind::kLeftParen: return ParenExpr();
    case TokenKind::kNumber:
    case TokenKind::kDuration: return NumberExpr();
    case TokenKind::kLeftBrace: return Selector("", current_.span.begin);
    case TokenKind::kIdentifier: return WordExpr();
    case TokenKind::kString: {
      auto node = std::make_unique<StringLiteral>(current_.span, std::move(current_.value));
      Advance();
      return failed() ? nullptr : std::move(node);
    }
    default: return Unexpected("", "a metric, a number, a function, an aggregation or \"(\"");
  }
}

ExprPtr Parser::ParenExpr() {
  size_t begin = current_.span.begin;
  Advance();
  ExprPtr inner = Expression(1);
  if (inner == nullptr) return nullptr;
  size_t end = current_.span.end;
  if (!Expect(TokenKind::kRightParen, "a parenthesised expression", "\")\"")) return nullptr;
  auto node = std::make_unique<Paren>(Span{begin, end});
  node->expr = std::move(inner);
  if (!Grow(*node)) return nullptr;
  return node;
}

ExprPtr Parser::NumberExpr() {
  auto node = std::make_unique<NumberLiteral>(current_.span, current_.number);
  node->is_duration = current_.kind == TokenKind::kDuration;
  Advance();
  if (failed()) return nullptr;
  return node;
}

ExprPtr Parser::WordExpr() {
  Token word = current_;
  TokenKind following = Following();
  if (auto agg = AggregationNamed(word.text)) {
    Advance();
    if (failed()) return nullptr;
    if (Is(TokenKind::kLeftParen) || IsWord("by") || IsWord("without")) return AggregateExpr(*agg);
    return Selector(word.text, word.span.begin);
  }
  if (IsNumberWord(word.text)) {
    ParseNumber(word.text, &current_.number);
    return NumberExpr();
  }
  if (following == TokenKind::kLeftParen && !IsReserved(word.text)) return CallExpr();
  if (IsReserved(word.text)) {
    return Unexpected("", "a metric, a number, a function or an aggregation; a metric of this name is written {\"" +
                              std::string(word.text) + "\"}");
  }
  Advance();
  if (failed()) return nullptr;
  return Selector(word.text, word.span.begin);
}

ExprPtr Parser::CallExpr() {
  Token name = current_;
  const FunctionDef* function = FindFunction(name.text);
  if (function == nullptr) {
    return Fail(name.span.begin, "unknown function " + Quote(name.text) + "; function names are written in lower case");
  }
  if (function->experimental && !options_.experimental_functions) {
    return Fail(name.span.begin, "the function " + Quote(name.text) + " is experimental and not enabled");
  }
  auto node = std::make_unique<Call>(name.span);
  node->function = function;
  Advance();
  if (!Arguments(&node->args, &node->span) || !Grow(*node)) return nullptr;
  return node;
}

bool Parser::Arguments(std::vector<ExprPtr>* args, Span* span) {
  if (!Expect(TokenKind::kLeftParen, "a call", "\"(\"")) return false;
  while (!Is(TokenKind::kRightParen)) {
    ExprPtr arg = Expression(1);
    if (arg == nullptr) return false;
    args->push_back(std::move(arg));
    if (Is(TokenKind::kRightParen)) break;
    size_t comma = current_.span.begin;
    if (!Expect(TokenKind::kComma, "the arguments of a call", "\",\" or \")\"")) return false;
    if (Is(TokenKind::kRightParen)) return Fail(comma, "a comma may not follow the last argument") != nullptr;
  }
  if (failed()) return false;
  span->end = current_.span.end;
  Advance();
  return !failed();
}

ExprPtr Parser::AggregateExpr(AggOp op) {
  if (op >= AggOp::kLimitk && !options_.experimental_functions) {
    return Fail(current_.span.begin, std::string(AggText(op)) + "() is experimental and not enabled");
  }
  // The name is consumed; it ends where the current token's predecessor did.
  auto node = std::make_unique<Aggregate>(Span{previous_end_ - AggText(op).size(), current_.span.end});
  node->op = op;
  bool has_modifier = !Is(TokenKind::kLeftParen);
  if (has_modifier && !AggregateModifier(*node)) return nullptr;
  std::vector<ExprPtr> args;
  size_t open = current_.span.begin;
  if (!Arguments(&args, &node->span)) return nullptr;
  if (!has_modifier && (IsWord("by") || IsWord("without")) && !AggregateModifier(*node)) return nullptr;
  node->span.end = previous_end_;
  size_t wanted = AggTakesParameter(op) ? 2 : 1;
  if (args.size() != wanted) {
    return Fail(open, std::string(AggText(op)) + "() takes " + std::to_string(wanted) + " argument" +
                          (wanted == 1 ? "" : "s") + ", got " + std::to_string(args.size()));
  }
  node->expr = std::move(args.back());
  if (wanted == 2) node->param = std::move(args.front());
  if (!Grow(*node)) return nullptr;
  return node;
}

bool Parser::AggregateModifier(Aggregate& node) {
  node.without = IsWord("without");
  Advance();
  return LabelList(&node.grouping);
}

bool Parser::LabelList(std::vector<std::string>* labels) {
  constexpr std::string_view kPlace = "a list of labels";
  if (!Expect(TokenKind::kLeftParen, kPlace, "\"(\"")) return false;
  while (!Is(TokenKind::kRightParen)) {
    bool word = Is(TokenKind::kIdentifier) && !IsNumberWord(current_.text);
    if (!word && !Is(TokenKind::kString)) return Unexpected(kPlace, "a label name") != nullptr;
    labels->push_back(word ? std::string(current_.text) : current_.value);
    if (labels->back().empty()) return Fail(current_.span.begin, "a label name may not be empty") != nullptr;
    Advance();
    if (Is(TokenKind::kRightParen)) break;
    if (!Expect(TokenKind::kComma, kPlace, "\",\" or \")\"")) return false;
  }
  Advance();
  return !failed();
}

bool Parser::Matching(Binary& node) {
  if (failed()) return false;
  if (IsWord("bool")) {
    if (!IsComparison(node.op)) {
      return Fail(current_.span.begin, "bool modifier can only be used on comparison operators") != nullptr;
    }
    node.return_bool = true;
    Advance();
  }
  if ((IsWord("on") || IsWord("ignoring")) && !MatchingLabels(node)) return false;
  return Fill(node);
}

bool Parser::MatchingLabels(Binary& node) {
  node.matching.on = IsWord("on");
  Advance();
  if (!LabelList(&node.matching.labels)) return false;
  return Grouping(node);
}

bool Parser::Grouping(Binary& node) {
  if (!IsWord("group_left") && !IsWord("group_right")) return !failed();
  size_t begin = current_.span.begin;
  node.matching.card = IsWord("group_left") ? VectorMatching::Card::kManyToOne : VectorMatching::Card::kOneToMany;
  Advance();
  if (Is(TokenKind::kLeftParen) && !LabelList(&node.matching.include)) return false;
  if (IsSetOp(node.op)) {
    return Fail(begin, "no grouping allowed for " + Quote(OpText(node.op)) + " operation") != nullptr;
  }
  for (const std::string& label : node.matching.include) {
    for (const std::string& other : node.matching.labels) {
      if (label != other || !node.matching.on) continue;
      return Fail(begin, "label " + Quote(label) + " must not occur in on() and in the grouping at once") != nullptr;
    }
  }
  return !failed();
}

bool Parser::Fill(Binary& node) {
  VectorMatching& matching = node.matching;
  while (!failed()) {
    bool both = IsWord("fill");
    bool left = both || IsWord("fill_left");
    bool right = both || IsWord("fill_right");
    if ((!left && !right) || Following() != TokenKind::kLeftParen) break;
    size_t begin = current_.span.begin;
    if ((left && matching.fill_left) || (right && matching.fill_right)) {
      return Fail(begin, "missing series are filled in twice on the same side") != nullptr;
    }
    auto value = FillValue();
    if (!value) return false;
    if (!options_.fill_modifiers) return Fail(begin, "fill modifiers are experimental and not enabled") != nullptr;
    if (IsSetOp(node.op)) return Fail(begin, "set operators cannot fill in missing series") != nullptr;
    if (left) matching.fill_left = value;
    if (right) matching.fill_right = value;
  }
  return !failed();
}

std::optional<double> Parser::FillValue() {
  Advance();
  Advance();  // The parenthesis, seen by Following().
  double sign = 1;
  for (; IsSign(); Advance()) sign = current_.op == Op::kSub ? -sign : sign;
  double value = current_.number;
  bool word = Is(TokenKind::kIdentifier) && IsNumberWord(current_.text) && ParseNumber(current_.text, &value);
  if (!word && !Is(TokenKind::kNumber) && !Is(TokenKind::kDuration)) {
    Unexpected("a fill modifier", "a number");
    return std::nullopt;
  }
  Advance();
  if (!Expect(TokenKind::kRightParen, "a fill modifier", "\")\"")) return std::nullopt;
  return sign * value;
}

base::Result<ExprPtr> ParseExpression(std::string_view text, const ParserOptions& options) {
  if (!base::IsValidUtf8(text)) return base::InvalidArgumentError("1:1: parse error: the query is not valid UTF-8");
  auto expr = Parser(text, options).ParseQuery();
  if (!expr.ok()) return expr.status();
  TW_RETURN_IF_ERROR(CheckTypes(**expr, text));
  return expr;
}

base::Result<Matchers> ParseMatchers(std::string_view text) {
  if (!base::IsValidUtf8(text)) return base::InvalidArgumentError("1:1: parse error: the selector is not valid UTF-8");
  return Parser(text, {}).ParseBareSelector();
}

}  // namespace tidewright::promql
