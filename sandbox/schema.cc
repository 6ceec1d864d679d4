#include "sandbox/schema.h"

#include <re2/re2.h>

#include <algorithm>
#include <cmath>

#include "base/json.h"
#include "base/metrics.h"
#include "base/strings.h"

namespace tidewright::sandbox {

namespace {

using base::Json;

constexpr size_t kMaxErrors = 100;

std::string ChildPath(const std::string& path, const std::string& name) {
  return path.empty() ? name : path + "." + name;
}

bool Flag(const Json& schema, std::string_view key) { return base::FindBool(schema, {key}); }

std::string TypeName(const Json& value) {
  if (value.is_null()) return "null";
  if (value.is_string()) return "string";
  if (value.is_boolean()) return "boolean";
  if (value.is_number_integer()) return "integer";
  if (value.is_number()) return "number";
  return value.is_array() ? "array" : "object";
}

bool IsWhole(const Json& value) {
  return value.is_number_integer() || (value.is_number() && std::floor(value.get<double>()) == value.get<double>());
}

bool TypeMatches(const std::string& wanted, const Json& value) {
  if (wanted.empty()) return true;
  if (wanted == "integer") return IsWhole(value);
  if (wanted == "number") return value.is_number();
  return wanted == TypeName(value);
}

size_t CharacterCount(const std::string& text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

const Json* Number(const Json& schema, std::string_view key) {
  const Json* value = base::Find(schema, {key});
  return value != nullptr && value->is_number() ? value : nullptr;
}

// Validates one value against one schema node; children recurse through ValidateSchema.
class Validator {
 public:
  Validator(const Json& schema, const Json& value, const std::string& path, std::vector<FieldError>* errors)
      : schema_(schema), value_(value), path_(path), errors_(errors) {}

  void Run() {
    if (value_.is_null() && (Flag(schema_, "nullable") || base::Find(schema_, {"type"}) == nullptr)) return;
    if (!CheckType()) return;
    CheckEnum();
    if (value_.is_number()) CheckNumber();
    if (value_.is_string()) CheckString();
    if (value_.is_array()) CheckArray();
    if (value_.is_object()) CheckObject();
    CheckCombinations();
  }

 private:
  void Add(FieldError error) {
    if (errors_->size() < kMaxErrors) errors_->push_back(std::move(error));
  }
  void AddInvalid(const std::string& detail) { Add(Invalid(path_, value_, path_ + " in body " + detail)); }

  bool CheckType() {
    if (Flag(schema_, "x-kubernetes-int-or-string")) {
      if (value_.is_string() || IsWhole(value_)) return true;
      AddInvalid("must be of type integer or string: \"" + TypeName(value_) + "\"");
      return false;
    }
    std::string wanted = base::FindString(schema_, {"type"});
    if (TypeMatches(wanted, value_)) return true;
    Add({"FieldValueTypeInvalid", path_,
         "Invalid value: \"" + TypeName(value_) + "\": " + path_ + " in body must be of type " + wanted + ": \"" +
             TypeName(value_) + "\""});
    return false;
  }

  void CheckEnum() {
    const Json* allowed = base::Find(schema_, {"enum"});
    if (allowed == nullptr || !allowed->is_array()) return;
    std::vector<std::string> names;
    for (const Json& option : *allowed) {
      if (option == value_) return;
      names.push_back(option.is_string() ? option.get<std::string>() : base::DumpJson(option));
    }
    Add(NotSupported(path_, value_, names));
  }

  void CheckNumber() {
    const double number = value_.get<double>();
    if (const Json* limit = Number(schema_, "minimum")) {
      bool exclusive = Flag(schema_, "exclusiveMinimum");
      double bound = limit->get<double>();
      if (number < bound || (exclusive && number == bound)) {
        AddInvalid(std::string("should be greater than ") + (exclusive ? "" : "or equal to ") + base::DumpJson(*limit));
      }
    }
    if (const Json* limit = Number(schema_, "maximum")) {
      bool exclusive = Flag(schema_, "exclusiveMaximum");
      double bound = limit->get<double>();
      if (number > bound || (exclusive && number == bound)) {
        AddInvalid(std::string("should be less than ") + (exclusive ? "" : "or equal to ") + base::DumpJson(*limit));
      }
    }
    if (const Json* step = Number(schema_, "multipleOf")) {
      if (step->get<double>() > 0 && std::fmod(number, step->get<double>()) != 0) {
        AddInvalid("should be a multiple of " + base::DumpJson(*step));
      }
    }
  }

  void CheckString() {
    const std::string& text = value_.get_ref<const std::string&>();
    CheckSize(CharacterCount(text), "minLength", "maxLength", "chars long");
    std::string pattern = base::FindString(schema_, {"pattern"});
    if (pattern.empty()) return;
    re2::RE2 expression(pattern, re2::RE2::Quiet);
    if (expression.ok() && !re2::RE2::PartialMatch(text, expression)) {
      AddInvalid("should match '" + pattern + "'");
    }
  }

  void CheckSize(size_t size, const char* least, const char* most, const std::string& unit) {
    const Json* low = Number(schema_, least);
    const Json* high = Number(schema_, most);
    if (low != nullptr && static_cast<double>(size) < low->get<double>()) {
      AddInvalid("should be at least " + base::DumpJson(*low) + " " + unit);
    }
    if (high != nullptr && static_cast<double>(size) > high->get<double>()) {
      AddInvalid("should be at most " + base::DumpJson(*high) + " " + unit);
    }
  }

  void CheckArray() {
    CheckSize(value_.size(), "minItems", "maxItems", "items");
    const Json* items = base::Find(schema_, {"items"});
    if (items == nullptr) return;
    for (size_t i = 0; i < value_.size(); ++i) {
      ValidateSchema(*items, value_[i], path_ + "[" + std::to_string(i) + "]", errors_);
    }
  }

  void CheckObject() {
    CheckSize(value_.size(), "minProperties", "maxProperties", "properties");
    const Json* required = base::Find(schema_, {"required"});
    if (required != nullptr && required->is_array()) {
      for (const Json& name : *required) {
        if (name.is_string() && !value_.contains(name.get<std::string>())) {
          Add(Required(ChildPath(path_, name.get<std::string>())));
        }
      }
    }
    const Json* properties = base::Find(schema_, {"properties"});
    const Json* additional = base::Find(schema_, {"additionalProperties"});
    for (const auto& [name, member] : value_.items()) {
      const Json* child = properties == nullptr ? nullptr : base::Find(*properties, {name});
      if (child == nullptr) child = additional;
      if (child != nullptr && child->is_object()) ValidateSchema(*child, member, ChildPath(path_, name), errors_);
    }
  }

  bool Matches(const Json& schema) const {
    std::vector<FieldError> errors;
    ValidateSchema(schema, value_, path_, &errors);
    return errors.empty();
  }

  size_t CountMatches(const Json& schemas) const {
    size_t count = 0;
    for (const Json& schema : schemas) count += Matches(schema) ? 1 : 0;
    return count;
  }

  void CheckCombinations() {
    if (const Json* all = base::Find(schema_, {"allOf"})) {
      for (const Json& schema : *all) ValidateSchema(schema, value_, path_, errors_);
    }
    const Json* any = base::Find(schema_, {"anyOf"});
    if (any != nullptr && CountMatches(*any) == 0) AddInvalid("must validate at least one schema (anyOf)");
    const Json* one = base::Find(schema_, {"oneOf"});
    if (one != nullptr && CountMatches(*one) != 1) {
      AddInvalid("must validate one and only one schema (oneOf). Found " +
                 std::string(CountMatches(*one) == 0 ? "none" : "several") + " valid");
    }
    const Json* forbidden = base::Find(schema_, {"not"});
    if (forbidden != nullptr && Matches(*forbidden)) AddInvalid("must not validate the schema (not)");
  }

  const Json& schema_;
  const Json& value_;
  const std::string& path_;
  std::vector<FieldError>* const errors_;
};

void Prune(const Json& schema, Json& value, const std::string& path, bool resource_root,
           std::vector<std::string>* unknown) {
  if (value.is_array()) {
    const Json* items = base::Find(schema, {"items"});
    for (size_t i = 0; items != nullptr && i < value.size(); ++i) {
      Prune(*items, value[i], path + "[" + std::to_string(i) + "]", false, unknown);
    }
    return;
  }
  if (!value.is_object() || Flag(schema, "x-kubernetes-preserve-unknown-fields")) return;
  const Json* properties = base::Find(schema, {"properties"});
  const Json* additional = base::Find(schema, {"additionalProperties"});
  if (additional != nullptr && additional->is_boolean() && additional->get<bool>()) return;
  resource_root = resource_root || Flag(schema, "x-kubernetes-embedded-resource");
  for (auto it = value.begin(); it != value.end();) {
    const std::string name = it.key();
    const Json* child = properties == nullptr ? nullptr : base::Find(*properties, {name});
    if (child == nullptr && additional != nullptr && additional->is_object()) child = additional;
    bool type_meta = resource_root && (name == "apiVersion" || name == "kind" || name == "metadata");
    if (child == nullptr && !type_meta) {
      if (unknown != nullptr) unknown->push_back(ChildPath(path, name));
      it = value.erase(it);
      continue;
    }
    if (child != nullptr && !type_meta) Prune(*child, *it, ChildPath(path, name), false, unknown);
    ++it;
  }
}

}  // namespace

FieldError Required(const std::string& field, const std::string& detail) {
  return {"FieldValueRequired", field, detail.empty() ? "Required value" : "Required value: " + detail};
}

FieldError Invalid(const std::string& field, const Json& value, const std::string& detail) {
  return {"FieldValueInvalid", field, "Invalid value: " + base::DumpJson(value) + ": " + detail};
}

FieldError NotSupported(const std::string& field, const Json& value, const std::vector<std::string>& supported) {
  std::vector<std::string> quoted;
  for (const std::string& name : supported) quoted.push_back("\"" + name + "\"");
  return {"FieldValueNotSupported", field,
          "Unsupported value: " + base::DumpJson(value) + ": supported values: " + base::Join(quoted, ", ")};
}

std::string JoinFieldErrors(const std::vector<FieldError>& errors) {
  std::vector<std::string> parts;
  for (const FieldError& error : errors) parts.push_back(error.field + ": " + error.message);
  return parts.size() == 1 ? parts[0] : "[" + base::Join(parts, ", ") + "]";
}

void ApplySchemaDefaults(const Json& schema, Json& value) {
  if (value.is_array()) {
    const Json* items = base::Find(schema, {"items"});
    if (items == nullptr) return;
    for (Json& element : value) ApplySchemaDefaults(*items, element);
    return;
  }
  if (!value.is_object()) return;
  const Json* properties = base::Find(schema, {"properties"});
  if (properties != nullptr && properties->is_object()) {
    for (const auto& [name, child] : properties->items()) {
      const Json* fallback = base::Find(child, {"default"});
      if (fallback != nullptr && !value.contains(name)) value[name] = *fallback;
      auto member = value.find(name);
      if (member != value.end()) ApplySchemaDefaults(child, *member);
    }
  }
  const Json* additional = base::Find(schema, {"additionalProperties"});
  if (additional == nullptr || !additional->is_object()) return;
  for (auto& [name, member] : value.items()) {
    if (properties == nullptr || !properties->contains(name)) ApplySchemaDefaults(*additional, member);
  }
}

void PruneUnknownFields(const Json& schema, Json& value, std::vector<std::string>* unknown) {
  Prune(schema, value, "", true, unknown);
}

void ValidateSchema(const Json& schema, const Json& value, const std::string& path, std::vector<FieldError>* errors) {
  Validator(schema, value, path, errors).Run();
}

}  // namespace tidewright::sandbox
