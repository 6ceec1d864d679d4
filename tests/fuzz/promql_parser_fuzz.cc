// Parses bytes as a query; what parses must print, plainly and prettily, to something that parses to the same.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "promql/parser.h"
#include "promql/printer.h"
#include "promql/tree_json.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  namespace promql = tidewright::promql;
  auto tree = promql::ParseExpression(text, promql::ParserOptions::All());
  if (tree.ok()) {
    std::string printed = promql::Print(**tree);
    for (const std::string& form : {printed, promql::PrintPretty(**tree)}) {
      auto again = promql::ParseExpression(form, promql::ParserOptions::All());
      // The printed form may be longer than a query may be.
      if (form.size() <= promql::kMaxQueryBytes && (!again.ok() || promql::Print(**again) != printed)) std::abort();
    }
    (void)promql::TreeJson(**tree);
  }
  (void)promql::ParseMatchers(text).ok();
  return 0;
}
