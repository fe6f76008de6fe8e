// From indices back to inputs, through movement and regions.
#include "codegen/index_inputs.h"

#include <algorithm>

namespace tintype {

namespace {

bool is_integer(DType t) { return t == DType::i32 || t == DType::i64; }

/// True for what gives elements of its operand and no others.
bool hands_on(const Node& n) {
  for (const char* op : {"reshape", "transpose", "broadcast", "slice", "copy", "identity"})
    if (n.is(op)) return true;
  return n.is("cast") && is_integer(n.operand(0)->dtype()) && is_integer(n.result()->dtype());
}

template <typename Values>
size_t number_of(const Values& values, const Value* v) {
  const auto it =
      std::find_if(values.begin(), values.end(), [&](const auto& x) { return x.get() == v; });
  return static_cast<size_t>(it - values.begin());
}

/// The input of the graph that `v` is, or null. `region`: in whose body `v` is.
const Value* input_behind(const Value* v, const Node* region) {
  while (true) {
    const Node* n = v->def();
    if (n == nullptr) {
      if (region == nullptr) return v;
      v = region->operand(static_cast<int>(number_of(region->body()->inputs(), v)));
      region = nullptr;
    } else if (n->is("region")) {
      int result = 0;
      while (n->result(result) != v) ++result;
      region = n;
      v = n->body()->output(static_cast<size_t>(result));
    } else if (hands_on(*n)) {
      v = n->operand(0);
    } else {
      return nullptr;
    }
  }
}

void add_gathers(const Graph& g, const Node* region, std::vector<IndexInput>& found) {
  for (const auto& n : g.nodes()) {
    if (n->is("region")) add_gathers(*n->body(), n.get(), found);
    if (!n->is("gather")) continue;
    const Value* input = input_behind(n->operand(1), region);
    if (input == nullptr || !is_integer(input->dtype())) continue;
    const auto axis = static_cast<size_t>(n->attrs().integer("axis"));
    found.push_back({input, n.get(), n->operand(0)->shape()[axis]});
  }
}

}  // namespace

std::vector<IndexInput> find_index_inputs(const Graph& graph) {
  std::vector<IndexInput> found;
  add_gathers(graph, nullptr, found);
  return found;
}

}  // namespace tintype
