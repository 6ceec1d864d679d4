// Templates in labels and annotations of alerts: Go's template language with the functions that Prometheus documents.
// Source of the functions and of what they print: Prometheus' documentation, "Template reference".
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "base/go_template.h"
#include "base/status.h"
#include "promql/engine.h"

namespace tidewright::rules {

// What a template sees beside the alert.
struct TemplateEnvironment {
  // Answers the function `query`, at `now_ms`. May be null: then such templates fail.
  std::function<base::Result<promql::Vector>(const std::string& expr)> query;
  std::map<std::string, std::string> external_labels;
  std::string external_url;
  int64_t now_ms = 0;
};

// A parsed template. Immutable, copies are cheap, thread-safe.
class AlertTemplate {
 public:
  // kInvalidArgument with the position and what is wrong.
  static base::Result<AlertTemplate> Parse(std::string_view text);

  // Expands the template for an alert with the labels of its result; `value` is a float or, of a histogram, its text.
  // kInvalidArgument or kResourceExhausted when it fails.
  base::Result<std::string> Expand(const std::map<std::string, std::string>& labels, const base::TemplateValue& value,
                                   const TemplateEnvironment& environment) const;

 private:
  std::string text_;  // Used instead of a template where nothing is to be expanded.
  base::GoTemplate template_;
  bool plain_ = false;
};

}  // namespace tidewright::rules
