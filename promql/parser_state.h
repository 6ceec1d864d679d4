// The recursive descent parser. Private to parser*.cc.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "promql/lexer.h"
#include "promql/parser.h"

namespace tidewright::promql {

// Holds the current token and the first error. A method that fails records the error and returns null or false; callers
// only pass that on.
class Parser {
 public:
  Parser(std::string_view text, const ParserOptions& options);

  base::Result<ExprPtr> ParseQuery();
  base::Result<Matchers> ParseBareSelector();

 private:
  // --- Tokens.
  const Token& current() const { return current_; }
  bool Is(TokenKind kind) const { return !failed() && current_.kind == kind; }
  bool IsWord(std::string_view lower) const;  // The current token is this word, in any case.
  bool IsSign() const { return Is(TokenKind::kOperator) && (current_.op == Op::kAdd || current_.op == Op::kSub); }
  TokenKind Following() const;  // The kind of the token after the current one.
  void Advance(LexMode mode = LexMode::kExpression);
  bool Expect(TokenKind kind, std::string_view place, std::string_view expected, LexMode next = LexMode::kExpression);

  bool failed() const { return !error_.ok(); }
  std::nullptr_t Fail(size_t offset, const std::string& message);
  std::nullptr_t Unexpected(std::string_view place, std::string_view expected);
  bool Grow(Expr& node);  // Counts the height of a finished node; false when it is too high.
  bool Enter();           // One level of nesting deeper; false when too deep.
  bool CheckLength();     // False when the text is too long.
  void Leave() { --depth_; }

  // --- Expressions: parser.cc.
  ExprPtr Expression(int min_precedence);
  ExprPtr BinaryTail(ExprPtr left, int min_precedence);
  ExprPtr UnaryOrPostfix();
  ExprPtr Primary();
  ExprPtr ParenExpr();
  ExprPtr NumberExpr();
  ExprPtr WordExpr();
  ExprPtr CallExpr();
  ExprPtr AggregateExpr(AggOp op);
  bool AggregateModifier(Aggregate& node);
  bool Arguments(std::vector<ExprPtr>* args, Span* span);
  Op CurrentOperator() const;

  bool Matching(Binary& node);
  bool MatchingLabels(Binary& node);
  bool Grouping(Binary& node);
  bool Fill(Binary& node);
  std::optional<double> FillValue();
  bool LabelList(std::vector<std::string>* labels);

  // --- Selectors and what may follow any expression: parser_selector.cc.
  ExprPtr Postfix(ExprPtr expr);
  ExprPtr RangeOrSubquery(ExprPtr expr);
  ExprPtr Range(ExprPtr expr, std::unique_ptr<DurationExpr> range, size_t open);
  ExprPtr SubqueryRange(ExprPtr expr, std::unique_ptr<DurationExpr> range);
  ExprPtr Offset(ExprPtr expr);
  ExprPtr AtModifier(ExprPtr expr);
  ExprPtr ExtensionModifier(ExprPtr expr, Extension extension);
  bool AtTimestamp(TimeShift& shift, size_t begin);
  ExprPtr Selector(std::string_view name, size_t begin);
  bool LabelMatchers(VectorSelector& node);
  bool LabelMatcher(VectorSelector& node);
  bool CheckName(const VectorSelector& node);
  bool AddMatcher(VectorSelector& node, Matcher::Type type, std::string name, std::string value, size_t offset);

  // --- Durations: parser_duration.cc.
  std::unique_ptr<DurationExpr> Duration(int min_precedence, LexMode mode);
  std::unique_ptr<DurationExpr> NewDuration();
  std::unique_ptr<DurationExpr> DurationUnary(LexMode mode);
  std::unique_ptr<DurationExpr> DurationPrimary(LexMode mode);
  std::unique_ptr<DurationExpr> DurationWord(LexMode mode);
  std::unique_ptr<DurationExpr> DurationPair(DurationExpr::Kind kind, size_t begin, LexMode mode);
  bool CheckDuration(const DurationExpr& expr);
  bool SetDuration(std::unique_ptr<DurationExpr> expr, bool positive, int64_t* ms,
                   std::unique_ptr<DurationExpr>* stored);

  std::string_view text_;
  Lexer lexer_;
  ParserOptions options_;
  Token current_;
  size_t previous_end_ = 0;
  base::Status error_;
  int depth_ = 0;
  int duration_nodes_ = 0;
  int regexes_ = 0;
};

// The precedence of a binary operator, from 1 (or) to 6 (^); 0 for none.
int Precedence(Op op);

}  // namespace tidewright::promql
