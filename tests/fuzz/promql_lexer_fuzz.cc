// Cuts bytes into tokens, in each of the lexer's modes: every token lies behind the one before and inside of the text,
// quoting gives back what was unquoted, and numbers read as they were cut.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "promql/lexer.h"

namespace {

using tidewright::promql::Lexer;
using tidewright::promql::LexMode;
using tidewright::promql::Token;
using tidewright::promql::TokenKind;

void Check(const Token& token, size_t before, size_t size) {
  if (token.span.begin < before || token.span.end < token.span.begin || token.span.end > size) std::abort();
  if (token.kind != TokenKind::kEnd && token.span.end == token.span.begin) std::abort();
  if (token.kind == TokenKind::kString) {
    std::string again, error;
    bool read = tidewright::promql::Unquote(tidewright::promql::Quote(token.value), &again, &error);
    if (!read || again != token.value) std::abort();
  }
}

void CutAll(std::string_view text, LexMode mode) {
  Lexer lexer(text);
  for (size_t at = 0;;) {
    auto token = lexer.At(at, mode);
    if (!token.ok()) return;
    Check(*token, at, text.size());
    if (token->kind == TokenKind::kEnd) return;
    at = token->span.end;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  for (LexMode mode : {LexMode::kExpression, LexMode::kBraces, LexMode::kBrackets}) CutAll(text, mode);
  double number = 0;
  (void)tidewright::promql::ParseNumber(text, &number);
  return 0;
}
