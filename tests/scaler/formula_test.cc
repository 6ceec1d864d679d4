#include "scaler/formula.h"

#include <gtest/gtest.h>

#include <string>

namespace tidewright::scaler {
namespace {

const Formula::Variables kVariables = {
    {"orders", 12.0}, {"payments", 4.0}, {"zero", 0.0}, {"gone", std::nullopt}, {"trig_1", 2.5}};

struct ValueRow {
  const char* text;
  double want;
};

TEST(Formula, Evaluates) {
  const ValueRow rows[] = {
      {"orders", 12},
      {"(orders + payments) / 2", 8},
      {"orders + payments * 2 ** 3 - 1", 43},
      {"2 ** -1", 0.5},
      {"-2 ** 2", -4},
      {"2 ^ 3", 8},
      {"10 - 3 - 2", 5},
      {"7 % 4 * 2", 6},
      {"orders > 10 ? orders : 0", 12},
      {"orders > 10 and payments > 10 ? 1 : 2", 2},
      {"orders > 10 || payments > 10 ? 1 : 2", 1},
      {"not (orders == 12) ? 1 : 2", 2},
      {"!zero", 1},
      {"zero ? 1 : payments ? 2 : 3", 2},
      {"gone ?? 5", 5},
      {"gone ?? gone ?? payments", 4},
      {"(gone ?? 1) + orders", 13},
      {"zero && gone", 0},
      {"sum([orders, payments, trig_1])", 18.5},
      {"avg(orders, payments)", 8},
      {"mean([orders, payments])", 8},
      {"max([orders, payments]) - min(orders, payments)", 8},
      {"median([1, 9, 4])", 4},
      {"median(1, 2, 3, 10)", 2.5},
      {"count([orders, payments, zero])", 3},
      {"count([orders, payments, zero], {# > 1})", 2},
      {"count([orders,payments,trig_1],{#>2.4})>1? 5: 0", 5},
      {"ceil(trig_1) + floor(trig_1) + round(trig_1) + int(2.9) + abs(-1) + float(1)", 12},
      {"1.5e2 + .5", 150.5},
  };
  for (const ValueRow& row : rows) {
    auto formula = Formula::Parse(row.text);
    ASSERT_TRUE(formula.ok()) << formula.status().ToString();
    auto value = (*formula)->Evaluate(kVariables);
    ASSERT_TRUE(value.ok()) << value.status().ToString();
    EXPECT_DOUBLE_EQ(*value, row.want) << row.text;
  }
}

struct ErrorRow {
  const char* text;
  const char* error;
};

TEST(Formula, RefusesWhatItDoesNotUnderstand) {
  const ErrorRow rows[] = {
      {"", "character 1: the end stands where a number or the name of a trigger is expected"},
      {"orders +", "character 9: the end stands where"},
      {"orders payments", "character 8: \"payments\" stands where an operator is expected"},
      {"summ(orders)", "character 1: \"summ\" is not a function; did you mean sum?"},
      {"orders ? 1", "the end stands where \":\" is expected"},
      {"(orders", "the end stands where \")\" is expected"},
      {"[orders", "the end stands where \"]\" is expected"},
      {"orders & 1", "\"&\" is not part of a formula"},
      {"# > 1", "\"#\" stands where"},
      {"sum([orders], {# > 1})", "only count() takes a predicate"},
      {"nil", "\"nil\" is not supported"},
      {"1.2.3", "\"1.2.3\" is not a number"},
      {"\"text\"", "is not part of a formula"},
  };
  for (const ErrorRow& row : rows) {
    auto formula = Formula::Parse(row.text);
    ASSERT_FALSE(formula.ok()) << row.text;
    EXPECT_NE(formula.status().message().find(row.error), std::string::npos) << formula.status().message();
  }
  EXPECT_FALSE(Formula::Parse(std::string(5000, '1')).ok());
  EXPECT_FALSE(Formula::Parse(std::string(2000, '(')).ok());
  EXPECT_FALSE(Formula::Parse(std::string(2000, '-') + "1").ok());
}

TEST(Formula, SaysWhyItHasNoValue) {
  const ErrorRow rows[] = {
      {"gone + 1", "\"gone\" has no value; write for example gone ?? 0"},
      {"nobody", "\"nobody\" is not a trigger"},
      {"orders / zero", "gives no finite number"},
      {"[orders, payments]", "a list stands where a number is due"},
      {"abs(orders, payments)", "abs() takes one number"},
  };
  for (const ErrorRow& row : rows) {
    auto formula = Formula::Parse(row.text);
    ASSERT_TRUE(formula.ok()) << formula.status().ToString();
    auto value = (*formula)->Evaluate(kVariables);
    ASSERT_FALSE(value.ok()) << row.text;
    EXPECT_NE(value.status().message().find(row.error), std::string::npos) << value.status().message();
  }
}

TEST(Formula, KnowsItsVariables) {
  auto formula = Formula::Parse("b > 1 ? a : count([b, c], {# > a})");
  ASSERT_TRUE(formula.ok());
  EXPECT_EQ((*formula)->variables(), (std::vector<std::string>{"a", "b", "c"}));
}

}  // namespace
}  // namespace tidewright::scaler
