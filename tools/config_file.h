// Options of a subcommand from a JSON or TOML file, by the names they have on the command line.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>
#include <vector>

namespace tintype::cli {

/// Reads an object such as {"optimizer": "adam,lr=1e-3", "epochs": 30, "group": ["bias$,rate=2"]},
/// or from a file that ends in .toml, keys of the top level such as epochs = 30. The command line
/// wins over the file. Throws Error for files that can not be read, keys that are no option of
/// `app` (with the nearest name), and values an option does not take. Of the keys, those in `only`
/// are read, if there are any.
void apply_config(CLI::App& app, const std::string& path,
                  const std::vector<std::string>& only = {});

/// How a value of the option of this name is written.
using Rewrite = std::function<std::string(const std::string& option, const std::string& text)>;

/// Writes what `app` was given as JSON, for apply_config to read; whole or not at all.
void save_config(const CLI::App& app, const std::vector<std::string>& except,
                 const std::string& path, const Rewrite& rewrite = {});

}  // namespace tintype::cli
