// Lowers a graph of regions and host ops into a Program and the kernels it calls.
#pragma once

#include "codegen/kernel.h"
#include "ir/graph.h"
#include "runtime/program.h"

#include <map>
#include <string>
#include <vector>

namespace tintype {

struct LowerOptions {
  Machine machine;
  bool reference = false;                ///< unscheduled kernels, the oracle of differential tests
  std::map<std::string, int64_t> hints;  ///< likely values of symbols; others count as 1
};

struct Lowered {
  Program program;
  std::vector<KernelSpec> kernels;  ///< same order as program.kernels
  /// With a CUDA device: what runs on the CPU nevertheless, and why.
  std::vector<std::string> on_host;
};

/// The graph holds regions, views, pads, concats, constants and ops with host evaluation. Throws
/// Error for an op that neither codegen nor the runtime can run, naming its origin.
Lowered lower(const Graph& graph, const LowerOptions& options);

}  // namespace tintype
