// Names base::Json without nlohmann_json's two seconds of compile time.
#pragma once

#include <nlohmann/json_fwd.hpp>

namespace tidewright::base {
using Json = nlohmann::json;
}  // namespace tidewright::base
