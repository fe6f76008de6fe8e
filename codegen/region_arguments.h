// From a region and the places of its operands to the arguments of a kernel: what the choices for
// all targets have in common.
#pragma once

#include "codegen/region_kernel.h"

#include <optional>
#include <vector>

namespace tintype {

/// One buffer of the region while its dims are being merged.
struct Buffer {
  const Value* value;
  DType dtype;
  Placement placement;
};

std::vector<Buffer> buffers_of(const Node& region, const std::vector<Placement>& inputs,
                               const std::vector<Placement>& outputs);

/// The op that decides the loops of a kernel, or null where all are pointwise or movement.
const Node* find_anchor(const Graph& body);
bool is_pointwise_only(const Graph& body);
/// A product with a stack of matrices, [gates, K, N], whose results share one row of units.
bool is_cell(const Graph& body, const Node& anchor);
/// Two products, the second of which reads a softmax of the first.
bool is_attention(const Graph& body);
bool is_depthwise(const Node& conv);
/// Whether the panels of a prepacking op end with the columns of its operand.
PanelTail panel_tail(const Node& prepack);
/// True of a window, strides or dilations that are 1 along every axis.
bool all_ones(const std::vector<int64_t>& list);
inline int64_t static_or(const Dim& d, int64_t fallback) {
  return d.is_static() ? d.value() : fallback;
}

/// Arguments without merging, and the body as it is.
KernelChoice plain_choice(const Node& region, const std::vector<Buffer>& buffers,
                          ScheduleKind kind);
/// Dims merged as far as all buffers allow.
KernelChoice elementwise_choice(const Node& region, const std::vector<Buffer>& buffers,
                                const Machine& machine);
/// Leading dims (all but the last) as one, when every buffer but the weights allows it.
std::optional<KernelChoice> merged_contraction(const Node& region, const Node& anchor,
                                               const std::vector<Buffer>& buffers);

/// The kernel of a region for the machine's CUDA device.
KernelChoice cuda_choice(const Node& region, const std::vector<Buffer>& buffers,
                         const RegionOptions& options);

}  // namespace tintype
