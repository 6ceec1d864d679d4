// Selectors, and the modifiers that may follow an expression: ranges, subqueries, offset, @.
#include <cmath>
#include <limits>

#include "base/strings.h"
#include "promql/parser_state.h"

namespace tidewright::promql {
namespace {

// What one selector's matchers may add up to: a longer alternation belongs into a recorded label.
constexpr size_t kMaxRegexBytes = 256 * 1024;
// Each takes up to some MiB.
constexpr int kMaxRegexes = 500;

}  // namespace

ExprPtr Parser::Postfix(ExprPtr expr) {
  while (expr != nullptr && !failed()) {
    if (Is(TokenKind::kLeftBracket)) {
      expr = RangeOrSubquery(std::move(expr));
    } else if (IsWord("offset")) {
      expr = Offset(std::move(expr));
    } else if (Is(TokenKind::kAt)) {
      expr = AtModifier(std::move(expr));
    } else if (IsWord("anchored")) {
      expr = ExtensionModifier(std::move(expr), Extension::kAnchored);
    } else if (IsWord("smoothed")) {
      expr = ExtensionModifier(std::move(expr), Extension::kSmoothed);
    } else {
      return expr;
    }
  }
  return nullptr;
}

ExprPtr Parser::RangeOrSubquery(ExprPtr expr) {
  if (!Enter()) return nullptr;
  size_t open = current_.span.begin;
  Advance(LexMode::kBrackets);
  auto range = Duration(1, LexMode::kBrackets);
  if (range == nullptr) return nullptr;
  ExprPtr node = Is(TokenKind::kColon) ? SubqueryRange(std::move(expr), std::move(range))
                                       : Range(std::move(expr), std::move(range), open);
  if (node == nullptr) return nullptr;
  node->span.end = current_.span.end;
  if (!Expect(TokenKind::kRightBracket, "a range", "\"]\", or \":\" and the step of a subquery")) return nullptr;
  if (!Grow(*node)) return nullptr;
  Leave();
  return node;
}

ExprPtr Parser::Range(ExprPtr expr, std::unique_ptr<DurationExpr> range, size_t open) {
  if (expr->kind != NodeKind::kVectorSelector) {
    return Fail(open, "ranges are only allowed for vector selectors; write [5m:] for a subquery");
  }
  auto node = std::make_unique<MatrixSelector>(expr->span);
  node->selector.reset(static_cast<VectorSelector*>(expr.release()));
  if (node->selector->shift.has_offset) return Fail(open, "an offset stands behind the range: x[5m] offset 1m");
  if (node->selector->shift.at != TimeShift::At::kNone) return Fail(open, "@ stands behind the range: x[5m] @ 0");
  if (!SetDuration(std::move(range), true, &node->range_ms, &node->range_expr)) return nullptr;
  return node;
}

ExprPtr Parser::SubqueryRange(ExprPtr expr, std::unique_ptr<DurationExpr> range) {
  Advance(LexMode::kBrackets);
  auto node = std::make_unique<Subquery>(expr->span);
  node->expr = std::move(expr);
  if (!SetDuration(std::move(range), true, &node->range_ms, &node->range_expr)) return nullptr;
  if (Is(TokenKind::kRightBracket)) return node;
  auto step = Duration(1, LexMode::kBrackets);
  if (step == nullptr || !SetDuration(std::move(step), true, &node->step_ms, &node->step_expr)) return nullptr;
  return node;
}

// The part of a selector or subquery that offset and @ change; null for anything else.
static TimeShift* ShiftOf(Expr& expr) {
  switch (expr.kind) {
    case NodeKind::kVectorSelector: return &As<VectorSelector>(expr).shift;
    case NodeKind::kMatrixSelector: return &As<MatrixSelector>(expr).selector->shift;
    case NodeKind::kSubquery: return &As<Subquery>(expr).shift;
    default: return nullptr;
  }
}

ExprPtr Parser::Offset(ExprPtr expr) {
  size_t begin = current_.span.begin;
  TimeShift* shift = ShiftOf(*expr);
  if (shift == nullptr) return Fail(begin, "offset may only follow a selector, a range selector or a subquery");
  if (shift->has_offset) return Fail(begin, "offset may not be set multiple times");
  shift->has_offset = true;
  Advance();
  // Arithmetic needs parentheses here: without them an operator belongs to the expression around.
  auto duration = DurationUnary(LexMode::kExpression);
  if (duration == nullptr) return nullptr;
  expr->span.end = duration->span.end;
  if (!SetDuration(std::move(duration), false, &shift->offset_ms, &shift->offset_expr)) return nullptr;
  return expr;
}

ExprPtr Parser::AtModifier(ExprPtr expr) {
  size_t begin = current_.span.begin;
  TimeShift* shift = ShiftOf(*expr);
  if (shift == nullptr) return Fail(begin, "@ may only follow a selector, a range selector or a subquery");
  if (shift->at != TimeShift::At::kNone) return Fail(begin, "@ may not be set multiple times");
  Advance();
  bool start = IsWord("start");
  if ((start || IsWord("end")) && Following() == TokenKind::kLeftParen) {
    shift->at = start ? TimeShift::At::kStart : TimeShift::At::kEnd;
    Advance();
    Advance();
    if (!Expect(TokenKind::kRightParen, "@", "\")\"")) return nullptr;
  } else if (!AtTimestamp(*shift, begin)) {
    return nullptr;
  }
  expr->span.end = previous_end_;
  return expr;
}

bool Parser::AtTimestamp(TimeShift& shift, size_t begin) {
  double sign = 1;
  for (; IsSign(); Advance()) sign = current_.op == Op::kSub ? -sign : sign;
  double seconds = current_.number;
  bool word = Is(TokenKind::kIdentifier) && ParseNumber(current_.text, &seconds);
  if (!word && !Is(TokenKind::kNumber) && !Is(TokenKind::kDuration)) {
    return Unexpected("@", "a time in seconds since the epoch, start() or end()") != nullptr;
  }
  // Seconds that fit are accepted, as in Prometheus; what then does not fit in ms lies before all samples. Also NaN.
  constexpr double kBound = 9223372036854775808.0;
  if (!(std::fabs(seconds) < kBound)) {
    return Fail(begin, "the time of @ is out of bounds, expected seconds since the epoch") != nullptr;
  }
  double ms = sign * seconds * 1000;
  shift.at = TimeShift::At::kTime;
  shift.at_ms = std::fabs(ms) < kBound ? static_cast<int64_t>(std::llround(ms)) : std::numeric_limits<int64_t>::min();
  Advance();
  return !failed();
}

ExprPtr Parser::ExtensionModifier(ExprPtr expr, Extension extension) {
  const char* name = extension == Extension::kAnchored ? "anchored" : "smoothed";
  size_t begin = current_.span.begin;
  VectorSelector* selector = expr->kind == NodeKind::kVectorSelector   ? &As<VectorSelector>(*expr)
                             : expr->kind == NodeKind::kMatrixSelector ? As<MatrixSelector>(*expr).selector.get()
                                                                       : nullptr;
  if (!options_.extended_selectors) {
    return Fail(begin, std::string("the modifier ") + name + " is experimental and not enabled");
  }
  if (selector == nullptr) return Fail(begin, std::string("the modifier ") + name + " may only follow a selector");
  if (selector->extension != Extension::kNone && selector->extension != extension) {
    return Fail(begin, "a selector can be anchored or smoothed once, not both");
  }
  selector->extension = extension;
  expr->span.end = current_.span.end;
  Advance();
  return expr;
}

ExprPtr Parser::Selector(std::string_view name, size_t begin) {
  auto node = std::make_unique<VectorSelector>(Span{begin, begin + name.size()});
  node->name = std::string(name);
  if (Is(TokenKind::kLeftBrace) && !LabelMatchers(*node)) return nullptr;
  if (failed() || !CheckName(*node)) return nullptr;
  if (!name.empty()) node->matchers.push_back(Matcher::Equal(std::string(tsdb::kMetricName), node->name));
  return node;
}

bool Parser::LabelMatchers(VectorSelector& node) {
  Advance(LexMode::kBraces);
  while (!Is(TokenKind::kRightBrace)) {
    if (failed() || !LabelMatcher(node)) return false;
    if (Is(TokenKind::kRightBrace)) break;
    if (!Expect(TokenKind::kComma, "a list of label matchers", "\",\" or \"}\"", LexMode::kBraces)) return false;
  }
  node.span.end = current_.span.end;
  Advance();
  return !failed();
}

bool Parser::LabelMatcher(VectorSelector& node) {
  Token label = current_;
  bool quoted = Is(TokenKind::kString);
  if (!quoted && !Is(TokenKind::kIdentifier)) {
    return Unexpected("a list of label matchers", "a label name or \"}\"") != nullptr;
  }
  Advance(LexMode::kBraces);
  if (quoted && (Is(TokenKind::kComma) || Is(TokenKind::kRightBrace))) {
    return AddMatcher(node, Matcher::Type::kEqual, std::string(tsdb::kMetricName), label.value, label.span.begin);
  }
  Matcher::Type type;
  if (Is(TokenKind::kAssign)) {
    type = Matcher::Type::kEqual;
  } else if (Is(TokenKind::kOperator) && current_.op == Op::kNe) {
    type = Matcher::Type::kNotEqual;
  } else if (Is(TokenKind::kRegexMatch)) {
    type = Matcher::Type::kRegex;
  } else if (Is(TokenKind::kRegexNoMatch)) {
    type = Matcher::Type::kNotRegex;
  } else {
    return Unexpected("a label matcher", "=, !=, =~ or !~") != nullptr;
  }
  Advance(LexMode::kBraces);
  if (!Is(TokenKind::kString)) return Unexpected("a label matcher", "a quoted string") != nullptr;
  Token value = current_;
  Advance(LexMode::kBraces);
  if (failed()) return false;
  return AddMatcher(node, type, quoted ? label.value : std::string(label.text), value.value, value.span.begin);
}

bool Parser::AddMatcher(VectorSelector& node, Matcher::Type type, std::string name, std::string value, size_t offset) {
  bool regex = type == Matcher::Type::kRegex || type == Matcher::Type::kNotRegex;
  if (regex && value.size() > kMaxRegexBytes) {
    return Fail(offset, "the regular expression for " + name + " has " + std::to_string(value.size()) +
                            " bytes, more than " + std::to_string(kMaxRegexBytes)) != nullptr;
  }
  if (regex && ++regexes_ > kMaxRegexes) {
    return Fail(offset, "the query has more than " + std::to_string(kMaxRegexes) +
                            " regular expressions; record a part of it with a rule") != nullptr;
  }
  auto matcher = Matcher::Create(type, std::move(name), std::move(value));
  if (!matcher.ok()) return Fail(offset, matcher.status().message()) != nullptr;
  node.matchers.push_back(*std::move(matcher));
  return true;
}

bool Parser::CheckName(const VectorSelector& node) {
  if (node.name.empty()) return true;
  for (const Matcher& matcher : node.matchers) {
    if (matcher.name() != tsdb::kMetricName) continue;
    return Fail(node.span.begin,
                "the metric name must not be set twice: " + Quote(node.name) + " or " + matcher.ToString()) != nullptr;
  }
  return true;
}

}  // namespace tidewright::promql
