#include "base/json.h"

namespace tidewright::base {

namespace {
constexpr int kMaxDepth = 200;  // Deeper than any manifest; shallow enough for every recursive walk over the value.
}  // namespace

Result<Json> ParseJson(std::string_view text) {
  // nlohmann's parser itself is iterative, so the limit protects the walks that come after it.
  bool too_deep = false;
  auto watch_depth = [&too_deep](int depth, Json::parse_event_t, Json&) {
    too_deep = too_deep || depth > kMaxDepth;
    return !too_deep;
  };
  try {
    Json value = Json::parse(text.begin(), text.end(), watch_depth);
    if (too_deep) return InvalidArgumentError("JSON is nested deeper than " + std::to_string(kMaxDepth) + " levels");
    return value;
  } catch (const Json::exception& error) {
    std::string what = error.what();
    auto bracket = what.find("] ");  // "[json.exception.parse_error.101] parse error at line 1, column 2: ..."
    return InvalidArgumentError("invalid JSON: " + (bracket == std::string::npos ? what : what.substr(bracket + 2)));
  }
}

std::string DumpJson(const Json& value, int indent) {
  return value.dump(indent, ' ', false, Json::error_handler_t::replace);
}

const Json* Find(const Json& value, std::initializer_list<std::string_view> path) {
  const Json* at = &value;
  for (std::string_view key : path) {
    if (!at->is_object()) return nullptr;
    auto it = at->find(key);
    if (it == at->end()) return nullptr;
    at = &*it;
  }
  return at;
}

std::string FindString(const Json& value, std::initializer_list<std::string_view> path, std::string fallback) {
  const Json* found = Find(value, path);
  return found != nullptr && found->is_string() ? found->get<std::string>() : fallback;
}

int64_t FindInt(const Json& value, std::initializer_list<std::string_view> path, int64_t fallback) {
  const Json* found = Find(value, path);
  return found != nullptr && found->is_number_integer() ? found->get<int64_t>() : fallback;
}

bool FindBool(const Json& value, std::initializer_list<std::string_view> path, bool fallback) {
  const Json* found = Find(value, path);
  return found != nullptr && found->is_boolean() ? found->get<bool>() : fallback;
}

}  // namespace tidewright::base

template class nlohmann::basic_json<>;
template class std::vector<tidewright::base::Json>;
template class std::map<std::string, tidewright::base::Json, std::less<>>;
template class nlohmann::detail::serializer<tidewright::base::Json>;
template class nlohmann::detail::lexer<tidewright::base::Json, nlohmann::detail::iterator_input_adapter<const char*>>;
template class nlohmann::detail::parser<tidewright::base::Json, nlohmann::detail::iterator_input_adapter<const char*>>;
