// A configuration file as /api/v1/status/config shows it: with the defaults filled in and the secrets hidden.
// Cases: conformance/config.
#pragma once

#include <string>
#include <string_view>

#include "base/document.h"
#include "base/status.h"
#include "scrape/config.h"

namespace tidewright::scrape {

// `text` must be what ParseConfig() accepts; errors are those of ParseConfig(). Scrape configs of other files are not
// in the result.
base::Result<base::Node> PrintableConfig(std::string_view text, const std::string& origin,
                                         const ScrapeDefaults& defaults = {});

// The same as YAML.
base::Result<std::string> PrintConfig(std::string_view text, const std::string& origin,
                                      const ScrapeDefaults& defaults = {});

}  // namespace tidewright::scrape
