#include "base/document.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cmath>
#include <sstream>

#include "base/json.h"
#include "base/strings.h"

namespace tidewright::base {

namespace {

constexpr int kMaxDepth = 200;
constexpr size_t kMaxNodes = 1'000'000;  // After alias expansion: stops "billion laughs".

// Converts yaml-cpp's tree and enforces the limits.
class YamlConverter {
 public:
  explicit YamlConverter(const std::string& origin) : origin_(origin) {}

  Status Convert(const YAML::Node& yaml, int depth, Node* out) {
    out->line = yaml.Mark().line + 1;
    if (depth > kMaxDepth) return At(*out, "nested deeper than 200 levels");
    if (++nodes_ > kMaxNodes) return At(*out, "more than 1000000 values after alias expansion");
    switch (yaml.Type()) {
      case YAML::NodeType::Undefined:
      case YAML::NodeType::Null: return Status::Ok();
      case YAML::NodeType::Scalar: return ConvertScalar(yaml, out);
      case YAML::NodeType::Sequence: return ConvertList(yaml, depth, out);
      case YAML::NodeType::Map: return ConvertMap(yaml, depth, out);
    }
    return Status::Ok();
  }

 private:
  Status At(const Node& node, const std::string& message) const {
    return InvalidArgumentError(origin_ + ":" + std::to_string(node.line) + ": " + message);
  }

  Status ConvertScalar(const YAML::Node& yaml, Node* out) {
    out->kind = Node::Kind::kScalar;
    out->text = yaml.Scalar();
    // yaml-cpp tags quoted scalars "!" and plain ones "?".
    out->plain = yaml.Tag() != "!" && yaml.Tag() != "tag:yaml.org,2002:str";
    bool null_word = out->text == "~" || out->text == "null" || out->text == "Null" || out->text == "NULL";
    if (out->plain && (null_word || out->text.empty())) out->kind = Node::Kind::kNull;
    return Status::Ok();
  }

  Status ConvertList(const YAML::Node& yaml, int depth, Node* out) {
    out->kind = Node::Kind::kList;
    out->items.resize(yaml.size());
    for (size_t i = 0; i < yaml.size(); ++i) TW_RETURN_IF_ERROR(Convert(yaml[i], depth + 1, &out->items[i]));
    return Status::Ok();
  }

  Status ConvertMap(const YAML::Node& yaml, int depth, Node* out) {
    out->kind = Node::Kind::kMap;
    for (const auto& entry : yaml) {
      if (!entry.first.IsScalar()) return At(*out, "a key is not a plain word; write key: value");
      const std::string& key = entry.first.Scalar();
      if (out->Find(key) != nullptr) {
        return InvalidArgumentError(origin_ + ":" + std::to_string(entry.first.Mark().line + 1) + ": key " +
                                    Quoted(key) + " is given twice; remove one");
      }
      out->members.emplace_back(key, Node());
      Node* value = &out->members.back().second;
      TW_RETURN_IF_ERROR(Convert(entry.second, depth + 1, value));
      // A null value carries no mark of its own.
      if (value->kind == Node::Kind::kNull) value->line = entry.first.Mark().line + 1;
    }
    return Status::Ok();
  }

  const std::string& origin_;
  size_t nodes_ = 0;
};

Status YamlError(const YAML::Exception& error, const std::string& origin) {
  return InvalidArgumentError(origin + ":" + std::to_string(error.mark.line + 1) + ": not valid YAML: " + error.msg);
}

// yaml-cpp recurses over flow collections: refuse absurd nesting before it sees the text.
Status CheckNesting(std::string_view text, const std::string& origin) {
  int depth = 0;
  int line = 1;
  size_t indent = 0;
  bool at_start = true;
  size_t dashes = 0;
  for (char c : text) {
    if (c == '\n') {
      ++line;
      at_start = true;
      indent = 0;
      dashes = 0;
      continue;
    }
    if (c == '[' || c == '{') ++depth;
    if ((c == ']' || c == '}') && depth > 0) --depth;
    if (at_start && c == '-') ++dashes;
    if (at_start && (c == ' ' || c == '-' || c == '?')) ++indent;
    if (c != ' ' && c != '-' && c != '?') at_start = false;
    if (depth > kMaxDepth || dashes > kMaxDepth || (at_start && indent > 100 * kMaxDepth)) {
      return InvalidArgumentError(origin + ":" + std::to_string(line) + ": nested deeper than 200 levels");
    }
  }
  return Status::Ok();
}

bool IsBool(const Node& node, bool* value) {
  if (!node.plain) return false;
  const std::string lower = ToLower(node.text);
  if (lower != "true" && lower != "false") return false;
  *value = lower == "true";
  return true;
}

std::string KindName(const Node& node) {
  switch (node.kind) {
    case Node::Kind::kNull: return "nothing";
    case Node::Kind::kScalar: return Quoted(node.text);
    case Node::Kind::kList: return "a list";
    case Node::Kind::kMap: return "a mapping";
  }
  return "";
}

std::string ItemPath(const std::string& path, size_t index) { return path + "[" + std::to_string(index) + "]"; }

}  // namespace

Node::Node() = default;
Node::~Node() = default;
Node::Node(const Node& other) = default;
Node::Node(Node&& other) noexcept = default;
Node& Node::operator=(const Node& other) = default;
Node& Node::operator=(Node&& other) noexcept = default;

const Node* Node::Find(std::string_view key) const {
  for (const auto& [name, value] : members) {
    if (name == key) return &value;
  }
  return nullptr;
}

Result<Node> ParseYaml(std::string_view text, const std::string& origin) {
  TW_ASSIGN_OR_RETURN(std::vector<Node> documents, ParseYamlDocuments(text, origin));
  return documents.empty() ? Node() : std::move(documents.front());
}

Result<std::vector<Node>> ParseYamlDocuments(std::string_view text, const std::string& origin) {
  TW_RETURN_IF_ERROR(CheckNesting(text, origin));
  std::vector<Node> documents;
  try {
    YamlConverter converter(origin);
    for (const YAML::Node& yaml : YAML::LoadAll(std::string(text))) {
      Node node;
      TW_RETURN_IF_ERROR(converter.Convert(yaml, 0, &node));
      if (!node.IsNull()) documents.push_back(std::move(node));
    }
  } catch (const YAML::Exception& error) {
    return YamlError(error, origin);
  }
  return documents;
}

Node NodeFromJson(const Json& value) {
  Node node;
  if (value.is_object()) {
    node.kind = Node::Kind::kMap;
    for (const auto& [key, member] : value.items()) node.members.emplace_back(key, NodeFromJson(member));
  } else if (value.is_array()) {
    node.kind = Node::Kind::kList;
    for (const Json& item : value) node.items.push_back(NodeFromJson(item));
  } else if (value.is_string()) {
    node.kind = Node::Kind::kScalar;
    node.text = value.get<std::string>();
    node.plain = false;
  } else if (!value.is_null()) {
    node.kind = Node::Kind::kScalar;
    node.text = DumpJson(value);
  }
  return node;
}

Json NodeToJson(const Node& node) {
  switch (node.kind) {
    case Node::Kind::kNull: return nullptr;
    case Node::Kind::kList: {
      Json list = Json::array();
      for (const Node& item : node.items) list.push_back(NodeToJson(item));
      return list;
    }
    case Node::Kind::kMap: {
      Json map = Json::object();
      for (const auto& [key, value] : node.members) map[key] = NodeToJson(value);
      return map;
    }
    case Node::Kind::kScalar: break;
  }
  bool flag = false;
  int64_t integer = 0;
  double number = 0;
  if (IsBool(node, &flag)) return flag;
  if (node.plain && ParseInt64(node.text, &integer)) return integer;
  // Words such as "inf" and "nan" read as doubles but are words to everyone else.
  bool numeric = !node.text.empty() && node.text.find_first_not_of("+-.0123456789eE") == std::string::npos;
  if (node.plain && numeric && ParseDouble(node.text, &number)) return number;
  return node.text;
}

ObjectReader::ObjectReader(const Node& node, std::string path, ErrorList& errors)
    : node_(node), path_(std::move(path)), errors_(errors) {
  if (node_.kind != Node::Kind::kMap && !node_.IsNull()) {
    errors_.Add(node_.line, path_, "is " + KindName(node_) + "; a mapping (key: value) is expected");
    ignore_rest_ = true;
  }
}

bool ObjectReader::Has(std::string_view key) const {
  const Node* found = node_.Find(key);
  return found != nullptr && !found->IsNull();
}

std::string ObjectReader::PathOf(std::string_view key) const {
  return path_.empty() ? std::string(key) : path_ + "." + std::string(key);
}

const Node* ObjectReader::Take(std::string_view key) {
  known_.emplace_back(key);
  const Node* found = node_.Find(key);
  return found == nullptr || found->IsNull() ? nullptr : found;
}

const Node* ObjectReader::TakeScalar(std::string_view key, std::string_view wanted) {
  const Node* found = Take(key);
  if (found == nullptr || found->kind == Node::Kind::kScalar) return found;
  Error(key, "is " + KindName(*found) + "; " + std::string(wanted) + " is expected");
  return nullptr;
}

bool ObjectReader::Optional(std::string_view key, std::string* out) {
  const Node* node = TakeScalar(key, "a text");
  if (node == nullptr) return false;
  if (node->plain && node->line == 0) {  // JSON knows types; YAML's plain words are texts, too.
    Error(key, node->text + " is not a text; put it in quotes");
    return false;
  }
  *out = node->text;
  return true;
}

bool ObjectReader::Optional(std::string_view key, bool* out) {
  const Node* node = TakeScalar(key, "true or false");
  if (node == nullptr) return false;
  if (IsBool(*node, out)) return true;
  Error(key, Quoted(node->text) + " is not a truth value; use true or false");
  return false;
}

bool ObjectReader::Optional(std::string_view key, int32_t* out) {
  int64_t wide = 0;
  if (!Optional(key, &wide)) return false;
  if (wide < INT32_MIN || wide > INT32_MAX) {
    Error(key, std::to_string(wide) + " is out of range; use a number between -2147483648 and 2147483647");
    return false;
  }
  *out = static_cast<int32_t>(wide);
  return true;
}

bool ObjectReader::Optional(std::string_view key, int64_t* out) {
  const Node* node = TakeScalar(key, "a whole number");
  if (node == nullptr) return false;
  if (node->plain && ParseInt64(node->text, out)) return true;
  Error(key, Quoted(node->text) + " is not a whole number; use for example 5, without quotes");
  return false;
}

bool ObjectReader::Optional(std::string_view key, double* out) {
  const Node* node = TakeScalar(key, "a number");
  if (node == nullptr) return false;
  double value = 0;
  if (node->plain && ParseDouble(node->text, &value) && std::isfinite(value)) {
    *out = value;
    return true;
  }
  Error(key, Quoted(node->text) + " is not a number; use for example 0.5, without quotes");
  return false;
}

bool ObjectReader::Optional(std::string_view key, Duration* out) {
  const Node* node = TakeScalar(key, "a duration such as 30s");
  if (node == nullptr) return false;
  auto parsed = ParseDuration(node->text);
  if (!parsed.ok()) {
    Error(key, parsed.status().message());
    return false;
  }
  *out = *parsed;
  return true;
}

bool ObjectReader::Optional(std::string_view key, Quantity* out) {
  const Node* node = TakeScalar(key, "a quantity such as 500m");
  if (node == nullptr) return false;
  auto parsed = Quantity::Parse(node->text);
  if (!parsed.ok()) {
    Error(key, parsed.status().message());
    return false;
  }
  *out = *parsed;
  return true;
}

bool ObjectReader::Optional(std::string_view key, std::vector<std::string>* out) {
  const Node* node = Take(key);
  if (node == nullptr) return false;
  if (node->kind != Node::Kind::kList) {
    Error(key, "is " + KindName(*node) + "; a list of texts is expected");
    return false;
  }
  std::vector<std::string> values;
  for (size_t i = 0; i < node->items.size(); ++i) {
    const Node& item = node->items[i];
    if (item.kind != Node::Kind::kScalar) {
      errors_.Add(item.line, ItemPath(PathOf(key), i), "is " + KindName(item) + "; a text is expected");
      return false;
    }
    values.push_back(item.text);
  }
  *out = std::move(values);
  return true;
}

bool ObjectReader::Optional(std::string_view key, std::map<std::string, std::string>* out) {
  const Node* node = Take(key);
  if (node == nullptr) return false;
  if (node->kind != Node::Kind::kMap) {
    Error(key, "is " + KindName(*node) + "; a mapping of texts is expected");
    return false;
  }
  std::map<std::string, std::string> values;
  bool ok = true;
  for (const auto& [name, value] : node->members) {
    bool typed = value.line == 0 && value.plain && value.kind == Node::Kind::kScalar;
    if (value.kind == Node::Kind::kList || value.kind == Node::Kind::kMap || typed) {
      errors_.Add(
          value.line, PathOf(key) + "." + name,
          (typed ? value.text + " is not a text; put it in quotes" : "is " + KindName(value) + "; a text is expected"));
      ok = false;
      continue;
    }
    values[name] = value.text;
  }
  if (ok) *out = std::move(values);
  return ok;
}

bool ObjectReader::Object(std::string_view key, const std::function<void(ObjectReader&)>& read) {
  const Node* node = Take(key);
  if (node == nullptr) return false;
  ObjectReader reader(*node, PathOf(key), errors_);
  read(reader);
  reader.Finish();
  return true;
}

bool ObjectReader::Objects(std::string_view key, const std::function<void(ObjectReader&)>& read) {
  const Node* node = Take(key);
  if (node == nullptr) return false;
  if (node->kind != Node::Kind::kList) {
    Error(key, "is " + KindName(*node) + "; a list (- item) is expected");
    return false;
  }
  for (size_t i = 0; i < node->items.size(); ++i) {
    const Node& item = node->items[i];
    std::string path = ItemPath(PathOf(key), i);
    if (item.IsNull()) {
      errors_.Add(item.line, path, "is empty; remove it or fill it in");
      continue;
    }
    ObjectReader reader(item, std::move(path), errors_);
    read(reader);
    reader.Finish();
  }
  return true;
}

bool ObjectReader::ObjectMap(std::string_view key, const std::function<void(const std::string&, ObjectReader&)>& read) {
  const Node* node = Take(key);
  if (node == nullptr) return false;
  if (node->kind != Node::Kind::kMap) {
    Error(key, "is " + KindName(*node) + "; a mapping is expected");
    return false;
  }
  for (const auto& [name, value] : node->members) {
    ObjectReader reader(value, PathOf(key) + "." + name, errors_);
    read(name, reader);
    reader.Finish();
  }
  return true;
}

const Node* ObjectReader::Raw(std::string_view key) { return Take(key); }
void ObjectReader::Ignore(std::string_view key) { known_.emplace_back(key); }
void ObjectReader::IgnoreRest() { ignore_rest_ = true; }

void ObjectReader::Error(std::string_view key, const std::string& message) {
  const Node* found = node_.Find(key);
  errors_.Add(found != nullptr ? found->line : node_.line, PathOf(key), message);
}

void ObjectReader::Missing(std::string_view key) {
  known_.emplace_back(key);
  errors_.Add(node_.line, PathOf(key), "is missing; it is required");
}

void ObjectReader::Finish() {
  if (ignore_rest_) return;
  for (const auto& [name, value] : node_.members) {
    if (std::find(known_.begin(), known_.end(), name) != known_.end()) continue;
    std::string nearest = NearestName(name, known_);
    std::string remedy = nearest.empty() ? "remove it" : "did you mean " + Quoted(nearest) + "?";
    errors_.Add(value.line, PathOf(name), "is not a known field; " + remedy);
  }
}

void ErrorList::Add(int line, const std::string& path, const std::string& message) {
  std::string text = origin_;
  if (line > 0) text += ":" + std::to_string(line);
  text += ": ";
  if (!path.empty()) text += path + ": ";
  text += message;
  errors_.push_back(std::move(text));
}

Status ErrorList::ToStatus() const {
  return errors_.empty() ? Status::Ok() : InvalidArgumentError(Join(errors_, "\n"));
}

std::string NearestName(std::string_view word, const std::vector<std::string>& candidates) {
  std::string best;
  size_t best_distance = std::max<size_t>(word.size() / 3, 1) + 1;
  for (const std::string& candidate : candidates) {
    std::vector<size_t> row(candidate.size() + 1);
    for (size_t j = 0; j < row.size(); ++j) row[j] = j;
    for (size_t i = 0; i < word.size(); ++i) {
      size_t diagonal = row[0];
      row[0] = i + 1;
      for (size_t j = 0; j < candidate.size(); ++j) {
        size_t replaced = diagonal + (word[i] == candidate[j] ? 0 : 1);
        diagonal = row[j + 1];
        row[j + 1] = std::min({replaced, row[j] + 1, row[j + 1] + 1});
      }
    }
    if (row.back() < best_distance) {
      best_distance = row.back();
      best = candidate;
    }
  }
  return best;
}

std::string Quoted(std::string_view value) {
  constexpr size_t kLimit = 80;
  std::string text = "\"";
  for (char c : value.substr(0, kLimit)) {
    if (c == '"' || c == '\\') {
      text += '\\';
      text += c;
    } else if (c == '\n') {
      text += "\\n";
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      text += '?';
    } else {
      text += c;
    }
  }
  if (value.size() > kLimit) text += "...";
  return text + "\"";
}

}  // namespace tidewright::base
