// The parse tree of a Go template. Private to the template engine: go_template.cc runs it, template_parser.cc builds
// it.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/go_template.h"
#include "base/status.h"

namespace tidewright::base::internal {

struct TemplatePosition {
  int line = 1;
  int column = 1;
};

struct TemplatePipeline;

// One operand of a command: a base followed by field names.
struct TemplateOperand {
  enum class Base { kLiteral, kDot, kVariable, kFunction, kPipeline };
  Base base = Base::kLiteral;
  TemplatePosition at;
  TemplateValue literal;
  std::string name;  // Of the variable ("$x", "$") or function.
  std::shared_ptr<TemplatePipeline> pipeline;
  std::vector<std::string> fields;
};

// A function with its arguments, or a single operand.
struct TemplateCommand {
  TemplatePosition at;
  std::vector<TemplateOperand> operands;
};

struct TemplatePipeline {
  TemplatePosition at;
  std::vector<std::string> variables;  // Declared or assigned: at most one, or two in a range.
  bool assign = false;                 // "=" instead of ":=".
  std::vector<TemplateCommand> commands;
};

struct TemplateNode {
  enum class Kind { kText, kAction, kIf, kWith, kRange, kBreak, kContinue, kTemplate };
  Kind kind = Kind::kText;
  TemplatePosition at;
  std::string text;  // Of kTemplate: the name.
  TemplatePipeline pipeline;
  std::vector<TemplateNode> body;
  std::vector<TemplateNode> otherwise;
};

// "3:7: message" as kInvalidArgument.
Status TemplateError(TemplatePosition at, const std::string& message);

struct TemplateSet {
  std::vector<TemplateNode> nodes;
  std::map<std::string, std::vector<TemplateNode>> definitions;
  std::vector<std::pair<std::string, std::string>> variables;
  bool lenient = false;
};

Result<TemplateSet> ParseTemplate(std::string_view text, const TemplateOptions& options);

// Whether `name` is a function of the language.
bool IsTemplateFunction(std::string_view name);
// Calls `name` other than and/or, which do not evaluate all of their arguments.
Result<TemplateValue> CallTemplateFunction(const std::string& name, const std::vector<TemplateValue>& args,
                                           bool lenient);
// Calls a method of a time, a duration, or of labels (KeyValues).
Result<TemplateValue> CallTemplateMethod(const TemplateValue& value, const std::string& name,
                                         const std::vector<TemplateValue>& args);
// "2023-11-14 22:13:20.5 +0000 UTC", as a time.Time prints itself.
std::string TemplateTimeText(int64_t unix_nanos);

}  // namespace tidewright::base::internal
