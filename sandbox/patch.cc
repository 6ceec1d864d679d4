#include "sandbox/patch.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/document.h"
#include "base/json.h"
#include "base/strings.h"

namespace tidewright::sandbox {

namespace {

using base::InvalidArgumentError;
using base::Json;
using base::Status;

constexpr size_t kMaxOperations = 10'000;

constexpr size_t kMaxDepth = 200;  // As deep as ParseJson accepts, so that what was patched can be read again.

// Adds the number of values in `value` to `nodes`; returns its depth (1 for a scalar).
size_t Measure(const Json& value, size_t& nodes) {
  ++nodes;
  size_t depth = 0;
  if (value.is_structured()) {
    for (const Json& child : value) depth = std::max(depth, Measure(child, nodes));
  }
  return depth + 1;
}

// ---- RFC 6901 pointers ----

base::Result<std::vector<std::string>> ParsePointer(std::string_view pointer) {
  std::vector<std::string> tokens;
  if (pointer.empty()) return tokens;
  if (pointer[0] != '/') {
    return InvalidArgumentError("path " + base::Quoted(pointer) + " is not a JSON pointer; it must start with '/'");
  }
  for (std::string& token : base::Split(pointer.substr(1), '/')) {
    std::string out;
    for (size_t i = 0; i < token.size(); ++i) {
      if (token[i] != '~') {
        out += token[i];
      } else if (i + 1 < token.size() && (token[i + 1] == '0' || token[i + 1] == '1')) {
        out += token[++i] == '0' ? '~' : '/';
      } else {
        return InvalidArgumentError("path " + base::Quoted(pointer) + " has a '~' that is neither ~0 nor ~1");
      }
    }
    tokens.push_back(std::move(out));
  }
  return tokens;
}

// An array index below `limit`, or -1. RFC 6901 forbids leading zeros.
int64_t ArrayIndex(const std::string& token, size_t limit) {
  int64_t index = -1;
  if (token.empty() || (token.size() > 1 && token[0] == '0') || token[0] == '-' || token[0] == '+') return -1;
  if (!base::ParseInt64(token, &index) || index < 0 || static_cast<size_t>(index) >= limit) return -1;
  return index;
}

Json* Step(Json& value, const std::string& token) {
  if (value.is_object()) {
    auto it = value.find(token);
    return it == value.end() ? nullptr : &*it;
  }
  if (value.is_array()) {
    int64_t index = ArrayIndex(token, value.size());
    return index < 0 ? nullptr : &value[static_cast<size_t>(index)];
  }
  return nullptr;
}

Json* Walk(Json& root, const std::vector<std::string>& tokens, size_t count) {
  Json* at = &root;
  for (size_t i = 0; i < count && at != nullptr; ++i) at = Step(*at, tokens[i]);
  return at;
}

Status NoSuchPath(const std::string& path) {
  return InvalidArgumentError("path " + base::Quoted(path) + " does not exist in the object");
}

// Operations can nest a document deeper than their own text, which would exhaust the stack of whoever walks it.
Status CheckDepth(const std::vector<std::string>& tokens, const Json& value) {
  size_t nodes = 0;
  if (tokens.size() + Measure(value, nodes) <= kMaxDepth) return Status::Ok();
  return base::ResourceExhaustedError("the patched object is nested more than " + std::to_string(kMaxDepth) +
                                      " levels deep");
}

Status AddAt(Json& root, const std::string& path, Json value) {
  TW_ASSIGN_OR_RETURN(auto tokens, ParsePointer(path));
  TW_RETURN_IF_ERROR(CheckDepth(tokens, value));
  if (tokens.empty()) {
    root = std::move(value);
    return Status::Ok();
  }
  Json* parent = Walk(root, tokens, tokens.size() - 1);
  if (parent == nullptr) return NoSuchPath(path);
  const std::string& last = tokens.back();
  if (parent->is_object()) {
    (*parent)[last] = std::move(value);
    return Status::Ok();
  }
  if (!parent->is_array()) return NoSuchPath(path);
  if (last == "-") {
    parent->push_back(std::move(value));
    return Status::Ok();
  }
  int64_t index = ArrayIndex(last, parent->size() + 1);
  if (index < 0) return NoSuchPath(path);
  parent->insert(parent->begin() + index, std::move(value));
  return Status::Ok();
}

Status RemoveAt(Json& root, const std::string& path) {
  TW_ASSIGN_OR_RETURN(auto tokens, ParsePointer(path));
  if (tokens.empty()) {
    root = nullptr;
    return Status::Ok();
  }
  Json* parent = Walk(root, tokens, tokens.size() - 1);
  if (parent == nullptr || Step(*parent, tokens.back()) == nullptr) return NoSuchPath(path);
  if (parent->is_object()) {
    parent->erase(tokens.back());
  } else {
    parent->erase(static_cast<size_t>(ArrayIndex(tokens.back(), parent->size())));
  }
  return Status::Ok();
}

base::Result<Json*> At(Json& root, const std::string& path) {
  TW_ASSIGN_OR_RETURN(auto tokens, ParsePointer(path));
  Json* found = Walk(root, tokens, tokens.size());
  if (found == nullptr) return NoSuchPath(path);
  return found;
}

base::Result<std::string> StringMember(const Json& operation, const char* key) {
  auto it = operation.find(key);
  if (it == operation.end() || !it->is_string()) {
    return InvalidArgumentError(std::string("member \"") + key + "\" is missing or not a string");
  }
  return it->get<std::string>();
}

Status MoveOrCopy(Json& target, const Json& operation, const std::string& path, bool move, size_t& copied) {
  TW_ASSIGN_OR_RETURN(std::string from, StringMember(operation, "from"));
  TW_ASSIGN_OR_RETURN(Json * source, At(target, from));
  if (move && path.size() > from.size() && path.compare(0, from.size() + 1, from + "/") == 0) {
    return InvalidArgumentError("cannot move " + base::Quoted(from) + " into itself");
  }
  Json value = *source;
  // Only copies can grow a document faster than the patch that describes them.
  if (!move) Measure(value, copied);
  if (copied > kMaxPatchedNodes) {
    return base::ResourceExhaustedError("the copies of the patch make the object too large");
  }
  if (move) TW_RETURN_IF_ERROR(RemoveAt(target, from));
  return AddAt(target, path, std::move(value));
}

Status ApplyOperation(Json& target, const Json& operation, size_t& copied) {
  if (!operation.is_object()) return InvalidArgumentError("is not an object");
  TW_ASSIGN_OR_RETURN(std::string op, StringMember(operation, "op"));
  TW_ASSIGN_OR_RETURN(std::string path, StringMember(operation, "path"));
  if (op == "remove") return RemoveAt(target, path);
  if (op == "move" || op == "copy") return MoveOrCopy(target, operation, path, op == "move", copied);
  auto value = operation.find("value");
  if (op != "add" && op != "replace" && op != "test") {
    return InvalidArgumentError("op " + base::Quoted(op) + " is not one of add, remove, replace, move, copy, test");
  }
  if (value == operation.end()) return InvalidArgumentError("member \"value\" is missing");
  if (op == "add") return AddAt(target, path, *value);
  TW_ASSIGN_OR_RETURN(Json * found, At(target, path));
  if (op == "replace") {
    TW_ASSIGN_OR_RETURN(auto tokens, ParsePointer(path));
    TW_RETURN_IF_ERROR(CheckDepth(tokens, *value));
    *found = *value;
  } else if (*found != *value) {
    return InvalidArgumentError("testing path " + path + " failed: the value is " +
                                base::Quoted(base::DumpJson(*found)));
  }
  return Status::Ok();
}

// ---- Strategic merge ----

// The merge key of list `field` inside an object reached through `parent`; "" means the list is replaced as a whole.
// Names that are keyed differently in different places (ports, metrics' conditions) are told apart by their elements.
std::string MergeKey(const std::string& field, const Json& elements) {
  static const auto* keys = new std::map<std::string, std::string>{{"containers", "name"},
                                                                   {"initContainers", "name"},
                                                                   {"ephemeralContainers", "name"},
                                                                   {"env", "name"},
                                                                   {"volumes", "name"},
                                                                   {"volumeMounts", "mountPath"},
                                                                   {"volumeDevices", "devicePath"},
                                                                   {"imagePullSecrets", "name"},
                                                                   {"hostAliases", "ip"},
                                                                   {"conditions", "type"},
                                                                   {"ownerReferences", "uid"},
                                                                   {"topologySpreadConstraints", "topologyKey"},
                                                                   {"resourceClaims", "name"},
                                                                   {"schedulingGates", "name"},
                                                                   {"podIPs", "ip"},
                                                                   {"hostIPs", "ip"},
                                                                   {"secrets", "name"},
                                                                   {"addresses", "type"},
                                                                   {"taints", "key"}};
  if (field == "ports") {
    for (const Json& element : elements) {
      if (element.is_object() && element.contains("containerPort")) return "containerPort";
    }
    return "port";
  }
  auto it = keys->find(field);
  return it == keys->end() ? "" : it->second;
}

// Lists of plain values that merge as sets.
bool IsMergingPrimitiveList(const std::string& field) { return field == "finalizers"; }

constexpr std::string_view kSetOrder = "$setElementOrder/";
constexpr std::string_view kDeleteFrom = "$deleteFromPrimitiveList/";

bool IsDirective(const std::string& key) { return !key.empty() && key[0] == '$'; }

std::string PatchDirective(const Json& patch) {
  if (!patch.is_object()) return "";
  auto it = patch.find("$patch");
  return it != patch.end() && it->is_string() ? it->get<std::string>() : "";
}

Json WithoutDirectives(const Json& value) {
  if (value.is_array()) {
    Json out = Json::array();
    for (const Json& element : value) {
      std::string directive = PatchDirective(element);
      if (directive == "delete" || directive == "replace") continue;
      out.push_back(WithoutDirectives(element));
    }
    return out;
  }
  if (!value.is_object()) return value;
  Json out = Json::object();
  for (const auto& [key, member] : value.items()) {
    if (!IsDirective(key) && !member.is_null()) out[key] = WithoutDirectives(member);
  }
  return out;
}

const Json* KeyOf(const Json& element, const std::string& merge_key) {
  if (!element.is_object()) return nullptr;
  auto it = element.find(merge_key);
  return it == element.end() ? nullptr : &*it;
}

Status MergeObject(Json& target, const Json& patch);

size_t FindElement(const Json& list, const std::string& merge_key, const Json& key) {
  for (size_t i = 0; i < list.size(); ++i) {
    const Json* other = KeyOf(list[i], merge_key);
    if (other != nullptr && *other == key) return i;
  }
  return list.size();
}

Status MergeKeyedList(Json& target, const Json& patch, const std::string& merge_key, const std::string& field) {
  for (const Json& element : patch) {
    if (PatchDirective(element) == "replace") {
      target = WithoutDirectives(patch);
      return Status::Ok();
    }
  }
  for (const Json& element : patch) {
    const Json* key = KeyOf(element, merge_key);
    if (key == nullptr) {
      return InvalidArgumentError("an element of list " + field + " does not contain the merge key " + merge_key);
    }
    size_t at = FindElement(target, merge_key, *key);
    if (PatchDirective(element) == "delete") {
      if (at < target.size()) target.erase(at);
    } else if (at < target.size()) {
      TW_RETURN_IF_ERROR(MergeObject(target[at], element));
    } else {
      target.push_back(WithoutDirectives(element));
    }
  }
  return Status::Ok();
}

// Puts the elements that `order` names into its order; others keep their place after the element they followed.
void ReorderList(Json& list, const Json& order, const std::string& merge_key) {
  if (!order.is_array() || !list.is_array()) return;
  auto rank = [&](const Json& element) -> size_t {
    for (size_t i = 0; i < order.size(); ++i) {
      if (merge_key.empty() ? order[i] == element
                            : (KeyOf(order[i], merge_key) != nullptr && KeyOf(element, merge_key) != nullptr &&
                               *KeyOf(order[i], merge_key) == *KeyOf(element, merge_key))) {
        return i + 1;
      }
    }
    return 0;
  };
  std::vector<std::pair<size_t, Json>> ranked;
  size_t last = 0;
  for (Json& element : list) {
    size_t own = rank(element);
    if (own != 0) last = own;
    ranked.emplace_back(own != 0 ? own : last, std::move(element));
  }
  std::stable_sort(ranked.begin(), ranked.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  list = Json::array();
  for (auto& [unused, element] : ranked) list.push_back(std::move(element));
}

Status MergeList(Json& target, const Json& patch, const std::string& field) {
  std::string merge_key = MergeKey(field, patch);
  bool objects = !patch.empty() && patch[0].is_object();
  if (target.is_array() && objects && !merge_key.empty()) return MergeKeyedList(target, patch, merge_key, field);
  if (target.is_array() && !objects && IsMergingPrimitiveList(field)) {
    for (const Json& element : patch) {
      if (std::find(target.begin(), target.end(), element) == target.end()) target.push_back(element);
    }
    return Status::Ok();
  }
  target = WithoutDirectives(patch);
  return Status::Ok();
}

void RetainKeys(Json& target, const Json& keys) {
  if (!keys.is_array()) return;
  for (auto it = target.begin(); it != target.end();) {
    bool keep = std::find(keys.begin(), keys.end(), Json(it.key())) != keys.end();
    it = keep ? std::next(it) : target.erase(it);
  }
}

void DeleteFromPrimitiveList(Json& target, const std::string& field, const Json& values) {
  auto it = target.find(field);
  if (it == target.end() || !it->is_array() || !values.is_array()) return;
  for (const Json& value : values) {
    for (size_t i = it->size(); i-- > 0;) {
      if ((*it)[i] == value) it->erase(i);
    }
  }
}

Status MergeMember(Json& target, const std::string& key, const Json& value) {
  if (value.is_null()) {
    target.erase(key);
    return Status::Ok();
  }
  auto it = target.find(key);
  if (it == target.end() || it->is_null()) {
    if (PatchDirective(value) != "delete") target[key] = WithoutDirectives(value);
    return Status::Ok();
  }
  if (value.is_array()) return MergeList(*it, value, key);
  if (!value.is_object()) {
    *it = value;
    return Status::Ok();
  }
  if (PatchDirective(value) == "delete") {
    target.erase(key);
    return Status::Ok();
  }
  return MergeObject(*it, value);
}

Status MergeObject(Json& target, const Json& patch) {
  std::string directive = PatchDirective(patch);
  if (directive == "replace" || !target.is_object()) {
    target = WithoutDirectives(patch);
    return Status::Ok();
  }
  if (!directive.empty() && directive != "merge" && directive != "delete") {
    return InvalidArgumentError("$patch: " + base::Quoted(directive) + " is not one of merge, replace, delete");
  }
  auto retain = patch.find("$retainKeys");
  if (retain != patch.end()) RetainKeys(target, *retain);
  for (const auto& [key, value] : patch.items()) {
    if (key.rfind(kDeleteFrom, 0) == 0) {
      DeleteFromPrimitiveList(target, key.substr(kDeleteFrom.size()), value);
    } else if (!IsDirective(key)) {
      TW_RETURN_IF_ERROR(MergeMember(target, key, value));
    }
  }
  for (const auto& [key, order] : patch.items()) {
    if (key.rfind(kSetOrder, 0) != 0) continue;
    std::string field = key.substr(kSetOrder.size());
    auto list = target.find(field);
    bool objects = order.is_array() && !order.empty() && order[0].is_object();
    if (list != target.end()) ReorderList(*list, order, objects ? MergeKey(field, order) : "");
  }
  return Status::Ok();
}

Json WithoutNulls(const Json& value) {
  if (!value.is_structured()) return value;
  Json out = value.is_array() ? Json::array() : Json::object();
  for (const auto& [key, member] : value.items()) {
    if (value.is_array()) {
      out.push_back(WithoutNulls(member));
    } else if (!member.is_null()) {
      out[key] = WithoutNulls(member);
    }
  }
  return out;
}

}  // namespace

void ApplyMergePatch(Json& target, const Json& patch) {
  if (!patch.is_object()) {
    target = patch;
    return;
  }
  if (!target.is_object()) target = Json::object();
  for (const auto& [key, value] : patch.items()) {
    if (value.is_null()) {
      target.erase(key);
    } else {
      ApplyMergePatch(target[key], value);
    }
  }
}

Status ApplyJsonPatch(Json& target, const Json& patch) {
  if (!patch.is_array()) return InvalidArgumentError("a JSON patch must be an array of operations");
  if (patch.size() > kMaxOperations) {
    return base::ResourceExhaustedError("the patch has " + std::to_string(patch.size()) + " operations; at most " +
                                        std::to_string(kMaxOperations) + " are allowed");
  }
  size_t copied = 0;
  for (size_t i = 0; i < patch.size(); ++i) {
    TW_RETURN_IF_ERROR(ApplyOperation(target, patch[i], copied).Annotate("operation " + std::to_string(i)));
  }
  return Status::Ok();
}

Status ApplyStrategicMergePatch(Json& target, const Json& patch) {
  if (!patch.is_object()) return InvalidArgumentError("a strategic merge patch must be an object");
  return MergeObject(target, patch);
}

Status ApplyConfiguration(Json& target, const Json& configuration) {
  if (!configuration.is_object()) return InvalidArgumentError("the applied configuration must be an object");
  return MergeObject(target, WithoutNulls(configuration));
}

}  // namespace tidewright::sandbox
