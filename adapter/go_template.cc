#include "adapter/go_template.h"

#include <optional>
#include <utility>

#include "adapter/template_tree.h"
#include "base/document.h"
#include "base/metrics.h"

namespace tidewright::adapter {

using internal::TemplateCommand;
using internal::TemplateError;
using internal::TemplateNode;
using internal::TemplateOperand;
using internal::TemplatePipeline;
using internal::TemplatePosition;

TemplateValue TemplateValue::Bool(bool value) {
  TemplateValue v;
  v.kind_ = Kind::kBool;
  v.int_ = value ? 1 : 0;
  return v;
}

TemplateValue TemplateValue::Int(int64_t value) {
  TemplateValue v;
  v.kind_ = Kind::kInt;
  v.int_ = value;
  return v;
}

TemplateValue TemplateValue::Float(double value) {
  TemplateValue v;
  v.kind_ = Kind::kFloat;
  v.float_ = value;
  return v;
}

TemplateValue TemplateValue::String(std::string value) {
  TemplateValue v;
  v.kind_ = Kind::kString;
  v.text_ = std::make_shared<const std::string>(std::move(value));
  return v;
}

TemplateValue TemplateValue::Strings(const std::vector<std::string>& values) {
  List items;
  for (const std::string& value : values) items.push_back(String(value));
  return FromList(std::move(items));
}

TemplateValue TemplateValue::FromList(List items) {
  TemplateValue v;
  v.kind_ = Kind::kList;
  v.items_ = std::make_shared<const List>(std::move(items));
  return v;
}

TemplateValue TemplateValue::FromMap(Map members) {
  TemplateValue v;
  v.kind_ = Kind::kMap;
  v.members_ = std::make_shared<const Map>(std::move(members));
  return v;
}

TemplateValue TemplateValue::Record(Map fields) {
  TemplateValue v = FromMap(std::move(fields));
  v.kind_ = Kind::kRecord;
  return v;
}

const std::string& TemplateValue::text() const {
  static const std::string kEmpty;
  return text_ ? *text_ : kEmpty;
}

const TemplateValue::List& TemplateValue::items() const {
  static const List kEmpty;
  return items_ ? *items_ : kEmpty;
}

const TemplateValue::Map& TemplateValue::members() const {
  static const Map kEmpty;
  return members_ ? *members_ : kEmpty;
}

bool TemplateValue::IsTrue() const {
  switch (kind_) {
    case Kind::kNil: return false;
    case Kind::kBool:
    case Kind::kInt: return int_ != 0;
    case Kind::kFloat: return float_ != 0;
    case Kind::kString: return !text().empty();
    case Kind::kList: return !items().empty();
    case Kind::kMap: return !members().empty();
    case Kind::kRecord: return true;
  }
  return false;
}

std::string TemplateValue::ToString() const {
  switch (kind_) {
    case Kind::kNil: return "<no value>";
    case Kind::kBool: return int_ != 0 ? "true" : "false";
    case Kind::kInt: return std::to_string(int_);
    case Kind::kFloat: return base::FormatDouble(float_);
    case Kind::kString: return text();
    case Kind::kList: {
      std::string out = "[";
      for (const TemplateValue& item : items()) out += (out.size() > 1 ? " " : "") + item.ToString();
      return out + "]";
    }
    case Kind::kMap:
    case Kind::kRecord: {
      std::string out;
      for (const auto& [key, value] : members()) {
        if (!out.empty()) out += " ";
        out += kind_ == Kind::kMap ? key + ":" + value.ToString() : value.ToString();
      }
      return (kind_ == Kind::kMap ? "map[" : "{") + out + (kind_ == Kind::kMap ? "]" : "}");
    }
  }
  return "";
}

std::string_view TemplateValue::KindName() const {
  switch (kind_) {
    case Kind::kNil: return "nil";
    case Kind::kBool: return "bool";
    case Kind::kInt: return "int";
    case Kind::kFloat: return "float";
    case Kind::kString: return "string";
    case Kind::kList: return "list";
    case Kind::kMap: return "map";
    case Kind::kRecord: return "record";
  }
  return "";
}

namespace {

constexpr int kMaxSteps = 1'000'000;
constexpr size_t kMaxOutput = 16u << 20;

// How a list of nodes ended.
enum class Flow { kNext, kBreak, kContinue };

// Runs one template. Single use.
class Evaluator {
 public:
  explicit Evaluator(const TemplateValue& data) { variables_.emplace_back("$", data); }

  base::Result<Flow> Run(const std::vector<TemplateNode>& nodes, const TemplateValue& dot) {
    size_t scope = variables_.size();
    Flow flow = Flow::kNext;
    for (const TemplateNode& node : nodes) {
      TW_RETURN_IF_ERROR(Step(node.at));
      TW_ASSIGN_OR_RETURN(flow, RunNode(node, dot));
      if (flow != Flow::kNext) break;
    }
    variables_.resize(scope);
    return flow;
  }

  std::string TakeOutput() { return std::move(out_); }

 private:
  base::Status Step(TemplatePosition at) {
    if (++steps_ <= kMaxSteps) return base::Status::Ok();
    return base::ResourceExhaustedError(TemplateError(at, "the template takes too many steps").message());
  }

  base::Status Write(TemplatePosition at, std::string_view text) {
    if (out_.size() + text.size() > kMaxOutput) {
      return base::ResourceExhaustedError(TemplateError(at, "the template's output is too long").message());
    }
    out_ += text;
    return base::Status::Ok();
  }

  base::Result<Flow> RunNode(const TemplateNode& node, const TemplateValue& dot) {
    switch (node.kind) {
      case TemplateNode::Kind::kText: TW_RETURN_IF_ERROR(Write(node.at, node.text)); return Flow::kNext;
      case TemplateNode::Kind::kBreak: return Flow::kBreak;
      case TemplateNode::Kind::kContinue: return Flow::kContinue;
      case TemplateNode::Kind::kRange: return RunRange(node, dot);
      case TemplateNode::Kind::kAction: {
        TW_ASSIGN_OR_RETURN(TemplateValue value, Pipeline(node.pipeline, dot));
        if (node.pipeline.variables.empty()) TW_RETURN_IF_ERROR(Write(node.at, value.ToString()));
        return Flow::kNext;
      }
      case TemplateNode::Kind::kIf:
      case TemplateNode::Kind::kWith: break;
    }
    size_t scope = variables_.size();
    TW_ASSIGN_OR_RETURN(TemplateValue value, Pipeline(node.pipeline, dot));
    bool with = node.kind == TemplateNode::Kind::kWith;
    base::Result<Flow> flow = value.IsTrue() ? Run(node.body, with ? value : dot) : Run(node.otherwise, dot);
    variables_.resize(scope);
    return flow;
  }

  base::Result<Flow> RunRange(const TemplateNode& node, const TemplateValue& dot) {
    size_t scope = variables_.size();
    TW_ASSIGN_OR_RETURN(TemplateValue value, PipelineValue(node.pipeline, dot));
    std::vector<std::pair<TemplateValue, TemplateValue>> pairs;
    if (value.kind() == TemplateValue::Kind::kList) {
      for (const TemplateValue& item : value.items()) pairs.emplace_back(TemplateValue::Int(pairs.size()), item);
    } else if (value.kind() == TemplateValue::Kind::kMap) {
      for (const auto& [key, item] : value.members()) pairs.emplace_back(TemplateValue::String(key), item);
    } else if (value.kind() != TemplateValue::Kind::kNil) {
      return TemplateError(node.at, "range cannot iterate over a " + std::string(value.KindName()));
    }
    if (pairs.empty()) return Run(node.otherwise, dot);
    for (const auto& [key, item] : pairs) {
      TW_RETURN_IF_ERROR(Step(node.at));
      BindRange(node.pipeline, key, item);
      TW_ASSIGN_OR_RETURN(Flow flow, Run(node.body, item));
      variables_.resize(scope);
      if (flow == Flow::kBreak) break;
    }
    return Flow::kNext;
  }

  void BindRange(const TemplatePipeline& pipeline, const TemplateValue& key, const TemplateValue& item) {
    size_t count = pipeline.variables.size();
    for (size_t i = 0; i < count; ++i) {
      const TemplateValue& value = i + 1 == count ? item : key;
      if (pipeline.assign) {
        Assign(pipeline.variables[i], value);
      } else {
        variables_.emplace_back(pipeline.variables[i], value);
      }
    }
  }

  void Assign(const std::string& name, const TemplateValue& value) {
    for (size_t i = variables_.size(); i-- > 0;) {
      if (variables_[i].first != name) continue;
      variables_[i].second = value;
      return;
    }
  }

  // The value, after binding the pipeline's variable.
  base::Result<TemplateValue> Pipeline(const TemplatePipeline& pipeline, const TemplateValue& dot) {
    TW_ASSIGN_OR_RETURN(TemplateValue value, PipelineValue(pipeline, dot));
    for (const std::string& name : pipeline.variables) {
      if (pipeline.assign) {
        Assign(name, value);
      } else {
        variables_.emplace_back(name, value);
      }
    }
    return value;
  }

  base::Result<TemplateValue> PipelineValue(const TemplatePipeline& pipeline, const TemplateValue& dot) {
    std::optional<TemplateValue> piped;
    for (const TemplateCommand& command : pipeline.commands) {
      TW_RETURN_IF_ERROR(Step(command.at));
      TW_ASSIGN_OR_RETURN(piped, Command(command, dot, piped));
    }
    return *piped;
  }

  base::Result<TemplateValue> Command(const TemplateCommand& command, const TemplateValue& dot,
                                      const std::optional<TemplateValue>& piped) {
    const TemplateOperand& head = command.operands[0];
    if (head.base != TemplateOperand::Base::kFunction) return Operand(head, dot);
    if (head.name == "and" || head.name == "or") return AndOr(command, dot, piped);
    std::vector<TemplateValue> args;
    for (size_t i = 1; i < command.operands.size(); ++i) {
      TW_ASSIGN_OR_RETURN(TemplateValue arg, Operand(command.operands[i], dot));
      args.push_back(std::move(arg));
    }
    if (piped) args.push_back(*piped);
    base::Result<TemplateValue> result = internal::CallTemplateFunction(head.name, args);
    if (!result.ok()) return TemplateError(head.at, result.status().message());
    return result;
  }

  base::Result<TemplateValue> AndOr(const TemplateCommand& command, const TemplateValue& dot,
                                    const std::optional<TemplateValue>& piped) {
    bool stop_at = command.operands[0].name == "or";
    TemplateValue value;
    size_t given = command.operands.size() - 1;
    if (given == 0 && !piped) return TemplateError(command.at, command.operands[0].name + " wants arguments");
    for (size_t i = 1; i <= given; ++i) {
      TW_ASSIGN_OR_RETURN(value, Operand(command.operands[i], dot));
      if (value.IsTrue() == stop_at) return value;
    }
    return piped ? *piped : value;
  }

  base::Result<TemplateValue> Operand(const TemplateOperand& operand, const TemplateValue& dot) {
    TemplateValue value;
    switch (operand.base) {
      case TemplateOperand::Base::kLiteral: return operand.literal;
      case TemplateOperand::Base::kDot: value = dot; break;
      case TemplateOperand::Base::kVariable: value = Variable(operand.name); break;
      case TemplateOperand::Base::kPipeline: {
        TW_ASSIGN_OR_RETURN(value, PipelineValue(*operand.pipeline, dot));
        break;
      }
      case TemplateOperand::Base::kFunction: {
        base::Result<TemplateValue> result = internal::CallTemplateFunction(operand.name, {});
        if (!result.ok()) return TemplateError(operand.at, result.status().message());
        return result;
      }
    }
    for (const std::string& field : operand.fields) {
      TW_ASSIGN_OR_RETURN(value, Field(operand.at, value, field));
    }
    return value;
  }

  TemplateValue Variable(const std::string& name) const {
    for (size_t i = variables_.size(); i-- > 0;) {
      if (variables_[i].first == name) return variables_[i].second;
    }
    return TemplateValue();
  }

  static base::Result<TemplateValue> Field(TemplatePosition at, const TemplateValue& value, const std::string& field) {
    bool record = value.kind() == TemplateValue::Kind::kRecord;
    if (!record && value.kind() != TemplateValue::Kind::kMap) {
      return TemplateError(at, "a " + std::string(value.KindName()) + " has no field " + base::Quoted(field));
    }
    auto it = value.members().find(field);
    if (it != value.members().end()) return it->second;
    if (!record) return TemplateValue();
    std::vector<std::string> known;
    for (const auto& [name, unused] : value.members()) known.push_back(name);
    std::string text = "there is no field " + base::Quoted("." + field) + "; known are";
    for (const std::string& name : known) text += " ." + name;
    return TemplateError(at, text);
  }

  std::vector<std::pair<std::string, TemplateValue>> variables_;
  std::string out_;
  int steps_ = 0;
};

}  // namespace

base::Result<GoTemplate> GoTemplate::Parse(std::string_view text, std::string_view left, std::string_view right) {
  TW_ASSIGN_OR_RETURN(std::vector<TemplateNode> nodes, internal::ParseTemplate(text, left, right));
  GoTemplate result;
  result.nodes_ = std::make_shared<const std::vector<TemplateNode>>(std::move(nodes));
  return result;
}

base::Result<std::string> GoTemplate::Execute(const TemplateValue& data) const {
  if (nodes_ == nullptr) return std::string();
  Evaluator evaluator(data);
  TW_RETURN_IF_ERROR(evaluator.Run(*nodes_, data).status());
  return evaluator.TakeOutput();
}

}  // namespace tidewright::adapter
