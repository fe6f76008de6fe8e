// The CUDA schedule of products in tiles that blocks compute from panels in shared memory.
#include "codegen/block_tiles.h"
#include "codegen/schedule/cuda_loops.h"
#include "codegen/schedule/schedules.h"

#include <algorithm>

namespace tintype {

using Halide::Func;
using Halide::MemoryType;
using Halide::RVar;
using Halide::Stage;
using Halide::TailStrategy;
using Halide::Var;
using Halide::VarOrRVar;

namespace {

constexpr int kVector = 4;

/// Loops over a block's columns: a thread has vectors of four, `lanes` vectors apart, so that what
/// a warp loads from shared memory at once lies together.
struct ColumnLoops {
  Var vector{"ci"}, half{"half"}, thread{"ct"}, block{"cb"};
};

/// Loops over a block's positions: a thread has `together` neighbours at a time.
struct PositionLoops {
  Var near{"pi"}, far{"pf"}, thread{"pt"}, block{"pb"};
};

int positions_together(const TiledProduct& p, const BlockTile& t) {
  return p.along_depth ? 1 : std::min(kVector, t.thread_positions);
}

/// Of one block's columns: `within` is what is left of the dim after the blocks are split off.
void split_block_columns(Stage s, const Var& within, const BlockTile& t, const ColumnLoops& c) {
  s.split(within, c.half, c.thread, t.lanes() * kVector)
      .split(c.thread, c.thread, c.vector, kVector);
}

/// `vectors`: the extent is a multiple of four.
void split_columns(Stage s, const Var& dim, const BlockTile& t, const ColumnLoops& c,
                   bool vectors) {
  if (vectors) {
    s.split(dim, c.thread, c.vector, kVector, TailStrategy::RoundUp)
        .split(c.thread, c.block, c.thread, t.columns / kVector, TailStrategy::GuardWithIf)
        .split(c.thread, c.half, c.thread, t.lanes())
        .vectorize(c.vector);
    return;
  }
  const Var within("within");
  s.split(dim, c.block, within, t.columns, TailStrategy::GuardWithIf);
  split_block_columns(s, within, t, c);
  s.unroll(c.vector);
}

void split_block_positions(Stage s, const Var& within, const TiledProduct& p, const BlockTile& t,
                           const PositionLoops& x) {
  const int together = positions_together(p, t);
  s.split(within, x.far, x.thread, t.groups() * together)
      .split(x.thread, x.thread, x.near, together);
}

/// All threads compute `count` by `steps` elements, neighbours first.
void spread(Func& f, const Var& element, int count, const Var& step, int steps, const BlockTile& t,
            const std::vector<VarOrRVar>& inside) {
  Var all("all"), part("part"), lane("lane"), group("group");
  f.bound_extent(element, count).bound_extent(step, steps);
  f.fuse(element, step, all)
      .split(all, part, lane, t.lanes(), TailStrategy::GuardWithIf)
      .split(part, part, group, t.groups(), TailStrategy::GuardWithIf);
  std::vector<VarOrRVar> order = inside;
  order.insert(order.end(), {part, lane, group});
  f.reorder(order).unroll(part).gpu_threads(lane, group);
}

/// A panel: `count` vectors for each of the steps.
void copy_panel(Func& f, int vector, int count, int steps, const BlockTile& t) {
  const std::vector<Var> args = f.args();
  f.bound_extent(args[0], vector).vectorize(args[0], vector);
  spread(f, args[1], count, args[2], steps, t, {args[0]});
}

/// What a block does for the tile that `consumer` asks for at the loop `block`.
void schedule_block(TiledProduct& p, const BlockTile& t, Func& consumer, const VarOrRVar& block) {
  const Halide::LoopLevel at(consumer, block);
  const ColumnLoops c;
  const PositionLoops x;
  const Var column = p.sums.args()[0], position = p.sums.args()[1];
  const RVar step = p.depth.x, chunk = p.depth.y;
  p.sums.compute_at(at)
      .store_in(MemoryType::Register)
      .bound_extent(column, t.columns)
      .bound_extent(position, t.positions);
  for (const Stage& s : {Stage(p.sums), Stage(p.sums.update())}) {
    split_block_columns(s, column, t, c);
    split_block_positions(s, position, p, t, x);
  }
  p.sums.reorder(c.vector, c.half, x.near, x.far, c.thread, x.thread)
      .vectorize(c.vector)
      .unroll(c.half)
      .unroll(x.near)
      .unroll(x.far)
      .gpu_threads(c.thread, x.thread);
  p.sums.update()
      .reorder(c.vector, c.half, x.near, x.far, step, c.thread, x.thread, chunk)
      .vectorize(c.vector)
      .unroll(c.half)
      .unroll(x.near)
      .unroll(x.far)
      .unroll(step)
      .gpu_threads(c.thread, x.thread);
  const int left_groups = (p.along_depth ? t.depth : t.positions) / t.left_vector;
  const int left_steps = p.along_depth ? t.positions : t.depth;
  if (p.has_place) {
    p.place.compute_at(at).store_in(MemoryType::Register);
    spread(p.place, p.place.args()[0], left_groups, p.place.args()[1], left_steps, t, {});
  }
  for (Func* f : {&p.left, &p.right}) f->compute_at(p.sums, chunk).store_in(MemoryType::GPUShared);
  copy_panel(p.left, t.left_vector, left_groups, left_steps, t);
  // A vector of room between the rows of a left panel: threads of a warp read the same steps of
  // rows that would else lie in few banks.
  if (p.along_depth) p.left.align_storage(p.left.args()[1], left_groups + 1);
  copy_panel(p.right, t.right_vector, t.columns / t.right_vector, t.depth, t);
}

/// Parts of the sum first, in memory, then a thread per element of the result.
void schedule_parts(Composition& c, const KernelSpec& spec) {
  TiledProduct& p = *c.tiled;
  const BlockTile& t = spec.block;
  const ColumnLoops columns;
  const PositionLoops x;
  const std::vector<Var> args = p.part.args();
  const Var column("column"), position("position");
  p.part
      .compute_root()  // with room for whole tiles
      .split(args[0], columns.block, column, t.columns, TailStrategy::RoundUp)
      .split(args[1], x.block, position, t.positions, TailStrategy::RoundUp);
  split_block_columns(p.part, column, t, columns);
  split_block_positions(p.part, position, p, t, x);
  p.part.vectorize(columns.vector)
      .reorder(columns.vector, columns.half, x.near, x.far, columns.thread, x.thread, x.block,
               columns.block, args[2])
      .unroll(columns.half)
      .unroll(x.near)
      .unroll(x.far)
      .gpu_blocks(x.block, columns.block, args[2])
      .gpu_threads(columns.thread, x.thread);
  schedule_block(p, t, p.part, x.block);
  Anchor& total = c.anchors.at(0);
  const Var thread = cuda::thread_tile(c.outputs[0], c.vars, {}, spec);
  total.func.compute_at(c.outputs[0], thread);
  total.func.update().unroll(total.func.rvars()[0], std::min(t.splits, kPartsTogether));
}

}  // namespace

// A block of threads copies panels of both sides, `depth` steps of the sum at a time, to shared
// memory; a thread adds up a tile of thread_positions by thread_columns in registers, for which it
// reads shared memory in vectors, and loads what it copies next meanwhile.
void schedule_cuda_tiled(Composition& c, const KernelSpec& spec) {
  TiledProduct& p = *c.tiled;
  const BlockTile& t = spec.block;
  if (t.splits > 1) return schedule_parts(c, spec);
  Func& out = c.outputs[0];
  // Further results have the extents of the first.
  if (t.store_vectors) {
    Halide::OutputImageParam b = out.output_buffers().front();
    b.dim(0).set_extent(b.dim(0).extent() / kVector * kVector);
  }
  Stage s = out.update();
  s.allow_race_conditions();  // positions of threads are not told apart by their dims
  const ColumnLoops columns;
  split_columns(s, c.vars[0], t, columns, t.store_vectors);
  RVar block = p.places[2];
  if (p.slices) {
    block = RVar("blocks");
    s.fuse(p.places[2], p.places[3], block);
  }
  const RVar own = p.places[0], group = p.places[1];
  s.reorder(columns.vector, columns.half, own, columns.thread, group, block, columns.block)
      .unroll(columns.half)
      .unroll(own)
      .gpu_blocks(block, columns.block)
      .gpu_threads(columns.thread, group);
  schedule_block(p, t, out, block);
}

}  // namespace tintype
