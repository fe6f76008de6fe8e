// What the programs of this folder share: their common options, progress, pictures and the result.
#pragma once

#include "tools/driver/trainer.h"

#include <CLI/CLI.hpp>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace tintype::examples {

/// One program: what it is called with, and where it leaves what it found.
class Example {
 public:
  /// `about` is the first line of the help. `name` names the folder and begins the result line.
  Example(const std::string& about, std::string name);

  /// To add options of its own to.
  CLI::App& options() { return app_; }
  uint64_t seed() const { return seed_; }
  const std::string& folder() const { return folder_; }

  /// Reads the command line, does the work, and returns what main returns.
  int run(int argc, char** argv, const std::function<void()>& work);

  /// Options of a run that says on standard error how it goes.
  FitOptions watched(int64_t epochs) const;
  /// Writes a picture into the folder and says where it is. Throws Error when that fails.
  void picture(const std::string& svg, const std::string& file) const;
  /// The last line of a run: "result: NAME key=value key=value ...".
  void result(const std::vector<std::pair<std::string, double>>& values) const;

 private:
  CLI::App app_;
  std::string name_, folder_;
  uint64_t seed_ = 1;
};

}  // namespace tintype::examples
