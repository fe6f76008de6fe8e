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

int cell_vectors(int64_t gates, const Dim& units, int64_t batch, int64_t lanes,
                 const Machine& machine) {
  const int64_t most = std::max<int64_t>(1, (machine.registers - 3) / gates);
  if (!units.is_static()) return 1;
  int best = 1;
  double best_cost = 1e30;
  for (int v = 1; v <= std::min<int64_t>(most, 4); ++v) {
    const int64_t rows = cell_rows(gates, v, batch, machine);
    const double panels =
        std::ceil(static_cast<double>(units.value()) / static_cast<double>(v * lanes));
    const double sums = static_cast<double>(gates * v * rows);
    // A step of the reduction takes at least the latency of a multiply-add; the broadcasts of the
    // state and the loop itself cost the same for narrow tiles as for wide ones.
    const double cycles =
        std::max(sums / machine.multiply_adds, 4.0) + 0.5 * static_cast<double>(rows) + 0.5;
    const double cost =
        panels * std::ceil(static_cast<double>(batch) / static_cast<double>(rows)) * cycles;
    if (cost < best_cost - 1e-9) {
      best = v;
      best_cost = cost;
    }
  }
  return best;
}

int cell_rows(int64_t gates, int vectors, int64_t batch, const Machine& machine) {
  // Two registers for a vector of weights and a broadcast element of the state.
  const int64_t most = std::max<int64_t>(1, (machine.registers - 2) / (gates * vectors));
  return static_cast<int>(std::clamp<int64_t>(batch, 1, most));
}

}  // namespace tintype
