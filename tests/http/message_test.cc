#include "http/message.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tidewright::http {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::Pair;

TEST(HeadersTest, ComparesNamesWithoutCase) {
  Headers headers{{"Accept", "a"}, {"X-Two", "1"}, {"x-two", "2"}};
  EXPECT_EQ(headers.Get("ACCEPT"), "a");
  EXPECT_THAT(headers.GetAll("X-TWO"), ElementsAre("1", "2"));
  EXPECT_FALSE(headers.Has("X-Three"));
  EXPECT_EQ(headers.Get("X-Three"), "");
}

TEST(HeadersTest, SetReplacesEveryFieldOfTheName) {
  Headers headers{{"a", "1"}, {"b", "2"}, {"A", "3"}};
  headers.Set("A", "4");
  headers.Set("c", "5");
  EXPECT_THAT(std::vector(headers.begin(), headers.end()), ElementsAre(Pair("a", "4"), Pair("b", "2"), Pair("c", "5")));
}

struct QueryCase {
  std::string name;
  std::string text;
  QueryParams want;
  bool ok = true;
};
void PrintTo(const QueryCase& c, std::ostream* os) { *os << c.name; }
class QueryTest : public testing::TestWithParam<QueryCase> {};
INSTANTIATE_TEST_SUITE_P(
    Table, QueryTest,
    testing::Values(QueryCase{"Empty", "", {}}, QueryCase{"Pairs", "a=b&c=d", {{"a", "b"}, {"c", "d"}}},
                    QueryCase{"Repeated", "m=1&m=2", {{"m", "1"}, {"m", "2"}}},
                    QueryCase{"PlusIsSpace", "q=a+b", {{"q", "a b"}}},
                    QueryCase{"Escapes", "q=sum%28x%29%2B1", {{"q", "sum(x)+1"}}},
                    QueryCase{"EncodedName", "match%5B%5D=up", {{"match[]", "up"}}},
                    QueryCase{"NoValue", "watch&x=", {{"watch", ""}, {"x", ""}}},
                    QueryCase{"EqualsInValue", "s=a=b", {{"s", "a=b"}}},
                    QueryCase{"EmptyPairsAreSkipped", "&&a=1&", {{"a", "1"}}}, QueryCase{"NotHex", "a=%zz", {}, false},
                    QueryCase{"CutEscape", "a=%4", {}, false}, QueryCase{"CutEscapeInName", "%", {}, false}),
    [](const auto& row) { return row.param.name; });

TEST_P(QueryTest, Parses) {
  auto params = ParseQuery(GetParam().text);
  ASSERT_EQ(params.ok(), GetParam().ok) << params.status().ToString();
  if (params.ok()) {
    EXPECT_EQ(*params, GetParam().want);
  }
}

TEST(QueryValueTest, FirstOrNothing) {
  QueryParams params = {{"a", "1"}, {"a", "2"}, {"b", ""}};
  EXPECT_EQ(QueryValue(params, "a"), "1");
  EXPECT_EQ(QueryValue(params, "c"), "");
  EXPECT_TRUE(HasQuery(params, "b"));
  EXPECT_FALSE(HasQuery(params, "c"));
}

TEST(PercentTest, EncodesAllButUnreserved) {
  EXPECT_EQ(PercentEncode("aZ0-._~"), "aZ0-._~");
  EXPECT_EQ(PercentEncode("a b/c?d&e=f+g%"), "a%20b%2Fc%3Fd%26e%3Df%2Bg%25");
  EXPECT_EQ(PercentEncode(std::string("\0\xff", 2)), "%00%FF");
}

TEST(PercentTest, EveryByteSurvivesARoundTrip) {
  std::string bytes;
  for (int i = 0; i < 256; ++i) bytes.push_back(static_cast<char>(i));
  auto decoded = PercentDecode(PercentEncode(bytes));
  ASSERT_TRUE(decoded.ok());
  EXPECT_EQ(*decoded, bytes);
}

TEST(PercentTest, PlusStaysPlusOutsideQueries) { EXPECT_EQ(*PercentDecode("a+b%2b"), "a+b+"); }

struct UrlCase {
  std::string name;
  std::string text;
  std::string scheme, user_info, host;
  uint16_t port;
  std::string path, query, canonical;
};
void PrintTo(const UrlCase& c, std::ostream* os) { *os << c.name; }
class UrlTest : public testing::TestWithParam<UrlCase> {};
INSTANTIATE_TEST_SUITE_P(
    Table, UrlTest,
    testing::Values(UrlCase{"Host", "http://h", "http", "", "h", 80, "/", "", "http://h/"},
                    UrlCase{"Full", "https://h:8443/p/q?x=1&y", "https", "", "h", 8443, "/p/q", "x=1&y",
                            "https://h:8443/p/q?x=1&y"},
                    UrlCase{"DefaultPortLeftOut", "https://h:443/", "https", "", "h", 443, "/", "", "https://h/"},
                    UrlCase{"EmptyPort", "http://h:/", "http", "", "h", 80, "/", "", "http://h/"},
                    UrlCase{"UpperCase", "HTTP://HOST.Example/Path", "http", "", "host.example", 80, "/Path", "",
                            "http://host.example/Path"},
                    UrlCase{"UserInfoIsNotPrinted", "http://u:p@h/x", "http", "u:p", "h", 80, "/x", "", "http://h/x"},
                    UrlCase{"AtInPassword", "http://u:p@q@h/", "http", "u:p@q", "h", 80, "/", "", "http://h/"},
                    UrlCase{"Ipv6", "http://[::1]:9090/m", "http", "", "::1", 9090, "/m", "", "http://[::1]:9090/m"},
                    UrlCase{"Ipv6NoPort", "https://[fe80::1]", "https", "", "fe80::1", 443, "/", "",
                            "https://[fe80::1]/"},
                    UrlCase{"QueryWithoutPath", "http://h?a=b", "http", "", "h", 80, "/", "a=b", "http://h/?a=b"},
                    UrlCase{"FragmentIsDropped", "http://h/p?q#f", "http", "", "h", 80, "/p", "q", "http://h/p?q"},
                    UrlCase{"AtInPath", "http://h/a@b", "http", "", "h", 80, "/a@b", "", "http://h/a@b"}),
    [](const auto& row) { return row.param.name; });

TEST_P(UrlTest, Parses) {
  const UrlCase& want = GetParam();
  auto url = Url::Parse(want.text);
  ASSERT_TRUE(url.ok()) << url.status().ToString();
  EXPECT_EQ(url->scheme, want.scheme);
  EXPECT_EQ(url->user_info, want.user_info);
  EXPECT_EQ(url->host, want.host);
  EXPECT_EQ(url->port, want.port);
  EXPECT_EQ(url->path, want.path);
  EXPECT_EQ(url->query, want.query);
  EXPECT_EQ(url->ToString(), want.canonical);
}

struct BadUrlCase {
  std::string name;
  std::string text;
  std::string message;
};
void PrintTo(const BadUrlCase& c, std::ostream* os) { *os << c.name; }
class BadUrlTest : public testing::TestWithParam<BadUrlCase> {};
INSTANTIATE_TEST_SUITE_P(
    Table, BadUrlTest,
    testing::Values(
        BadUrlCase{"Empty", "", "scheme"}, BadUrlCase{"NoScheme", "host:80/x", "scheme"},
        BadUrlCase{"OtherScheme", "file:///etc/passwd", "file"}, BadUrlCase{"NoHost", "http:///x", "host"},
        BadUrlCase{"OnlyUser", "http://u@/x", "host"}, BadUrlCase{"PortZero", "http://h:0/", "\"0\""},
        BadUrlCase{"PortTooBig", "http://h:65536/", "65536"}, BadUrlCase{"PortText", "http://h:http/", "port"},
        BadUrlCase{"SignedPort", "http://h:+80/", "port"}, BadUrlCase{"Space", "http://h/a b", "space"},
        BadUrlCase{"LineBreak", "http://h/\r\nX: y", "control"},
        BadUrlCase{"Nul", std::string("http://h/\0", 10), "control"}, BadUrlCase{"OpenBracket", "http://[::1/", "]"},
        BadUrlCase{"TextAfterBracket", "http://[::1]x/", "]"}, BadUrlCase{"NameInBrackets", "http://[host]/", "IPv6"},
        BadUrlCase{"BackslashInHost", "http://h\\evil/", "character"}),
    [](const auto& row) { return row.param.name; });

TEST_P(BadUrlTest, SaysWhatIsWrong) {
  auto url = Url::Parse(GetParam().text);
  ASSERT_FALSE(url.ok());
  EXPECT_EQ(url.status().code(), base::Code::kInvalidArgument);
  EXPECT_THAT(url.status().message(), HasSubstr(GetParam().message));
}

TEST(UrlTest, ErrorsDoNotShowThePassword) {
  auto url = Url::Parse("http://user:secret@h:99999/");
  ASSERT_FALSE(url.ok());
  EXPECT_THAT(url.status().message(), Not(HasSubstr("secret")));
}

TEST(ReasonPhraseTest, KnownAndUnknown) {
  EXPECT_EQ(ReasonPhrase(404), "Not Found");
  EXPECT_EQ(ReasonPhrase(299), "Unknown");
}

}  // namespace
}  // namespace tidewright::http
