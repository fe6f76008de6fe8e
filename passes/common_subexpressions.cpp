// common-subexpressions: nodes that compute the same thing become one.
#include "passes/passes.h"

#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <unordered_set>
#include <variant>
#include <vector>

namespace tintype {

namespace {

constexpr size_t kCompareBytes = size_t{64} << 10;

/// Bits decide, so that 0 and -0 stay apart and NaN equals itself.
bool same_number(double a, double b) {
  return std::bit_cast<uint64_t>(a) == std::bit_cast<uint64_t>(b);
}

/// Large constants count as equal only when they share their elements.
bool same_tensor(const Tensor& a, const Tensor& b) {
  if (a.dtype() != b.dtype() || a.dims() != b.dims()) return false;
  if (a.data() == b.data() || a.bytes() == 0) return true;
  return a.bytes() <= kCompareBytes && std::memcmp(a.data(), b.data(), a.bytes()) == 0;
}

bool same_attr(const Attr& a, const Attr& b) {
  if (a.index() != b.index()) return false;
  return std::visit(
      [&b]<typename T>(const T& x) {
        const T& y = std::get<T>(b);
        if constexpr (std::is_same_v<T, Tensor>) return same_tensor(x, y);
        else if constexpr (std::is_same_v<T, double>) return same_number(x, y);
        else if constexpr (std::is_same_v<T, std::vector<double>>)
          return std::equal(x.begin(), x.end(), y.begin(), y.end(), same_number);
        else return x == y;
      },
      a);
}

struct Same {
  bool operator()(const Node* a, const Node* b) const {
    if (&a->op() != &b->op() || a->operand_count() != b->operand_count() ||
        a->result_count() != b->result_count() || a->attrs().size() != b->attrs().size())
      return false;
    for (int i = 0; i < a->operand_count(); ++i)
      if (a->operand(i) != b->operand(i)) return false;
    const auto& left = a->attrs().entries();
    const auto& right = b->attrs().entries();
    return std::equal(left.begin(), left.end(), right.begin(), [](const auto& x, const auto& y) {
      return x.first == y.first && same_attr(x.second, y.second);
    });
  }
};

/// Of op, operands and attributes; what is costly to mix in only has to be equal.
class Hash {
 public:
  size_t operator()(const Node* n) const {
    size_t h = reinterpret_cast<uintptr_t>(&n->op());
    for (int i = 0; i < n->operand_count(); ++i) h = mix(h, pointer(n->operand(i)));
    for (const auto& [name, value] : n->attrs().entries()) {
      h = mix(h, std::hash<std::string_view>()(name));
      h = mix(h, std::visit([](const auto& v) { return of(v); }, value));
    }
    return h;
  }

 private:
  static size_t mix(size_t h, size_t more) {
    h = (h ^ more) * 0x9e3779b97f4a7c15u;
    return h ^ (h >> 32);
  }
  static size_t pointer(const void* p) { return reinterpret_cast<uintptr_t>(p); }

  static size_t of(int64_t v) { return static_cast<size_t>(v); }
  static size_t of(double v) { return std::bit_cast<uint64_t>(v); }
  static size_t of(DType v) { return static_cast<size_t>(v); }
  static size_t of(const std::string& v) { return std::hash<std::string>()(v); }
  static size_t of(const Dim& v) { return v.is_static() ? of(v.value()) : of(v.text()); }
  static size_t of(const Tensor& t) {
    size_t h = mix(of(t.dtype()), of(t.dims()));
    if (t.bytes() > kCompareBytes) return mix(h, pointer(t.data()));
    return mix(h, std::hash<std::string_view>()({static_cast<const char*>(t.data()), t.bytes()}));
  }
  template <typename T>
  static size_t of(const std::vector<T>& list) {
    size_t h = list.size();
    for (const T& v : list) h = mix(h, of(v));
    return h;
  }
};

}  // namespace

bool common_subexpressions(Graph& graph, PassContext& context) {
  bool changed = false;
  // Only looked up in, never walked through: pointers may be its keys.
  std::unordered_set<Node*, Hash, Same> first;
  first.reserve(graph.size());
  // A node may stand for thousands: their names are joined once, at the end.
  std::unordered_map<Node*, std::vector<std::string>> origins;
  for (Node* node : graph.node_list()) {
    if (node->body() != nullptr || node->op().has(kImpure)) continue;
    const auto [it, fresh] = first.insert(node);
    if (fresh) continue;
    Node* kept = *it;
    if (!node->is("constant")) {
      std::vector<std::string>& more = origins[kept];
      more.insert(more.end(), node->origins().begin(), node->origins().end());
      if (context.explaining())
        context.matched(*node, std::string(node->name()) + " repeats that of " + kept->where());
    }
    for (int i = 0; i < node->result_count(); ++i)
      graph.replace_all_uses(node->result(i), kept->result(i));
    graph.erase(node);
    changed = true;
  }
  for (const auto& [node, more] : origins) node->add_origins(more);
  return changed;
}

}  // namespace tintype
