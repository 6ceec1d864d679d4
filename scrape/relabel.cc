#include "scrape/relabel.h"

#include <locale.h>
#include <re2/re2.h>
#include <wctype.h>

#include <tuple>

#include "base/strings.h"
#include "scrape/md5.h"

namespace tidewright::scrape {
namespace {

struct ActionName {
  std::string_view name;
  RelabelAction action;
};

constexpr ActionName kActions[] = {
    {"replace", RelabelAction::kReplace},     {"keep", RelabelAction::kKeep},
    {"drop", RelabelAction::kDrop},           {"keepequal", RelabelAction::kKeepEqual},
    {"dropequal", RelabelAction::kDropEqual}, {"hashmod", RelabelAction::kHashMod},
    {"labelmap", RelabelAction::kLabelMap},   {"labeldrop", RelabelAction::kLabelDrop},
    {"labelkeep", RelabelAction::kLabelKeep}, {"lowercase", RelabelAction::kLowercase},
    {"uppercase", RelabelAction::kUppercase},
};

bool IsWordByte(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

bool IsLegacyName(std::string_view name, bool colons) {
  if (name.empty() || (name[0] >= '0' && name[0] <= '9')) return false;
  for (char c : name) {
    if (!IsWordByte(c) && !(colons && c == ':')) return false;
  }
  return true;
}

// The reference at text[i] == '$': its length with the sign, and the group's name. 0 when it is no reference. Letters
// outside ASCII are part of a name unless `ascii`.
size_t GroupReference(std::string_view text, size_t i, bool ascii, std::string_view* name) {
  bool braces = i + 1 < text.size() && text[i + 1] == '{';
  size_t start = i + (braces ? 2 : 1);
  size_t end = start;
  while (end < text.size() && (IsWordByte(text[end]) || (!ascii && (text[end] & 0x80) != 0))) ++end;
  if (end == start || (braces && (end >= text.size() || text[end] != '}'))) return 0;
  *name = text.substr(start, end - start);
  return end + (braces ? 1 : 0) - i;
}

// Legacy names in which parts may be references: "a_$1", "${1}_b".
bool IsLegacyTemplate(std::string_view text) {
  if (text.empty() || (text[0] >= '0' && text[0] <= '9')) return false;
  for (size_t i = 0; i < text.size();) {
    std::string_view name;
    size_t length = text[i] == '$' ? GroupReference(text, i, true, &name) : (IsWordByte(text[i]) ? 1 : 0);
    if (length == 0) return false;
    i += length;
  }
  return true;
}

std::string_view GroupText(const RE2& regex, const std::vector<re2::StringPiece>& groups, std::string_view name) {
  size_t index = groups.size();
  int64_t number = 0;
  if (name.size() == 1 || name[0] != '0' ? base::ParseInt64(name, &number) : false) {
    index = static_cast<size_t>(number);
  } else if (auto it = regex.NamedCapturingGroups().find(std::string(name)); it != regex.NamedCapturingGroups().end()) {
    index = static_cast<size_t>(it->second);
  }
  if (index >= groups.size()) return {};
  return {groups[index].data(), groups[index].size()};
}

// Go's regexp.Expand: $name is the longest word, $$ a dollar sign, anything malformed stays as it is.
std::string Expand(const RE2& regex, std::string_view pattern, const std::vector<re2::StringPiece>& groups) {
  std::string out;
  for (size_t i = 0; i < pattern.size();) {
    std::string_view name;
    if (pattern[i] != '$') {
      out.push_back(pattern[i++]);
    } else if (i + 1 < pattern.size() && pattern[i + 1] == '$') {
      out.push_back('$');
      i += 2;
    } else if (size_t length = GroupReference(pattern, i, false, &name); length > 0) {
      out.append(GroupText(regex, groups, name));
      i += length;
    } else {
      out.push_back(pattern[i++]);
    }
  }
  return out;
}

bool Match(const RE2& regex, std::string_view text, std::vector<re2::StringPiece>* groups) {
  if (groups == nullptr) return regex.Match({text.data(), text.size()}, 0, text.size(), RE2::UNANCHORED, nullptr, 0);
  groups->resize(static_cast<size_t>(regex.NumberOfCapturingGroups()) + 1);
  return regex.Match({text.data(), text.size()}, 0, text.size(), RE2::UNANCHORED, groups->data(),
                     static_cast<int>(groups->size()));
}

std::string Join(const RelabelRule& rule, const tsdb::LabelsBuilder& labels) {
  std::string value;
  for (size_t i = 0; i < rule.source_labels.size(); ++i) {
    if (i > 0) value += rule.separator;
    value += labels.Get(rule.source_labels[i]);
  }
  return value;
}

// Decodes the UTF-8 sequence at text[*i] and moves past it. The text is valid UTF-8.
wint_t TakeRune(std::string_view text, size_t* i) {
  auto byte = static_cast<unsigned char>(text[*i]);
  size_t length = byte < 0x80 ? 1 : byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4;
  wint_t rune = length == 1 ? byte : byte & (0x7f >> length);
  for (size_t k = 1; k < length && *i + k < text.size(); ++k) {
    rune = (rune << 6) | (static_cast<unsigned char>(text[*i + k]) & 0x3f);
  }
  *i += length;
  return rune;
}

void AppendRune(wint_t rune, std::string* out) {
  if (rune < 0x80) {
    out->push_back(static_cast<char>(rune));
    return;
  }
  int tail = rune < 0x800 ? 1 : rune < 0x10000 ? 2 : 3;
  static constexpr int kLead[] = {0, 0xc0, 0xe0, 0xf0};
  out->push_back(static_cast<char>(kLead[tail] | (rune >> (6 * tail))));
  for (int k = tail - 1; k >= 0; --k) out->push_back(static_cast<char>(0x80 | ((rune >> (6 * k)) & 0x3f)));
}

// Translates what Go's regexp has and RE2 has not: (?<name>...) is (?P<name>...). \C, which only RE2 has, is an error.
base::Result<std::string> TranslateRegex(std::string_view regex) {
  std::string out;
  bool in_class = false;
  for (size_t i = 0; i < regex.size(); ++i) {
    out.push_back(regex[i]);
    if (regex[i] == '\\' && i + 1 < regex.size()) {
      if (regex[i + 1] == 'C') return base::InvalidArgumentError("invalid escape sequence: \\C");
      out.push_back(regex[++i]);
    } else if (regex[i] == '[' || regex[i] == ']') {
      in_class = regex[i] == '[';
    } else if (!in_class && regex.substr(i, 3) == "(?<" && i + 3 < regex.size() && IsWordByte(regex[i + 3])) {
      out += "?P<";
      i += 2;
    }
  }
  return out;
}

// Letter by letter, as Go's strings.ToLower and ToUpper do it: "ß" has no upper-case letter and stays.
std::string ChangeCase(std::string_view text, bool upper) {
  static const locale_t locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
  if (!base::IsValidUtf8(text) || locale == nullptr) return upper ? std::string(text) : base::ToLower(text);
  std::string out;
  for (size_t i = 0; i < text.size();) {
    wint_t rune = TakeRune(text, &i);
    AppendRune(upper ? towupper_l(rune, locale) : towlower_l(rune, locale), &out);
  }
  return out;
}

std::string HashMod(std::string_view value, uint64_t modulus) {
  auto digest = Md5(value);
  uint64_t hash = 0;
  for (size_t i = 8; i < 16; ++i) hash = (hash << 8) | digest[i];
  return std::to_string(hash % modulus);
}

void Replace(const RelabelRule& rule, std::string_view value, tsdb::LabelsBuilder* labels) {
  std::vector<re2::StringPiece> groups;
  if (!Match(*rule.compiled, value, &groups)) return;
  std::string target = Expand(*rule.compiled, rule.target_label, groups);
  if (!IsValidLabelName(target, rule.scheme)) return;
  labels->Set(target, Expand(*rule.compiled, rule.replacement, groups));
}

void MapLabels(const RelabelRule& rule, tsdb::LabelsBuilder* labels) {
  std::vector<re2::StringPiece> groups;
  for (const tsdb::Label& label : labels->Build()) {
    if (Match(*rule.compiled, label.name, &groups)) {
      labels->Set(Expand(*rule.compiled, rule.replacement, groups), label.value);
    }
  }
}

void FilterNames(const RelabelRule& rule, bool drop_matching, tsdb::LabelsBuilder* labels) {
  for (const tsdb::Label& label : labels->Build()) {
    if (Match(*rule.compiled, label.name, nullptr) == drop_matching) labels->Remove(label.name);
  }
}

// False: dropped.
bool ApplyRule(const RelabelRule& rule, tsdb::LabelsBuilder* labels) {
  std::string value = Join(rule, *labels);
  switch (rule.action) {
    case RelabelAction::kReplace: Replace(rule, value, labels); return true;
    case RelabelAction::kKeep: return Match(*rule.compiled, value, nullptr);
    case RelabelAction::kDrop: return !Match(*rule.compiled, value, nullptr);
    case RelabelAction::kKeepEqual: return labels->Get(rule.target_label) == value;
    case RelabelAction::kDropEqual: return labels->Get(rule.target_label) != value;
    case RelabelAction::kHashMod: labels->Set(rule.target_label, HashMod(value, rule.modulus)); return true;
    case RelabelAction::kLabelMap: MapLabels(rule, labels); return true;
    case RelabelAction::kLabelDrop: FilterNames(rule, true, labels); return true;
    case RelabelAction::kLabelKeep: FilterNames(rule, false, labels); return true;
    case RelabelAction::kLowercase: labels->Set(rule.target_label, ChangeCase(value, false)); return true;
    case RelabelAction::kUppercase: labels->Set(rule.target_label, ChangeCase(value, true)); return true;
  }
  return true;
}

// Decoding.

void ReadModulus(base::ObjectReader& reader, uint64_t* modulus) {
  const base::Node* node = reader.Raw("modulus");
  if (node == nullptr) return;
  bool digits = node->kind == base::Node::Kind::kScalar && node->plain && !node->text.empty() &&
                node->text.size() <= 20 && node->text.find_first_not_of("0123456789") == std::string::npos;
  uint64_t value = 0;
  for (char c : digits ? node->text : std::string()) {
    auto digit = static_cast<uint64_t>(c - '0');
    if (value > (UINT64_MAX - digit) / 10) digits = false;
    value = value * 10 + digit;
  }
  if (!digits) return reader.Error("modulus", base::Quoted(node->text) + " is not a whole number of 0 or more");
  *modulus = value;
}

// As in Prometheus, a field that is given as null is empty instead of its default.
bool ReadText(base::ObjectReader& reader, const base::Node& rule, std::string_view key, std::string* text) {
  const bool given = reader.Optional(key, text);
  const base::Node* node = rule.Find(key);
  const bool null = node != nullptr && node->IsNull();
  if (null) text->clear();
  return given || null;
}

bool ReadAction(base::ObjectReader& reader, const base::Node& rule, RelabelAction* action) {
  std::string name;
  if (!ReadText(reader, rule, "action", &name)) return true;
  std::vector<std::string> names;
  for (const ActionName& known : kActions) {
    if (base::EqualsIgnoreCase(known.name, name)) {
      *action = known.action;
      return true;
    }
    names.emplace_back(known.name);
  }
  reader.Error("action", base::Quoted(name) + " is not a relabelling action; use one of " + base::Join(names, ", "));
  return false;
}

std::string ActionText(RelabelAction action) { return std::string(RelabelActionName(action)); }

bool WritesTarget(RelabelAction action) {
  switch (action) {
    case RelabelAction::kReplace:
    case RelabelAction::kHashMod:
    case RelabelAction::kLowercase:
    case RelabelAction::kUppercase:
    case RelabelAction::kKeepEqual:
    case RelabelAction::kDropEqual: return true;
    default: return false;
  }
}

void CheckTarget(const RelabelRule& rule, base::ObjectReader& reader) {
  if (!WritesTarget(rule.action)) return;
  std::string action = ActionText(rule.action);
  if (rule.target_label.empty()) return reader.Error("target_label", "is missing; action " + action + " needs it");
  bool pattern = rule.action == RelabelAction::kReplace && rule.scheme == NameScheme::kLegacy;
  bool valid = pattern ? IsLegacyTemplate(rule.target_label)
                       : rule.action == RelabelAction::kReplace || IsValidLabelName(rule.target_label, rule.scheme);
  if (!valid) {
    reader.Error("target_label", base::Quoted(rule.target_label) + " is not a valid label name for action " + action);
  }
}

// Fields that an action would ignore are errors: whoever wrote them expected something else.
void CheckUnusedFields(const RelabelRule& rule, base::ObjectReader& reader) {
  bool equal = rule.action == RelabelAction::kKeepEqual || rule.action == RelabelAction::kDropEqual;
  bool names = rule.action == RelabelAction::kLabelDrop || rule.action == RelabelAction::kLabelKeep;
  bool letters = rule.action == RelabelAction::kLowercase || rule.action == RelabelAction::kUppercase;
  auto forbid = [&](bool forbidden, bool set, std::string_view field) {
    if (forbidden && set) reader.Error(field, "action " + ActionText(rule.action) + " does not use it; remove it");
  };
  forbid(equal || names || letters, rule.replacement != "$1", "replacement");
  forbid(equal || names, rule.separator != ";", "separator");
  forbid(equal || names, rule.modulus != 0, "modulus");
  forbid(equal, reader.Has("regex") || rule.regex.empty(), "regex");
  forbid(names, reader.Has("source_labels"), "source_labels");
  forbid(names, !rule.target_label.empty(), "target_label");
}

void CheckRule(RelabelRule* rule, base::ObjectReader& reader) {
  for (const std::string& name : rule->source_labels) {
    if (!IsValidLabelName(name, NameScheme::kUtf8)) {
      reader.Error("source_labels", base::Quoted(name) + " is not a valid label name");
    }
  }
  if (rule->action == RelabelAction::kHashMod && rule->modulus == 0) {
    reader.Error("modulus", "action hashmod needs a modulus of 1 or more");
  }
  if (rule->action == RelabelAction::kLabelMap && rule->scheme == NameScheme::kLegacy &&
      !IsLegacyTemplate(rule->replacement)) {
    reader.Error("replacement", base::Quoted(rule->replacement) + " is not a valid label name for action labelmap");
  }
  CheckTarget(*rule, reader);
  CheckUnusedFields(*rule, reader);
  if (auto status = rule->Compile(); !status.ok()) reader.Error("regex", status.message());
}

RelabelRule DecodeRelabelRule(base::ObjectReader& reader, const base::Node& node, NameScheme scheme) {
  RelabelRule rule;
  rule.scheme = scheme;
  reader.Optional("source_labels", &rule.source_labels);
  ReadText(reader, node, "separator", &rule.separator);
  ReadText(reader, node, "regex", &rule.regex);
  ReadModulus(reader, &rule.modulus);
  reader.Optional("target_label", &rule.target_label);
  ReadText(reader, node, "replacement", &rule.replacement);
  if (ReadAction(reader, node, &rule.action)) CheckRule(&rule, reader);
  return rule;
}

}  // namespace

bool IsValidLabelName(std::string_view name, NameScheme scheme) {
  if (scheme == NameScheme::kLegacy) return IsLegacyName(name, /*colons=*/false);
  return !name.empty() && base::IsValidUtf8(name);
}

bool IsValidMetricName(std::string_view name, NameScheme scheme) {
  if (scheme == NameScheme::kLegacy) return IsLegacyName(name, /*colons=*/true);
  return !name.empty() && base::IsValidUtf8(name);
}

base::Status RelabelRule::Compile() {
  auto invalid = [&](const std::string& reason) {
    return base::InvalidArgumentError(base::Quoted(regex) + " is not a regular expression (RE2 syntax): " + reason);
  };
  auto translated = TranslateRegex(regex);
  if (!translated.ok()) return invalid(translated.status().message());
  RE2::Options options;
  options.set_log_errors(false);
  auto regex_object = std::make_shared<RE2>("^(?s:" + *translated + ")$", options);
  if (!regex_object->ok()) return invalid(regex_object->error());
  compiled = std::move(regex_object);
  return base::Status::Ok();
}

std::string_view RelabelActionName(RelabelAction action) {
  for (const ActionName& known : kActions) {
    if (known.action == action) return known.name;
  }
  return "";
}

bool operator==(const RelabelRule& a, const RelabelRule& b) {
  auto fields = [](const RelabelRule& r) {
    return std::tie(r.source_labels, r.separator, r.regex, r.modulus, r.target_label, r.replacement, r.action,
                    r.scheme);
  };
  return fields(a) == fields(b);
}

std::vector<RelabelRule> DecodeRelabelRules(base::ObjectReader& parent, std::string_view key, NameScheme scheme) {
  std::vector<RelabelRule> rules;
  const base::Node* list = parent.Raw(key);
  size_t next = 0;
  parent.Objects(key, [&](base::ObjectReader& reader) {
    while (list->items[next].IsNull()) ++next;  // Which is an error, but not one of this reader's.
    rules.push_back(DecodeRelabelRule(reader, list->items[next++], scheme));
  });
  return rules;
}

bool Relabel(const std::vector<RelabelRule>& rules, tsdb::LabelsBuilder* labels, size_t* dropped_by) {
  for (const RelabelRule& rule : rules) {
    if (ApplyRule(rule, labels)) continue;
    if (dropped_by != nullptr) *dropped_by = static_cast<size_t>(&rule - rules.data());
    return false;
  }
  return true;
}

}  // namespace tidewright::scrape
