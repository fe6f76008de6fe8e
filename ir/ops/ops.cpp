// Look-up over all op records.
#include "ir/diagnostic.h"
#include "ir/ops/tables.h"

#include <algorithm>
#include <unordered_map>

namespace tintype {

namespace {

struct Registry {
  std::unordered_map<std::string_view, const OpDef*> by_name;
  std::vector<const OpDef*> ordered;

  Registry() {
    for (auto table :
         {ops::core_pointwise(), ops::core_movement(), ops::core_reduction(),
          ops::core_contraction(), ops::core_random(), ops::core_structure(), ops::core_control(),
          ops::onnx_recurrent(), ops::onnx_random(), ops::onnx_pointwise(), ops::onnx_convolution(),
          ops::onnx_pooling(), ops::onnx_normalization(), ops::onnx_shape(), ops::onnx_reduction(),
          ops::onnx_matmul()})
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

}  // namespace

const OpDef* find_op(std::string_view name) {
  const auto& map = registry().by_name;
  auto it = map.find(name);
  return it == map.end() ? nullptr : it->second;
}

const OpDef& op(std::string_view name) {
  const OpDef* def = find_op(name);
  TINTYPE_CHECK(def != nullptr, "no record for op '" + std::string(name) + "'");
  return *def;
}

std::vector<const OpDef*> all_ops() { return registry().ordered; }

}  // namespace tintype
