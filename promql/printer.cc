#include "promql/printer.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "base/duration.h"
#include "base/strings.h"
#include "promql/functions.h"
#include "promql/lexer.h"

namespace tidewright::promql {
namespace {

bool IsPlainLabel(std::string_view name) {
  auto alpha = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
  if (name.empty() || !alpha(name[0])) return false;
  return std::all_of(name.begin(), name.end(), [&](char c) { return alpha(c) || (c >= '0' && c <= '9'); });
}

std::string LabelName(std::string_view name) { return IsPlainLabel(name) ? std::string(name) : Quote(name); }

std::string LabelList(const std::vector<std::string>& labels) {
  std::string out = "(";
  for (const std::string& label : labels) out += (out.size() > 1 ? ", " : "") + LabelName(label);
  return out + ")";
}

std::string DurationText(int64_t ms) {
  std::string sign = ms < 0 ? "-" : "";
  return sign + base::FormatDuration(base::Duration{ms < 0 ? -ms : ms});
}

std::string MatcherText(const Matcher& matcher) {
  static constexpr const char* kOps[] = {"=", "!=", "=~", "!~"};
  return LabelName(matcher.name()) + kOps[static_cast<int>(matcher.type())] + Quote(matcher.value());
}

std::string NumberText(const NumberLiteral& node) {
  if (!node.is_duration) return base::FormatFixed(node.value);
  return DurationText(static_cast<int64_t>(std::llround(node.value * 1000)));
}

std::string AtText(const TimeShift& shift) {
  if (shift.at == TimeShift::At::kStart) return " @ start()";
  if (shift.at == TimeShift::At::kEnd) return " @ end()";
  if (shift.at != TimeShift::At::kTime) return "";
  char text[40];
  std::snprintf(text, sizeof text, " @ %.3f", static_cast<double>(shift.at_ms) / 1000);
  return text;
}

std::string OffsetText(const TimeShift& shift) {
  if (shift.offset_expr != nullptr) return " offset " + Print(*shift.offset_expr);
  return shift.offset_ms == 0 ? "" : " offset " + DurationText(shift.offset_ms);
}

std::string SelectorText(const VectorSelector& node) {
  std::vector<std::string> matchers;
  for (const Matcher& matcher : node.matchers) {
    bool by_name = !node.name.empty() && matcher.name() == tsdb::kMetricName;
    if (!by_name) matchers.push_back(MatcherText(matcher));
  }
  std::sort(matchers.begin(), matchers.end());
  std::string out = node.name;
  if (matchers.empty()) return out.empty() ? "{}" : out;
  out += '{';
  for (size_t i = 0; i < matchers.size(); ++i) out += (i > 0 ? "," : "") + matchers[i];
  return out + '}';
}

std::string ExtensionText(const VectorSelector& node) {
  if (node.extension == Extension::kAnchored) return " anchored";
  return node.extension == Extension::kSmoothed ? " smoothed" : "";
}

std::string RangeText(const std::unique_ptr<DurationExpr>& expr, int64_t ms) {
  return expr != nullptr ? Print(*expr) : DurationText(ms);
}

// Between the operator and its right side, with a leading blank for each part.
std::string MatchingText(const Binary& node) {
  const VectorMatching& matching = node.matching;
  std::string out = node.return_bool ? " bool" : "";
  bool grouped = matching.card != VectorMatching::Card::kOneToOne;
  if (matching.on || !matching.labels.empty() || grouped) {
    out += (matching.on ? " on " : " ignoring ") + LabelList(matching.labels);
  }
  if (grouped) {
    out += matching.card == VectorMatching::Card::kManyToOne ? " group_left " : " group_right ";
    out += LabelList(matching.include);
  }
  auto number = [](double value) { return " (" + base::FormatFixed(value) + ")"; };
  bool same = matching.fill_left && matching.fill_right && *matching.fill_left == *matching.fill_right;
  if (same) return out + " fill" + number(*matching.fill_left);
  if (matching.fill_left) out += " fill_left" + number(*matching.fill_left);
  if (matching.fill_right) out += " fill_right" + number(*matching.fill_right);
  return out;
}

std::string AggregateHead(const Aggregate& node) {
  std::string out(AggText(node.op));
  if (node.without) return out + " without " + LabelList(node.grouping) + " ";
  if (!node.grouping.empty()) return out + " by " + LabelList(node.grouping) + " ";
  return out;
}

std::string BracketsText(const Subquery& node) {
  std::string step = node.step_expr != nullptr || node.step_ms != 0 ? RangeText(node.step_expr, node.step_ms) : "";
  return "[" + RangeText(node.range_expr, node.range_ms) + ":" + step + "]" + AtText(node.shift) +
         OffsetText(node.shift);
}

std::string MatrixText(const MatrixSelector& node) {
  return SelectorText(*node.selector) + "[" + RangeText(node.range_expr, node.range_ms) + "]" +
         ExtensionText(*node.selector) + AtText(node.selector->shift) + OffsetText(node.selector->shift);
}

std::string CallText(const Call& node) {
  std::string out(node.function->name);
  out += '(';
  for (size_t i = 0; i < node.args.size(); ++i) out += (i > 0 ? ", " : "") + Print(*node.args[i]);
  return out + ')';
}

constexpr size_t kPrettyColumns = 100;

std::string Indented(const Expr& expr, int level);

std::string IndentedArguments(const std::vector<const Expr*>& args, int level) {
  std::string pad(static_cast<size_t>(level) * 2, ' ');
  std::string out = "(\n";
  for (size_t i = 0; i < args.size(); ++i) {
    out += Indented(*args[i], level + 1);
    out += i + 1 < args.size() ? ",\n" : "\n";
  }
  return out + pad + ")";
}

// The expression with `level` levels of indentation in front of each line.
std::string Indented(const Expr& expr, int level) {
  std::string pad(static_cast<size_t>(level) * 2, ' ');
  std::string line = Print(expr);
  // As in Prometheus, indentation does not count, and a subquery that fits is not indented.
  if (line.size() <= kPrettyColumns) return expr.kind == NodeKind::kSubquery ? line : pad + line;
  switch (expr.kind) {
    case NodeKind::kBinary: {
      const auto& node = As<Binary>(expr);
      std::string op(OpText(node.op));
      return Indented(*node.left, level + 1) + "\n" + pad + op + MatchingText(node) + "\n" +
             Indented(*node.right, level + 1);
    }
    case NodeKind::kCall: {
      std::vector<const Expr*> args;
      for (const auto& arg : As<Call>(expr).args) args.push_back(arg.get());
      return pad + std::string(As<Call>(expr).function->name) + IndentedArguments(args, level);
    }
    case NodeKind::kAggregate: {
      const auto& node = As<Aggregate>(expr);
      std::vector<const Expr*> args;
      if (node.param != nullptr) args.push_back(node.param.get());
      args.push_back(node.expr.get());
      return pad + AggregateHead(node) + IndentedArguments(args, level);
    }
    case NodeKind::kParen: return pad + IndentedArguments({As<Paren>(expr).expr.get()}, level);
    case NodeKind::kUnary: {
      std::string inner = Indented(*As<Unary>(expr).expr, level);
      return pad + std::string(OpText(As<Unary>(expr).op)) + inner.substr(pad.size());
    }
    case NodeKind::kSubquery: return Indented(*As<Subquery>(expr).expr, level) + BracketsText(As<Subquery>(expr));
    default: return pad + line;
  }
}

}  // namespace

std::string Print(const DurationExpr& expr) {
  switch (expr.kind) {
    case DurationExpr::Kind::kNumber:
      return expr.is_duration ? DurationText(static_cast<int64_t>(std::llround(expr.seconds * 1000)))
                              : base::FormatFixed(expr.seconds);
    case DurationExpr::Kind::kStep: return "step()";
    case DurationExpr::Kind::kRange: return "range()";
    case DurationExpr::Kind::kMin: return "min_of(" + Print(*expr.left) + ", " + Print(*expr.right) + ")";
    case DurationExpr::Kind::kMax: return "max_of(" + Print(*expr.left) + ", " + Print(*expr.right) + ")";
    case DurationExpr::Kind::kUnary: return (expr.op == Op::kSub ? "-" : "") + Print(*expr.left);
    case DurationExpr::Kind::kBinary:
      return Print(*expr.left) + " " + std::string(OpText(expr.op)) + " " + Print(*expr.right);
    case DurationExpr::Kind::kParen: return "(" + Print(*expr.left) + ")";
  }
  return "";
}

std::string Print(const Expr& expr) {
  switch (expr.kind) {
    case NodeKind::kNumber: return NumberText(As<NumberLiteral>(expr));
    case NodeKind::kString: return Quote(As<StringLiteral>(expr).value);
    case NodeKind::kVectorSelector: {
      const auto& node = As<VectorSelector>(expr);
      return SelectorText(node) + AtText(node.shift) + ExtensionText(node) + OffsetText(node.shift);
    }
    case NodeKind::kMatrixSelector: return MatrixText(As<MatrixSelector>(expr));
    case NodeKind::kSubquery: return Print(*As<Subquery>(expr).expr) + BracketsText(As<Subquery>(expr));
    case NodeKind::kCall: return CallText(As<Call>(expr));
    case NodeKind::kAggregate: {
      const auto& node = As<Aggregate>(expr);
      std::string param = node.param != nullptr ? Print(*node.param) + ", " : "";
      return AggregateHead(node) + "(" + param + Print(*node.expr) + ")";
    }
    case NodeKind::kBinary: {
      const auto& node = As<Binary>(expr);
      return Print(*node.left) + " " + std::string(OpText(node.op)) + MatchingText(node) + " " + Print(*node.right);
    }
    case NodeKind::kUnary: return std::string(OpText(As<Unary>(expr).op)) + Print(*As<Unary>(expr).expr);
    case NodeKind::kParen: return "(" + Print(*As<Paren>(expr).expr) + ")";
  }
  return "";
}

std::string PrintPretty(const Expr& expr) { return Indented(expr, 0); }

std::string Braced(const Labels& labels) {
  std::string out = "{";
  for (const auto& label : labels) out += (out.size() > 1 ? ", " : "") + label.name + "=" + Quote(label.value);
  return out + "}";
}

}  // namespace tidewright::promql
