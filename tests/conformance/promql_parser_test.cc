// Which expressions are PromQL, of which type, and how they print: the recorded verdicts of Prometheus.
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>

#include "base/duration.h"
#include "base/file.h"
#include "base/json.h"
#include "base/strings.h"
#include "promql/parser.h"
#include "promql/printer.h"
#include "promql/tree_json.h"

namespace tidewright::promql {
namespace {

base::Result<base::Json> ReadConformance(const std::string& file) {
  const char* dir = std::getenv("CONFORMANCE_DIR");
  std::string root = dir != nullptr ? dir : std::string(TIDEWRIGHT_SOURCE_DIR) + "/../shared/conformance";
  auto text = base::ReadFile(root + "/text-formats/" + file);
  if (!text.ok()) return text.status();
  return base::ParseJson(*text);
}

std::string InputOf(const base::Json& test) {
  std::string input = base::FindString(test, {"expr"});
  std::string encoded = base::FindString(test, {"expr_b64"});
  if (!encoded.empty() && !base::Base64Decode(encoded, &input)) ADD_FAILURE() << "bad base64: " << encoded;
  return input;
}

struct Tally {
  int verdicts = 0;
  int wrong_verdicts = 0;
  int wrong_types = 0;
  int wrong_texts = 0;
  int wrong_pretty = 0;
};

void Judge(const base::Json& test, const char* expectation, const ParserOptions& options, Tally* tally) {
  const base::Json* expect = base::Find(test, {"expect"});
  if (expect == nullptr) expect = base::Find(test, {expectation});
  std::string input = InputOf(test);
  auto parsed = ParseExpression(input, options);
  bool ok = base::FindBool(*expect, {"ok"});
  ++tally->verdicts;
  auto complain = [&](const std::string& what) {
    std::printf("%s %d: %s: %s\n", expectation, static_cast<int>(base::FindInt(test, {"id"})), input.c_str(),
                what.c_str());
  };
  if (parsed.ok() != ok) {
    ++tally->wrong_verdicts;
    const base::Json* errors = base::Find(*expect, {"errors"});
    return complain(ok ? parsed.status().message() : "accepted, expected " + base::DumpJson(*errors));
  }
  if (!ok) return;
  static const std::map<ValueType, std::string> kTypes = {{ValueType::kScalar, "scalar"},
                                                          {ValueType::kVector, "vector"},
                                                          {ValueType::kMatrix, "matrix"},
                                                          {ValueType::kString, "string"}};
  if (kTypes.at((*parsed)->type) != base::FindString(*expect, {"type"})) {
    ++tally->wrong_types;
    complain("type " + std::string(TypeName((*parsed)->type)));
  }
  std::string printed = Print(**parsed);
  std::string reference = base::FindString(*expect, {"string"});
  std::string pretty = base::FindString(*expect, {"pretty"});
  if (!pretty.empty() && PrintPretty(**parsed) != pretty) {
    ++tally->wrong_pretty;
    complain("pretty\n" + PrintPretty(**parsed) + "\nexpected\n" + pretty);
  }
  if (base::Find(*expect, {"string"}) == nullptr || printed == reference) return;
  ++tally->wrong_texts;
  complain("printed " + printed + ", expected " + reference);
}

TEST(PromqlParserConformance, VerdictsTypesAndCanonicalForms) {
  auto data = ReadConformance("promql-parser.json");
  if (!data.ok()) GTEST_SKIP() << "no conformance data: " << data.status().message();
  Tally release;
  Tally all;
  for (const base::Json& test : *base::Find(*data, {"cases"})) {
    Judge(test, "release_defaults", {}, &release);
    Judge(test, "all_flags_on", ParserOptions::All(), &all);
  }
  for (const Tally& tally : {release, all}) {
    std::printf("verdicts %d: wrong %d, wrong types %d, other canonical forms %d, pretty %d\n", tally.verdicts,
                tally.wrong_verdicts, tally.wrong_types, tally.wrong_texts, tally.wrong_pretty);
    EXPECT_EQ(tally.verdicts, 4502);
    EXPECT_EQ(tally.wrong_verdicts, 0);
    EXPECT_EQ(tally.wrong_types, 0);
    EXPECT_EQ(tally.wrong_texts, 0);
    EXPECT_EQ(tally.wrong_pretty, 0);
  }
}

// The recorded trees name functions; the API describes them.
void DescribeFunctions(const base::Json& functions, base::Json& node) {
  if (node.is_object() && node.contains("func") && node["func"].is_string()) {
    node["func"] = functions.at(node["func"].get<std::string>());
  }
  if (!node.is_structured()) return;
  for (base::Json& child : node) DescribeFunctions(functions, child);
}

TEST(PromqlParserConformance, TreesAsJson) {
  auto data = ReadConformance("promql-ast.json");
  if (!data.ok()) GTEST_SKIP() << "no conformance data: " << data.status().message();
  int same = 0, refused = 0;
  for (const base::Json& test : *base::Find(*data, {"cases"})) {
    std::string expr = base::FindString(test, {"expr"});
    auto parsed = ParseExpression(expr, ParserOptions::All());
    if (!parsed.ok()) {
      std::printf("refused: %s: %s\n", expr.c_str(), parsed.status().message().c_str());
      ++refused;
      continue;
    }
    auto tree = base::ParseJson(TreeJson(**parsed));
    ASSERT_TRUE(tree.ok());
    base::Json reference = *base::Find(test, {"ast"});
    DescribeFunctions(*base::Find(*data, {"functions"}), reference);
    bool equal = *tree == reference;
    EXPECT_TRUE(equal) << expr << "\n" << tree->dump() << "\nreference\n" << reference.dump();
    same += equal ? 1 : 0;
  }
  EXPECT_EQ(same, 696);
  EXPECT_EQ(refused, 0);
}

// What is printed is read back as the same: also in the pretty form.
TEST(PromqlParserConformance, PrintedFormsParseToTheSame) {
  auto data = ReadConformance("promql-parser.json");
  if (!data.ok()) GTEST_SKIP() << "no conformance data: " << data.status().message();
  int checked = 0;
  for (const base::Json& test : *base::Find(*data, {"cases"})) {
    auto parsed = ParseExpression(InputOf(test), ParserOptions::All());
    if (!parsed.ok()) continue;
    std::string printed = Print(**parsed);
    for (const std::string& text : {printed, PrintPretty(**parsed)}) {
      auto again = ParseExpression(text, ParserOptions::All());
      ASSERT_TRUE(again.ok()) << text << ": " << again.status().message();
      EXPECT_EQ(Print(**again), printed);
      ++checked;
    }
  }
  EXPECT_GT(checked, 5000);
}

}  // namespace
}  // namespace tidewright::promql
