// Cuts a PromQL query into tokens.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"
#include "promql/ast.h"

namespace tidewright::promql {

enum class TokenKind {
  kEnd,
  kIdentifier,  // Also keywords, operators spelled as words, inf and nan: their meaning depends on the place.
  kString,
  kNumber,
  kDuration,  // A number with units.
  kLeftParen,
  kRightParen,
  kLeftBrace,
  kRightBrace,
  kLeftBracket,
  kRightBracket,
  kComma,
  kColon,
  kAssign,        // =
  kRegexMatch,    // =~
  kRegexNoMatch,  // !~
  kOperator,      // Arithmetic and comparison.
  kAt,
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  Span span;
  std::string_view text;  // As written.
  Op op = Op::kNone;      // kOperator.
  double number = 0;      // kNumber; kDuration in seconds.
  std::string value;      // kString, unescaped.
};

// Words are cut differently in label matchers ({...}, no colons) and in ranges ([...], where a colon separates).
enum class LexMode { kExpression, kBraces, kBrackets };

// Produces one token at a time. Borrows the text.
class Lexer {
 public:
  explicit Lexer(std::string_view text) : text_(text) {}
  // The token at or after `offset`, with blanks and comments skipped.
  base::Result<Token> At(size_t offset, LexMode mode) const;

 private:
  size_t SkipBlanks(size_t pos) const;
  base::Result<Token> Word(size_t pos, LexMode mode) const;
  base::Result<Token> Number(size_t pos) const;
  base::Result<Token> Quoted(size_t pos) const;
  base::Result<Token> Symbol(size_t pos, LexMode mode) const;
  base::Status Error(size_t pos, const std::string& message) const;

  std::string_view text_;
};

// kInvalidArgument: "line:column: parse error: message".
base::Status ErrorAt(std::string_view text, size_t offset, const std::string& message);

// "line:column" of a byte offset, both from 1.
std::string LineColumn(std::string_view text, size_t offset);

// Reads a number as Go does: decimal, 0x.., leading 0 for octal, underscores, floats, inf, nan.
bool ParseNumber(std::string_view text, double* value);

// Undoes the quoting of a complete literal: "..." and '...' with Go's escapes, `...` raw. On failure sets *error.
bool Unquote(std::string_view literal, std::string* value, std::string* error);

// Quotes a text so that Unquote gives it back, with double quotes.
std::string Quote(std::string_view text);

}  // namespace tidewright::promql
