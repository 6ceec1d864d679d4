#include "adapter/rule.h"

#include <re2/re2.h>

#include <algorithm>
#include <utility>

#include "base/document.h"
#include "base/strings.h"

namespace tidewright::adapter {
namespace {

bool IsNamePart(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

// Stand-ins that no label template contains; they survive quoting and mark where the groups go.
constexpr std::string_view kGroupMark = "TWGROUPMARKTW";
constexpr std::string_view kResourceMark = "TWRESOURCEMARKTW";

base::TemplateValue LabelTemplateData(std::string_view group, std::string_view resource) {
  return base::TemplateValue::Record({{"Group", base::TemplateValue::String(std::string(group))},
                                      {"Resource", base::TemplateValue::String(std::string(resource))}});
}

void ReplaceFirst(std::string* text, std::string_view what, std::string_view with) {
  if (size_t pos = text->find(what); pos != std::string::npos) text->replace(pos, what.size(), with);
}

std::string Underscored(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](char c) { return c == '.' || c == '-'; }, '_');
  return text;
}

}  // namespace

base::Result<Pattern> Pattern::Compile(const std::string& text) {
  RE2::Options options;
  options.set_log_errors(false);
  auto regex = std::make_shared<RE2>(text, options);
  if (!regex->ok()) {
    return base::InvalidArgumentError(base::Quoted(text) + " is not a regular expression (RE2): " + regex->error());
  }
  Pattern pattern;
  pattern.regex_ = std::move(regex);
  return pattern;
}

bool Pattern::Search(std::string_view text) const {
  return RE2::PartialMatch(re2::StringPiece(text.data(), text.size()), *regex_);
}

std::optional<std::vector<std::string>> Pattern::Groups(std::string_view text) const {
  re2::StringPiece piece(text.data(), text.size());
  std::vector<re2::StringPiece> groups(group_count() + 1);
  if (!regex_->Match(piece, 0, piece.size(), RE2::UNANCHORED, groups.data(), static_cast<int>(groups.size()))) {
    return std::nullopt;
  }
  std::vector<std::string> result;
  for (const re2::StringPiece& group : groups) result.emplace_back(group.data() ? group.data() : "", group.size());
  return result;
}

int Pattern::group_count() const { return regex_->NumberOfCapturingGroups(); }

int Pattern::GroupIndex(const std::string& name) const {
  auto it = regex_->NamedCapturingGroups().find(name);
  return it == regex_->NamedCapturingGroups().end() ? 0 : it->second;
}

const std::string& Pattern::text() const { return regex_->pattern(); }

base::Result<NameMapping> NameMapping::Create(Pattern matches, const std::string& as) {
  NameMapping mapping;
  mapping.matches_ = std::move(matches);
  int groups = mapping.matches_.group_count();
  if (as.empty() && groups > 1) {
    return base::InvalidArgumentError("the expression " + base::Quoted(mapping.matches_.text()) + " has " +
                                      std::to_string(groups) +
                                      " groups, so name.as must say which to use, for instance ${1}");
  }
  TW_RETURN_IF_ERROR(mapping.ParseExpansion(!as.empty() ? as : groups == 1 ? "$1" : "$0"));
  return mapping;
}

base::Status NameMapping::ParseExpansion(const std::string& as) {
  std::string literal;
  for (size_t i = 0; i < as.size();) {
    bool braces = i + 1 < as.size() && as[i] == '$' && as[i + 1] == '{';
    size_t begin = i + (braces ? 2 : 1);
    size_t end = begin;
    while (as[i] == '$' && end < as.size() && IsNamePart(as[end])) ++end;
    if (as[i] == '$' && i + 1 < as.size() && as[i + 1] == '$') {
      literal += '$';
      i += 2;
      continue;
    }
    if (as[i] != '$' || end == begin || (braces && (end >= as.size() || as[end] != '}'))) {
      literal += as[i++];
      continue;
    }
    std::string name = as.substr(begin, end - begin);
    int64_t number = 0;
    bool numeric = base::ParseInt64(name, &number);
    int group = numeric && number <= matches_.group_count() ? static_cast<int>(number) : matches_.GroupIndex(name);
    if (!numeric && group == 0) group = -1;
    if (group < 0 || (numeric && number != group)) {
      return base::InvalidArgumentError(base::Quoted(as) + " uses the group " + base::Quoted(name) + ", which " +
                                        base::Quoted(matches_.text()) +
                                        " does not have; when text follows a number, write it as ${1}_text");
    }
    if (!literal.empty()) pieces_.push_back({std::exchange(literal, ""), -1});
    pieces_.push_back({"", group});
    i = end + (braces ? 1 : 0);
  }
  if (!literal.empty()) pieces_.push_back({literal, -1});
  return base::Status::Ok();
}

std::optional<std::string> NameMapping::Apply(std::string_view series) const {
  std::optional<std::vector<std::string>> groups = matches_.Groups(series);
  if (!groups) return std::nullopt;
  std::string result;
  for (const Piece& piece : pieces_) result += piece.group < 0 ? piece.literal : (*groups)[piece.group];
  return result;
}

base::Result<LabelMapping> LabelMapping::Create(const std::string& label_template,
                                                std::map<std::string, GroupResource> overrides) {
  LabelMapping mapping;
  mapping.overrides_ = std::move(overrides);
  if (label_template.empty()) return mapping;
  TW_ASSIGN_OR_RETURN(mapping.template_, base::GoTemplate::Parse(label_template));
  TW_ASSIGN_OR_RETURN(std::string marked, mapping.template_->Execute(LabelTemplateData(kGroupMark, kResourceMark)));
  if (marked.find(kResourceMark) == std::string::npos) {
    return base::InvalidArgumentError(base::Quoted(label_template) +
                                      " does not use .Resource; write for instance kube_<<.Resource>>");
  }
  std::string expression = RE2::QuoteMeta(marked);
  // Groups hold dots, spelled as underscores in labels; resources hold none: so the group takes all it can, and a label
  // of the core group has nothing in its place.
  ReplaceFirst(&expression, kGroupMark, "(?P<group>.*)");
  ReplaceFirst(&expression, kResourceMark, "(?P<resource>.+?)");
  TW_ASSIGN_OR_RETURN(mapping.pattern_, Pattern::Compile("^" + expression + "$"));
  return mapping;
}

std::optional<GroupResource> LabelMapping::FromTemplate(const std::string& label) const {
  if (!pattern_) return std::nullopt;
  std::optional<std::vector<std::string>> groups = pattern_->Groups(label);
  if (!groups) return std::nullopt;
  int group = pattern_->GroupIndex("group");
  return GroupResource{group > 0 ? (*groups)[group] : "", (*groups)[pattern_->GroupIndex("resource")]};
}

std::string LabelMapping::ToTemplateLabel(const std::string& group, const std::string& singular) const {
  if (!template_) return "";
  base::Result<std::string> label = template_->Execute(LabelTemplateData(Underscored(group), singular));
  return label.ok() ? *label : "";
}

std::string Rule::Title() const {
  if (!object.empty()) return object;
  std::string title = section + "[" + std::to_string(index) + "]";
  return line > 0 ? title + " (line " + std::to_string(line) + ")" : title;
}

bool Rule::AcceptsSeries(std::string_view series) const {
  return std::all_of(filters.begin(), filters.end(), [&](const SeriesFilter& f) { return f.Accepts(series); });
}

}  // namespace tidewright::adapter
