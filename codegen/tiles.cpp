// The cost of register tiles.
#include "codegen/tiles.h"

#include <algorithm>
#include <cmath>

namespace tintype {

TileChoice pick_tile(int64_t extent, int vectors, int64_t depth, int spare,
                     const Machine& machine) {
  constexpr int64_t kFirstLevelBytes = 32 << 10;
  constexpr int kMostRows = 12;  // beyond, row addresses no longer fit the integer registers
  // Accumulators, one panel of weights and a broadcast value share the registers.
  const int most = std::clamp((machine.registers - vectors - spare) / vectors, 1, kMostRows);
  const bool far = 4 * depth * vectors * machine.lanes > kFirstLevelBytes;
  const auto positions = static_cast<double>(std::max<int64_t>(extent, 1));
  TileChoice best{1, 1e30};
  for (int rows = 1; rows <= most && rows <= std::max<int64_t>(extent, 1); ++rows) {
    const double chains = static_cast<double>(rows) * vectors;
    // Too few independent accumulators leave the pipeline, four cycles long, idle; two operands are
    // loaded per cycle, a broadcast per row and a vector of weights per vector.
    const double arithmetic =
        std::max({chains / machine.multiply_adds, (rows + vectors) / 2.0, 4.0});
    // A vector from the second-level cache takes two cycles, a third of which is not hidden.
    const double cycles = arithmetic + (far ? 0.7 : 0.1) * vectors + 0.5;
    const double cost = std::ceil(positions / rows) * cycles / (positions * vectors);
    if (cost < best.cost - 1e-9) best = {rows, cost};
  }
  return best;
}

}  // namespace tintype
