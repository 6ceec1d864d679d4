#include "scrape/default_config.h"

#include "config_files.h"

namespace tidewright::scrape {

std::string_view DefaultConfigText() { return embedded::kDefaultConfigYml; }

}  // namespace tidewright::scrape
