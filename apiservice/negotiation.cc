#include "apiservice/negotiation.h"

#include <algorithm>
#include <map>
#include <vector>

#include "apiservice/metrics_protobuf.h"
#include "base/strings.h"

namespace tidewright::apiservice {
namespace {

struct MediaRange {
  std::string type;
  std::map<std::string, std::string> params;
  double q = 1;
};

std::vector<MediaRange> ParseAccept(const std::string& accept) {
  std::vector<MediaRange> ranges;
  for (const std::string& clause : base::Split(accept, ',')) {
    std::vector<std::string> parts = base::Split(clause, ';');
    MediaRange range;
    range.type = base::ToLower(base::TrimSpace(parts[0]));
    for (size_t i = 1; i < parts.size(); ++i) {
      size_t eq = parts[i].find('=');
      if (eq == std::string::npos) continue;
      std::string name = base::ToLower(base::TrimSpace(parts[i].substr(0, eq)));
      range.params[name] = std::string(base::TrimSpace(parts[i].substr(eq + 1)));
    }
    auto q = range.params.find("q");
    if (q != range.params.end() && !base::ParseDouble(q->second, &range.q)) range.q = 0;
    if (!range.type.empty()) ranges.push_back(std::move(range));
  }
  std::stable_sort(ranges.begin(), ranges.end(), [](const MediaRange& a, const MediaRange& b) { return a.q > b.q; });
  return ranges;
}

bool Is(const MediaRange& range, const char* as, const char* group, const char* version) {
  auto get = [&](const char* name) {
    auto it = range.params.find(name);
    return it == range.params.end() ? std::string() : it->second;
  };
  return get("as") == as && get("g") == group && get("v") == version;
}

std::optional<Form> FormOf(const MediaRange& range, std::initializer_list<Form> special) {
  auto offered = [&](Form form) { return std::find(special.begin(), special.end(), form) != special.end(); };
  if (range.q <= 0) return std::nullopt;
  if (range.type == kProtobufType && range.params.count("as") == 0 && offered(Form::kProtobuf)) return Form::kProtobuf;
  if (range.type != "application/json" && range.type != "application/*" && range.type != "*/*") return std::nullopt;
  if (range.params.count("as") == 0) return Form::kObject;
  if (offered(Form::kTable) && Is(range, "Table", "meta.k8s.io", "v1")) return Form::kTable;
  if (offered(Form::kDiscoveryV2) && Is(range, "APIGroupDiscoveryList", "apidiscovery.k8s.io", "v2")) {
    return Form::kDiscoveryV2;
  }
  return std::nullopt;
}

}  // namespace

std::optional<Form> Negotiate(const std::string& accept, std::initializer_list<Form> special) {
  if (base::TrimSpace(accept).empty()) return Form::kObject;
  for (const MediaRange& range : ParseAccept(accept)) {
    if (std::optional<Form> form = FormOf(range, special)) return form;
  }
  return std::nullopt;
}

}  // namespace tidewright::apiservice
