// From a region and the places of its operands to kernels: dims are merged where memory allows,
// register tiles are picked, alternatives are ordered by preference.
#pragma once

#include "codegen/kernel.h"
#include "codegen/program_builder.h"
#include "ir/graph.h"

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace tintype {

/// A buffer argument of a kernel call.
struct KernelArgument {
  DType dtype = DType::undefined;
  Placement placement;
  Shape extents;
};

/// One way to run a region.
struct KernelChoice {
  KernelSpec spec;
  std::vector<KernelArgument> arguments;  ///< inputs, scalars, outputs
  /// Runs when `position_extent` >= `least`; always when least is 0.
  Dim position_extent;
  int64_t least = 0;
  std::string algorithm;
};

struct RegionOptions {
  const Machine* machine = nullptr;
  bool reference = false;  ///< loops as written
  bool cuda = false;       ///< for the machine's CUDA device
  /// A likely value of a symbolic extent, for choosing tiles.
  std::function<int64_t(const Dim&)> hint;
  /// True for storages of the runtime's own, behind which kReadableBeyond bytes may be read.
  std::function<bool(int32_t storage)> readable_beyond;
};

/// Why a region has no kernel for a CUDA device, or "".
std::string cuda_problem(const Node& region);

/// `inputs` and `outputs`: placements in the order of the region's operands and results. At least
/// one choice; the last has no condition.
std::vector<KernelChoice> choose_kernels(const Node& region, const std::vector<Placement>& inputs,
                                         const std::vector<Placement>& outputs,
                                         const RegionOptions& options);

/// True when the region has a kernel that computes every element of its results once, and reads
/// `operand` only for the element that it computes: a result may then take the operand's place. (As
/// a rule tiles reach back at the end of a row.)
bool may_replace_operand(const Node& region, int operand, const Machine& machine);

}  // namespace tintype
