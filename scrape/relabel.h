// Relabelling: rules that rewrite, keep or drop label sets, with Prometheus' semantics.
// Source: reference of the configuration section `relabel_config`; cases in conformance/text-formats/relabel.json.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/document.h"
#include "base/status.h"
#include "tsdb/labels.h"

namespace re2 {
class RE2;
}

namespace tidewright::scrape {

// Which label names are valid: any UTF-8, or only [a-zA-Z_][a-zA-Z0-9_]*.
enum class NameScheme { kUtf8, kLegacy };
bool IsValidLabelName(std::string_view name, NameScheme scheme);
bool IsValidMetricName(std::string_view name, NameScheme scheme);

enum class RelabelAction {
  kReplace,
  kKeep,
  kDrop,
  kKeepEqual,
  kDropEqual,
  kHashMod,
  kLabelMap,
  kLabelDrop,
  kLabelKeep,
  kLowercase,
  kUppercase,
};

// One rule. Copyable, immutable once built, thread-safe.
struct RelabelRule {
  std::vector<std::string> source_labels;
  std::string separator = ";";
  std::string regex = "(.*)";
  uint64_t modulus = 0;
  std::string target_label;
  std::string replacement = "$1";
  RelabelAction action = RelabelAction::kReplace;
  NameScheme scheme = NameScheme::kUtf8;
  std::shared_ptr<const re2::RE2> compiled;  // Of `regex`, anchored; set by Compile().

  // Compiles `regex`; kInvalidArgument with RE2's reason. Rules built in code call it once; decoding calls it itself.
  base::Status Compile();
  friend bool operator==(const RelabelRule& a, const RelabelRule& b);
};

// Reads the list of relabelling rules at `key`, if present. Errors go to the readers. As in Prometheus, a text that is
// given as null is empty, while one that is not given has its default.
std::vector<RelabelRule> DecodeRelabelRules(base::ObjectReader& parent, std::string_view key, NameScheme scheme);

// Applies the rules in order. Returns false when a rule dropped the label set; `labels` is then unspecified, and
// `dropped_by`, unless null, is that rule's index.
bool Relabel(const std::vector<RelabelRule>& rules, tsdb::LabelsBuilder* labels, size_t* dropped_by = nullptr);

// As the configuration spells it: "keep".
std::string_view RelabelActionName(RelabelAction action);

}  // namespace tidewright::scrape
