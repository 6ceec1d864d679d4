// JSON values (nlohmann_json) without exceptions at the seams. Include this from .cc files; headers that only name Json
// include base/json_fwd.h.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/json_fwd.h"
#include "base/status.h"

namespace tidewright::base {

// Parses one JSON document. Depth is limited to 200; trailing bytes are an error. The error names the byte offset.
Result<Json> ParseJson(std::string_view text);

// Serializes; bytes that are not UTF-8 become U+FFFD instead of an exception. indent < 0 is one line.
std::string DumpJson(const Json& value, int indent = -1);

// The member at a path of object keys, or nullptr if any step is missing or not an object. Never throws.
//   const Json* replicas = Find(deployment, {"spec", "replicas"});
const Json* Find(const Json& value, std::initializer_list<std::string_view> path);

// The string / integer / bool at the path, or `fallback` when it is missing or has another type. Never throws.
std::string FindString(const Json& value, std::initializer_list<std::string_view> path, std::string fallback = "");
int64_t FindInt(const Json& value, std::initializer_list<std::string_view> path, int64_t fallback = 0);
bool FindBool(const Json& value, std::initializer_list<std::string_view> path, bool fallback = false);

}  // namespace tidewright::base

// The parts of nlohmann_json that most files use, compiled once, in json.cc, instead of in each file that includes
// this. An update of the library that renames one of them fails to compile here.
extern template class nlohmann::basic_json<>;
extern template class std::vector<tidewright::base::Json>;
extern template class std::map<std::string, tidewright::base::Json, std::less<>>;
extern template class nlohmann::detail::serializer<tidewright::base::Json>;
extern template class nlohmann::detail::lexer<tidewright::base::Json,
                                              nlohmann::detail::iterator_input_adapter<const char*>>;
extern template class nlohmann::detail::parser<tidewright::base::Json,
                                               nlohmann::detail::iterator_input_adapter<const char*>>;
