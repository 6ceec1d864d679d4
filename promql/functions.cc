#include "promql/functions.h"

#include <map>

namespace tidewright::promql {
namespace {

std::map<std::string_view, FunctionDef> BuildTable() {
  std::map<std::string_view, FunctionDef> table;
  for (auto family : {MathFunctions, CounterFunctions, OverTimeFunctions, TimeFunctions, LabelFunctions,
                      HistogramFunctions, InfoFunctions}) {
    for (FunctionDef& function : family()) table.emplace(function.name, std::move(function));
  }
  return table;
}

}  // namespace

const FunctionDef* FindFunction(std::string_view name) {
  static const std::map<std::string_view, FunctionDef> kTable = BuildTable();
  auto found = kTable.find(name);
  return found == kTable.end() ? nullptr : &found->second;
}

}  // namespace tidewright::promql
