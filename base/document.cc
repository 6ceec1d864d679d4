#include "base/document.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <cmath>
#include <sstream>

#include "base/json.h"
#include "base/strings.h"

namespace tidewright::base {

namespace {

constexpr size_t kMaxDepth = 200;
constexpr size_t kMaxNodes = 1'000'000;  // After alias expansion: stops "billion laughs".

// Ends a parse from within yaml-cpp's callbacks; caught where the parser is called.
struct YamlLimit {
  Place at;
  const char* message;
};

Place PlaceOf(const YAML::Mark& mark) { return {mark.line + 1, mark.column + 1}; }

// "prometheus.yml:3:5: "
std::string Prefix(const std::string& origin, Place at) {
  std::string text = origin;
  for (int number : {at.line, at.column}) {
    if (number > 0) text += ":" + std::to_string(number);
  }
  return text + ": ";
}

// Builds Nodes from yaml-cpp's events, so that limits hold while the text is being read, and the parser's habit of
// returning empty documents for ever (for the text ",") can be noticed.
class NodeBuilder : public YAML::EventHandler {
 public:
  explicit NodeBuilder(const std::string& origin) : origin_(origin) {}

  Status error() const { return error_; }
  int document_position() const { return position_; }
  Node TakeDocument() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark& mark) override {
    position_ = mark.pos;
    root_ = Node();
    anchors_.clear();
    stack_.clear();
  }
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override { Add(NewNode(mark), anchor); }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    auto found = anchors_.find(anchor);
    Node copy = found != anchors_.end() ? found->second : NewNode(mark);
    nodes_ += CountNodes(copy);
    if (nodes_ > kMaxNodes) throw YamlLimit{PlaceOf(mark), "more than 1000000 values after alias expansion"};
    Add(std::move(copy), 0);
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    Node node = NewNode(mark);
    node.kind = Node::Kind::kScalar;
    node.text = value;
    // yaml-cpp tags quoted scalars "!" and plain ones "?".
    node.plain = tag != "!" && tag != "tag:yaml.org,2002:str";
    bool null_word = value == "~" || value == "null" || value == "Null" || value == "NULL";
    if (node.plain && (null_word || value.empty())) node.kind = Node::Kind::kNull;
    if (tag == "tag:yaml.org,2002:binary") {
      if (!Base64Decode(value, &node.text)) Fault(node.at, "!!binary stands before what is not base64");
      node.plain = false;
    }
    Add(std::move(node), anchor);
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    Open(mark, Node::Kind::kList, anchor);
  }
  void OnSequenceEnd() override { Close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    Open(mark, Node::Kind::kMap, anchor);
  }
  void OnMapEnd() override { Close(); }

 private:
  // A list or map that is being filled.
  struct Frame {
    Node node;
    YAML::anchor_t anchor;
    std::optional<Node> key;  // Maps: read, and its value not yet.
  };

  static size_t CountNodes(const Node& node) {
    size_t count = 1;
    for (const Node& item : node.items) count += CountNodes(item);
    for (const auto& [name, value] : node.members) count += CountNodes(value);
    return count;
  }

  Node NewNode(const YAML::Mark& mark) {
    if (++nodes_ > kMaxNodes) throw YamlLimit{PlaceOf(mark), "more than 1000000 values"};
    Node node;
    node.at = PlaceOf(mark);
    return node;
  }

  void Open(const YAML::Mark& mark, Node::Kind kind, YAML::anchor_t anchor) {
    if (stack_.size() >= kMaxDepth) throw YamlLimit{PlaceOf(mark), "nested deeper than 200 levels"};
    Node node = NewNode(mark);
    node.kind = kind;
    stack_.push_back({std::move(node), anchor, std::nullopt});
  }

  void Close() {
    Frame frame = std::move(stack_.back());
    stack_.pop_back();
    ApplyMerge(frame.node);
    Add(std::move(frame.node), frame.anchor);
  }

  void Add(Node node, YAML::anchor_t anchor) {
    if (anchor != 0) anchors_[anchor] = node;
    if (stack_.empty()) {
      root_ = std::move(node);
    } else if (stack_.back().node.kind == Node::Kind::kList) {
      stack_.back().node.items.push_back(std::move(node));
    } else if (!stack_.back().key) {
      stack_.back().key = std::move(node);
    } else {
      AddMember(std::move(node));
    }
  }

  void AddMember(Node value) {
    Frame& frame = stack_.back();
    Node key = *std::exchange(frame.key, std::nullopt);
    if (key.kind == Node::Kind::kList || key.kind == Node::Kind::kMap) {
      return Fault(key.at, "a key is not a plain word; write key: value");
    }
    if (frame.node.Find(key.text) != nullptr) {
      return Fault(key.at, "key " + Quoted(key.text) + " is given twice; remove one");
    }
    // People look for the key; the value may begin below it, or not be there at all.
    value.at = key.at;
    frame.node.members.emplace_back(key.text, std::move(value));
  }

  // The merge key of YAML 1.1: "<<: *defaults" adds the members that the map does not have itself.
  void ApplyMerge(Node& map) {
    auto merge =
        std::find_if(map.members.begin(), map.members.end(), [](const auto& member) { return member.first == "<<"; });
    if (merge == map.members.end()) return;
    Node source = std::move(merge->second);
    map.members.erase(merge);
    std::vector<Node> sources;
    if (source.kind == Node::Kind::kList) {
      sources = std::move(source.items);
    } else {
      sources.push_back(std::move(source));
    }
    for (Node& from : sources) {
      if (from.kind != Node::Kind::kMap) return Fault(from.at, "<<: is not a mapping; name an anchor of one");
      for (auto& member : from.members) {
        if (map.Find(member.first) == nullptr) map.members.push_back(std::move(member));
      }
    }
  }

  void Fault(Place at, const std::string& message) {
    if (error_.ok()) error_ = InvalidArgumentError(Prefix(origin_, at) + message);
  }

  const std::string& origin_;
  Status error_;  // The first fault that parsing can go on after.
  int position_ = 0;
  Node root_;
  std::vector<Frame> stack_;
  std::map<YAML::anchor_t, Node> anchors_;
  size_t nodes_ = 0;
};

Status YamlError(const YAML::Exception& error, const std::string& origin) {
  return InvalidArgumentError(Prefix(origin, PlaceOf(error.mark)) + "not valid YAML: " + error.msg);
}

// yaml-cpp recurses over flow collections: refuse absurd nesting before it sees the text.
Status CheckNesting(std::string_view text, const std::string& origin) {
  size_t depth = 0;
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
      return InvalidArgumentError(Prefix(origin, {line, 0}) + "nested deeper than 200 levels");
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

// The truth values that YAML 1.1 knows, and so the programs whose files we read.
bool IsYaml11Bool(const Node& node, bool* value) {
  if (IsBool(node, value)) return true;
  const std::string lower = ToLower(node.text);
  const bool yes = lower == "yes" || lower == "on" || lower == "y";
  if (!node.plain || node.at.line == 0 || !(yes || lower == "no" || lower == "off" || lower == "n")) return false;
  *value = yes;
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
  NodeBuilder builder(origin);
  try {
    std::istringstream stream{std::string(text)};
    YAML::Parser parser(stream);
    int last_position = -1;
    while (parser.HandleNextDocument(builder)) {
      TW_RETURN_IF_ERROR(builder.error());
      if (builder.document_position() == last_position) {
        return InvalidArgumentError(origin + ": not valid YAML: it does not begin with a key, a list or a value");
      }
      last_position = builder.document_position();
      Node document = builder.TakeDocument();
      if (!document.IsNull()) documents.push_back(std::move(document));
    }
  } catch (const YAML::Exception& error) {
    return YamlError(error, origin);
  } catch (const YamlLimit& limit) {
    return InvalidArgumentError(Prefix(origin, limit.at) + limit.message);
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
    errors_.Add(node_.at, path_, "is " + KindName(node_) + "; a mapping (key: value) is expected");
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
  if (node->plain && node->at.line == 0) {  // JSON knows types; YAML's plain words are texts, too.
    Error(key, node->text + " is not a text; put it in quotes");
    return false;
  }
  *out = node->text;
  return true;
}

bool ObjectReader::Optional(std::string_view key, bool* out) {
  const Node* node = TakeScalar(key, "true or false");
  if (node == nullptr) return false;
  if (IsYaml11Bool(*node, out)) return true;
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
      errors_.Add(item.at, ItemPath(PathOf(key), i), "is " + KindName(item) + "; a text is expected");
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
    bool typed = value.at.line == 0 && value.plain && value.kind == Node::Kind::kScalar;
    if (value.kind == Node::Kind::kList || value.kind == Node::Kind::kMap || typed) {
      errors_.Add(
          value.at, PathOf(key) + "." + name,
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
      errors_.Add(item.at, path, "is empty; remove it or fill it in");
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
  errors_.Add(found != nullptr ? found->at : node_.at, PathOf(key), message);
}

void ObjectReader::Missing(std::string_view key) {
  known_.emplace_back(key);
  // Spelled in other case it is a misspelling, and Finish() says so.
  for (const auto& [name, value] : node_.members) {
    if (EqualsIgnoreCase(name, key) && !ignore_rest_) return;
  }
  errors_.Add(node_.at, PathOf(key), "is missing; it is required");
}

void ObjectReader::Finish() {
  if (ignore_rest_) return;
  for (const auto& [name, value] : node_.members) {
    if (std::find(known_.begin(), known_.end(), name) != known_.end()) continue;
    std::string nearest = NearestName(name, known_);
    std::string remedy = nearest.empty() ? "remove it" : "did you mean " + Quoted(nearest) + "?";
    errors_.Add(value.at, PathOf(name), "is not a known field; " + remedy);
  }
}

void ErrorList::Add(Place at, const std::string& path, const std::string& message) {
  std::string text = Prefix(origin_, at);
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
  if (!best.empty()) return best;
  // A long common beginning is near, whatever follows: minReplicas, minReplicaCount.
  for (const std::string& candidate : candidates) {
    size_t shared = std::mismatch(word.begin(), word.end(), candidate.begin(), candidate.end()).first - word.begin();
    if (shared >= 6 && shared * 3 >= word.size() * 2) return candidate;
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
