#include "base/go_template.h"

#include <gtest/gtest.h>

#include "base/go_text.h"

namespace tidewright::base {
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
      {"<<range .N>><<.>><<end>>", "012"},
      {"<<define \"x\">>[<<.>><<$x := 1>><<$x>>]<<end>><<$x := 2>><<template \"x\" .N>><<template \"x\" \"a\">><<$x>>",
       "[31][a1]2"},
      {"<<block \"y\" .Series>>(<<.>>)<<end>>", "(http_requests_total)"},
      {"<<html \"<a>\">> <<js \"it's\">> <<urlquery \"a b/c\">>", "&lt;a&gt; it\\'s a+b%2Fc"},
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
  EXPECT_EQ(*GoTemplate::Parse("{{.N}} << {{- 1 }}", {.left = "{{", .right = "}}"})->Execute(Data()), "3 <<1");
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
      {"<<template \"x\">>", "\"x\" is not defined"},
      {"<<define \"x\">><<template \"x\">><<end>><<template \"x\">>", "use each other too deeply"},
      {"<<define x>><<end>>", "the name of a template in quotes"},
      {"<<if .N>><<define \"x\">><<end>><<end>>", "move it out"},
      {"<<>>", "the action is empty"},
      {"<<.N .N>>", "only a function takes arguments"},
      {"<<\"abc>>", "the string is not closed"},
      {"<<index .GroupBySlice 2>>", "out of range"},
      {"<<index .N 1>>", "index cannot look into a int"},
      {"<<eq .N \"3\">>", "eq cannot compare"},
      {"<<printf \"%d\" .Series>>", "%d does not fit a string"},
      {"<<printf \"%s\">>", "wants more arguments"},
      {"<<range .Yes>>x<<end>>", "range cannot iterate over a bool"},
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

TEST(GoTemplateTest, LenientTemplatesShowWhatDoesNotFit) {
  TemplateOptions options{.left = "{{", .right = "}}", .variables = {{"$n", "N"}}, .lenient = true};
  const std::pair<std::string, std::string> rows[] = {
      {R"({{ printf "%s %d" $n "a" }})", "%!s(int=3) %!d(string=a)"},
      {R"({{ printf "%d" }} {{ printf "x" 1 2.5 }})", "%!d(MISSING) x%!(EXTRA int=1, float64=2.5)"},
      {R"({{ .Labels.absent }}|{{ .Labels.a }})", "|b"},
  };
  V data = V::Record({{"N", V::Int(3)}, {"Labels", V::FromStrings({{"a", "b"}})}});
  for (const auto& [text, expected] : rows) {
    auto parsed = GoTemplate::Parse(text, options);
    ASSERT_TRUE(parsed.ok()) << text << ": " << parsed.status().ToString();
    EXPECT_EQ(*parsed->Execute(data), expected) << text;
  }
}

TEST(GoTemplateTest, CallsTheFunctionsOfItsCaller) {
  TemplateOptions options{.functions = {"twice", "fails", "tmpl"}};
  TemplateCaller caller = [](const std::string& name, const std::vector<V>& args) -> Result<V> {
    if (name == "fails") return InvalidArgumentError("no luck");
    return V::String(args[0].text() + args[0].text());
  };
  auto parsed = GoTemplate::Parse(R"(<<define "x">>(<<.>>)<<end>><<tmpl "x" "a" | twice>>)", options);
  ASSERT_TRUE(parsed.ok()) << parsed.status().ToString();
  EXPECT_EQ(*parsed->Execute(V(), caller), "(a)(a)");
  EXPECT_EQ(GoTemplate::Parse("a <<fails>>", options)->Execute(V(), caller).status().message(), "1:5: no luck");
}

TEST(GoTemplateTest, TimesAndDurationsHaveMethods) {
  V data = V::Record({{"T", V::Time(1'435'065'584'128'000'000)}, {"D", V::Duration(3'661'500'000'000)}});
  const std::pair<std::string, std::string> rows[] = {
      {"<<.T>>", "2015-06-23 13:19:44.128 +0000 UTC"},
      {"<<.T.Unix>> <<.T.Year>> <<.T.Month>> <<.T.Weekday>>", "1435065584 2015 June Tuesday"},
      {R"(<<.T.Format "Mon, 02 Jan 06 3:04:05.000 PM MST">>)", "Tue, 23 Jun 15 1:19:44.128 PM UTC"},
      {R"(<<(.T).Format "2006-01-02T15:04:05Z07:00">>)", "2015-06-23T13:19:44Z"},
      {"<<.D>> <<.D.Minutes>>", "1h1m1.5s 61.025"},
  };
  for (const auto& [text, expected] : rows) EXPECT_EQ(*GoTemplate::Parse(text)->Execute(data), expected) << text;
  EXPECT_FALSE(GoTemplate::Parse("<<.T.Nope>>")->Execute(data).ok());
}

TEST(GoQuoteTest, EscapesAsGoDoes) {
  EXPECT_EQ(GoQuote("a\"b\\c\n\t\x01\xff"), R"("a\"b\\c\n\t\x01\xff")");
  EXPECT_EQ(GoQuote("caf\xc3\xa9"), "\"caf\xc3\xa9\"");
}

}  // namespace
}  // namespace tidewright::base
