#include "sandbox/patch.h"

#include <gtest/gtest.h>

#include <string>

#include "base/json.h"

namespace tidewright::sandbox {
namespace {

using base::Json;

struct Case {
  const char* name;
  const char* target;
  const char* patch;
  const char* want;  // "" when the patch must be refused.
};

std::string RowName(const testing::TestParamInfo<Case>& row) { return row.param.name; }

Json Parse(const char* text) {
  auto parsed = base::ParseJson(text);
  EXPECT_TRUE(parsed.ok()) << text;
  return *parsed;
}

class MergePatchTest : public testing::TestWithParam<Case> {};

TEST_P(MergePatchTest, Row) {
  Json target = Parse(GetParam().target);
  ApplyMergePatch(target, Parse(GetParam().patch));
  EXPECT_EQ(target, Parse(GetParam().want));
}

// Every example of RFC 7386, appendix A.
INSTANTIATE_TEST_SUITE_P(
    Rfc7386, MergePatchTest,
    testing::Values(Case{"replace", R"({"a":"b"})", R"({"a":"c"})", R"({"a":"c"})"},
                    Case{"add", R"({"a":"b"})", R"({"b":"c"})", R"({"a":"b","b":"c"})"},
                    Case{"remove", R"({"a":"b"})", R"({"a":null})", R"({})"},
                    Case{"remove_one", R"({"a":"b","b":"c"})", R"({"a":null})", R"({"b":"c"})"},
                    Case{"array_by_text", R"({"a":["b"]})", R"({"a":"c"})", R"({"a":"c"})"},
                    Case{"text_by_array", R"({"a":"c"})", R"({"a":["b"]})", R"({"a":["b"]})"},
                    Case{"nested", R"({"a":{"b":"c"}})", R"({"a":{"b":"d","c":null}})", R"({"a":{"b":"d"}})"},
                    Case{"array_of_objects", R"({"a":[{"b":"c"}]})", R"({"a":[1]})", R"({"a":[1]})"},
                    Case{"array_whole", R"(["a","b"])", R"(["c","d"])", R"(["c","d"])"},
                    Case{"object_by_array", R"({"a":"b"})", R"(["c"])", R"(["c"])"},
                    Case{"to_null", R"({"a":"foo"})", "null", "null"},
                    Case{"to_text", R"({"a":"foo"})", R"("bar")", R"("bar")"},
                    Case{"null_stays", R"({"e":null})", R"({"a":1})", R"({"e":null,"a":1})"},
                    Case{"array_to_object", "[1,2]", R"({"a":"b","c":null})", R"({"a":"b"})"},
                    Case{"nulls_in_new", "{}", R"({"a":{"bb":{"ccc":null}}})", R"({"a":{"bb":{}}})"}),
    RowName);

class JsonPatchTest : public testing::TestWithParam<Case> {};

TEST_P(JsonPatchTest, Row) {
  Json target = Parse(GetParam().target);
  base::Status status = ApplyJsonPatch(target, Parse(GetParam().patch));
  if (std::string(GetParam().want).empty()) {
    EXPECT_FALSE(status.ok()) << target;
    return;
  }
  ASSERT_TRUE(status.ok()) << status.ToString();
  EXPECT_EQ(target, Parse(GetParam().want));
}

// The examples of RFC 6902, appendix A, and the refusals that kubectl users meet.
INSTANTIATE_TEST_SUITE_P(
    Rfc6902, JsonPatchTest,
    testing::Values(
        Case{"a1_add_member", R"({"foo":"bar"})", R"([{"op":"add","path":"/baz","value":"qux"}])",
             R"({"baz":"qux","foo":"bar"})"},
        Case{"a2_add_element", R"({"foo":["bar","baz"]})", R"([{"op":"add","path":"/foo/1","value":"qux"}])",
             R"({"foo":["bar","qux","baz"]})"},
        Case{"a3_remove_member", R"({"baz":"qux","foo":"bar"})", R"([{"op":"remove","path":"/baz"}])",
             R"({"foo":"bar"})"},
        Case{"a4_remove_element", R"({"foo":["bar","qux","baz"]})", R"([{"op":"remove","path":"/foo/1"}])",
             R"({"foo":["bar","baz"]})"},
        Case{"a5_replace", R"({"baz":"qux","foo":"bar"})", R"([{"op":"replace","path":"/baz","value":"boo"}])",
             R"({"baz":"boo","foo":"bar"})"},
        Case{"a6_move", R"({"foo":{"bar":"baz","waldo":"fred"},"qux":{"corge":"grault"}})",
             R"([{"op":"move","from":"/foo/waldo","path":"/qux/thud"}])",
             R"({"foo":{"bar":"baz"},"qux":{"corge":"grault","thud":"fred"}})"},
        Case{"a7_move_element", R"({"foo":["all","grass","cows","eat"]})",
             R"([{"op":"move","from":"/foo/1","path":"/foo/3"}])", R"({"foo":["all","cows","eat","grass"]})"},
        Case{"a8_test", R"({"baz":"qux","foo":["a",2,"c"]})",
             R"([{"op":"test","path":"/baz","value":"qux"},{"op":"test","path":"/foo/1","value":2}])",
             R"({"baz":"qux","foo":["a",2,"c"]})"},
        Case{"a9_test_fails", R"({"baz":"qux"})", R"([{"op":"test","path":"/baz","value":"bar"}])", ""},
        Case{"a10_add_nested", R"({"foo":"bar"})", R"([{"op":"add","path":"/child","value":{"grandchild":{}}}])",
             R"({"foo":"bar","child":{"grandchild":{}}})"},
        Case{"a11_ignores_unknown", R"({"foo":"bar"})", R"([{"op":"add","path":"/baz","value":"qux","xyz":123}])",
             R"({"foo":"bar","baz":"qux"})"},
        Case{"a12_add_to_nothing", R"({"foo":"bar"})", R"([{"op":"add","path":"/baz/bat","value":"qux"}])", ""},
        Case{"a14_escapes", R"({"/":9,"~1":10})", R"([{"op":"test","path":"/~01","value":10}])", R"({"/":9,"~1":10})"},
        Case{"a15_text_is_no_number", R"({"/":9,"~1":10})", R"([{"op":"test","path":"/~01","value":"10"}])", ""},
        Case{"a16_append", R"({"foo":["bar"]})", R"([{"op":"add","path":"/foo/-","value":["abc","def"]}])",
             R"({"foo":["bar",["abc","def"]]})"},
        Case{"copy", R"({"a":{"b":1}})", R"([{"op":"copy","from":"/a","path":"/c"}])", R"({"a":{"b":1},"c":{"b":1}})"},
        Case{"whole_document", R"({"a":1})", R"([{"op":"replace","path":"","value":{"b":2}}])", R"({"b":2})"},
        Case{"replace_missing", R"({"a":1})", R"([{"op":"replace","path":"/b","value":2}])", ""},
        Case{"index_with_leading_zero", R"({"a":[1,2]})", R"([{"op":"remove","path":"/a/01"}])", ""},
        Case{"index_past_end", R"({"a":[1]})", R"([{"op":"add","path":"/a/2","value":2}])", ""},
        Case{"move_into_itself", R"({"a":{"b":1}})", R"([{"op":"move","from":"/a","path":"/a/b"}])", ""},
        Case{"unknown_op", R"({"a":1})", R"([{"op":"increment","path":"/a","value":2}])", ""},
        Case{"no_value", R"({"a":1})", R"([{"op":"add","path":"/b"}])", ""},
        Case{"not_an_array", R"({"a":1})", R"({"op":"add","path":"/b","value":1})", ""}),
    RowName);

TEST(JsonPatchTest, BoundsGrowthByCopies) {
  Json target = Parse(R"({"a":[1,2,3,4,5,6,7,8]})");
  Json patch = Json::array();
  for (int i = 0; i < 40; ++i) patch.push_back({{"op", "copy"}, {"from", "/a"}, {"path", "/a/-"}});
  EXPECT_EQ(ApplyJsonPatch(target, patch).code(), base::Code::kResourceExhausted);
}

TEST(JsonPatchTest, BoundsDepth) {
  Json target = Parse(R"({"a":{}})");
  Json patch = Json::array();
  std::string path;
  for (int i = 0; i < 300; ++i) {
    path += "/a";
    patch.push_back({{"op", "add"}, {"path", path}, {"value", Json::object()}});
  }
  EXPECT_EQ(ApplyJsonPatch(target, patch).code(), base::Code::kResourceExhausted);
}

class StrategicPatchTest : public testing::TestWithParam<Case> {};

TEST_P(StrategicPatchTest, Row) {
  Json target = Parse(GetParam().target);
  base::Status status = ApplyStrategicMergePatch(target, Parse(GetParam().patch));
  if (std::string(GetParam().want).empty()) {
    EXPECT_FALSE(status.ok()) << target;
    return;
  }
  ASSERT_TRUE(status.ok()) << status.ToString();
  EXPECT_EQ(target, Parse(GetParam().want));
}

INSTANTIATE_TEST_SUITE_P(
    Lists, StrategicPatchTest,
    testing::Values(
        Case{"containers_by_name", R"({"containers":[{"name":"a","image":"1"},{"name":"b","image":"1"}]})",
             R"({"containers":[{"name":"b","image":"2"}]})",
             R"({"containers":[{"name":"a","image":"1"},{"name":"b","image":"2"}]})"},
        Case{"new_container", R"({"containers":[{"name":"a"}]})", R"({"containers":[{"name":"b","image":"2"}]})",
             R"({"containers":[{"name":"a"},{"name":"b","image":"2"}]})"},
        Case{"delete_container", R"({"containers":[{"name":"a"},{"name":"b"}]})",
             R"({"containers":[{"name":"a","$patch":"delete"}]})", R"({"containers":[{"name":"b"}]})"},
        Case{"replace_list", R"({"containers":[{"name":"a"},{"name":"b"}]})",
             R"({"containers":[{"$patch":"replace"},{"name":"c"}]})", R"({"containers":[{"name":"c"}]})"},
        Case{"container_ports", R"({"ports":[{"containerPort":80,"name":"x"}]})",
             R"({"ports":[{"containerPort":80,"name":"y"},{"containerPort":81}]})",
             R"({"ports":[{"containerPort":80,"name":"y"},{"containerPort":81}]})"},
        Case{"service_ports", R"({"ports":[{"port":80,"name":"x"}]})", R"({"ports":[{"port":80,"name":"y"}]})",
             R"({"ports":[{"port":80,"name":"y"}]})"},
        Case{"conditions", R"({"conditions":[{"type":"Ready","status":"True"}]})",
             R"({"conditions":[{"type":"Ready","status":"False"}]})",
             R"({"conditions":[{"type":"Ready","status":"False"}]})"},
        Case{"plain_lists_are_replaced", R"({"args":["a","b"]})", R"({"args":["c"]})", R"({"args":["c"]})"},
        Case{"finalizers_are_a_set", R"({"finalizers":["a"]})", R"({"finalizers":["a","b"]})",
             R"({"finalizers":["a","b"]})"},
        Case{"delete_from_set", R"({"finalizers":["a","b"]})", R"({"$deleteFromPrimitiveList/finalizers":["a"]})",
             R"({"finalizers":["b"]})"},
        Case{"element_order", R"({"env":[{"name":"a"},{"name":"b"}]})",
             R"({"$setElementOrder/env":[{"name":"b"},{"name":"a"}],"env":[{"name":"a","value":"1"}]})",
             R"({"env":[{"name":"b"},{"name":"a","value":"1"}]})"},
        Case{"retain_keys", R"({"strategy":{"type":"RollingUpdate","rollingUpdate":{}}})",
             R"({"strategy":{"$retainKeys":["type"],"type":"Recreate"}})", R"({"strategy":{"type":"Recreate"}})"},
        Case{"replace_object", R"({"a":{"x":1}})", R"({"a":{"$patch":"replace","y":2}})", R"({"a":{"y":2}})"},
        Case{"null_deletes", R"({"a":{"x":1,"y":2}})", R"({"a":{"x":null}})", R"({"a":{"y":2}})"},
        Case{"no_merge_key", R"({"containers":[{"name":"a"}]})", R"({"containers":[{"image":"x"}]})", ""},
        Case{"unknown_directive", R"({"a":{}})", R"({"a":{"$patch":"explode"}})", ""}),
    RowName);

TEST(ApplyConfigurationTest, IgnoresNullsAndKeepsTheRest) {
  Json target = Parse(R"({"spec":{"replicas":3,"paused":true}})");
  ASSERT_TRUE(ApplyConfiguration(target, Parse(R"({"spec":{"replicas":5,"paused":null}})")).ok());
  EXPECT_EQ(target, Parse(R"({"spec":{"replicas":5,"paused":true}})"));
}

}  // namespace
}  // namespace tidewright::sandbox
