#include "adapter/go_template.h"

#include <gtest/gtest.h>

namespace tidewright::adapter {
namespace {

using V = TemplateValue;

V Data() {
  return V::Record({{"Series", V::String("http_requests_total")},
                    {"LabelMatchers", V::String(R"(namespace="shop",pod=~"a|b")")},
                    {"LabelValuesByName", V::FromMap({{"namespace", V::String("shop")}, {"pod", V::String("a|b")}})},
                    {"GroupBy", V::String("pod,le")},
                    {"GroupBySlice", V::Strings({"pod", "le"})},
                    {"N", V::Int(3)},
                    {"Yes", V::Bool(true)},
                    {"Empty", V::String("")}});
}

TEST(GoTemplateTest, RendersAsGoDoes) {
  struct Row {
    std::string text, expected;
  };
  const std::vector<Row> rows = {
      {"up", "up"},
      {"sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)",
       R"(sum(http_requests_total{namespace="shop",pod=~"a|b"}) by (pod,le))"},
      {"<< .Series >>", "http_requests_total"},
      {"a  <<- .N ->>  b", "a3b"},
      {"a <<.N ->>\n\t b", "a 3b"},
      {"x<</* a comment */>>y", "xy"},
      {"x <<- /* trims */ ->> y", "xy"},
      {R"(<<index .LabelValuesByName "pod">>)", "a|b"},
      {R"(<<index .LabelValuesByName "absent">>)", ""},
      {"<<.LabelValuesByName.pod>>|<<.LabelValuesByName.absent>>", "a|b|<no value>"},
      {"<<index .GroupBySlice 1>>", "le"},
      {"<<.GroupBySlice>> <<.LabelValuesByName>>", "[pod le] map[namespace:shop pod:a|b]"},
      {"<<range .GroupBySlice>>[<<.>>]<<end>>", "[pod][le]"},
      {"<<range $i, $l := .GroupBySlice>><<if $i>>, <<end>><<$l>><<end>>", "pod, le"},
      {"<<range $k, $v := .LabelValuesByName>><<$k>>=<<$v>>;<<end>>", "namespace=shop;pod=a|b;"},
      {"<<range .Empty2>>x<<else>>none<<end>>", ""},
      {"<<range $x := .GroupBySlice>><<if eq $x \"le\">><<break>><<end>><<$x>><<end>>", "pod"},
      {"<<range .GroupBySlice>><<if eq . \"pod\">><<continue>><<end>><<.>><<end>>", "le"},
      {"<<if .Empty>>a<<else if .Yes>>b<<else>>c<<end>>", "b"},
      {"<<if and .Yes (gt .N 2)>>y<<else>>n<<end>>", "y"},
      {"<<if or .Empty (not .Yes)>>y<<else>>n<<end>>", "n"},
      {"<<with .Series>><<.>> <<$.N>><<end>>", "http_requests_total 3"},
      {"<<with .Empty>>x<<else>>empty<<end>>", "empty"},
      {"<<with $x := .N>><<$x>><<end>>", "3"},
      {"<<$q := .Series>><<$q>>", "http_requests_total"},
      {"<<$q := 1>><<if .Yes>><<$q = 2>><<end>><<$q>>", "2"},
      {R"(<<printf "%s_%d %q %v %5.2f%%" .Series .N "a\"b" .Yes 1.5>>)", R"(http_requests_total_3 "a\"b" true  1.50%)"},
      {R"(<<.Series | printf "%s!">>)", "http_requests_total!"},
      {"<<len .GroupBySlice>> <<len .Series>>", "2 19"},
      {"<<slice .Series 0 4>>", "http"},
      {R"(<<eq .N 1 2 3>> <<ne .Series "x">> <<lt 1 2>> <<le 2 2>> <<ge 1 2>>)", "true true true true false"},
      {"<<print 1 2 \"a\" \"b\" 3>>", "1 2ab3"},
      {"<<`raw\\n`>><<'a'>>", "raw\\n97"},
      {"<<\n.N\n>>", "3"},
      {"<<(index .GroupBySlice 0)>>", "pod"},
      {"<<(.LabelValuesByName).pod>>", "a|b"},
  };
  for (const Row& row : rows) {
    base::Result<GoTemplate> parsed = GoTemplate::Parse(row.text);
    ASSERT_TRUE(parsed.ok()) << row.text << ": " << parsed.status().ToString();
    base::Result<std::string> rendered = parsed->Execute(Data());
    if (row.text.find("Empty2") != std::string::npos) {
      EXPECT_FALSE(rendered.ok()) << "a record has no unknown fields";
      continue;
    }
    ASSERT_TRUE(rendered.ok()) << row.text << ": " << rendered.status().ToString();
    EXPECT_EQ(*rendered, row.expected) << row.text;
  }
}

TEST(GoTemplateTest, TakesOtherDelimiters) {
  EXPECT_EQ(*GoTemplate::Parse("{{.N}} << {{- 1 }}", "{{", "}}")->Execute(Data()), "3 <<1");
}

TEST(GoTemplateTest, ErrorsNameThePlace) {
  struct Row {
    std::string text, expected;
  };
  const std::vector<Row> rows = {
      {"sum(<<.Series)", "1:5: the action is not closed by >>"},
      {"a\nb <<.Serie>>", "2:5: there is no field"},
      {"<<if .N>>x", "1:1: if has no matching end"},
      {"x<<end>>", "1:2: end without"},
      {"<<else>>", "1:1: else without"},
      {"<<if .N>>a<<else>>b<<else>>c<<end>>", "second else"},
      {"<<upper .Series>>", "\"upper\" is not a function here"},
      {"<<$x>>", "the variable \"$x\" is not declared"},
      {"<<range .GroupBySlice>><<$i := .>><<end>><<$i>>", "is not declared"},
      {"<<template \"x\">>", "not supported"},
      {"<<>>", "the action is empty"},
      {"<<.N .N>>", "only a function takes arguments"},
      {"<<\"abc>>", "the string is not closed"},
      {"<<index .GroupBySlice 2>>", "out of range"},
      {"<<index .N 1>>", "index cannot look into a int"},
      {"<<eq .N \"3\">>", "eq cannot compare"},
      {"<<printf \"%d\" .Series>>", "%d does not fit a string"},
      {"<<printf \"%s\">>", "wants more arguments"},
      {"<<range .N>>x<<end>>", "range cannot iterate over a int"},
      {"<<break>>", "break outside of a range"},
      {"<<(.N>>", "the parenthesis is not closed"},
      {"<<.N | .N>>", "only a function can follow"},
      {"<<.N#>>", "unexpected character"},
  };
  for (const Row& row : rows) {
    base::Result<GoTemplate> parsed = GoTemplate::Parse(row.text);
    base::Status status = parsed.ok() ? parsed->Execute(Data()).status() : parsed.status();
    EXPECT_EQ(status.code(), base::Code::kInvalidArgument) << row.text;
    EXPECT_NE(status.message().find(row.expected), std::string::npos) << row.text << ": " << status.message();
  }
}

TEST(GoTemplateTest, BoundsWhatATemplateCanCost) {
  std::string nested;
  for (int i = 0; i < 5000; ++i) nested += "<<if .Yes>>";
  EXPECT_FALSE(GoTemplate::Parse(nested).ok());
  EXPECT_FALSE(GoTemplate::Parse("<<" + std::string(5000, '(')).ok());
  V::List many(2000, V::Int(1));
  V data = V::Record({{"L", V::FromList(many)}});
  base::Result<GoTemplate> square = GoTemplate::Parse("<<range .L>><<range $.L>>x<<end>><<end>>");
  EXPECT_EQ(square->Execute(data).status().code(), base::Code::kResourceExhausted);
}

TEST(GoQuoteTest, EscapesAsGoDoes) {
  EXPECT_EQ(GoQuote("a\"b\\c\n\t\x01\xff"), R"("a\"b\\c\n\t\x01\xff")");
  EXPECT_EQ(GoQuote("caf\xc3\xa9"), "\"caf\xc3\xa9\"");
}

}  // namespace
}  // namespace tidewright::adapter
