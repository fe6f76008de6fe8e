// Numbering of nodes.
#include "ir/node_numbers.h"

#include <bit>

namespace tintype {

NodeNumbers::NodeNumbers(const Graph& graph)
    : mask_(std::bit_ceil(2 * graph.size() + 2) - 1), table_(mask_ + 1) {
  for (const auto& n : graph.nodes()) {
    size_t i = slot(n.get());
    while (table_[i].node != nullptr) i = (i + 1) & mask_;
    table_[i] = {n.get(), static_cast<uint32_t>(size_++)};
  }
}

}  // namespace tintype
