// narrow-operands: products of 16-bit operands, for the mode `fast`.
#pragma once

#include "codegen/hints.h"
#include "codegen/machine.h"
#include "ir/graph.h"

#include <cstdint>
#include <functional>
#include <map>
#include <string>

namespace tintype {

struct NarrowOptions {
  Machine machine;
  DType type = DType::bf16;              ///< of operands: bf16 or f16
  bool always = false;                   ///< whatever can be narrowed, large or small
  std::map<std::string, int64_t> hints;  ///< likely values of symbols; others count as 1
  /// Told what became of a product: whether it was narrowed, and why or why not.
  std::function<void(const Node&, bool, const std::string&)> explain;

  int64_t hint(const Dim& d) const { return likely_value(d, hints); }
};

/// Gives dot, conv and conv_weight_gradient operands of 16 bits where the machine is faster with
/// them; sums and results stay f32, and so does everything else. Every operand is rounded once, to
/// nearest: by one part in 2^9 of an element with bf16, in 2^12 with f16, whose range ends at
/// 65504.
///
/// On a CUDA device from sm_80 on (f16: sm_70): products with 16 columns and steps of the sum and
/// 2^20 multiply-adds, in groups of eight channels at least. On a CPU with AMX, in bf16: products
/// that gain by it and are alone in reading their left side, which the kernel that computes it then
/// stores in bf16; other products round what they read (select-algorithms{terms=1}). On any CPU:
/// products of up to four rows with constant weights that do not fit the second-level cache, whose
/// time is that of reading these. True when something was narrowed.
bool narrow_operands(Graph& graph, const NarrowOptions& options);

/// What to tell the user of a machine without arithmetic in the type, else "".
std::string narrow_problem(const Machine& machine, DType type);

}  // namespace tintype
