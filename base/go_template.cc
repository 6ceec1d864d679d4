#include "base/go_template.h"

#include <optional>
#include <utility>

#include "base/document.h"
#include "base/go_text.h"
#include "base/template_tree.h"

namespace tidewright::base {

using internal::TemplateCommand;
using internal::TemplateError;
using internal::TemplateNode;
using internal::TemplateOperand;
using internal::TemplatePipeline;
using internal::TemplatePosition;
using internal::TemplateSet;

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

TemplateValue TemplateValue::FromStrings(const std::map<std::string, std::string>& members) {
  Map values;
  for (const auto& [key, text] : members) values.emplace(key, String(text));
  TemplateValue v = FromMap(std::move(values));
  v.of_strings_ = true;
  return v;
}

TemplateValue TemplateValue::Time(int64_t unix_nanos) {
  TemplateValue v = Int(unix_nanos);
  v.kind_ = Kind::kTime;
  return v;
}

TemplateValue TemplateValue::Duration(int64_t nanos) {
  TemplateValue v = Int(nanos);
  v.kind_ = Kind::kDuration;
  return v;
}

TemplateValue TemplateValue::Record(Map fields) {
  TemplateValue v = FromMap(std::move(fields));
  v.kind_ = Kind::kRecord;
  return v;
}

TemplateValue TemplateValue::KeyValues(const std::map<std::string, std::string>& members) {
  List pairs;
  std::vector<std::string> names, values;
  for (const auto& [name, value] : members) {
    pairs.push_back(Record({{"Name", String(name)}, {"Value", String(value)}}));
    names.push_back(name);
    values.push_back(value);
  }
  const Map lists = {{"Names", Strings(names)}, {"Values", Strings(values)}};
  Map methods = lists;
  methods.emplace("SortedPairs", FromList(std::move(pairs)).WithMethods(lists));
  TemplateValue v = FromStrings(members).WithMethods(std::move(methods));
  v.key_values_ = true;
  return v;
}

TemplateValue TemplateValue::WithMethods(Map results) const {
  TemplateValue v = *this;
  v.methods_ = std::make_shared<const Map>(std::move(results));
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

const TemplateValue::Map& TemplateValue::methods() const {
  static const Map kEmpty;
  return methods_ ? *methods_ : kEmpty;
}

bool TemplateValue::IsTrue() const {
  switch (kind_) {
    case Kind::kNil: return false;
    case Kind::kBool:
    case Kind::kInt:
    case Kind::kDuration: return int_ != 0;
    case Kind::kTime: return true;
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
    case Kind::kFloat: return GoFloat(float_);
    case Kind::kTime: return internal::TemplateTimeText(int_);
    case Kind::kDuration: return GoDurationOfNanos(int_);
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
    case Kind::kTime: return "time";
    case Kind::kDuration: return "duration";
  }
  return "";
}

namespace {

constexpr int kMaxSteps = 1'000'000;
constexpr size_t kMaxOutput = 16u << 20;
constexpr int kMaxTemplateDepth = 100;  // Of templates that use themselves.

// How a list of nodes ended.
enum class Flow { kNext, kBreak, kContinue };

// Runs one template. Single use.
class Evaluator {
 public:
  Evaluator(const TemplateSet& set, const TemplateValue& data, const TemplateCaller& caller)
      : set_(set), caller_(caller) {
    variables_.emplace_back("$", data);
    for (const auto& [name, field] : set.variables) {
      auto it = data.members().find(field);
      variables_.emplace_back(name, it == data.members().end() ? TemplateValue() : it->second);
    }
  }

  Result<Flow> Run(const std::vector<TemplateNode>& nodes, const TemplateValue& dot) {
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
  Status Step(TemplatePosition at) {
    if (++steps_ <= kMaxSteps) return Status::Ok();
    return ResourceExhaustedError(TemplateError(at, "the template takes too many steps").message());
  }

  Status Write(TemplatePosition at, std::string_view text) {
    if (out_.size() + text.size() > kMaxOutput) {
      return ResourceExhaustedError(TemplateError(at, "the template's output is too long").message());
    }
    out_ += text;
    return Status::Ok();
  }

  Result<Flow> RunNode(const TemplateNode& node, const TemplateValue& dot) {
    switch (node.kind) {
      case TemplateNode::Kind::kText: TW_RETURN_IF_ERROR(Write(node.at, node.text)); return Flow::kNext;
      case TemplateNode::Kind::kBreak: return Flow::kBreak;
      case TemplateNode::Kind::kContinue: return Flow::kContinue;
      case TemplateNode::Kind::kRange: return RunRange(node, dot);
      case TemplateNode::Kind::kTemplate: {
        TemplateValue data;
        if (!node.pipeline.commands.empty()) {
          TW_ASSIGN_OR_RETURN(data, PipelineValue(node.pipeline, dot));
        }
        TW_RETURN_IF_ERROR(RunDefinition(node.at, node.text, data));
        return Flow::kNext;
      }
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
    Result<Flow> flow = value.IsTrue() ? Run(node.body, with ? value : dot) : Run(node.otherwise, dot);
    variables_.resize(scope);
    return flow;
  }

  // Runs a defined template, which sees none of the variables around its use.
  Status RunDefinition(TemplatePosition at, const std::string& name, const TemplateValue& data) {
    auto definition = set_.definitions.find(name);
    if (definition == set_.definitions.end()) return TemplateError(at, "template " + Quoted(name) + " is not defined");
    if (++depth_ > kMaxTemplateDepth) return TemplateError(at, "templates use each other too deeply");
    std::vector<std::pair<std::string, TemplateValue>> outer;
    outer.emplace_back("$", data);
    std::swap(outer, variables_);
    Result<Flow> flow = Run(definition->second, data);
    std::swap(outer, variables_);
    --depth_;
    return flow.status();
  }

  // The function tmpl: a defined template as a string.
  Result<TemplateValue> Rendered(TemplatePosition at, const std::vector<TemplateValue>& args) {
    if (args.size() != 2 || args[0].kind() != TemplateValue::Kind::kString) {
      return TemplateError(at, "tmpl wants the name of a template and its data");
    }
    const size_t before = out_.size();
    TW_RETURN_IF_ERROR(RunDefinition(at, args[0].text(), args[1]));
    TemplateValue text = TemplateValue::String(out_.substr(before));
    out_.resize(before);
    return text;
  }

  Result<Flow> RunRange(const TemplateNode& node, const TemplateValue& dot) {
    size_t scope = variables_.size();
    TW_ASSIGN_OR_RETURN(TemplateValue value, PipelineValue(node.pipeline, dot));
    std::vector<std::pair<TemplateValue, TemplateValue>> pairs;
    if (value.kind() == TemplateValue::Kind::kList) {
      for (const TemplateValue& item : value.items()) pairs.emplace_back(TemplateValue::Int(pairs.size()), item);
    } else if (value.kind() == TemplateValue::Kind::kMap) {
      for (const auto& [key, item] : value.members()) pairs.emplace_back(TemplateValue::String(key), item);
    } else if (value.kind() == TemplateValue::Kind::kInt) {
      if (value.integer() > kMaxSteps) return TemplateError(node.at, "range over " + value.ToString() + " is too long");
      for (int64_t i = 0; i < value.integer(); ++i) {
        pairs.emplace_back(TemplateValue::Int(i), TemplateValue::Int(i));
      }
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
  Result<TemplateValue> Pipeline(const TemplatePipeline& pipeline, const TemplateValue& dot) {
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

  Result<TemplateValue> PipelineValue(const TemplatePipeline& pipeline, const TemplateValue& dot) {
    std::optional<TemplateValue> piped;
    for (const TemplateCommand& command : pipeline.commands) {
      TW_RETURN_IF_ERROR(Step(command.at));
      TW_ASSIGN_OR_RETURN(piped, Command(command, dot, piped));
    }
    return *piped;
  }

  Result<TemplateValue> Command(const TemplateCommand& command, const TemplateValue& dot,
                                const std::optional<TemplateValue>& piped) {
    const TemplateOperand& head = command.operands[0];
    const bool function = head.base == TemplateOperand::Base::kFunction;
    if (!function && command.operands.size() == 1) return Operand(head, dot);
    if (function && (head.name == "and" || head.name == "or")) return AndOr(command, dot, piped);
    std::vector<TemplateValue> args;
    for (size_t i = 1; i < command.operands.size(); ++i) {
      TW_ASSIGN_OR_RETURN(TemplateValue arg, Operand(command.operands[i], dot));
      args.push_back(std::move(arg));
    }
    if (piped) args.push_back(*piped);
    return function ? Call(head, args) : CallMethod(command, dot, args);
  }

  Result<TemplateValue> AndOr(const TemplateCommand& command, const TemplateValue& dot,
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

  Result<TemplateValue> Call(const TemplateOperand& head, const std::vector<TemplateValue>& args) {
    if (head.name == "tmpl") return Rendered(head.at, args);
    const bool own = internal::IsTemplateFunction(head.name);
    if (!own && !caller_) return TemplateError(head.at, "nobody provides the function " + Quoted(head.name));
    Result<TemplateValue> result =
        own ? internal::CallTemplateFunction(head.name, args, set_.lenient) : caller_(head.name, args);
    if (result.ok()) return result;
    return Status(result.status().code(), TemplateError(head.at, result.status().message()).message());
  }

  // A field with arguments: the last of the head's fields is a method of what is before it.
  Result<TemplateValue> CallMethod(const TemplateCommand& command, const TemplateValue& dot,
                                   const std::vector<TemplateValue>& args) {
    TemplateOperand receiver = command.operands[0];
    Status not_callable = TemplateError(command.operands[1].at, "only a function takes arguments");
    if (receiver.fields.empty()) return not_callable;
    const std::string method = receiver.fields.back();
    receiver.fields.pop_back();
    TW_ASSIGN_OR_RETURN(TemplateValue value, Operand(receiver, dot));
    if (!HasMethods(value)) return not_callable;
    Result<TemplateValue> result = internal::CallTemplateMethod(value, method, args);
    if (!result.ok()) return TemplateError(receiver.at, result.status().message());
    return result;
  }

  // Whether methods are more than results that are known beforehand.
  static bool HasMethods(const TemplateValue& value) {
    return value.kind() == TemplateValue::Kind::kTime || value.kind() == TemplateValue::Kind::kDuration ||
           value.key_values();
  }

  Result<TemplateValue> Operand(const TemplateOperand& operand, const TemplateValue& dot) {
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
        TW_ASSIGN_OR_RETURN(value, Call(operand, {}));
        break;
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

  Result<TemplateValue> Field(TemplatePosition at, const TemplateValue& value, const std::string& field) const {
    if (auto known = value.methods().find(field); known != value.methods().end()) return known->second;
    if (HasMethods(value) && !value.key_values()) {
      Result<TemplateValue> result = internal::CallTemplateMethod(value, field, {});
      if (!result.ok()) return TemplateError(at, result.status().message());
      return result;
    }
    bool record = value.kind() == TemplateValue::Kind::kRecord;
    if (!record && value.kind() != TemplateValue::Kind::kMap) {
      return TemplateError(at, "a " + std::string(value.KindName()) + " has no field " + Quoted(field));
    }
    auto it = value.members().find(field);
    if (it != value.members().end()) return it->second;
    if (!record) return set_.lenient && value.of_strings() ? TemplateValue::String("") : TemplateValue();
    std::vector<std::string> known;
    for (const auto& [name, unused] : value.members()) known.push_back(name);
    std::string text = "there is no field " + Quoted("." + field) + "; known are";
    for (const std::string& name : known) text += " ." + name;
    return TemplateError(at, text);
  }

  const TemplateSet& set_;
  const TemplateCaller& caller_;
  std::vector<std::pair<std::string, TemplateValue>> variables_;
  std::string out_;
  int steps_ = 0;
  int depth_ = 0;
};

}  // namespace

Result<GoTemplate> GoTemplate::Parse(std::string_view text, const TemplateOptions& options) {
  TW_ASSIGN_OR_RETURN(TemplateSet set, internal::ParseTemplate(text, options));
  GoTemplate result;
  result.set_ = std::make_shared<const TemplateSet>(std::move(set));
  return result;
}

GoTemplate GoTemplate::With(const GoTemplate& library) const {
  if (library.set_ == nullptr || set_ == nullptr) return *this;
  TemplateSet set = *set_;
  set.definitions.insert(library.set_->definitions.begin(), library.set_->definitions.end());
  GoTemplate result;
  result.set_ = std::make_shared<const TemplateSet>(std::move(set));
  return result;
}

Result<std::string> GoTemplate::Execute(const TemplateValue& data, const TemplateCaller& caller) const {
  if (set_ == nullptr) return std::string();
  Evaluator evaluator(*set_, data, caller);
  TW_RETURN_IF_ERROR(evaluator.Run(set_->nodes, data).status());
  return evaluator.TakeOutput();
}

}  // namespace tidewright::base
