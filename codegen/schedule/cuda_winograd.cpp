// CUDA schedules of the Winograd transforms: a thread has one channel of one tile in registers.
#include "codegen/schedule/cuda_loops.h"
#include "codegen/schedule/schedules.h"

namespace tintype {

using Halide::Func;
using Halide::TailStrategy;
using Halide::Var;
using Halide::VarOrRVar;

namespace {

/// A stage along an axis of the tile, which a thread keeps.
void keep(Func& stage, Func& out, const Var& thread) {
  const auto args = stage.args();  // channel, column, row, tile
  stage.compute_at(out, thread).unroll(args[1]).unroll(args[2]);
}

}  // namespace

void schedule_cuda_winograd_points(Composition& c, const KernelSpec& spec) {
  Func& out = c.outputs[0];  // C, TW, TH, N, point; or lane, C, panel, point
  const Node& node = *c.anchors.at(0).node;
  const Var& point = c.vars.back();
  out.bound(point, 0, static_cast<int>(node.result()->shape()[0].value())).unroll(point);
  if (node.op().has(kPrepack))
    out.output_buffer().dim(0).set_extent(static_cast<int>(node.attrs().integer("block")));
  const std::vector<Var> tile(c.vars.begin(), c.vars.end() - 1);
  const Var thread = cuda::thread_tile(out, tile, {point}, spec);
  keep(c.stages.at(0), out, thread);
}

void schedule_cuda_winograd_output(Composition& c, const KernelSpec& spec) {
  Func& out = c.outputs[0];  // C, W, H, N
  const auto m = static_cast<int>(c.anchors.at(0).node->attrs().integer("m"));
  const auto window = c.anchors.at(0).node->attrs().integers("window");
  const int height = window[0] > 1 ? m : 1, width = window[1] > 1 ? m : 1;
  const Var tx("tx"), ty("ty"), xi("xi"), yi("yi");
  out.split(c.vars[1], tx, xi, width, TailStrategy::GuardWithIf)
      .split(c.vars[2], ty, yi, height, TailStrategy::GuardWithIf)
      .unroll(xi)
      .unroll(yi);
  const Var thread = cuda::thread_tile(out, {c.vars[0], tx, ty, c.vars[3]}, {xi, yi}, spec);
  Func &rows = c.stages.at(0), &tile = c.stages.at(1);
  const auto args = tile.args();
  tile.bound(args[1], 0, width).bound(args[2], 0, height);
  keep(tile, out, thread);
  keep(rows, out, thread);
}

void schedule_cuda_winograd_weight_adjoint(Composition& c, const KernelSpec& spec) {
  Func& out = c.outputs[0];  // F, C, W, H
  const auto window = c.anchors.at(0).node->attrs().integers("window");
  const Var &column = c.vars[2], &row = c.vars[3];
  out.bound(column, 0, static_cast<int>(window[1]))
      .bound(row, 0, static_cast<int>(window[0]))
      .unroll(column)
      .unroll(row);
  const Var thread = cuda::thread_tile(out, {c.vars[0], c.vars[1]}, {column, row}, spec);
  keep(c.stages.at(0), out, thread);
}

}  // namespace tintype
