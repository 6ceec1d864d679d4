// What follows from the flags and prometheus.yml together.
#pragma once

#include <cstddef>
#include <string>

#include "cmd/control_plane.h"
#include "scrape/config.h"
#include "tsdb/db.h"

namespace tidewright::cmd {

// The name of this host, or "localhost".
std::string HostName();

// The URL under which people reach the web port, without a slash at the end: that of the flags, or one with the name of
// this host.
std::string ExternalUrl(const ControlPlaneOptions& options);

// How many exemplars the store keeps; 0: none.
size_t MaxExemplars(const scrape::Config& config);

// What the section `storage` says goes before the flags. Read at the start only.
tsdb::DbOptions StoreOptions(const ControlPlaneOptions& options, const scrape::Config& config);

}  // namespace tidewright::cmd
