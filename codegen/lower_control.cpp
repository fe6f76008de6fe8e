// Scans, loops and branches: their bodies become steps behind their own step, and what changes from
// trip to trip becomes views that move.
#include "codegen/lowering.h"
#include "ir/diagnostic.h"
#include "ir/ops/control.h"

#include <algorithm>
#include <utility>

namespace tintype {

namespace {

bool same_place(const Placement& a, const Placement& b) {
  return a.storage == b.storage && a.offset == b.offset && a.strides == b.strides &&
         a.motions == b.motions;
}

/// Places of a state start on a cache line, of 4-byte elements.
constexpr int64_t kStateAlign = 16;

/// A slice of a tensor along its first axis; the axis itself is left to the trips.
Placement first_slice(const Placement& all, const Dim& trips, bool reverse) {
  Placement p = all;
  if (reverse) p.offset = p.offset + max(trips - Dim(1), Dim(0)) * all.strides[0];
  p.strides.erase(p.strides.begin());
  return p;
}

}  // namespace

void Lowering::lower_control(const Node& n) {
  if (n.is("scan")) return lower_scan(n);
  keep_on_host(n, "with CUDA, '" + std::string(n.name()) + "' is for the host to decide");
  const bool outer = std::exchange(host_only_, true);
  if (n.is("loop")) lower_loop(n);
  else lower_if(n);
  host_only_ = outer;
}

int32_t Lowering::open_step(Step::Kind kind, const Node& n) {
  Step s;
  s.kind = kind;
  s.name = std::string(n.name());
  s.origin = n.where();
  result_.program.steps.push_back(std::move(s));
  return static_cast<int32_t>(result_.program.steps.size() - 1);
}

int32_t Lowering::close_span(int32_t step) const {
  return static_cast<int32_t>(result_.program.steps.size()) - 1 - step;
}

Placement Lowering::moving(Placement p, int32_t loop, const Dim& stride, int32_t phase,
                           int32_t ring) {
  p.motions.push_back(static_cast<int32_t>(result_.program.motions.size()));
  result_.program.motions.push_back({loop, builder_.expression(stride), phase, ring});
  return p;
}

Placement Lowering::scalar(DType dtype) {
  return {builder_.storage(Storage::Kind::arena, 0, Dim(static_cast<int64_t>(size_of(dtype)))),
          Dim(0),
          {}};
}

Placement Lowering::ring_for(const Value* state, const Placement& initial, const Node& n,
                             Dim& stride) {
  stride = round_up(product(state->shape()), Dim(kStateAlign));
  const Dim bytes = Dim(2) * stride * Dim(static_cast<int64_t>(size_of(state->dtype())));
  Placement p{builder_.storage(Storage::Kind::arena, 0, bytes), Dim(0),
              dense_strides(state->shape())};
  add_copy(state->dtype(), state->shape(), initial, p, "initial state", n.where());
  return p;
}

/// Kernels read rows of what does not change again and again: those are made dense once.
Placement Lowering::invariant_place(const Value* v, const Node& reader) {
  const Placement at = placed(v, builder_.on_device);
  if (v->rank() < 2 || at.strides.back().is(1) || v->shape().back().is(1)) return at;
  const Placement copy = fresh(v);
  add_copy(v->dtype(), v->shape(), at, copy, "to dense", reader.where());
  return copy;
}

void Lowering::lower_body(const Graph& body, const std::vector<Placement>& inputs,
                          const std::vector<Placement>& outputs) {
  PlacementPlan plan(
      body, builder_,
      [this](const Value* v) {
        return writes_anywhere(v) &&
               (options_.machine.cuda == 0 || host_only_ || runs_on_device(*v->def()));
      },
      [this](const Value* v) { return lies_apart(v); });
  plan.on_margin = [this](const Margin& m) { add_fill(m); };
  PlacementPlan* outer = std::exchange(places_, &plan);
  for (size_t i = 0; i < inputs.size(); ++i) plan.set(body.inputs()[i].get(), inputs[i]);
  for (size_t i = 0; i < outputs.size(); ++i) {
    const Value* v = body.output(i);
    if (const auto place = place_behind_views(v, outputs[i]);
        place && claimable(v) && runs_on_device(*v->def()) == is_on_device(*place))
      plan.set(v, *place);
  }
  for (const auto& n : body.nodes()) lower_node(*n);
  for (size_t i = 0; i < outputs.size(); ++i) {
    const Value* v = body.output(i);
    if (!same_place(plan.of(v), outputs[i]))
      add_copy(v->dtype(), v->shape(), plan.of(v), outputs[i], body.output_name(i), "");
  }
  places_ = outer;
}

// A state that the scan also returns as it was before every trip, as training saves it, lies in
// that result: each trip leaves the next one a place further on, and nothing has to be copied.
std::optional<Lowering::StatePlaces> Lowering::places_in_saved(const ScanView& scan, int state) {
  const Value* current = scan.body().inputs()[static_cast<size_t>(state)].get();
  const Dim stride = product(current->shape());
  if (!(round_up(stride, Dim(kStateAlign)) == stride)) return std::nullopt;
  for (int i = scan.states; i < scan.node.result_count(); ++i) {
    const Value* all = scan.node.result(i);
    if (scan.body().output(static_cast<size_t>(i)) != current || !places_->is_free(all)) continue;
    const Dim size(static_cast<int64_t>(size_of(current->dtype())));
    const int32_t storage =
        builder_.storage(Storage::Kind::arena, 0, (scan.trips + Dim(1)) * stride * size);
    const auto at = [&](const Dim& place) {
      return Placement{storage, place * stride, dense_strides(current->shape())};
    };
    // In reverse, the last trip leaves its state in front of the result, else behind it.
    places_->set(all, {storage, scan.reverse ? stride : Dim(0), dense_strides(all->shape())});
    StatePlaces s;
    s.saved = i;
    s.stride = scan.reverse ? Dim(0) - stride : stride;
    s.first = at(scan.reverse ? scan.trips : Dim(0));
    s.second = at(scan.reverse ? max(scan.trips - Dim(1), Dim(0)) : Dim(1));
    s.last = at(scan.reverse ? Dim(0) : scan.trips);
    return s;
  }
  return std::nullopt;
}

Lowering::StatePlaces Lowering::place_state(const ScanView& scan, int state) {
  const Value* current = scan.body().inputs()[static_cast<size_t>(state)].get();
  const Placement initial = placed(scan.node.operand(state), builder_.on_device);
  if (std::optional<StatePlaces> s = places_in_saved(scan, state)) {
    add_copy(current->dtype(), current->shape(), initial, s->first, "initial state",
             scan.node.where());
    return *s;
  }
  StatePlaces s;
  s.ring = 2;
  s.first = s.second = s.last = ring_for(current, initial, scan.node, s.stride);
  s.last.offset = s.last.offset + mod(scan.trips, Dim(2)) * s.stride;
  return s;
}

void Lowering::lower_scan(const Node& n) {
  const ScanView scan(n);
  const Graph& body = scan.body();
  // Everything outside is placed and filled before the loop begins.
  std::vector<StatePlaces> states;
  for (int i = 0; i < scan.states; ++i) states.push_back(place_state(scan, i));
  std::vector<Placement> operands, results;
  for (int i = scan.states; i < n.operand_count(); ++i)
    operands.push_back(i < scan.first_invariant() ? placed(n.operand(i), builder_.on_device)
                                                  : invariant_place(n.operand(i), n));
  for (int i = scan.states; i < n.result_count(); ++i) results.push_back(places_->of(n.result(i)));
  const int32_t loop = open_step(Step::Kind::loop, n);
  result_.program.steps[static_cast<size_t>(loop)].control.trips = builder_.expression(scan.trips);
  const auto slice = [&](const Placement& all) {
    const Dim& stride = all.strides[0];
    return moving(first_slice(all, scan.trips, scan.reverse), loop,
                  scan.reverse ? Dim(0) - stride : stride, 0, 0);
  };
  std::vector<Placement> inputs, outputs;
  for (const StatePlaces& s : states) {
    inputs.push_back(moving(s.first, loop, s.stride, 0, s.ring));
    outputs.push_back(moving(s.second, loop, s.stride, s.ring > 0 ? 1 : 0, s.ring));
  }
  for (int i = 0; i < n.operand_count() - scan.states; ++i) {
    const Placement& p = operands[static_cast<size_t>(i)];
    inputs.push_back(i < scan.scanned ? slice(p) : p);
  }
  for (const Placement& p : results) outputs.push_back(slice(p));
  for (size_t i = 0; i < states.size(); ++i)
    if (states[i].saved >= 0) outputs[static_cast<size_t>(states[i].saved)] = inputs[i];
  const Dim outer_repeats = std::exchange(repeats_, repeats_ * scan.trips);
  lower_body(body, inputs, outputs);
  repeats_ = outer_repeats;
  result_.program.steps[static_cast<size_t>(loop)].control.span = close_span(loop);
  for (size_t i = 0; i < states.size(); ++i)
    places_->set(n.result(static_cast<int>(i)), states[i].last);
}

void Lowering::lower_loop(const Node& n) {
  const LoopView view(n);
  const Graph& body = view.body();
  const auto scalar_view = [this](DType dtype, const Placement& p) {
    return builder_.view(dtype, p, {});
  };
  Step::Control control;
  if (const Value* count = n.operand(LoopView::kTripCount))
    control.trip_count = scalar_view(DType::i64, placed(count, false));
  const Placement condition = scalar(DType::boolean), trip = scalar(DType::i64);
  control.condition = scalar_view(DType::boolean, condition);
  control.trip = scalar_view(DType::i64, trip);
  if (const Value* first = n.operand(LoopView::kCondition))
    add_copy(DType::boolean, {}, placed(first, false), condition, "first condition", n.where());
  else add_fill({DType::boolean, 1, condition, {}});
  std::vector<Placement> inputs = {trip}, outputs = {condition}, rings;
  std::vector<Dim> strides(static_cast<size_t>(view.states));
  for (int i = LoopView::kStates; i < n.operand_count(); ++i) {
    const auto state = static_cast<size_t>(i - LoopView::kStates);
    const Value* inner = body.inputs()[state + 1].get();
    if (state < static_cast<size_t>(view.states))
      rings.push_back(ring_for(inner, placed(n.operand(i), false), n, strides[state]));
    else inputs.push_back(invariant_place(n.operand(i), n));
  }
  const int32_t loop = open_step(Step::Kind::loop, n);
  std::vector<Placement> current;
  for (size_t i = 0; i < rings.size(); ++i) {
    const Value* inner = body.inputs()[i + 1].get();
    Placement second = rings[i];
    second.offset = second.offset + strides[i];
    control.rings.emplace_back(builder_.view(inner->dtype(), rings[i], inner->shape()),
                               builder_.view(inner->dtype(), second, inner->shape()));
    current.push_back(moving(rings[i], loop, strides[i], 0, 2));
    outputs.push_back(moving(rings[i], loop, strides[i], 1, 2));
    places_->set(n.result(static_cast<int>(i)), rings[i]);
  }
  inputs.insert(inputs.begin() + 1, current.begin(), current.end());
  lower_body(body, inputs, outputs);
  control.span = close_span(loop);
  result_.program.steps[static_cast<size_t>(loop)].control = std::move(control);
}

void Lowering::lower_if(const Node& n) {
  const ViewId condition = builder_.view(DType::boolean, placed(n.operand(0), false), {});
  std::vector<Placement> inputs, outputs;
  for (int i = 1; i < n.operand_count(); ++i) inputs.push_back(placed(n.operand(i), false));
  for (int i = 0; i < n.result_count(); ++i) outputs.push_back(places_->of(n.result(i)));
  const int32_t branch = open_step(Step::Kind::branch, n);
  lower_body(*n.body(0), inputs, outputs);
  const int32_t then = close_span(branch);
  lower_body(*n.body(1), inputs, outputs);
  const int32_t otherwise = close_span(branch) - then;
  Step::Control& control = result_.program.steps[static_cast<size_t>(branch)].control;
  control.condition = condition;
  control.span = then;
  control.otherwise = otherwise;
}

}  // namespace tintype
