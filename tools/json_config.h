// Options of a subcommand from a JSON file, by the names they have on the command line.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace tintype::cli {

/// Reads an object such as {"optimizer": "adam,lr=1e-3", "epochs": 30, "group": ["bias$,rate=2"]}.
/// The command line wins over the file. Throws Error for files that can not be read, keys that are
/// no option of `app` (with the nearest name), and values an option does not take.
void apply_json_config(CLI::App& app, const std::string& path);

/// Writes what `app` was given, for apply_json_config to read; whole or not at all.
void save_json_config(const CLI::App& app, const std::vector<std::string>& except,
                      const std::string& path);

}  // namespace tintype::cli
