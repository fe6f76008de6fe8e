// How regions become kernels: what is chosen must be safe for the memory the operands lie in.
#include "codegen/machine.h"
#include "codegen/program_builder.h"
#include "codegen/region_kernel.h"
#include "ir/parse.h"
#include "passes/passes.h"

#include <gtest/gtest.h>

#include <string>

namespace tintype {
namespace {

const Node* only_region(const Graph& graph) {
  const Node* found = nullptr;
  for (const auto& n : graph.nodes())
    if (n->is("region")) found = n.get();
  return found;
}

/// The tail of a pool's kernel when the image lies in memory with these strides.
PanelTail tail_of_pool(const Shape& strides) {
  const auto graph = parse_graph(
      "graph \"g\"(%x: f32[2,8,8,3]) {\n"
      "  %p = window_reduce(%x) {dilations = [1, 1], kind = \"max\", strides = [1, 1], window = [2, 2]}\n"
      "  return %p as \"p\"\n}\n");
  PassContext context;
  fuse_regions(*graph, context);
  const Node* region = only_region(*graph);
  EXPECT_NE(region, nullptr);
  if (region == nullptr) return PanelTail::whole;
  const Machine machine = host_machine();
  RegionOptions options;
  options.machine = &machine;
  options.hint = [](const Dim&) { return int64_t{1}; };
  options.readable_beyond = [](int32_t) { return true; };
  const Placement out = {1, Dim(0), dense_strides(region->result(0)->shape())};
  return choose_kernels(*region, {{0, Dim(0), strides}}, {out}, options).back().spec.tail;
}

// Lanes beyond the last channel of a channels-first image lie whole images apart: reading them went
// beyond the arena, and crashed when it lay at the end of a mapping.
TEST(RegionKernel, ReadsBeyondChannelsOnlyWhereTheyAreNeighbours) {
  EXPECT_EQ(tail_of_pool({192, 24, 3, 1}), PanelTail::padded);
  EXPECT_EQ(tail_of_pool({192, 8, 1, 64}), PanelTail::masked);
}

}  // namespace
}  // namespace tintype
