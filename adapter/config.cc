#include "adapter/config.h"

#include <functional>
#include <utility>

#include "base/document.h"
#include "base/strings.h"
#include "promql/engine.h"

namespace tidewright::adapter {
namespace {

using base::ErrorList;
using base::Node;
using base::ObjectReader;

// Reports `status` about `key` and returns whether it was OK.
bool Check(ObjectReader& reader, std::string_view key, const base::Status& status) {
  if (!status.ok()) reader.Error(key, status.message());
  return status.ok();
}

void ReadFilters(ObjectReader& reader, Rule* rule) {
  reader.Objects("seriesFilters", [&](ObjectReader& item) {
    std::string is, is_not;
    item.Optional("is", &is);
    item.Optional("isNot", &is_not);
    if (is.empty() == is_not.empty()) {
      item.Error("is", is.empty() ? "a filter needs is or isNot with a regular expression"
                                  : "a filter has either is or isNot; make two filters of " + base::Quoted(is) +
                                        " and " + base::Quoted(is_not));
      return;
    }
    base::Result<Pattern> pattern = Pattern::Compile(is.empty() ? is_not : is);
    if (Check(item, is.empty() ? "isNot" : "is", pattern.status())) rule->filters.push_back({*pattern, is.empty()});
  });
}

LabelMapping ReadResources(ObjectReader& reader, bool* namespaced) {
  LabelMapping mapping;
  reader.Object("resources", [&](ObjectReader& resources) {
    std::string label_template;
    std::map<std::string, GroupResource> overrides;
    resources.Optional("template", &label_template);
    if (namespaced != nullptr) {
      resources.Optional("namespaced", namespaced);
    } else {
      resources.Ignore("namespaced");
    }
    resources.ObjectMap("overrides", [&](const std::string& label, ObjectReader& item) {
      GroupResource& target = overrides[label];
      item.Optional("group", &target.group);
      item.Required("resource", &target.resource);
    });
    base::Result<LabelMapping> created = LabelMapping::Create(label_template, std::move(overrides));
    if (Check(resources, "template", created.status())) mapping = *std::move(created);
  });
  return mapping;
}

void ReadName(ObjectReader& reader, Rule* rule) {
  std::string matches, as;
  int line = reader.line();
  reader.Object("name", [&](ObjectReader& name) {
    line = name.line();
    name.Optional("matches", &matches);
    name.Optional("as", &as);
    base::Result<Pattern> pattern = Pattern::Compile(matches.empty() ? ".*" : matches);
    if (!Check(name, "matches", pattern.status())) return;
    if (!matches.empty()) rule->filters.push_back({*pattern, false});
    base::Result<NameMapping> mapping = NameMapping::Create(*pattern, as);
    if (Check(name, "as", mapping.status())) rule->name = *std::move(mapping);
  });
  if (rule->name) return;
  // Without a name section (or after an error in it) the series' own name stands.
  rule->name = *NameMapping::Create(*Pattern::Compile(".*"), "");
}

base::TemplateValue ExampleData(bool external) {
  using V = base::TemplateValue;
  std::vector<std::string> group_by;
  if (!external) group_by.push_back("pod");
  return V::Record(
      {{"Series", V::String("example_series")},
       {"LabelMatchers", V::String("namespace=\"default\",pod=\"example\"")},
       {"LabelValuesByName", V::FromMap({{"namespace", V::String("default")}, {"pod", V::String("example")}})},
       {"GroupBy", V::String(external ? "" : "pod")},
       {"GroupBySlice", V::Strings(group_by)}});
}

// Reads a query template, and checks what it renders to.
void ReadQuery(ObjectReader& reader, std::string_view key, bool external, std::string* text, base::GoTemplate* query) {
  if (!reader.Required(key, text)) return;
  base::Result<base::GoTemplate> parsed = base::GoTemplate::Parse(*text);
  if (!parsed.ok()) {
    reader.Error(key, base::Quoted(*text) + " is not a template: " + parsed.status().message());
    return;
  }
  base::Result<std::string> rendered = parsed->Execute(ExampleData(external));
  if (!rendered.ok()) {
    reader.Error(key, base::Quoted(*text) + " cannot be rendered: " + rendered.status().message());
    return;
  }
  if (base::TrimSpace(*rendered).empty()) {
    reader.Error(key, base::Quoted(*text) + " renders to nothing; write the PromQL that answers the request");
    return;
  }
  base::Status valid = promql::CheckExpression(*rendered);
  if (!valid.ok()) {
    reader.Error(key, "with example values it becomes " + base::Quoted(*rendered) +
                          ", which is not valid PromQL: " + valid.message());
    return;
  }
  *query = *std::move(parsed);
}

// promql, name.as and resources.overrides: one metric whose query needs no template.
void ReadPromql(ObjectReader& reader, Rule* rule) {
  for (const char* key : {"seriesQuery", "seriesFilters", "metricsQuery"}) {
    if (reader.Has(key)) reader.Error(key, "does not go with promql, which is asked as it is; leave one of them out");
    reader.Ignore(key);
  }
  reader.Optional("promql", &rule->promql);
  Check(reader, "promql", promql::CheckExpression(rule->promql));
  rule->resources = ReadResources(reader, &rule->namespaced);
  if (!rule->external() && rule->resources.overrides().empty()) {
    reader.Error("resources",
                 "needs overrides that say which label of the result names what, for instance "
                 "{namespace: {resource: namespace}, pod: {resource: pod}}");
  }
  if (!reader.Object("name", [&](ObjectReader& name) { name.Required("as", &rule->metric); })) reader.Missing("name");
}

void ReadTemplate(ObjectReader& reader, Rule* rule) {
  if (reader.Required("seriesQuery", &rule->series_query)) {
    base::Result<promql::Matchers> selector = promql::ParseSelector(rule->series_query);
    if (selector.ok()) {
      rule->selector = *std::move(selector);
    } else {
      reader.Error("seriesQuery",
                   base::Quoted(rule->series_query) + " is not a series selector: " + selector.status().message());
    }
  }
  ReadFilters(reader, rule);
  rule->resources = ReadResources(reader, &rule->namespaced);
  ReadName(reader, rule);
  ReadQuery(reader, "metricsQuery", rule->external(), &rule->metrics_query, &rule->query);
}

void ReadResourceRule(ObjectReader& reader, std::string_view key, ResourceRule* rule) {
  if (!reader.Has(key)) {
    reader.Missing(key);
    return;
  }
  reader.Object(key, [&](ObjectReader& item) {
    rule->path = item.path();
    std::string text;
    ReadQuery(item, "containerQuery", false, &text, &rule->container_query);
    ReadQuery(item, "nodeQuery", false, &text, &rule->node_query);
    rule->resources = ReadResources(item, nullptr);
    item.Required("containerLabel", &rule->container_label);
  });
}

base::Result<Config> ReadConfig(const Node& root, const std::string& origin) {
  ErrorList errors(origin);
  Config config;
  ObjectReader reader(root, "", errors);
  for (auto [section, rules] :
       {std::pair{"rules", &config.rules}, std::pair{"externalRules", &config.external_rules}}) {
    size_t index = 0;
    reader.Objects(section, [&, name = section, out = rules](ObjectReader& item) {
      out->push_back(ReadRule(item, name, index++));
    });
  }
  reader.Object("resourceRules", [&](ObjectReader& item) {
    ResourceRules& rules = config.resource_rules.emplace();
    base::Duration window{60'000};
    ReadResourceRule(item, "cpu", &rules.cpu);
    ReadResourceRule(item, "memory", &rules.memory);
    item.Optional("window", &window);
    rules.window_ms = window.ms;
  });
  reader.Finish();
  TW_RETURN_IF_ERROR(errors.ToStatus());
  return config;
}

// The member of a ConfigMap's data that holds the configuration.
base::Result<const Node*> ConfigMapMember(const Node& root, const std::string& origin, std::string* key) {
  const Node* data = root.Find("data");
  if (data == nullptr || data->kind != Node::Kind::kMap || data->members.empty()) {
    return base::InvalidArgumentError(origin +
                                      ": the ConfigMap has no data; put the configuration under data[config.yaml]");
  }
  *key = "config.yaml";
  const Node* member = data->Find(*key);
  if (member == nullptr && data->members.size() == 1) {
    *key = data->members[0].first;
    member = &data->members[0].second;
  }
  if (member == nullptr || member->kind != Node::Kind::kScalar) {
    return base::InvalidArgumentError(origin + ": the ConfigMap's data has no text under config.yaml");
  }
  return member;
}

}  // namespace

std::shared_ptr<Rule> ReadRule(ObjectReader& reader, const std::string& section, size_t index) {
  auto rule = std::make_shared<Rule>();
  rule->section = section;
  rule->index = index;
  rule->line = reader.line();
  if (reader.Has("promql")) {
    ReadPromql(reader, rule.get());
  } else {
    ReadTemplate(reader, rule.get());
  }
  return rule;
}

base::Result<Config> ParseConfig(std::string_view text, const std::string& origin) {
  TW_ASSIGN_OR_RETURN(Node root, base::ParseYaml(text, origin));
  const Node* kind = root.kind == Node::Kind::kMap ? root.Find("kind") : nullptr;
  if (kind == nullptr || kind->text != "ConfigMap") return ReadConfig(root, origin);
  std::string key;
  TW_ASSIGN_OR_RETURN(const Node* member, ConfigMapMember(root, origin, &key));
  // Empty lines in front make the lines of a block scalar those of the file around it.
  bool block = member->text.find('\n') != std::string::npos && member->at.line > 0;
  std::string inner = std::string(block ? member->at.line : 0, '\n') + member->text;
  TW_ASSIGN_OR_RETURN(Node config, base::ParseYaml(inner, origin));
  return ReadConfig(config, block ? origin : origin + " (data[" + key + "])");
}

std::string DefaultConfigText() {
  return R"yaml(# The metrics that Tidewright serves when no rules are configured.
rules:
# Gauges: every series with a namespace label that does not end in _total.
- seriesQuery: '{namespace!="",__name__!~"^container_.*"}'
  seriesFilters:
  - isNot: .*_total$
  resources:
    template: <<.Resource>>
  name: {matches: "", as: ""}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)
# Counters, as a rate per second: http_requests_total becomes http_requests.
- seriesQuery: '{namespace!="",__name__!~"^container_.*"}'
  seriesFilters:
  - isNot: .*_seconds_total
  resources:
    template: <<.Resource>>
  name: {matches: "^(.*)_total$", as: ""}
  metricsQuery: sum(rate(<<.Series>>{<<.LabelMatchers>>}[5m])) by (<<.GroupBy>>)
# Counters of seconds, as seconds per second.
- seriesQuery: '{namespace!="",__name__!~"^container_.*"}'
  resources:
    template: <<.Resource>>
  name: {matches: "^(.*)_seconds_total$", as: ""}
  metricsQuery: sum(rate(<<.Series>>{<<.LabelMatchers>>}[5m])) by (<<.GroupBy>>)
resourceRules:
  cpu:
    containerQuery: |
      sum by (<<.GroupBy>>) (
        irate(container_cpu_usage_seconds_total{<<.LabelMatchers>>,container!="",pod!=""}[4m])
      )
    nodeQuery: |
      sum by (<<.GroupBy>>) (irate(node_cpu_usage_seconds_total{<<.LabelMatchers>>}[4m]))
    resources:
      overrides:
        namespace: {resource: namespace}
        node: {resource: node}
        pod: {resource: pod}
    containerLabel: container
  memory:
    containerQuery: |
      sum by (<<.GroupBy>>) (container_memory_working_set_bytes{<<.LabelMatchers>>,container!="",pod!=""})
    nodeQuery: |
      sum by (<<.GroupBy>>) (node_memory_working_set_bytes{<<.LabelMatchers>>})
    resources:
      overrides:
        namespace: {resource: namespace}
        node: {resource: node}
        pod: {resource: pod}
    containerLabel: container
  window: 5m
)yaml";
}

}  // namespace tidewright::adapter
