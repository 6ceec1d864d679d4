// A metric rule, checked and compiled: which series it takes, which Kubernetes objects their labels name, what the
// metric is called, and the query that answers a request. Semantics as in prometheus-adapter.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "apiservice/provider.h"
#include "base/go_template.h"
#include "base/status.h"
#include "promql/value.h"

namespace re2 {
class RE2;
}

namespace tidewright::adapter {

using apiservice::GroupResource;

// A compiled regular expression, searched unanchored. Copyable; thread-safe.
class Pattern {
 public:
  // kInvalidArgument with the reason.
  static base::Result<Pattern> Compile(const std::string& text);
  bool Search(std::string_view text) const;
  // The whole match and the groups of the first match; nullopt without one.
  std::optional<std::vector<std::string>> Groups(std::string_view text) const;
  int group_count() const;
  // The number of a named group, 0 if there is none of that name.
  int GroupIndex(const std::string& name) const;
  const std::string& text() const;

 private:
  std::shared_ptr<const re2::RE2> regex_;
};

// One seriesFilters item: a series name must match `is`, or must not match `isNot`.
struct SeriesFilter {
  Pattern pattern;
  bool negate = false;
  bool Accepts(std::string_view series) const { return pattern.Search(series) != negate; }
};

// name.matches and name.as: how a series' name becomes the metric's.
class NameMapping {
 public:
  // `as` may use $1, ${1}, $name and $$; "" stands for $0 without a group and $1 with one. kInvalidArgument for two or
  // more groups without `as`, and for a group that does not exist.
  static base::Result<NameMapping> Create(Pattern matches, const std::string& as);
  // nullopt when the name does not match.
  std::optional<std::string> Apply(std::string_view series) const;

 private:
  struct Piece {
    std::string literal;
    int group = -1;  // A literal if negative.
  };
  base::Status ParseExpansion(const std::string& as);
  Pattern matches_;
  std::vector<Piece> pieces_;
};

// resources.template and resources.overrides: which label names which type of object.
class LabelMapping {
 public:
  // kInvalidArgument when the template does not parse, does not render, or does not use .Resource.
  static base::Result<LabelMapping> Create(const std::string& label_template,
                                           std::map<std::string, GroupResource> overrides);

  // The template applied backwards: the group ("" when it does not say) and resource that `label` spells. Dots and
  // dashes of a group are underscores there.
  std::optional<GroupResource> FromTemplate(const std::string& label) const;
  // The template applied forwards; "" without a template. `singular` is the resource's singular name.
  std::string ToTemplateLabel(const std::string& group, const std::string& singular) const;

  // By label. The resource is spelled as the user did: singular or plural.
  const std::map<std::string, GroupResource>& overrides() const { return overrides_; }
  bool has_template() const { return template_.has_value(); }

 private:
  std::optional<base::GoTemplate> template_;
  std::optional<Pattern> pattern_;
  std::map<std::string, GroupResource> overrides_;
};

// One element of rules or externalRules, or the rule of a MetricRule object. Immutable after loading.
//
// Of two forms: either series_query finds series, whose names become metrics by filters and name, and query makes the
// PromQL of a request; or promql is the PromQL of one metric, asked as it is, and the labels of its result tell what
// the values describe.
struct Rule {
  std::string section;  // "rules" or "externalRules".
  size_t index = 0;
  int line = 0;
  std::string object;  // "MetricRule shop/orders"; "": of the configuration file.
  std::string ns;      // Requests about this namespace alone may use it; "": all.
  std::string promql;
  std::string metric;  // With promql: its name.
  std::string series_query;
  promql::Matchers selector;  // series_query, parsed.
  std::vector<SeriesFilter> filters;
  LabelMapping resources;
  bool namespaced = true;  // External rules: whether a request's namespace becomes a matcher.
  std::optional<NameMapping> name;
  std::string metrics_query;
  base::GoTemplate query;

  // `rules[2] (line 14)`, or the object, for messages.
  std::string Title() const;
  bool external() const { return section == "externalRules"; }
  bool AcceptsSeries(std::string_view series) const;
};

// One of cpu and memory in resourceRules.
struct ResourceRule {
  std::string path;  // "resourceRules.cpu"
  base::GoTemplate container_query;
  base::GoTemplate node_query;
  LabelMapping resources;
  std::string container_label;
};

struct ResourceRules {
  ResourceRule cpu;
  ResourceRule memory;
  int64_t window_ms = 0;
};

}  // namespace tidewright::adapter
