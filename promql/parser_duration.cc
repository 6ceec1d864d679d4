// Durations in ranges, subqueries and offsets: numbers, units and arithmetic over the query's step and range.
#include <cmath>

#include "base/strings.h"
#include "promql/duration.h"
#include "promql/parser_state.h"

namespace tidewright::promql {

// A small limit on how many there are also limits how deep they nest.
std::unique_ptr<DurationExpr> Parser::NewDuration() {
  if (++duration_nodes_ > kMaxNesting) {
    return Fail(current_.span.begin, "the query has more than " + std::to_string(kMaxNesting) + " parts of durations");
  }
  return std::make_unique<DurationExpr>();
}

std::unique_ptr<DurationExpr> Parser::Duration(int min_precedence, LexMode mode) {
  if (!Enter()) return nullptr;
  auto left = DurationUnary(mode);
  while (left != nullptr && Is(TokenKind::kOperator)) {
    Op op = current_.op;
    int precedence = Precedence(op);
    if (precedence < min_precedence || op > Op::kPow) break;
    auto node = NewDuration();
    if (node == nullptr) return nullptr;
    node->kind = DurationExpr::Kind::kBinary;
    node->op = op;
    Advance(mode);
    node->left = std::move(left);
    node->right = Duration(op == Op::kPow ? precedence : precedence + 1, mode);
    if (node->right == nullptr) return nullptr;
    node->span = {node->left->span.begin, node->right->span.end};
    left = std::move(node);
  }
  Leave();
  return failed() ? nullptr : std::move(left);
}

std::unique_ptr<DurationExpr> Parser::DurationUnary(LexMode mode) {
  if (!IsSign()) return DurationPrimary(mode);
  auto node = NewDuration();
  if (node == nullptr) return nullptr;
  node->kind = DurationExpr::Kind::kUnary;
  node->op = current_.op;
  node->span.begin = current_.span.begin;
  Advance(mode);
  node->left = DurationUnary(mode);
  if (node->left == nullptr) return nullptr;
  // In brackets a sign binds weaker than ^; after offset there is no operator to bind.
  while (mode == LexMode::kBrackets && Is(TokenKind::kOperator) && current_.op == Op::kPow) {
    auto power = NewDuration();
    if (power == nullptr) return nullptr;
    power->kind = DurationExpr::Kind::kBinary;
    power->op = Op::kPow;
    Advance(mode);
    power->left = std::move(node->left);
    power->right = Duration(Precedence(Op::kPow), mode);
    if (power->right == nullptr) return nullptr;
    power->span = {power->left->span.begin, power->right->span.end};
    node->left = std::move(power);
  }
  node->span.end = node->left->span.end;
  return node;
}

std::unique_ptr<DurationExpr> Parser::DurationPrimary(LexMode mode) {
  auto node = NewDuration();
  if (node == nullptr) return nullptr;
  node->span = current_.span;
  if (Is(TokenKind::kNumber) || Is(TokenKind::kDuration)) {
    node->seconds = current_.number;
    node->is_duration = Is(TokenKind::kDuration);
    Advance(mode);
    return failed() ? nullptr : std::move(node);
  }
  if (Is(TokenKind::kIdentifier)) return DurationWord(mode);
  if (!Is(TokenKind::kLeftParen)) {
    return Unexpected(mode == LexMode::kBrackets ? "a range" : "an offset",
                      "a duration such as 5m, a number of seconds, step() or range()");
  }
  // Inside parentheses arithmetic is complete, whatever surrounds them.
  Advance(LexMode::kBrackets);
  node->kind = DurationExpr::Kind::kParen;
  node->left = Duration(1, LexMode::kBrackets);
  if (node->left == nullptr) return nullptr;
  node->span.end = current_.span.end;
  if (!Expect(TokenKind::kRightParen, "a duration", "\")\"", mode)) return nullptr;
  // Parentheses around one number, and a second pair, say nothing.
  bool idle = node->left->kind == DurationExpr::Kind::kNumber || node->left->kind == DurationExpr::Kind::kParen;
  return idle ? std::move(node->left) : std::move(node);
}

std::unique_ptr<DurationExpr> Parser::DurationWord(LexMode mode) {
  struct Entry {
    std::string_view word;
    DurationExpr::Kind kind;
  };
  static constexpr Entry kWords[] = {{"step", DurationExpr::Kind::kStep},
                                     {"range", DurationExpr::Kind::kRange},
                                     {"min_of", DurationExpr::Kind::kMin},
                                     {"max_of", DurationExpr::Kind::kMax}};
  for (const Entry& entry : kWords) {
    if (!IsWord(entry.word)) continue;
    size_t begin = current_.span.begin;
    Advance(LexMode::kBrackets);
    if (!Expect(TokenKind::kLeftParen, "a duration", "\"(\"", LexMode::kBrackets)) return nullptr;
    if (entry.kind == DurationExpr::Kind::kMin || entry.kind == DurationExpr::Kind::kMax) {
      return DurationPair(entry.kind, begin, mode);
    }
    auto node = NewDuration();
    if (node == nullptr) return nullptr;
    node->kind = entry.kind;
    node->span = {begin, current_.span.end};
    if (!Expect(TokenKind::kRightParen, "a duration", "\")\"", mode)) return nullptr;
    return node;
  }
  return Unexpected("a duration", "a duration such as 5m, a number of seconds, step() or range()");
}

std::unique_ptr<DurationExpr> Parser::DurationPair(DurationExpr::Kind kind, size_t begin, LexMode mode) {
  auto node = NewDuration();
  if (node == nullptr) return nullptr;
  node->kind = kind;
  node->left = Duration(1, LexMode::kBrackets);
  if (node->left == nullptr) return nullptr;
  if (!Expect(TokenKind::kComma, "a duration", "\",\"", LexMode::kBrackets)) return nullptr;
  node->right = Duration(1, LexMode::kBrackets);
  if (node->right == nullptr) return nullptr;
  node->span = {begin, current_.span.end};
  if (!Expect(TokenKind::kRightParen, "a duration", "\")\"", mode)) return nullptr;
  return node;
}

bool Parser::CheckDuration(const DurationExpr& expr) {
  if (expr.left != nullptr && !CheckDuration(*expr.left)) return false;
  if (expr.right != nullptr && !CheckDuration(*expr.right)) return false;
  if (expr.kind != DurationExpr::Kind::kBinary || (expr.op != Op::kDiv && expr.op != Op::kMod)) return true;
  auto divisor = ConstantDuration(*expr.right);
  if (!divisor || *divisor != 0) return true;
  return Fail(expr.right->span.begin, expr.op == Op::kDiv ? "division by zero" : "modulo by zero") != nullptr;
}

bool Parser::SetDuration(std::unique_ptr<DurationExpr> expr, bool positive, int64_t* ms,
                         std::unique_ptr<DurationExpr>* stored) {
  if (!CheckDuration(*expr)) return false;
  // A number with signs and parentheses is a constant; arithmetic is kept for printing.
  const DurationExpr* inner = expr.get();
  while (inner->kind == DurationExpr::Kind::kUnary || inner->kind == DurationExpr::Kind::kParen) {
    inner = inner->left.get();
  }
  if (inner->kind != DurationExpr::Kind::kNumber) {
    *stored = std::move(expr);
    return true;
  }
  auto resolved = ResolveDuration(*expr, DurationContext{}, positive);
  if (!resolved.ok()) return Fail(expr->span.begin, resolved.status().message()) != nullptr;
  *ms = *resolved;
  return true;
}

}  // namespace tidewright::promql
