// Options of `tintype train`.
#pragma once

#include "tools/train_data.h"

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>
#include <vector>

namespace tintype::cli {

struct TrainArguments {
  CLI::App* app = nullptr;
  std::string model, config, resume, weights, save_step, target, libraries = "auto", output = "run";
  std::string math = "default";
  DataArguments data;
  std::string loss, optimizer = "adam", schedule = "constant";
  std::string init, freeze, clip, regularize, average, early_stopping, recompute;
  std::vector<std::string> groups;
  std::vector<int64_t> top_k = {1};
  int64_t epochs = 10, diagnostics = 1, show = 0, keep_checkpoints = 0;
  uint64_t seed = 1;
  int threads = 0;
  std::string cache = "default";
  bool json = false, verbose = false, force = false;

  void add_to(CLI::App& command);
};

/// Whether the model is a file, not the name of a network of the zoo.
bool is_file(const std::string& model);

/// A run that is to go on: gives `a` the options that the run was started with, as far as the
/// command line says nothing. Throws Error where there is no run, and UsageError for options that
/// would make another run of it.
void apply_resumed(TrainArguments& a);

/// Writes the options for apply_resumed. Paths become absolute ones: a run may be continued from
/// another folder.
void save_arguments(const TrainArguments& a, const std::string& path);

}  // namespace tintype::cli
