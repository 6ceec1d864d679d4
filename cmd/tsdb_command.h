// `tidewright tsdb`: tools around the store. Commands that promtool has, too, take the same arguments and print the
// same texts.
#pragma once

#include <functional>
#include <string>

#include <CLI/CLI.hpp>

namespace tidewright::cmd {

// Adds the command with all of its subcommands to `app`. After parsing, `chosen` runs the one that was named and
// returns the exit code; it is empty when there was none. `chosen` must outlive the parsing.
CLI::App* AddTsdbCommand(CLI::App& app, std::function<int()>* chosen);

}  // namespace tidewright::cmd
