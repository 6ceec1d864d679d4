// The answers of the reference engine to every eval of the acceptance scripts, in the JSON of its HTTP API.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <map>

#include "base/file.h"
#include "base/json.h"
#include "base/strings.h"
#include "promql/value_json.h"
#include "promqltest/runner.h"

namespace tidewright::promqltest {
namespace {

std::string ConformanceDir() {
  const char* dir = std::getenv("CONFORMANCE_DIR");
  return dir != nullptr ? dir : std::string(TIDEWRIGHT_SOURCE_DIR) + "/../shared/conformance";
}

base::Json ReadJson(const std::string& path) {
  auto text = base::ReadFile(path);
  if (!text.ok()) return {};
  auto json = base::ParseJson(*text);
  return json.ok() ? *json : base::Json();
}

// Numbers agree to nine digits: the reference adds up in another order in places.
bool SameNumber(const std::string& expected, const std::string& got) {
  double a = 0, b = 0;
  if (expected == got) return true;
  if (!ParseScriptNumber(expected, &a) || !ParseScriptNumber(got, &b)) return false;
  return std::fabs(a - b) <= 1e-9 * std::max(std::fabs(a), std::fabs(b));
}

// Strings are compared as numbers where they are such.
bool SameJson(const base::Json& expected, const base::Json& got) {
  if (expected.is_number() && got.is_number()) return expected.get<double>() == got.get<double>();
  if (expected.type() != got.type()) return false;
  if (expected.is_string()) return SameNumber(expected.get<std::string>(), got.get<std::string>());
  if (expected.size() != got.size()) return false;
  if (expected.is_array()) {
    return std::equal(expected.begin(), expected.end(), got.begin(), SameJson);
  }
  if (!expected.is_object()) return expected == got;
  for (const auto& [key, value] : expected.items()) {
    if (!got.contains(key) || !SameJson(value, got[key])) return false;
  }
  return true;
}

// Instant vectors have no order unless the query gives them one.
void SortVector(base::Json& data) {
  if (base::FindString(data, {"resultType"}) != "vector") return;
  auto& result = data["result"];
  std::stable_sort(result.begin(), result.end(),
                   [](const base::Json& a, const base::Json& b) { return a["metric"].dump() < b["metric"].dump(); });
}

std::vector<std::string> StringsOf(const base::Json& answer, const char* member) {
  std::vector<std::string> texts;
  if (const base::Json* list = base::Find(answer, {member}); list != nullptr) {
    for (const auto& text : *list) texts.push_back(text.get<std::string>());
  }
  std::sort(texts.begin(), texts.end());
  return texts;
}

// "" when our answer is that of the reference.
std::string Differs(const base::Json& expected, const Eval& eval, const base::Result<promql::QueryResult>& answer) {
  if (base::FindString(expected, {"query"}) != eval.expr) return "the reference was asked something else";
  if (base::Find(expected, {"error"}) != nullptr) return answer.ok() ? "the reference failed" : "";
  if (!answer.ok()) return answer.status().message();
  std::string text;
  promql::AppendJson(answer->value, &text);
  auto parsed = base::ParseJson(text);
  if (!parsed.ok()) return "no JSON: " + text;
  base::Json got = *parsed;
  base::Json wanted = *base::Find(expected, {"data"});
  SortVector(got);
  SortVector(wanted);
  if (!SameJson(wanted, got)) return "got " + text + "\n      reference " + wanted.dump();
  auto warnings = answer->warnings;
  auto infos = answer->infos;
  if (StringsOf(expected, "warnings") != warnings) return "other warnings: " + base::Json(warnings).dump();
  if (StringsOf(expected, "infos") != infos) return "other infos: " + base::Json(infos).dump();
  return "";
}

struct Pinned {
  const char* file;
  int same;
  int different;  // Counted, and reported by name.
};

std::ostream& operator<<(std::ostream& out, const Pinned& pinned) { return out << pinned.file; }

class PromqlExact : public testing::TestWithParam<Pinned> {};

TEST_P(PromqlExact, AnswersAreThoseOfTheReference) {
  std::string name = GetParam().file;
  auto script = base::ReadFile(ConformanceDir() + "/promqltest/" + name + ".test");
  if (!script.ok()) GTEST_SKIP() << "no conformance data: " << script.status().message();
  std::map<int64_t, base::Json> answers;
  for (const auto& one : ReadJson(ConformanceDir() + "/promqltest/exact/" + name + ".json")) {
    answers[base::FindInt(one, {"line"})] = one;
  }
  RunnerOptions options;
  options.engine = ScriptEngine();
  options.strict = false;
  int same = 0, different = 0;
  options.on_answer = [&](const Eval& eval, const base::Result<promql::QueryResult>& answer) {
    auto found = answers.find(eval.line);
    std::string difference =
        found == answers.end() ? "no answer of the reference" : Differs(found->second, eval, answer);
    ++(difference.empty() ? same : different);
    if (!difference.empty()) {
      std::printf("  %s.test:%d %s\n      %s\n", name.c_str(), eval.line, eval.expr.c_str(), difference.c_str());
    }
  };
  RunScript(*script, options);
  std::printf("%-24s same %4d  different %4d\n", name.c_str(), same, different);
  EXPECT_EQ(same, GetParam().same);
  EXPECT_EQ(different, GetParam().different);
}

constexpr Pinned kFiles[] = {
    {"aggregators", 160, 0},
    {"at_modifier", 71, 0},
    {"collision", 2, 0},
    {"duration_expression", 59, 0},
    {"extended_vectors", 169, 0},
    {"fill-modifier", 46, 0},
    {"functions", 431, 0},
    {"histograms", 185, 0},
    {"info", 42, 0},
    {"limit", 37, 0},
    {"literals", 25, 0},
    {"name_label_dropping", 30, 0},
    {"native_histograms", 522, 0},
    {"operators", 213, 0},
    {"range_queries", 18, 0},
    {"selectors", 31, 0},
    {"staleness", 17, 0},
    {"start_timestamps", 26, 0},
    {"subquery", 34, 0},
    {"trig_functions", 19, 0},
    {"type_and_unit", 58, 0},
};

std::string NameOf(const testing::TestParamInfo<Pinned>& info) {
  std::string name;
  for (char c : std::string(info.param.file)) name += std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
  return name;
}

INSTANTIATE_TEST_SUITE_P(Files, PromqlExact, testing::ValuesIn(kFiles), NameOf);

// --- The series notation.

bool SameValue(const base::Json& expected, const Item& item) {
  if (expected.is_null()) return item.kind == Item::Kind::kNone;
  if (expected.is_string()) {
    if (item.kind != Item::Kind::kFloat) return false;
    double value = 0;
    if (expected.get<std::string>() == "StaleNaN") return tsdb::IsStaleNan(item.value);
    return ParseScriptNumber(expected.get<std::string>(), &value) &&
           (value == item.value || (std::isnan(value) && std::isnan(item.value)));
  }
  if (item.kind != Item::Kind::kHistogram) return false;
  auto number = [&](const char* key) {
    double value = 0;
    ParseScriptNumber(base::FindString(expected, {key}), &value);
    return value;
  };
  const promql::Histogram& h = *item.histogram;
  return SameFloat(number("count"), h.count) && SameFloat(number("sum"), h.sum) &&
         base::FindInt(expected, {"schema"}) == h.schema && SameFloat(number("zero_count"), h.zero_count) &&
         item.hint_written == (*base::Find(expected, {"counter_reset_hint_explicit"})).get<bool>();
}

// "" when a line is read as the reference reads it.
std::string Misread(const base::Json& expected, const std::string& input) {
  auto line = ParseSeriesLine(input);
  bool wanted = (*base::Find(expected, {"ok"})).get<bool>();
  if (line.ok() != wanted) return line.ok() ? "read" : line.status().message();
  if (!wanted) return "";
  const base::Json& values = *base::Find(expected, {"values"});
  if (values.size() != line->items.size()) return std::to_string(line->items.size()) + " points";
  for (size_t i = 0; i < values.size(); ++i) {
    if (!SameValue(values[i], line->items[i])) return "point " + std::to_string(i) + " is not " + values[i].dump();
  }
  return line->labels.size() == base::Find(expected, {"labels"})->size() ? "" : "other labels";
}

TEST(PromqlSeriesNotation, IsReadAsTheReferenceReadsIt) {
  base::Json data = ReadJson(ConformanceDir() + "/text-formats/promql-selectors-and-series.json");
  if (data.is_null()) GTEST_SKIP() << "no conformance data";
  int judged = 0;
  for (const base::Json& test : *base::Find(data, {"cases"})) {
    if (base::FindString(test, {"grammar"}) != "series") continue;
    std::string input = base::FindString(test, {"input"});
    EXPECT_EQ(Misread(*base::Find(test, {"expect"}), input), "")
        << "case " << base::FindInt(test, {"id"}) << ": " << input;
    ++judged;
  }
  EXPECT_EQ(judged, 269);
}

}  // namespace
}  // namespace tidewright::promqltest
