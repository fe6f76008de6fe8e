// Walks the graph once, giving every value a place and every op a step.
#include "codegen/lower.h"

#include "codegen/hints.h"
#include "codegen/index_inputs.h"
#include "codegen/lowering.h"
#include "codegen/region_arguments.h"
#include "codegen/state_updates.h"
#include "ir/builder.h"
#include "ir/diagnostic.h"
#include "ir/print.h"
#include "ir/work.h"
#include "runtime/cpu_features.h"
#include "runtime/host_ops.h"

#include <algorithm>

namespace tintype {

namespace {

/// Columns of a product from which copying its transposed left side costs less than it saves.
constexpr int64_t kColumnsWorthACopy = 64;

Dim bytes_of(const Value* v) {
  return product(v->shape()) * Dim(static_cast<int64_t>(size_of(v->dtype())));
}

}  // namespace

bool writes_anywhere(const Value* v) {
  const Node* n = v->def();
  if (n == nullptr) return false;
  if (n->is("scan")) return v->index() >= n->attrs().integer("states");
  return n->is("region") || n->is("if");
}

Lowering::Lowering(const Graph& graph, const LowerOptions& options)
    : graph_(graph), options_(options), builder_(result_.program),
      root_places_(
          graph, builder_,
          [this](const Value* v) {
            return writes_anywhere(v) && (options_.machine.cuda == 0 || runs_on_device(*v->def()));
          },
          [this](const Value* v) { return lies_apart(v); }),
      places_(&root_places_) {}

Lowered Lowering::run() {
  result_.program.model_name = graph_.name();
  result_.program.target = program_target(options_.machine);
  places_->on_margin = [this](const Margin& m) { add_fill(m); };
  add_inputs();
  claim_outputs();
  for (const auto& n : graph_.nodes()) lower_node(*n);
  finish_outputs();
  add_constraints(graph_);
  set_lifetimes();
  return std::move(result_);
}

void Lowering::add_constraints(const Graph& graph) {
  for (const DimConstraint& c : graph.constraints())
    result_.program.constraints.push_back(
        {builder_.expression(c.left), builder_.expression(c.right), c.message});
  for (const auto& n : graph.nodes())
    if (n->op().has(kControl))
      for (int i = 0; i < n->body_count(); ++i) add_constraints(*n->body(i));
}

int64_t Lowering::hint(const Dim& d) const { return likely_value(d, options_.hints); }

void Lowering::add_inputs() {
  std::vector<const Value*> ports;
  for (const auto& v : graph_.inputs())
    if (graph_.state_of(v.get()) == nullptr) ports.push_back(v.get());
  for (size_t i = 0; i < ports.size(); ++i)
    for (size_t axis = 0; axis < ports[i]->shape().size(); ++axis)
      if (auto name = ports[i]->shape()[axis].symbol_name(); name && !builder_.has_symbol(*name))
        builder_.add_symbol(*name, static_cast<int32_t>(i), static_cast<int32_t>(axis));
  for (const Value* v : ports) {
    const auto index = static_cast<int32_t>(result_.program.inputs.size());
    Placement place = whole(v, Storage::Kind::input, index);
    result_.program.inputs.push_back({v->name(), v->dtype(), builder_.expressions(v->shape()),
                                      builder_.view(v->dtype(), place, v->shape())});
    places_->set(v, std::move(place));
  }
  for (const IndexInput& use : find_index_inputs(graph_)) {
    const auto it = std::find(ports.begin(), ports.end(), use.input);
    if (it == ports.end()) continue;  // a state
    std::vector<IndexUse>& indices =
        result_.program.inputs[static_cast<size_t>(it - ports.begin())].indices;
    const ExprId extent = builder_.expression(use.extent);
    // Looking once is enough: tables of one size may share their numbers.
    if (std::none_of(indices.begin(), indices.end(),
                     [extent](const IndexUse& known) { return known.extent == extent; }))
      indices.push_back({extent, use.gather->where()});
  }
  for (const State& s : graph_.states()) {
    const auto index = static_cast<int32_t>(result_.program.states.size());
    result_.program.states.push_back({s.current->name(), s.initial, s.layout});
    builder_.on_device = state_on_device(s);
    places_->set(s.current, whole(s.current, Storage::Kind::state, index));
  }
}

Placement Lowering::whole(const Value* v, Storage::Kind kind, int32_t index) {
  return {builder_.storage(kind, index, bytes_of(v)), Dim(0), dense_strides(v->shape())};
}

/// True when a step can be told where to write the value. A pad around what already lies in a
/// padded buffer has no step.
bool Lowering::claimable(const Value* v) const {
  const Node* n = v->def();
  if (n != nullptr && n->op().has(kControl)) return writes_anywhere(v) && !places_->known(v);
  return n != nullptr && !n->is("constant") && !is_view(*n) && !places_->known(v) &&
         !(n->is("pad") && places_->in_place(n, 0));
}

/// Next values of states are written in place where nothing reads the old ones any more. Results
/// of steps become outputs directly; everything else is copied at the end.
void Lowering::claim_outputs() {
  const StateUpdates updates(graph_, options_.machine);
  for (const State& s : graph_.states()) {
    const Value* next = graph_.output(static_cast<size_t>(s.next));
    const auto place = place_behind_views(next, places_->of(s.current));
    if (place && claimable(next) && updates.in_place(s)) places_->set(next, *place);
  }
  for (size_t i = 0; i < graph_.output_count(); ++i) {
    if (graph_.is_next(static_cast<int>(i))) continue;
    const Value* v = graph_.output(i);
    const auto index = static_cast<int32_t>(result_.program.outputs.size());
    Placement place = whole(v, Storage::Kind::output, index);
    const Value* maker = v;
    if (const auto behind = place_behind_views(maker, place);
        behind && is_dense(*behind, maker->shape()) && claimable(maker) &&
        !runs_on_device(*maker->def()))
      places_->set(maker, *behind);
    result_.program.outputs.push_back({graph_.output_name(i), v->dtype(),
                                       builder_.expressions(v->shape()),
                                       builder_.view(v->dtype(), place, v->shape())});
    copies_.push_back({v, std::move(place), "output " + graph_.output_name(i)});
  }
  for (const State& s : graph_.states())
    copies_.push_back({graph_.output(static_cast<size_t>(s.next)), places_->of(s.current),
                       "state " + s.current->name()});
}

void Lowering::finish_outputs() {
  // What lies in a state may be overwritten by the copies: it is moved aside first.
  for (PendingCopy& c : copies_) {
    const Placement& at = places_->of(c.value);
    if (at.storage == c.to.storage || !in_state(at)) continue;
    builder_.on_device = is_on_device(c.to);
    const Placement aside = fresh(c.value);
    add_copy(c.value->dtype(), c.value->shape(), at, aside, c.name, "");
    c.aside = aside;
  }
  for (const PendingCopy& c : copies_) {
    const Placement& at = c.aside ? *c.aside : places_->of(c.value);
    if (at.storage != c.to.storage)
      add_copy(c.value->dtype(), c.value->shape(), at, c.to, c.name, "");
  }
}

bool Lowering::in_state(const Placement& at) const {
  return result_.program.storages[static_cast<size_t>(at.storage)].kind == Storage::Kind::state;
}

// ---- steps --------------------------------------------------------------------------------

/// The sides of one margin become one step.
void Lowering::add_fill(const Margin& m) {
  if (is_on_device(m.placement)) return add_device_fill(m);
  const ViewId side = builder_.view(m.dtype, m.placement, m.extents);
  if (auto& steps = result_.program.steps; !steps.empty()) {
    Step& last = steps.back();
    const auto storage_of = [this](ViewId v) {
      return result_.program.views[static_cast<size_t>(v)].storage;
    };
    if (last.kind == Step::Kind::fill && storage_of(last.outputs[0]) == m.placement.storage) {
      last.outputs.push_back(side);
      return;
    }
  }
  Step s;
  s.kind = Step::Kind::fill;
  s.fill = m.fill;
  s.outputs = {side};
  s.name = "fill";
  result_.program.steps.push_back(std::move(s));
}

void Lowering::add_copy(DType dtype, const Shape& shape, const Placement& from, const Placement& to,
                        const std::string& name, const std::string& origin) {
  if (is_on_device(from) || is_on_device(to))
    return add_device_copy(dtype, shape, from, to, name, origin);
  Step s;
  s.kind = Step::Kind::copy;
  s.inputs = {builder_.view(dtype, from, shape)};
  s.outputs = {builder_.view(dtype, to, shape)};
  s.name = "copy " + name;
  s.origin = origin;
  result_.program.steps.push_back(std::move(s));
}

Placement Lowering::fresh(const Value* v) {
  return {builder_.storage(Storage::Kind::arena, 0, bytes_of(v)), Dim(0),
          dense_strides(v->shape())};
}

/// The operand's place, or that of a dense copy made for this reader.
Placement Lowering::dense_place(const Value* v, const Node& reader) {
  const Placement at = placed(v, false);
  if (is_dense(at, v->shape())) return at;
  const Placement copy = fresh(v);
  add_copy(v->dtype(), v->shape(), at, copy, "to dense", reader.where());
  return copy;
}

void Lowering::lower_node(const Node& n) {
  if (n.is("constant")) return lower_constant(n);
  builder_.on_device = runs_on_device(n);
  if (n.op().has(kControl)) return lower_control(n);
  if (n.is("region")) return lower_region(n);
  if (is_view(n)) return lower_view(n);
  if (n.is("concat")) return lower_concat(n);
  if (n.is("pad") && places_->in_place(&n, 0)) {
    places_->of(n.result());
    return;
  }
  if (n.is("pad") && library_pads(n)) return;
  if (n.is("pad") && runs_on_device(n)) return lower_device_pad(n);
  if (n.is("dims") && runs_on_device(n)) return lower_device_dims(n);
  lower_host(n);
}

void Lowering::lower_constant(const Node& n) {
  const Tensor& t = *n.result()->constant();
  const auto index = static_cast<int32_t>(result_.program.constants.size());
  result_.program.constants.push_back(t);
  places_->set(n.result(), {builder_.storage(Storage::Kind::constant, index,
                                             Dim(static_cast<int64_t>(t.bytes()))),
                            Dim(0), dense_strides(n.result()->shape())});
}

void Lowering::lower_view(const Node& n) {
  const Value* x = n.operand(0);
  builder_.on_device = is_on_device(places_->of(x));
  std::optional<Placement> view = view_of(n, places_->of(x));
  if (!view) {
    const Placement copy = fresh(x);
    add_copy(x->dtype(), x->shape(), places_->of(x), copy, "to dense", n.where());
    view = view_of(n, copy);
  }
  places_->set(n.result(), std::move(*view));
}

void Lowering::lower_concat(const Node& n) {
  const Placement whole = places_->of(n.result());
  const auto axis =
      static_cast<size_t>(normalize_axis(n.attrs().integer("axis"), n.result()->rank(), n.where()));
  Dim start = 0;
  for (int i = 0; i < n.operand_count(); ++i) {
    const Value* v = n.operand(i);
    if (!places_->in_place(&n, i)) {
      Placement part = whole;
      part.offset = part.offset + start * whole.strides[axis];
      add_copy(v->dtype(), v->shape(), placed(v, is_on_device(whole)), part, "into concat",
               n.where());
    }
    start = start + v->shape()[axis];
  }
}

void Lowering::lower_host(const Node& n) {
  if (find_host_op(n.name()) == nullptr)
    throw Error(n.where() + ": op '" + std::string(n.name()) +
                "' has neither a kernel nor a host evaluation");
  keep_on_host(n, "op '" + std::string(n.name()) + "' has no kernel for CUDA");
  Step s;
  s.kind = Step::Kind::host;
  s.host_op = std::string(n.name());
  for (Value* v : n.operands())
    s.inputs.push_back(v == nullptr ? kNoView
                                    : builder_.view(v->dtype(), dense_place(v, n), v->shape()));
  for (int i = 0; i < n.result_count(); ++i) {
    const Value* v = n.result(i);
    s.outputs.push_back(builder_.view(v->dtype(), places_->of(v), v->shape()));
  }
  for (const auto& [name, value] : n.attrs().entries()) set_attribute(s, name, value);
  s.name = s.host_op;
  s.origin = n.where();
  result_.program.steps.push_back(std::move(s));
}

void Lowering::set_attribute(Step& s, const std::string& name, const Attr& value) {
  if (const auto* i = std::get_if<int64_t>(&value)) s.attributes.set(name, *i);
  else if (const auto* d = std::get_if<double>(&value)) s.attributes.set(name, *d);
  else if (const auto* t = std::get_if<std::string>(&value)) s.attributes.set(name, *t);
  else if (const auto* is = std::get_if<std::vector<int64_t>>(&value)) s.attributes.set(name, *is);
  else if (const auto* ds = std::get_if<std::vector<double>>(&value)) s.attributes.set(name, *ds);
  else if (const auto* tensor = std::get_if<Tensor>(&value)) s.attributes.set(name, *tensor);
  else if (const auto* shape = std::get_if<Shape>(&value))
    s.extent_attributes.emplace_back(name, builder_.expressions(*shape));
  // Element types and string lists are already visible in the views.
}

/// The right side of an unpacked dot is read along its columns: they must be adjacent. Its left
/// side is read along its rows, for every panel of columns; in a transposed matrix they are
/// strided, and where the stride is a power of two, lie in few sets of the caches. A device reads
/// it as it lies.
Placement Lowering::region_input(const Node& region, int i) {
  const Value* v = region.operand(i);
  const Placement at = placed(v, runs_on_device(region));
  if (options_.reference || v->rank() < 2 || at.strides.back().is(1) || v->shape().back().is(1))
    return at;
  const Value* inner = region.body()->inputs()[static_cast<size_t>(i)].get();
  for (const Use& u : inner->uses()) {
    if (!u.node->op().has(kContraction)) continue;
    if (u.node->attrs().integer("terms") > 0) continue;  // taken apart wherever it lies
    // Both sides of the first product of attention are read element by element.
    if (u.node->is("dot") && is_attention(*region.body()) &&
        u.node != region.body()->output(0)->def())
      continue;
    const Dim& columns = u.node->result()->shape().back();
    const bool as_it_lies = runs_on_device(region) && at.strides.rbegin()[1].is(1);
    const bool left = u.operand == 0 && u.node->is("dot") && columns.is_static() &&
                      columns.value() >= kColumnsWorthACopy && !as_it_lies;
    if (u.operand % 2 == 0 && !left) continue;  // weights have odd numbers
    const Placement copy = fresh(v);
    add_copy(v->dtype(), v->shape(), at, copy, left ? "to dense rows" : "to dense columns",
             region.where());
    return copy;
  }
  return at;
}

void Lowering::lower_region(const Node& n) {
  const bool device = runs_on_device(n);
  if (!device) keep_on_host(n, cuda_problem(n));
  if (const Node* anchor = library_anchor(n))
    return device ? lower_library(n, *anchor) : lower_without_library(n, *anchor);
  std::vector<Placement> inputs, outputs;
  for (int i = 0; i < n.operand_count(); ++i) inputs.push_back(region_input(n, i));
  for (int i = 0; i < n.result_count(); ++i) outputs.push_back(places_->of(n.result(i)));
  add_kernel_step(n, inputs, outputs, n.where());
}

void Lowering::add_kernel_step(const Node& n, const std::vector<Placement>& inputs,
                               const std::vector<Placement>& outputs, const std::string& origin) {
  RegionOptions options;
  options.machine = &options_.machine;
  options.reference = options_.reference;
  options.cuda = is_on_device(outputs.at(0));
  options.hint = [this](const Dim& d) { return hint(d); };
  options.readable_beyond = [this](int32_t storage) {
    const Storage::Kind kind = result_.program.storages[static_cast<size_t>(storage)].kind;
    return kind == Storage::Kind::arena || kind == Storage::Kind::state;
  };
  Step s;
  s.kind = Step::Kind::kernel;
  for (KernelChoice& c : choose_kernels(n, inputs, outputs, options)) {
    Step::Alternative a;
    if (c.least > 0) a.condition = builder_.at_least(c.position_extent, Dim(c.least));
    for (const KernelArgument& arg : c.arguments)
      a.arguments.push_back(builder_.view(arg.dtype, arg.placement, arg.extents));
    a.inputs = static_cast<int32_t>(c.spec.inputs.size());
    a.outputs = static_cast<int32_t>(outputs.size());
    a.kernel = kernel_index(c);
    s.alternatives.push_back(std::move(a));
  }
  s.name = n.attrs().string("name", "region");
  s.origin = origin;
  s.flops = builder_.expression(contraction_flops(*n.body()) * repeats_);
  result_.program.steps.push_back(std::move(s));
}

int32_t Lowering::kernel_index(KernelChoice& c) {
  const std::string text = c.spec.text();
  auto [it, inserted] = kernel_ids_.emplace(text, static_cast<int32_t>(result_.kernels.size()));
  if (inserted) {
    result_.program.kernels.push_back({"", c.spec.name, c.algorithm});
    result_.kernels.push_back(std::move(c.spec));
  }
  return it->second;
}

void Lowering::set_lifetimes() {
  Program& p = result_.program;
  std::vector<int32_t> first(p.storages.size(), -1), last(p.storages.size(), -1);
  auto touch = [&](ViewId v, int32_t step) {
    if (v == kNoView) return;
    const auto s = static_cast<size_t>(p.views[static_cast<size_t>(v)].storage);
    if (first[s] < 0) first[s] = step;
    last[s] = step;
  };
  for (size_t i = 0; i < p.steps.size(); ++i) {
    const auto step = static_cast<int32_t>(i);
    for (ViewId v : p.steps[i].inputs) touch(v, step);
    for (ViewId v : p.steps[i].outputs) touch(v, step);
    for (const auto& a : p.steps[i].alternatives)
      for (ViewId v : a.arguments) touch(v, step);
    const Step::Control& c = p.steps[i].control;
    for (ViewId v : {c.trip_count, c.condition, c.trip}) touch(v, step);
    for (const auto& [one, two] : c.rings) touch(one, step);
  }
  // What a loop shares with its surroundings lives as long as the loop does: the next trip wants it
  // where it is. Inner loops come behind the outer ones that contain them.
  for (size_t i = p.steps.size(); i-- > 0;) {
    if (p.steps[i].kind != Step::Kind::loop) continue;
    const auto begin = static_cast<int32_t>(i);
    const int32_t end = begin + p.steps[i].control.span;
    for (size_t s = 0; s < p.storages.size(); ++s) {
      const bool inside = first[s] > begin && last[s] <= end;
      if (inside || last[s] < begin || first[s] > end || first[s] < 0) continue;
      first[s] = std::min(first[s], begin);
      last[s] = std::max(last[s], end);
    }
  }
  for (size_t s = 0; s < p.storages.size(); ++s) {
    p.storages[s].first_step = std::max(first[s], 0);
    p.storages[s].last_step = std::max(last[s], 0);
  }
}

Lowered lower(const Graph& graph, const LowerOptions& options) {
  return Lowering(graph, options).run();
}

}  // namespace tintype
