// Records of `tintype tune`: which algorithm won, for what, where, and by how much.
//
// {"format": "tintype tuning", "version": 1, "settings": [
//   {"processor": "Intel(R) Xeon(R) ...", "target": "x86-64-linux-avx512...", "threads": 2,
//    "math": "default", "kernels": "tintype-kernels-85 halide-21", "choices": [
//     {"node": "conv 1x58x58x64 * 3x3x64x64 = ...", "choice": "winograd fused f4 48", "ms": 0.21,
//      "untuned": "packed 64", "untuned_ms": 0.34}, ...]}, ...]}
#pragma once

#include "codegen/algorithm.h"
#include "codegen/select_algorithms.h"

#include <string>
#include <vector>

namespace tintype {

/// What besides the node decides how long an algorithm takes. Records hold for equal settings.
struct TuningSetting {
  std::string processor;  ///< "Intel(R) Xeon(R) ...", or the name of the CUDA device
  std::string target;     ///< instruction set, or capability of the device
  std::string math;       ///< "default", "strict"; with a device also what its libraries may do
  std::string kernels;    ///< version of the code generator
  int threads = 1;

  bool operator==(const TuningSetting&) const = default;
};

/// The setting of kernels for options.machine that run on this computer. `threads` is an upper
/// bound as in RunOptions, 0 is the default.
TuningSetting tuning_setting(const SelectAlgorithmsOptions& options, int threads);

struct TuningFile {
  struct Group {
    TuningSetting setting;
    Tuning choices;
  };
  std::vector<Group> groups;

  /// The choices of a setting. With `any_processor`, where there are none of this processor, those
  /// of the first other one that is equal in the rest.
  Tuning choices_for(const TuningSetting& setting, bool any_processor) const;
  /// Adds choices to those of their setting, in place of the ones with their keys.
  void merge(const TuningSetting& setting, const Tuning& choices);
};

/// Throws Error, which names the file and the place, when it can not be read, is no record of
/// tunings, is of another version, or is damaged.
TuningFile load_tuning(const std::string& path);
/// Written whole or not at all, in an order that does not depend on how it came about. Throws
/// Error.
void save_tuning(const TuningFile& file, const std::string& path);

/// tuning.json in the folder of compiled kernels, which CompileOptions::cache_directory names; ""
/// when there is none.
std::string default_tuning_path(const std::string& cache_directory);

}  // namespace tintype
