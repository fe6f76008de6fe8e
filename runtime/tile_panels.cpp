// Panels of weights, and products with them.
#include "runtime/tile_panels.h"

#include "runtime/cpu_features.h"

#include <cstring>

namespace tintype {

namespace {

bool find_tile_unit() {
  return amx_tile_loops() != nullptr && cpu_has("avx512_sapphirerapids") && acquire_matrix_unit();
}

}  // namespace

bool has_tile_unit() {
  static const bool found = find_tile_unit();
  return found;
}

int64_t packed_tile_elements(int64_t depth, int64_t columns, int terms) {
  return tiles::round_up(depth, kTileDepth) * tiles::round_up(columns, kTileColumns) * terms;
}

void pack_tile_panel(const TileWeights& w, int64_t depth, int columns, int terms, uint16_t* panel) {
  for (int64_t k = 0; k < depth; k += kTileDepth)
    tiles::pack_step(w, k, depth, columns, terms, panel + k * kTileColumns * terms);
}

namespace tiles {

const TileLoops& loops() {
  static const TileLoops& found = has_tile_unit() ? *amx_tile_loops() : portable_tile_loops();
  return found;
}

/// One step of a panel, from row `k` on.
void pack_step(const TileWeights& w, int64_t k, int64_t depth, int columns, int terms,
               uint16_t* to) {
  const TileLoops& run = loops();
  constexpr int64_t kTile = 16 * kTileDepth;
  const bool along = w.row == 1 && w.column != 1 && (w.group >= depth || w.group % kTileDepth == 0);
  float rows[2][16];
  for (int tile = 0; tile < 2; ++tile, to += kTile) {
    const int some = std::clamp(columns - 16 * tile, 0, 16);
    if (along) {
      run.split_tile(w.at(k) + 16 * tile * w.column, w.column, some,
                     static_cast<int>(std::min<int64_t>(kTileDepth, depth - k)), terms, to,
                     2 * kTile);
      continue;
    }
    for (int pair = 0; pair < kTileDepth; pair += 2) {
      const float* from[2];
      for (int i = 0; i < 2; ++i) {
        const int64_t row = k + pair + i;
        const float* at = row < depth ? w.at(row) + 16 * tile * w.column : nullptr;
        from[i] = rows[i];
        if (at != nullptr && some == 16 && w.column == 1) from[i] = at;
        else
          for (int c = 0; c < 16; ++c)
            rows[i][c] = at != nullptr && c < some ? at[c * w.column] : 0.0f;
      }
      run.split_pair(from[0], from[1], terms, to + 16 * pair, 2 * kTile);
    }
  }
}

namespace {

/// Steps of a panel that stay in the first-level cache while all rows use them, and the next ones
/// are fetched.
int64_t steps_at_once(int64_t rows, int terms) {
  const int64_t bytes = rows <= 32 ? 32 << 10 : 16 << 10;
  return std::max<int64_t>(1, bytes / (2 * kTileDepth * kPanelRow * terms));
}

/// One panel's sums of b.rows rows. The next panel lies behind this one, if there is one.
void multiply_panel(TileBlock b, int64_t steps, bool last) {
  const int64_t chunk = steps_at_once(b.rows, b.terms);
  const int64_t step = kTileDepth * kPanelRow * b.terms;
  b.accumulate = false;
  for (int64_t s = 0; s < steps; s += chunk) {
    b.steps = std::min(chunk, steps - s);
    const int64_t left = last ? steps - s - b.steps : chunk;
    b.next = reinterpret_cast<const char*>(b.panel + b.steps * step);
    b.next_bytes = 2 * step * std::min(chunk, left);
    loops().multiply(b);
    b.panel += b.steps * step;
    b.offsets += b.steps;
    b.accumulate = true;
  }
}

/// Weights that are not packed: some steps of all panels at a time, so that their rows are read
/// about as they lie, and are used while they are in the first-level cache.
int multiply_unpacked(TileBlock b, const Panels& panels, int64_t steps, const int64_t* place,
                      const halide_buffer_t& out) {
  constexpr int64_t kSteps = 4;
  const Block block(2 * kSteps * kTileDepth * kPanelRow * b.terms);
  if (block.as<uint16_t>() == nullptr) return halide_error_code_out_of_memory;
  const UnitInUse unit;
  const int64_t end = end_panel(out, panels.count());
  b.panel = block.as<uint16_t>();
  for (int64_t s = 0; s < steps; s += kSteps, b.offsets += kSteps) {
    b.steps = std::min(kSteps, steps - s);
    b.accumulate = s > 0;
    for (int64_t p = min_of(out, 2); p < end; ++p) {
      panels.pack(p, s, b.steps, block.as<uint16_t>());
      b.sums = sums_of(out, p, place);
      b.columns = wanted_columns(panels.columns(), p);
      loops().multiply(b);
    }
  }
  return 0;
}

}  // namespace

int multiply_panels(TileBlock b, const Panels& panels, int64_t steps, const int64_t* place,
                    const halide_buffer_t& out) {
  if (steps == 0) {  // sums of nothing
    for (int64_t p = min_of(out, 2); p < end_panel(out, panels.count()); ++p)
      std::memset(sums_of(out, p, place), 0,
                  sizeof(float) * static_cast<size_t>(b.rows) * kTileColumns);
    return 0;
  }
  if (!panels.packed()) return multiply_unpacked(b, panels, steps, place, out);
  const UnitInUse unit;
  const int64_t end = end_panel(out, panels.count());
  for (int64_t p = min_of(out, 2); p < end; ++p) {
    b.panel = panels.panel(p);
    b.sums = sums_of(out, p, place);
    b.columns = wanted_columns(panels.columns(), p);
    multiply_panel(b, steps, p + 1 == end);
  }
  return 0;
}

}  // namespace tiles

}  // namespace tintype
