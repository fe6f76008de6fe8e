// common-subexpressions: nodes that compute the same thing become one.
#include "ir/print.h"
#include "passes/passes.h"

#include <cstring>
#include <string>
#include <unordered_map>

namespace tintype {

namespace {

constexpr size_t kCompareBytes = size_t{64} << 10;

/// Text that two nodes share exactly when they compute the same: op, attributes, operands. Large
/// constants count as equal only when they share their elements.
class Keys {
 public:
  std::string of(const Node& node) {
    std::string key(node.name());
    for (Value* v : node.operands()) {
      key += ' ';
      key += v == nullptr ? std::string("none") : id_of(v);
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
  std::string id_of(const Value* v) {
    return std::to_string(ids_.emplace(v, ids_.size()).first->second);
  }

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

  std::unordered_map<const Value*, size_t> ids_;  // order of first sight: deterministic
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
