// The cost of register tiles.
#include "codegen/tiles.h"

#include <algorithm>
#include <cmath>

namespace tintype {

int image_rows_per_task(const Node& conv) {
  return conv.attrs().integers("strides", {1})[0] > 1 ? 3 : 7;
}

namespace {

constexpr int64_t kFirstLevelBytes = 32 << 10;
constexpr int kMostRows = 12;  // beyond, row addresses no longer fit the integer registers

/// Cycles of a step of the reduction. Too few independent accumulators leave the pipeline, four
/// cycles long, idle; operands are loaded, a broadcast per row and a vector of weights per vector.
/// A vector of 512 bits from the second-level cache takes two cycles, a third of which is not
/// hidden; `far` is the share of such vectors. With 256 bits no difference was seen: tiles of 5 x
/// 2, 6 x 2 and 4 x 3 lose some 0.7 cycles, those of 4 x 2 and 2 x 4, which just fill the pipeline,
/// one.
double step_cycles(int rows, int vectors, double far, const Machine& machine) {
  const double chains = static_cast<double>(rows) * vectors;
  const double arithmetic =
      std::max(chains / machine.multiply_adds, (rows + vectors) / machine.loads);
  if (machine.lanes == 16) return std::max(arithmetic, 4.0) + (0.1 + 0.6 * far) * vectors + 0.5;
  return std::max(arithmetic, 4.3) + 0.7;
}

/// Accumulators, one panel of weights and a broadcast value share the registers.
int most_rows(int vectors, int spare, const Machine& machine) {
  const int left = machine.registers - vectors - (machine.broadcasts ? spare : 1);
  return std::clamp(left / vectors, 1, kMostRows);
}

}  // namespace

TileChoice pick_tile(int64_t extent, int vectors, int64_t depth, int spare,
                     const Machine& machine) {
  const int most = most_rows(vectors, spare, machine);
  const bool far = 4 * depth * vectors * machine.lanes > kFirstLevelBytes;
  const auto positions = static_cast<double>(std::max<int64_t>(extent, 1));
  TileChoice best{1, 1e30};
  for (int rows = 1; rows <= most && rows <= std::max<int64_t>(extent, 1); ++rows) {
    const double cycles = step_cycles(rows, vectors, far ? 1 : 0, machine);
    const double cost = std::ceil(positions / rows) * cycles / (positions * vectors);
    if (cost < best.cost - 1e-9) best = {rows, cost};
  }
  return best;
}

int depth_block(int vectors, int64_t depth, const Machine& machine) {
  if (machine.registers > 16) return 0;
  const int64_t steps = kFirstLevelBytes / 2 / (int64_t{4} * vectors * machine.lanes);
  return 2 * depth > 3 * steps ? static_cast<int>(steps) : 0;
}

WinogradRun pick_winograd_run(int64_t columns, int64_t points, int64_t channels, int64_t filters,
                              int vectors, const Machine& machine) {
  const int64_t panel = int64_t{vectors} * machine.lanes;
  const int64_t bytes = 4 * points * (channels + (filters + panel - 1) / panel * panel);
  const int64_t fit = std::min(columns, machine.l2_bytes / 2 / bytes);
  WinogradRun best{1, 0, 1e30};
  // Addresses are constant distances apart, so that only vector registers limit the rows.
  const int spare = machine.broadcasts ? kMatrixSpare : 1;
  const int most = std::max((machine.registers - vectors - spare) / vectors, 1);
  // What a tile takes besides its steps, seen where narrow vectors make many small tiles.
  const double around = machine.broadcasts ? 0 : 40.0 / static_cast<double>(channels);
  for (int rows = 1; rows <= std::min<int64_t>(fit, most); ++rows) {
    for (int64_t tiles = rows; tiles <= fit; tiles += rows) {
      // Every run brings the weights from the second-level cache once.
      const double far = static_cast<double>(rows) / static_cast<double>(tiles);
      const double cycles = (step_cycles(rows, vectors, far, machine) + around) / (rows * vectors);
      const double computed = std::ceil(static_cast<double>(columns) / static_cast<double>(tiles)) *
                              static_cast<double>(tiles) / static_cast<double>(columns);
      if (computed * cycles < best.cost - 1e-9)
        best = {rows, static_cast<int>(tiles), computed * cycles};
    }
  }
  return best;
}

namespace {

/// Cycles of all tiles of a cell, up to a common factor.
double cell_cost(int64_t gates, int64_t vectors, int64_t rows, double panels, int64_t batch,
                 const Machine& machine) {
  const auto weights = static_cast<double>(gates * vectors);
  const auto height = static_cast<double>(rows);
  // A step of the reduction takes at least the latency of a multiply-add, and two operands are
  // loaded per cycle. Weights come from the second-level cache; the broadcasts of the state and the
  // loop itself cost the same for narrow tiles as for wide ones.
  const double cycles = std::max({weights * height / machine.multiply_adds,
                                  (weights + height) / machine.loads, 4.0}) +
                        0.7 * weights + 0.5 * height + 0.5;
  return panels * std::ceil(static_cast<double>(batch) / height) * cycles;
}

/// The same for one gate alone, whose weights all sequences of a tile bring from the second-level
/// cache again.
double gate_cost(int64_t vectors, int64_t rows, double panels, int64_t batch,
                 const Machine& machine) {
  const double cycles = step_cycles(static_cast<int>(rows), static_cast<int>(vectors), 1, machine);
  return panels * std::ceil(static_cast<double>(batch) / static_cast<double>(rows)) * cycles;
}

/// A tile that leaves fewer registers spills and runs at half the speed. Where a multiply-add reads
/// broadcasts from memory: the sums, `weights` vectors and the addresses of the rows. Elsewhere:
/// the sums, the weights or the broadcasts of all rows, whichever are fewer, and one of the other.
int64_t most_cell_rows(int64_t weights, const Machine& machine) {
  int64_t rows = 1;
  if (machine.broadcasts) rows = (machine.registers - weights - kMatrixSpare) / weights;
  else
    while (weights * (rows + 1) + std::min(weights, rows + 1) + 1 <= machine.registers) ++rows;
  return std::max<int64_t>(1, rows);
}

}  // namespace

bool splits_sequences(int64_t batch, const Machine& machine) {
  constexpr int64_t kEnough = 8;
  return machine.cores > 1 && batch >= kEnough * machine.cores;
}

CellTile pick_cell_tile(int64_t gates, const Dim& units, int64_t batch, int64_t lanes,
                        int fixed_vectors, bool may_be_apart, const Machine& machine) {
  if (splits_sequences(batch, machine)) batch = (batch + machine.cores - 1) / machine.cores;
  const bool fixed = fixed_vectors > 0 || !units.is_static();
  CellTile best;
  double best_cost = 1e30;
  const auto try_tiles = [&](bool apart, int64_t narrowest, int64_t widest) {
    const int64_t at_once = apart ? 1 : gates;
    if (fixed) narrowest = widest = std::max(fixed_vectors, 1);
    for (int64_t v = narrowest; v <= widest; ++v) {
      const double panels =
          fixed ? 1.0
                : std::ceil(static_cast<double>(units.value()) / static_cast<double>(v * lanes));
      const int64_t most =
          std::min(std::max<int64_t>(batch, 1), most_cell_rows(at_once * v, machine));
      for (int64_t rows = 1; rows <= most; ++rows) {
        const double cost =
            apart ? static_cast<double>(gates) * gate_cost(v, rows, panels, batch, machine)
                  : cell_cost(gates, v, rows, panels, batch, machine);
        if (cost > best_cost - 1e-9) continue;
        best = {static_cast<int>(v), static_cast<int>(rows), apart};
        best_cost = cost;
      }
    }
  };
  try_tiles(false, 1, std::clamp<int64_t>((machine.registers - 3) / gates, 1, 4));
  // Where all gates fit with this many sequences, taking one at a time gains nothing. Tall tiles of
  // one vector would spend more on elements of the state than on multiply-adds.
  constexpr int64_t kEnoughRows = 4;
  if (may_be_apart && most_cell_rows(gates, machine) < kEnoughRows)
    try_tiles(true, widest_panel(machine), widest_panel(machine));
  return best;
}

}  // namespace tintype
