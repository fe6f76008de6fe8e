// Costs are cycles on a Granite Rapids; only their proportions matter.
#include "codegen/amx_cost.h"

#include <algorithm>
#include <cmath>

namespace tintype {

namespace {

double ceil_of(double n, double m) { return std::ceil(n / m); }

/// An element taken apart into terms, and one that is copied where windows are written out.
constexpr double kSplit = 0.4, kCopy = 0.1;
/// An element of weights read from memory or the third-level cache, and from the second.
constexpr double kFar = 0.4, kNear = 0.08;
/// An element of weights packed.
constexpr double kPack = 0.5;
constexpr double kSum = 0.3, kTask = 1500, kCall = 2000;

/// Cycles of the tiles: 16 for a product of two, more for less than two rows of tiles, whose sums
/// wait for each other.
double tile_cycles(const TileProblem& p, double rows, int64_t terms) {
  const double products = static_cast<double>(terms * (terms + 1)) / 2;
  return ceil_of(rows, kTileRows) * ceil_of(p.columns, 16) * p.steps * products *
         (rows <= kTileRows ? 26 : 20);
}

double weights_of(const TileProblem& p) { return p.steps * kTileDepth * p.columns; }

TileProblem dot_problem(const Node& n, const std::function<double(const Dim&)>& hint) {
  TileProblem p;
  const Shape& out = n.result()->shape();
  p.lines = hint(out[out.size() - 2]);
  p.images = hint(product(Shape(out.begin(), out.end() - 2)));
  p.results = p.lines * p.images;
  // Products with several matrices fill tiles each by itself.
  const Shape& w = n.operand(1)->shape();
  const bool packed = n.attrs().integer("block") > 0;
  const bool stack = w.size() > 2 && !w[packed ? 1 : 0].is(1) && w.size() > (packed ? 3U : 2U);
  p.rows = stack ? ceil_of(p.lines, kTileRows) * kTileRows * p.images : p.results;
  p.depth = hint(n.operand(0)->shape().back());
  p.steps = ceil_of(p.depth, kTileDepth);
  p.columns = hint(out.back());
  p.left = kSplit * p.rows * p.depth;
  return p;
}

TileProblem window_problem(const Node& n, TileRows form,
                           const std::function<double(const Dim&)>& hint) {
  TileProblem p;
  const Shape &out = n.result()->shape(), &x = n.operand(0)->shape();
  const TileWindow w(n);
  const bool planar = out.size() == 4;
  const double width = hint(out[out.size() - 2]);
  p.images = hint(out[0]);
  p.lines = planar ? hint(out[1]) : width;
  p.line = planar ? width : 1;
  p.results = p.images * p.lines * p.line;
  p.depth = hint(x.back()) * static_cast<double>(w.width * w.height);
  p.steps = ceil_of(hint(x.back()) * static_cast<double>(w.width), kTileDepth) *
            static_cast<double>(w.height);
  p.rows = form == TileRows::places && planar
               ? p.images * ((p.lines - 1) * hint(x[x.size() - 2]) + p.line)
               : p.results;
  p.columns = hint(out.back());
  const double copies = static_cast<double>(w.width) / static_cast<double>(w.stride_x);
  p.left = hint(product(x)) * (kSplit + (form == TileRows::places ? 0 : kCopy * copies));
  p.halo =
      planar ? static_cast<double>((w.height - 1) * w.dilation_y) / static_cast<double>(w.stride_y)
             : 0;
  if (form == TileRows::windows) {
    p.left += kCopy * p.results * p.depth;
    p.line *= p.lines;
    p.lines = p.images;
    p.images = 1;
    p.halo = 0;
  }
  p.winograd = w.stride_x == 1 && w.stride_y == 1 && w.dilation_x == 1 && w.dilation_y == 1 &&
               planar && w.width == 3 && w.height == 3;
  return p;
}

/// Cycles of all cores with blocks of `rows` lines and `parts` of the columns.
double divided_cycles(const TileProblem& p, double rows, double parts, bool packed, int64_t terms,
                      const Machine& machine) {
  const double blocks = p.images * ceil_of(p.lines, rows), tasks = blocks * parts;
  const double weights = weights_of(p), l2 = static_cast<double>(machine.l2_bytes);
  const double read = weights * (2.0 * static_cast<double>(terms) * weights / parts < l2 / 2
                                     ? kFar + (blocks - 1) * kNear
                                     : blocks * kFar);
  const double of_block = p.rows / (p.lines * p.images) * std::min(rows, p.lines);
  const double products = blocks * tile_cycles(p, of_block, terms);
  const double left = parts * p.left * (std::min(rows, p.lines) + p.halo) / std::min(rows, p.lines);
  // What a task takes apart, and its sums, should stay in the second-level cache.
  const double bytes =
      p.left / kSplit / (p.lines * p.images) * (rows + p.halo) * 2 * static_cast<double>(terms) +
      4 * of_block * p.columns / parts;
  const double cores = machine.cores;
  const double idle = ceil_of(tasks, cores) * cores / tasks;
  // Products go on while weights come, as far as they take longer.
  const double work = std::max(products, read) + 0.3 * std::min(products, read) +
                      (packed ? 0 : blocks * kPack * weights) + left +
                      kSum * p.results * p.columns * (bytes > l2 * 0.75 ? 2 : 1);
  return work * idle * (bytes > l2 * 0.75 ? 1.15 : 1) + kTask * tasks;
}

}  // namespace

TileWindow::TileWindow(const Node& conv) {
  const auto window = conv.attrs().integers("window");
  const std::vector<int64_t> ones(window.size(), 1);
  const auto strides = conv.attrs().integers("strides", ones),
             dilations = conv.attrs().integers("dilations", ones);
  const bool planar = window.size() == 2;
  width = window.back();
  height = planar ? window[0] : 1;
  stride_x = strides.back();
  stride_y = planar ? strides[0] : 1;
  dilation_x = width > 1 ? dilations.back() : 1;
  dilation_y = planar ? dilations[0] : 1;
  const Dim& channels = conv.operand(0)->shape().back();
  in_place =
      stride_x == 1 && stride_y == 1 && channels.is_static() && channels.value() % kTileDepth == 0;
}

TileRows tile_rows(const Node& conv, const std::function<int64_t(const Dim&)>& hint) {
  constexpr int64_t kFew = 32;
  const Shape& out = conv.result()->shape();
  const TileWindow w(conv);
  if (out.size() == 4 && hint(out[0]) > 1 && out[1].is_static() && out[2].is_static() &&
      out[1].value() * out[2].value() <= kFew && w.width * w.height > 1 && w.dilation_x == 1)
    return TileRows::windows;
  return w.in_place ? TileRows::places : TileRows::lines;
}

TileProblem tile_problem(const Node& n, const std::function<int64_t(const Dim&)>& hint) {
  const auto number = [&hint](const Dim& d) {
    return static_cast<double>(std::max<int64_t>(1, hint(d)));
  };
  return n.is("conv") ? window_problem(n, tile_rows(n, hint), number) : dot_problem(n, number);
}

double amx_cycles(const TileProblem& p, bool packed, int64_t terms) {
  constexpr double kBlockRows = 256;
  const double blocks = std::max(1.0, std::ceil(p.rows / kBlockRows));
  return tile_cycles(p, p.rows, terms) + p.left + kSum * p.rows * p.columns +
         (packed ? 0 : kPack * blocks * weights_of(p)) + kCall;
}

double vector_cycles(const TileProblem& p, bool packed, const Machine& machine) {
  // Weights that change from run to run are packed or transformed there, too.
  constexpr double kShare = 0.8, kWinograd = 2.3;
  return p.results * p.depth * p.columns /
             (machine.lanes * machine.multiply_adds * kShare * (p.winograd ? kWinograd : 1)) +
         (packed ? 0 : kPack * weights_of(p));
}

AmxTasks pick_amx_tasks(const TileProblem& p, int64_t whole_panels, bool packed, int64_t terms,
                        const Machine& machine) {
  constexpr double kMostPositions = 512;
  const double step = p.line == 1 ? kTileRows : 1;
  AmxTasks best{static_cast<int>(step), 0};
  double least = 1e300;
  for (int64_t parts = 1; parts <= std::max<int64_t>(1, std::min<int64_t>(whole_panels, 16));
       ++parts) {
    if (parts > 1 && whole_panels % parts != 0) continue;
    for (double rows = step; rows < p.lines + step; rows += step) {
      if (rows > step && rows * p.line > kMostPositions) break;
      const double cycles =
          divided_cycles(p, rows, static_cast<double>(parts), packed, terms, machine);
      if (cycles > 0.999 * least) continue;
      least = cycles;
      best = {static_cast<int>(rows), parts == 1 ? 0 : static_cast<int>(whole_panels / parts)};
    }
  }
  return best;
}

}  // namespace tintype
