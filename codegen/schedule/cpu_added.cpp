// Schedules of kernels that plugins define: theirs, or one that fits whatever they define.
#include "codegen/define/added.h"
#include "codegen/schedule/schedules.h"

#include <algorithm>
#include <string>

namespace tintype {

using Halide::Func;
using Halide::Stage;
using Halide::TailStrategy;
using Halide::Var;

namespace {

/// True when the update writes each element at its own place, so that its loops over those may run
/// in any order.
bool keeps_places(const Func& f, int update) {
  const std::vector<Halide::Expr>& at = f.update_args(update);
  const std::vector<Var> vars = f.args();
  for (size_t i = 0; i < vars.size(); ++i) {
    const auto* v = at[i].as<Halide::Internal::Variable>();
    if (v == nullptr || v->name != vars[i].name()) return false;
  }
  return true;
}

/// Vectors along the innermost axis, the others on all threads. An axis of unknown length may be
/// shorter than a vector.
void schedule_loops(Stage stage, const std::vector<Var>& vars, int lanes) {
  if (vars.empty()) return;
  const Var block("block"), lane("lane"), task("task"), row("row");
  stage.split(vars[0], block, lane, lanes, TailStrategy::GuardWithIf).vectorize(lane);
  Var outer = block;
  for (size_t i = 1; i < vars.size(); ++i) {
    const Var fused("fused" + std::to_string(i));
    if (i > 1) stage.fuse(outer, vars[i], fused);
    outer = i > 1 ? fused : vars[1];
  }
  constexpr int kVectors = 512, kRows = 8;  // of a task, as elementwise kernels have it
  stage.split(outer, task, row, vars.size() == 1 ? kVectors : kRows, TailStrategy::GuardWithIf)
      .parallel(task);
}

void schedule_func(Func f, int lanes) {
  schedule_loops(f, f.args(), lanes);
  for (int i = 0; i < f.num_update_definitions(); ++i)
    if (keeps_places(f, i)) schedule_loops(f.update(i), f.args(), lanes);
}

}  // namespace

std::vector<Func> compute_updates_at_root(const std::vector<Func>& outputs) {
  std::vector<Func> rooted;
  for (const Func& out : outputs)
    for (const auto& [name, function] : Halide::Internal::find_transitive_calls(out.function())) {
      if (!function.has_update_definition()) continue;
      const auto same = [&n = name](const Func& f) { return f.name() == n; };
      if (std::any_of(rooted.begin(), rooted.end(), same) ||
          std::any_of(outputs.begin(), outputs.end(), same))
        continue;
      rooted.emplace_back(function);
      rooted.back().compute_root();
    }
  return rooted;
}

void schedule_added(Composition& c, const KernelSpec& spec, const Machine& machine) {
  const auto definition = find_kernel_definition(c.added->name());
  if (definition->schedule != nullptr)
    return definition->schedule(*c.added, {c.outputs, c.stages}, machine.lanes);
  const int lanes = vector_lanes(spec, machine);
  for (const Func& f : compute_updates_at_root(c.outputs)) schedule_func(f, lanes);
  for (const Func& f : c.outputs) schedule_func(f, lanes);
}

}  // namespace tintype
