// Records of ops that structure a graph rather than compute.
#include "ir/ops/tables.h"

namespace tintype::ops {

namespace {

void infer_region(InferContext& c) {
  const Graph* body = c.node.body();
  if (body == nullptr) return;  // under construction: the pass that makes it sets the types
  for (size_t i = 0; i < c.results.size(); ++i) c.results[i] = body->output(i)->type();
}

constexpr AttrDef kRegion[] = {{"name", AttrKind::string, true}};

constexpr OpDef kOps[] = {
    {.name = "region",
     .min_operands = 0,
     .max_operands = -1,
     .min_results = 1,
     .max_results = -1,
     .attrs = kRegion,
     .infer = infer_region,
     .not_differentiable = "regions form after differentiation",
     .doc = "ops that run as one kernel"},
};

}  // namespace

std::span<const OpDef> core_structure() { return kOps; }

}  // namespace tintype::ops
