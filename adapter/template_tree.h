// The parse tree of a Go template. Private to the adapter's template engine: go_template.cc runs it, template_parser.cc
// builds it.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "adapter/go_template.h"
#include "base/status.h"

namespace tidewright::adapter::internal {

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
  enum class Kind { kText, kAction, kIf, kWith, kRange, kBreak, kContinue };
  Kind kind = Kind::kText;
  TemplatePosition at;
  std::string text;
  TemplatePipeline pipeline;
  std::vector<TemplateNode> body;
  std::vector<TemplateNode> otherwise;
};

// "3:7: message" as kInvalidArgument.
base::Status TemplateError(TemplatePosition at, const std::string& message);

base::Result<std::vector<TemplateNode>> ParseTemplate(std::string_view text, std::string_view left,
                                                      std::string_view right);

// Whether `name` is a function that commands may call.
bool IsTemplateFunction(std::string_view name);
// Calls `name` other than and/or, which do not evaluate all of their arguments.
base::Result<TemplateValue> CallTemplateFunction(const std::string& name, const std::vector<TemplateValue>& args);

}  // namespace tidewright::adapter::internal
