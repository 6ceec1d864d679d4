// Parses bytes as a query; what parses must print to something that parses to the same.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "promql/parser.h"
#include "promql/printer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  namespace promql = tidewright::promql;
  auto tree = promql::ParseExpression(text, promql::ParserOptions::All());
  if (tree.ok()) {
    std::string printed = promql::Print(**tree);
    auto again = promql::ParseExpression(printed, promql::ParserOptions::All());
    if (!again.ok() || promql::Print(**again) != printed) std::abort();
  }
  (void)promql::ParseMatchers(text).ok();
  return 0;
}
