// Epilogues and suitability; costs are in block_tiles.cpp, next to those of our own products.
#include "codegen/library_steps.h"

#include "codegen/region_arguments.h"

#include <algorithm>

namespace tintype {

namespace {

/// One number per column of `like`.
bool is_row(const Value* v, const Shape& like) {
  const Shape& s = v->shape();
  return !s.empty() && s.size() <= like.size() && s.back() == like.back() && !s.back().is(1) &&
         std::all_of(s.begin(), s.end() - 1, [](const Dim& d) { return d.is(1); });
}

}  // namespace

LibraryEpilogue library_epilogue(const Value* v) {
  LibraryEpilogue e;
  e.result = v;
  const Shape& shape = v->shape();
  while (!e.relu && e.result->has_one_use() && !e.result->uses().empty()) {
    const Use& use = e.result->uses().front();
    const Node& n = *use.node;
    if (n.is("relu")) {
      e.relu = true;
    } else if (n.is("add") && n.result()->shape() == shape) {
      const Value* other = n.operand(1 - use.operand);
      if (e.bias == nullptr && is_row(other, shape)) e.bias = other;
      else if (e.residual == nullptr && other->shape() == shape) e.residual = other;
      else break;
    } else {
      break;
    }
    e.result = n.result();
    ++e.nodes;
  }
  return e;
}

bool is_pointwise_conv(const Node& n) {
  return (n.is("conv") || n.is("conv_weight_gradient")) && all_ones(n.attrs().integers("window")) &&
         all_ones(n.attrs().integers("strides", {1})) && n.attrs().integer("group", 1) == 1;
}

bool suits_library(const Node& n) {
  if (n.result_count() != 1 || n.result()->dtype() != DType::f32 ||
      n.attrs().integer("block") > 0 || n.attrs().has("library"))
    return false;
  const Shape &left = n.operand(0)->shape(), &right = n.operand(1)->shape();
  const Shape& out = n.result()->shape();
  // A single number is compiled into a kernel.
  if (product(left).is(1) || product(right).is(1)) return false;
  if (n.is("dot")) {
    const bool stacks = right.size() > 2 && left.size() == right.size();
    const bool gates = left[0].is(1) && !right[0].is(1);
    return right.size() == 2 || (stacks && !gates);
  }
  if (!n.is("conv") && !n.is("conv_weight_gradient")) return false;
  const size_t axes = n.attrs().integers("window").size();
  const Dim& channels = left.back();
  const Dim& filters = n.is("conv") ? out.back() : right.back();
  const int64_t group = n.attrs().integer("group", 1);
  return (axes == 1 || axes == 2) && channels.is_static() && filters.is_static() &&
         (group == 1 || channels.value() / group >= 4);
}

}  // namespace tintype
