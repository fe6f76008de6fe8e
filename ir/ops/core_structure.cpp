// Records of ops that structure a graph rather than compute.
#include "ir/ops/tables.h"

#include <string>

namespace tintype::ops {

namespace {

void infer_region(InferContext& c) {
  const Graph* body = c.node.body();
  if (body == nullptr) return;  // under construction: the pass that makes it sets the types
  const auto operands = static_cast<size_t>(c.node.operand_count());
  if (body->inputs().size() != operands)
    c.fail("its body has " + std::to_string(body->inputs().size()) + " inputs for " +
           std::to_string(operands) + " operands");
  if (body->output_count() != c.results.size())
    c.fail("its body has " + std::to_string(body->output_count()) + " outputs for " +
           std::to_string(c.results.size()) + " results");
  for (size_t i = 0; i < operands; ++i) {
    const int k = static_cast<int>(i);
    const TensorType& inner = body->inputs()[i]->type();
    if (c.has(k) && !(inner == c.type(k)))
      c.fail("its body's input " + std::to_string(i) + " is " + inner.text() + ", the operand is " +
             c.type(k).text());
  }
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
