#include "web/series_api.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "base/document.h"
#include "base/metrics.h"
#include "base/strings.h"
#include "promql/parser.h"
#include "promql/value_json.h"
#include "web/api_error.h"
#include "web/params.h"
#include "web/reply.h"

namespace tidewright::web {

namespace {

constexpr std::string_view kSeries = "/api/v1/series";
constexpr std::string_view kLabels = "/api/v1/labels";
constexpr std::string_view kExemplars = "/api/v1/query_exemplars";
constexpr std::string_view kLabelPrefix = "/api/v1/label/";
constexpr std::string_view kLabelSuffix = "/values";
// Far enough from the ends of 64 bits that no lookback overflows.
constexpr int64_t kMinTime = std::numeric_limits<int64_t>::min() / 4;
constexpr int64_t kMaxTime = std::numeric_limits<int64_t>::max() / 4;

// What a request about series asks for.
struct Question {
  std::vector<promql::Matchers> selectors;
  int64_t start = kMinTime;
  int64_t end = kMaxTime;
  size_t limit = 0;  // 0: none.
};

base::Result<Question> QuestionOf(const http::QueryParams& params) {
  Question question;
  TW_ASSIGN_OR_RETURN(question.limit, LimitParam(params));
  TW_ASSIGN_OR_RETURN(question.start, TimeParam(params, "start", kMinTime));
  TW_ASSIGN_OR_RETURN(question.end, TimeParam(params, "end", kMaxTime));
  TW_ASSIGN_OR_RETURN(question.selectors, SelectorParams(params, SelectorRule::kNarrow));
  // As the reference, which takes the ends as they come.
  if (question.end < question.start) std::swap(question.start, question.end);
  return question;
}

// Cuts what was found to the limit; the warnings that belong to it.
template <typename Element>
std::vector<std::string> CutTo(size_t limit, std::vector<Element>* found) {
  if (limit == 0 || found->size() <= limit) return {};
  found->resize(limit);
  return {kTruncated};
}

std::string Render(const std::vector<std::string>& texts) {
  std::string out = "[";
  for (const std::string& text : texts) {
    if (out.size() > 1) out += ',';
    promql::AppendJsonString(text, &out);
  }
  return out + "]";
}

// The union over the selectors, sorted; everything when there are none.
template <typename Ask>
http::Response AnswerUnion(const Question& question, const Ask& ask) {
  std::vector<std::string> all;
  const std::vector<promql::Matchers> everything(1);
  for (const promql::Matchers& matchers : question.selectors.empty() ? everything : question.selectors) {
    base::Result<std::vector<std::string>> some = ask(matchers);
    if (!some.ok()) return ErrorReply(some.status(), ErrorSource::kEvaluation);
    all.insert(all.end(), some->begin(), some->end());
  }
  std::sort(all.begin(), all.end());
  all.erase(std::unique(all.begin(), all.end()), all.end());
  const std::vector<std::string> warnings = CutTo(question.limit, &all);
  return RawSuccess(Render(all), warnings);
}

void AppendExemplars(const tsdb::SeriesExemplars& series, std::string* out) {
  *out += "{\"seriesLabels\":";
  promql::AppendJson(series.series, out);
  *out += ",\"exemplars\":[";
  for (const tsdb::Exemplar& exemplar : series.exemplars) {
    if (&exemplar != &series.exemplars.front()) *out += ',';
    *out += "{\"labels\":";
    promql::AppendJson(exemplar.labels, out);
    *out += ",\"value\":\"" + base::FormatDouble(exemplar.v) + "\",\"timestamp\":";
    *out += base::FormatFixed(static_cast<double>(exemplar.t) / 1000);
    *out += '}';
  }
  *out += "]}";
}

// The matchers of every selector of an expression.
void CollectSelectors(promql::Expr& expr, std::vector<promql::Matchers>* selectors) {
  if (expr.kind == promql::NodeKind::kVectorSelector) {
    selectors->push_back(promql::As<promql::VectorSelector>(expr).matchers);
  }
  promql::ForEachChild(expr, [&](promql::Expr& child) { CollectSelectors(child, selectors); });
}

base::Result<std::vector<promql::Matchers>> SelectorsOf(const std::string& query) {
  auto expr = promql::ParseExpression(query, promql::ParserOptions::All());
  if (!expr.ok()) return expr.status().Annotate("invalid parameter \"query\"");
  std::vector<promql::Matchers> selectors;
  CollectSelectors(**expr, &selectors);
  return selectors;
}

void AppendUtf8(uint32_t code, std::string* out) {
  const auto put = [out](uint32_t byte) { out->push_back(static_cast<char>(byte)); };
  if (code < 0x80) return put(code);
  if (code < 0x800) {
    put(0xc0 | code >> 6);
  } else if (code < 0x10000) {
    put(0xe0 | code >> 12);
    put(0x80 | (code >> 6 & 0x3f));
  } else {
    put(0xf0 | code >> 18);
    put(0x80 | (code >> 12 & 0x3f));
    put(0x80 | (code >> 6 & 0x3f));
  }
  put(0x80 | (code & 0x3f));
}

// The code point in hexadecimal digits; false when these are none.
bool ParseCodePoint(std::string_view digits, uint32_t* code) {
  *code = 0;
  for (const char c : digits) {
    const bool decimal = c >= '0' && c <= '9', letter = c >= 'a' && c <= 'f';
    if (!decimal && !letter) return false;
    *code = *code * 16 + static_cast<uint32_t>(decimal ? c - '0' : c - 'a' + 10);
  }
  const bool surrogate = *code >= 0xd800 && *code < 0xe000;
  return !digits.empty() && digits.size() <= 6 && *code <= 0x10ffff && !surrogate;
}

}  // namespace

std::string UnescapeLabelName(const std::string& spelling) {
  if (spelling.rfind("U__", 0) != 0) return spelling;
  std::string name;
  for (size_t i = 3; i < spelling.size(); ++i) {
    if (spelling[i] != '_') {
      name += spelling[i];
      continue;
    }
    const size_t end = spelling.find('_', i + 1);
    if (end == std::string::npos) return spelling;
    uint32_t code = '_';
    if (end > i + 1 && !ParseCodePoint(std::string_view(spelling).substr(i + 1, end - i - 1), &code)) return spelling;
    AppendUtf8(code, &name);
    i = end;
  }
  return name;
}

bool SeriesApi::Handles(const std::string& path) {
  return path == kSeries || path == kLabels || path == kExemplars || path.rfind(kLabelPrefix, 0) == 0;
}

http::Response SeriesApi::Handle(const http::ServerRequest& request) {
  const bool values = request.path.rfind(kLabelPrefix, 0) == 0;
  const bool post = request.method == "POST" && !values;
  if (request.method != "GET" && !post) return MethodNotAllowed(values ? "GET" : "GET, POST");
  auto params = AllParams(request);
  if (!params.ok()) return ErrorReply(params.status(), ErrorSource::kRequest);
  if (request.path == kSeries) return Series(*params);
  if (request.path == kLabels) return LabelNames(*params);
  if (request.path == kExemplars) return Exemplars(*params);
  const std::string name = request.path.substr(kLabelPrefix.size());
  const size_t end = name.rfind(kLabelSuffix);
  if (end == std::string::npos || end + kLabelSuffix.size() != name.size()) {
    return ErrorReply(base::NotFoundError("use /api/v1/label/<name>/values"), ErrorSource::kRequest);
  }
  return LabelValues(name.substr(0, end), *params);
}

http::Response SeriesApi::Series(const http::QueryParams& params) {
  auto question = QuestionOf(params);
  if (!question.ok()) return ErrorReply(question.status(), ErrorSource::kRequest);
  if (question->selectors.empty()) {
    return ErrorReply(base::InvalidArgumentError("no match[] parameter provided"), ErrorSource::kRequest);
  }
  auto series = engine_.Series(question->selectors, question->start, question->end);
  if (!series.ok()) return ErrorReply(series.status(), ErrorSource::kEvaluation);
  const std::vector<std::string> warnings = CutTo(question->limit, &*series);
  constexpr size_t kUsualBytes = 256;  // Of the labels of a series.
  std::string out = "[";
  out.reserve(series->size() * kUsualBytes);
  for (const promql::Labels& labels : *series) {
    if (out.size() > 1) out += ',';
    promql::AppendJson(labels, &out);
  }
  out += ']';
  return RawSuccess(std::move(out), warnings);
}

http::Response SeriesApi::LabelNames(const http::QueryParams& params) {
  auto question = QuestionOf(params);
  if (!question.ok()) return ErrorReply(question.status(), ErrorSource::kRequest);
  return AnswerUnion(*question, [&](const promql::Matchers& matchers) {
    return engine_.LabelNames(matchers, question->start, question->end);
  });
}

http::Response SeriesApi::LabelValues(const std::string& spelling, const http::QueryParams& params) {
  const std::string name = UnescapeLabelName(spelling);
  if (name.empty() || !base::IsValidUtf8(name)) {
    return ErrorReply(base::InvalidArgumentError("invalid label name: " + base::Quoted(name)), ErrorSource::kRequest);
  }
  auto question = QuestionOf(params);
  if (!question.ok()) return ErrorReply(question.status(), ErrorSource::kRequest);
  return AnswerUnion(*question, [&](const promql::Matchers& matchers) {
    return engine_.LabelValues(name, matchers, question->start, question->end);
  });
}

http::Response SeriesApi::Exemplars(const http::QueryParams& params) {
  const auto refuse = [](const base::Status& status) { return ErrorReply(status, ErrorSource::kRequest); };
  auto start = TimeParam(params, "start", kMinTime), end = TimeParam(params, "end", kMaxTime);
  if (!start.ok()) return refuse(start.status());
  if (!end.ok()) return refuse(end.status());
  if (*end < *start) return refuse(base::InvalidArgumentError("end timestamp must not be before start timestamp"));
  auto selectors = SelectorsOf(http::QueryValue(params, "query"));
  if (!selectors.ok()) return refuse(selectors.status());
  if (selectors->empty()) return NoContent();
  if (store_ == nullptr) return RawSuccess("[]");
  auto found = store_->SelectExemplars(*start, *end, *selectors);
  if (!found.ok()) return ErrorReply(found.status(), ErrorSource::kEvaluation);
  std::string out = "[";
  for (const tsdb::SeriesExemplars& series : *found) {
    if (out.size() > 1) out += ',';
    AppendExemplars(series, &out);
  }
  return RawSuccess(out + "]");
}

}  // namespace tidewright::web
