// Initial values of states around compilation.
#include "tools/driver/state_values.h"

#include "ir/diagnostic.h"

#include <algorithm>
#include <vector>

namespace tintype {

std::map<std::string, Tensor> take_state_values(Graph& graph) {
  constexpr size_t kLarge = size_t{2} << 20;
  std::vector<State> large;
  for (const State& s : graph.states())
    if (s.initial.bytes() >= kLarge) large.push_back(s);
  std::map<std::string, Tensor> values;
  for (const State& s : large) {
    // The store knows states by the order of axes outside the graph; before passes there is no
    // other.
    if (!s.layout.empty()) continue;
    values.emplace(s.current->name(), s.initial);
    graph.set_layout(s.current, Tensor::zeros(s.initial.dtype(), s.initial.dims()), {});
  }
  return values;
}

void give_state_values(StateStore& store, const std::map<std::string, Tensor>& values,
                       const std::vector<std::string>& present) {
  for (const auto& [name, value] : values) {
    if (std::binary_search(present.begin(), present.end(), name)) continue;
    const Status set = store.set(name, value);
    if (!set.ok()) throw Error(set.message());
  }
}

}  // namespace tintype
