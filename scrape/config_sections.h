// The parts that decoding a configuration file is divided into. Private to scrape/config*.cc.
#pragma once

#include <string>
#include <vector>

#include "base/document.h"
#include "scrape/config.h"
#include "scrape/http_config.h"

namespace tidewright::scrape {

// Reads static_configs and the sections of every supported kind of discovery into `config`; warns about the others.
void DecodeDiscovery(base::ObjectReader& reader, DecodeContext& context, ScrapeConfig* config);

// The list `scrape_configs` of `root`, with the defaults of `global`. Job names are not compared.
std::vector<ScrapeConfig> DecodeScrapeConfigList(base::ObjectReader& root, DecodeContext& context,
                                                 const GlobalConfig& global);

// The sections that Tidewright accepts for compatibility: alerting, remote_write, remote_read, storage, tracing, otlp,
// runtime. Their content is checked; what has no effect is warned about.
void DecodeOtherSections(base::ObjectReader& root, DecodeContext& context, Config* config);

// A list of whole numbers of 0 or more, byte sizes and names: shared small readers.
void ReadCount(base::ObjectReader& reader, std::string_view key, int64_t* out);
void ReadByteSize(base::ObjectReader& reader, std::string_view key, int64_t* out);
bool OneOf(base::ObjectReader& reader, std::string_view key, const std::string& value,
           const std::vector<std::string>& allowed);

// Errors unless '*' occurs only in the last element of the path.
void CheckGlob(base::ObjectReader& reader, std::string_view key, const std::string& pattern);

}  // namespace tidewright::scrape
