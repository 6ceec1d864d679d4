// Explanation: one metric request taken apart, for people.
#pragma once

#include <string>
#include <vector>

namespace tidewright::adapter {

// What a request leads to, as far as it gets.
struct Explanation {
  struct Value {
    std::string object;  // The described object's name, or the labels of an external value.
    std::string value;   // A quantity.
  };
  std::string rule;  // Which rule applies; "" when none does.
  std::string series_query;
  std::string metrics_query;  // The template, or the rule's own PromQL.
  std::string series;         // Name in the store; "" for a rule with its own PromQL.
  std::string query;          // The PromQL that is asked.
  std::vector<Value> values;
  std::vector<std::string> without;      // Objects that were asked for and have no value.
  std::string problem;                   // Why there is no value, or not for all; "" when all is well.
  std::vector<std::string> suggestions;  // Sentences.
};

}  // namespace tidewright::adapter
