// The switches that Prometheus keeps behind --enable-feature.
#pragma once

#include <string>
#include <vector>

#include "promql/engine.h"
#include "scrape/config.h"

namespace tidewright::cmd {

// What the switches act on. Borrowed.
struct Features {
  scrape::ScrapeDefaults& scrape;  // What prometheus.yml starts from.
  promql::EngineOptions& query;
  bool& concurrent_rules;  // Independent rules of a group are evaluated side by side.
};

// Turns on what is named, each text a list separated by commas, as Prometheus 3.14 does: what is stable there or always
// on here is accepted, and what has no effect or is not known goes into `warnings`, never an error, so that a command
// line keeps working from release to release.
void TurnOnFeatures(const std::vector<std::string>& lists, Features features, std::vector<std::string>* warnings);

}  // namespace tidewright::cmd
