// Permutation arithmetic and small queries.
#include "passes/patterns.h"

#include "runtime/scalar.h"

#include <cstring>
#include <numeric>

namespace tintype {

bool is_identity(const Perm& perm) {
  for (size_t i = 0; i < perm.size(); ++i)
    if (perm[i] != static_cast<int64_t>(i)) return false;
  return true;
}

Perm inverse(const Perm& perm) {
  Perm out(perm.size());
  for (size_t i = 0; i < perm.size(); ++i)
    out[static_cast<size_t>(perm[i])] = static_cast<int64_t>(i);
  return out;
}

Perm composed(const Perm& first, const Perm& second) {
  Perm out;
  out.reserve(second.size());
  for (int64_t i : second) out.push_back(first[static_cast<size_t>(i)]);
  return out;
}

Shape permuted(const Shape& shape, const Perm& perm) {
  Shape out;
  out.reserve(perm.size());
  for (int64_t i : perm) out.push_back(shape[static_cast<size_t>(i)]);
  return out;
}

bool moves_only_ones(const Shape& shape, const Perm& perm) {
  int64_t last = -1;
  for (int64_t i : perm) {
    if (shape[static_cast<size_t>(i)].is(1)) continue;
    if (i < last) return false;
    last = i;
  }
  return true;
}

std::optional<double> constant_splat(const Value* v) {
  const Tensor* t = v == nullptr ? nullptr : v->constant();
  if (t == nullptr || t->size() == 0) return std::nullopt;
  const auto* first = static_cast<const std::byte*>(t->data());
  const size_t size = size_of(t->dtype());
  for (size_t at = size; at < t->bytes(); at += size)
    if (std::memcmp(first, first + at, size) != 0) return std::nullopt;
  return load_scalar(t->dtype(), first);
}

bool is_one_element(const Value* v) {
  for (const Dim& d : v->shape())
    if (!d.is(1)) return false;
  return true;
}

bool depends_on_constants_only(const Value* v) {
  // Chains of weight rearrangement are short; a limit keeps the question cheap on deep graphs.
  constexpr int kDepth = 16;
  const auto walk = [](const auto& self, const Value* at, int depth) -> bool {
    if (at->def() == nullptr || depth == 0 || at->def()->op().has(kImpure)) return false;
    if (at->constant() != nullptr) return true;
    if (at->def()->operand_count() == 0) return false;
    for (const Value* x : at->def()->operands())
      if (x != nullptr && !self(self, x, depth - 1)) return false;
    return true;
  };
  return walk(walk, v, kDepth);
}

std::string described(const Value& v) {
  if (v.def() == nullptr) return "graph input '" + v.name() + "'";
  if (v.constant() != nullptr) return "a constant";
  return v.def()->where() + " (" + std::string(v.def()->name()) + ")";
}

std::string users_text(const Value& v) {
  std::string names;
  for (const Use& u : v.uses()) names += (names.empty() ? "" : ", ") + u.node->where();
  if (v.output_uses() != 0) names += names.empty() ? "graph output" : ", graph output";
  const size_t count = v.uses().size() + static_cast<size_t>(v.output_uses());
  return std::to_string(count) + (count == 1 ? " user (" : " users (") + names + ")";
}

void replace_node(Graph& graph, Node& node, Value* now) {
  Value* old = node.result();
  if (now->name().empty() && now->def() != nullptr) now->set_name(old->name());
  if (now->def() != nullptr && !now->def()->is("constant")) now->def()->add_origins(node.origins());
  graph.replace_all_uses(old, now);
  graph.erase(&node);
}

}  // namespace tintype
