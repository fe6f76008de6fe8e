// Look-up over all op records.
#include "ir/custom_ops.h"
#include "ir/diagnostic.h"
#include "ir/nearest_op.h"
#include "ir/ops/tables.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <shared_mutex>
#include <unordered_map>

namespace tintype {

namespace {

struct Registry {
  std::unordered_map<std::string_view, const OpDef*> by_name;
  std::vector<const OpDef*> ordered;

  Registry() {
    for (auto table : {ops::core_pointwise(),   ops::core_movement(),      ops::core_reduction(),
                       ops::core_contraction(), ops::core_winograd(),      ops::core_random(),
                       ops::core_structure(),   ops::core_control(),       ops::onnx_recurrent(),
                       ops::onnx_random(),      ops::onnx_pointwise(),     ops::onnx_convolution(),
                       ops::onnx_pooling(),     ops::onnx_normalization(), ops::onnx_shape(),
                       ops::onnx_reduction(),   ops::onnx_matmul(),        ops::onnx_attention(),
                       ops::onnx_resize(),      ops::onnx_quantization(),  ops::onnx_einsum(),
                       ops::onnx_sampling(),    ops::onnx_indexing(),      ops::onnx_signal()})
      for (const OpDef& def : table) {
        TINTYPE_CHECK(by_name.emplace(def.name, &def).second,
                      "two records for op " + std::string(def.name));
        ordered.push_back(&def);
      }
    std::sort(ordered.begin(), ordered.end(), [](const OpDef* a, const OpDef* b) {
      return std::pair(!a->is_core(), a->name) < std::pair(!b->is_core(), b->name);
    });
  }
};

const Registry& registry() {
  static const Registry instance;
  return instance;
}

/// Ops of plugins. Apart from the built-in ones, so that looking those up needs no lock.
struct AddedOps {
  std::shared_mutex mutex;
  std::map<std::string_view, const OpDef*> by_name;
};

AddedOps& added_ops() {
  static AddedOps instance;
  return instance;
}

const OpDef* find_added(std::string_view name) {
  if (name.find("::") == std::string_view::npos) return nullptr;
  AddedOps& added = added_ops();
  const std::shared_lock lock(added.mutex);
  const auto it = added.by_name.find(name);
  return it == added.by_name.end() ? nullptr : it->second;
}

void check_record(const OpDef& def) {
  const auto fail = [&def](const std::string& what) {
    throw Error("op '" + std::string(def.name) + "' cannot be added: " + what);
  };
  const size_t colons = def.name.find("::");
  if (colons == std::string_view::npos || colons == 0 || colons + 2 == def.name.size())
    fail("its name must be domain::Name");
  if ((def.infer == nullptr) == (def.decompose == nullptr))
    fail("it needs either a decomposition or inference");
  if (def.has(kOnnx) != (def.decompose != nullptr))
    fail("ops with a decomposition, and only they, have the trait kOnnx");
  if (def.infer != nullptr && !def.has(kPointwise | kKernel | kHostOnly))
    fail("without a decomposition it must be kPointwise, kKernel or kHostOnly");
  const auto in_order = [](int least, int most) {
    return least >= 0 && (most < 0 || most >= least);
  };
  if (!in_order(def.min_operands, def.max_operands))
    fail("it takes " + std::to_string(def.min_operands) + " to " +
         std::to_string(def.max_operands) + " operands");
  if (!in_order(def.min_results, def.max_results))
    fail("it has " + std::to_string(def.min_results) + " to " + std::to_string(def.max_results) +
         " results");
  if (def.infer != nullptr && (def.gradient == nullptr) == def.not_differentiable.empty())
    fail("it needs either a gradient or a reason in not_differentiable");
}

}  // namespace

const OpDef* find_op(std::string_view name) {
  const auto& map = registry().by_name;
  auto it = map.find(name);
  return it == map.end() ? find_added(name) : it->second;
}

const OpDef& op(std::string_view name) {
  const OpDef* def = find_op(name);
  TINTYPE_CHECK(def != nullptr, "no record for op '" + std::string(name) + "'");
  return *def;
}

std::string nearest_op(std::string_view name) {
  std::vector<std::string> names;
  for (const OpDef* d : all_ops()) names.emplace_back(d->name);
  return did_you_mean(name, names);
}

std::vector<const OpDef*> all_ops() {
  std::vector<const OpDef*> all = registry().ordered;
  AddedOps& added = added_ops();
  const std::shared_lock lock(added.mutex);
  for (const auto& [name, def] : added.by_name) all.push_back(def);
  return all;
}

void register_ops(std::span<const OpDef> ops) {
  for (const OpDef& def : ops) check_record(def);
  AddedOps& added = added_ops();
  const std::unique_lock lock(added.mutex);
  for (const OpDef& def : ops)
    if (const auto [it, fresh] = added.by_name.emplace(def.name, &def);
        !fresh && it->second != &def)
      throw Error("there are two ops named '" + std::string(def.name) + "'");
}

void infer_like_first(InferContext& c) { c.results[0] = c.type(0); }

void infer_pointwise(InferContext& c) {
  Shape shape = c.type(0).shape;
  for (int i = 1; i < c.node.operand_count(); ++i) {
    if (c.type(i).dtype != c.type(0).dtype)
      c.fail("operands have element types " + std::string(name_of(c.type(0).dtype)) + " and " +
             std::string(name_of(c.type(i).dtype)));
    shape = broadcast_shapes(c.node.graph(), shape, c.type(i).shape, c.node.where());
  }
  c.results[0] = {c.type(0).dtype, std::move(shape)};
}

}  // namespace tintype
