#include "sandbox/schema.h"

#include <gtest/gtest.h>

#include "base/json.h"
#include "sandbox/jsonpath.h"

namespace tidewright::sandbox {
namespace {

using base::Json;

constexpr const char* kSchema = R"({
  "type": "object", "required": ["spec"], "properties": {"spec": {
    "type": "object", "required": ["name"], "properties": {
      "name": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 5},
      "count": {"type": "integer", "minimum": 1, "maximum": 9, "default": 3},
      "mode": {"type": "string", "enum": ["fast", "slow"]},
      "port": {"x-kubernetes-int-or-string": true},
      "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
      "labels": {"type": "object", "additionalProperties": {"type": "string"}},
      "list": {"type": "array", "maxItems": 2, "items": {"type": "object", "properties": {"on": {"type": "boolean", "default": true}}}}
    }}}})";

struct Case {
  const char* name;
  const char* object;
  const char* want;  // "" when valid.
};

class SchemaTest : public testing::TestWithParam<Case> {};

TEST_P(SchemaTest, Row) {
  std::vector<FieldError> errors;
  ValidateSchema(*base::ParseJson(kSchema), *base::ParseJson(GetParam().object), "", &errors);
  EXPECT_EQ(errors.empty() ? "" : JoinFieldErrors(errors), GetParam().want);
}

INSTANTIATE_TEST_SUITE_P(
    Table, SchemaTest,
    testing::Values(
        Case{"valid", R"({"spec":{"name":"abc","count":2,"port":"http","labels":{"a":"b"}}})", ""},
        Case{"required", R"({"spec":{}})", "spec.name: Required value"},
        Case{"required_top", "{}", "spec: Required value"},
        Case{"type", R"({"spec":{"name":1}})",
             R"(spec.name: Invalid value: "integer": spec.name in body must be of type string: "integer")"},
        Case{"pattern", R"({"spec":{"name":"A"}})",
             R"(spec.name: Invalid value: "A": spec.name in body should match '^[a-z]+$')"},
        Case{"long", R"({"spec":{"name":"abcdef"}})",
             R"(spec.name: Invalid value: "abcdef": spec.name in body should be at most 5 chars long)"},
        Case{"minimum", R"({"spec":{"name":"a","count":0}})",
             "spec.count: Invalid value: 0: spec.count in body should be greater than or equal to 1"},
        Case{"enumerated", R"({"spec":{"name":"a","mode":"warp"}})",
             R"(spec.mode: Unsupported value: "warp": supported values: "fast", "slow")"},
        Case{"int_or_string", R"({"spec":{"name":"a","port":true}})",
             R"(spec.port: Invalid value: true: spec.port in body must be of type integer or string: "boolean")"},
        Case{"map_values", R"({"spec":{"name":"a","labels":{"x":1}}})",
             R"(spec.labels.x: Invalid value: "integer": spec.labels.x in body must be of type string: "integer")"},
        Case{"several", R"({"spec":{"count":10}})",
             "[spec.name: Required value, spec.count: Invalid value: 10: spec.count in body should be less than or "
             "equal to 9]"}),
    [](const testing::TestParamInfo<Case>& row) { return std::string(row.param.name); });

TEST(SchemaTest, DefaultsAndPrunes) {
  Json object = *base::ParseJson(
      R"({"apiVersion":"v1","metadata":{"x":1},"spec":{"name":"a","free":{"y":1},"typo":1,"list":[{"of":1}]}})");
  std::vector<std::string> unknown;
  PruneUnknownFields(*base::ParseJson(kSchema), object, &unknown);
  EXPECT_EQ(unknown, (std::vector<std::string>{"spec.list[0].of", "spec.typo"}));
  ApplySchemaDefaults(*base::ParseJson(kSchema), object);
  EXPECT_EQ(object["spec"], *base::ParseJson(R"({"name":"a","count":3,"free":{"y":1},"list":[{"on":true}]})"));
  EXPECT_EQ(object["metadata"]["x"], 1);
}

struct PathCase {
  const char* name;
  const char* path;
  const char* want;  // JSON array; "" for a malformed path.
};

class JsonPathTest : public testing::TestWithParam<PathCase> {};

TEST_P(JsonPathTest, Row) {
  Json object = *base::ParseJson(
      R"({"spec":{"n":5,"t":[{"type":"cron"},{"type":"redis"}]},"metadata":{"annotations":{"a.b/c":"x"}},
          "status":{"conditions":[{"type":"Active","status":"False"},{"type":"Ready","status":"True"}]}})");
  auto values = EvaluateJsonPath(object, GetParam().path);
  if (std::string(GetParam().want).empty()) {
    EXPECT_FALSE(values.ok());
    return;
  }
  ASSERT_TRUE(values.ok()) << values.status().ToString();
  Json found = Json::array();
  for (const Json* value : *values) found.push_back(*value);
  EXPECT_EQ(found, *base::ParseJson(GetParam().want));
}

INSTANTIATE_TEST_SUITE_P(
    Table, JsonPathTest,
    testing::Values(PathCase{"member", ".spec.n", "[5]"}, PathCase{"missing", ".spec.x.y", "[]"},
                    PathCase{"index", ".spec.t[1].type", R"(["redis"])"},
                    PathCase{"negative_index", ".spec.t[-1].type", R"(["redis"])"},
                    PathCase{"each", ".spec.t[*].type", R"(["cron","redis"])"},
                    PathCase{"filter", R"(.status.conditions[?(@.type=="Ready")].status)", R"(["True"])"},
                    PathCase{"filter_single_quotes", ".status.conditions[?(@.type=='Active')].status", R"(["False"])"},
                    PathCase{"escaped_dot", R"(.metadata.annotations.a\.b/c)", R"(["x"])"},
                    PathCase{"quoted_name", ".metadata.annotations['a.b/c']", R"(["x"])"},
                    PathCase{"braces", "{.spec.n}", "[5]"}, PathCase{"no_dot", "spec", ""},
                    PathCase{"open_bracket", ".spec.t[", ""}, PathCase{"empty_name", ".spec..n", ""}),
    [](const testing::TestParamInfo<PathCase>& row) { return std::string(row.param.name); });

}  // namespace
}  // namespace tidewright::sandbox
