// common-subexpressions: nodes that compute the same thing become one.
#include "ir/print.h"
#include "passes/passes.h"

#include <cstdint>
#include <string>
#include <unordered_map>

namespace tintype {

namespace {

constexpr size_t kCompareBytes = size_t{64} << 10;

/// Bytes that two nodes share exactly when they compute the same: op, operands, attributes. Large
/// constants count as equal only when they share their elements.
class Keys {
 public:
  std::string of(const Node& node) {
    std::string key = std::string(node.name()) + ' ' + std::to_string(node.operand_count()) + ' ';
    for (int i = 0; i < node.operand_count(); ++i) {
      const uint64_t id = node.operand(i) == nullptr ? 0 : id_of(node.operand(i));
      key.append(reinterpret_cast<const char*>(&id), sizeof id);
    }
    for (const auto& [name, value] : node.attrs().entries()) {
      key += ' ';
      key += name;
      key += '=';
      if (const auto* t = std::get_if<Tensor>(&value)) add_tensor(key, *t);
      else key += print(AttrMap{{"", value}});
    }
    return key;
  }

 private:
  /// From 1.
  uint64_t id_of(const Value* v) { return ids_.emplace(v, ids_.size() + 1).first->second; }

  static void add_tensor(std::string& key, const Tensor& t) {
    key += t.type_string();
    if (t.bytes() <= kCompareBytes) {
      key.append(static_cast<const char*>(t.data()), t.bytes());
    } else {
      const void* p = t.data();
      key += '@';
      key.append(reinterpret_cast<const char*>(&p), sizeof p);
    }
  }

  std::unordered_map<const Value*, uint64_t> ids_;  // order of first sight: deterministic
};

}  // namespace

bool common_subexpressions(Graph& graph, PassContext& context) {
  bool changed = false;
  Keys keys;
  std::unordered_map<std::string, Node*> first;
  for (Node* node : graph.node_list()) {
    if (node->body() != nullptr || node->op().has(kImpure)) continue;
    const auto [it, fresh] = first.emplace(keys.of(*node), node);
    if (fresh) continue;
    Node* kept = it->second;
    if (kept->result_count() != node->result_count()) continue;
    if (!node->is("constant")) {
      kept->add_origins(node->origins());
      if (context.explaining())
        context.matched(*node, std::string(node->name()) + " repeats that of " + kept->where());
    }
    for (int i = 0; i < node->result_count(); ++i)
      graph.replace_all_uses(node->result(i), kept->result(i));
    graph.erase(node);
    changed = true;
  }
  return changed;
}

}  // namespace tintype
