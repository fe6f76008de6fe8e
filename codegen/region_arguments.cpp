// What a region's kernel is called with, dims merged where the buffers allow it.
#include "codegen/region_arguments.h"

#include "ir/builder.h"

#include <algorithm>
#include <map>

namespace tintype {

namespace {

/// Position of iteration dim d among the buffer's own dims, or -1 where it broadcasts.
int own_dim(const Buffer& b, size_t rank, size_t d) {
  const size_t skip = rank - b.value->shape().size();
  if (d < skip || b.value->shape()[d - skip].is(1)) return -1;
  return static_cast<int>(d - skip);
}

/// Groups of iteration dims that all buffers can treat as one; dims of extent 1 vanish.
std::vector<std::vector<size_t>> merge_dims(const std::vector<Buffer>& buffers,
                                            const Shape& space) {
  std::vector<std::vector<size_t>> groups;
  for (size_t d = 0; d < space.size(); ++d) {
    if (space[d].is(1)) continue;
    bool merge = !groups.empty();
    if (merge) {
      // Skipped unit dims between the two do not matter: compare with the last kept dim.
      const size_t last = groups.back().back();
      for (const Buffer& b : buffers) {
        const int outer = own_dim(b, space.size(), last);
        const int inner = own_dim(b, space.size(), d);
        if ((outer < 0) != (inner < 0)) merge = false;
        else if (outer >= 0 && !(b.placement.strides[static_cast<size_t>(outer)] ==
                                 b.placement.strides[static_cast<size_t>(inner)] * space[d]))
          merge = false;
      }
    }
    if (merge) groups.back().push_back(d);
    else groups.push_back({d});
  }
  if (groups.empty()) groups.emplace_back();  // a scalar: one dim of extent 1
  return groups;
}

KernelArgument merged_argument(const Buffer& b, const Shape& space,
                               const std::vector<std::vector<size_t>>& groups) {
  KernelArgument a{b.dtype, {b.placement.storage, b.placement.offset, {}, b.placement.motions}, {}};
  for (const auto& group : groups) {
    Dim extent = 1;
    Dim stride = 0;
    bool varies = false;
    for (size_t d : group) {
      const int own = own_dim(b, space.size(), d);
      if (own < 0) continue;
      extent = extent * space[d];
      stride = b.placement.strides[static_cast<size_t>(own)];
      varies = true;
    }
    a.extents.push_back(varies ? extent : Dim(1));
    a.placement.strides.push_back(varies ? stride : Dim(1));
  }
  return a;
}

BufferSpec spec_of(const KernelArgument& a) {
  BufferSpec s;
  s.dtype = a.dtype;
  for (const Dim& d : a.extents) s.unit.push_back(d.is(1));
  s.dense =
      a.placement.strides.empty() || a.extents.back().is(1) || a.placement.strides.back().is(1);
  return s;
}

/// The body with inputs of other shapes; `replace` may build a node differently.
std::shared_ptr<Graph> rebuild(
    const Graph& body, const std::vector<Shape>& input_shapes,
    const std::function<Value*(Builder&, const Node&, const std::vector<Value*>&)>& replace) {
  auto copy = std::make_shared<Graph>(body.name());
  std::map<const Value*, Value*> map;
  for (size_t i = 0; i < body.inputs().size(); ++i) {
    const Value* v = body.inputs()[i].get();
    map[v] = copy->add_input("a" + std::to_string(i), {v->dtype(), input_shapes[i]});
  }
  Builder b(*copy);
  for (const auto& n : body.nodes()) {
    std::vector<Value*> operands;
    for (Value* v : n->operands()) operands.push_back(v == nullptr ? nullptr : map.at(v));
    if (n->is("constant")) {  // a single element broadcasts at any rank
      map[n->result()] = b.constant(n->result()->constant()->reshaped({}));
      continue;
    }
    if (Value* v = replace(b, *n, operands); v != nullptr) {
      map[n->result()] = v;
      continue;
    }
    Node* m = b.create(n->name(), operands, n->attrs(), n->result_count());
    for (int i = 0; i < n->result_count(); ++i) map[n->result(i)] = m->result(i);
  }
  for (size_t i = 0; i < body.output_count(); ++i)
    copy->add_output(body.output_name(i), map.at(body.output(i)));
  return copy;
}

/// Symbolic shape of a merged buffer: 1 where it broadcasts, else a symbol per group.
Shape group_shape(const KernelArgument& a) {
  Shape s;
  for (size_t i = 0; i < a.extents.size(); ++i)
    s.push_back(a.extents[i].is(1) ? Dim(1) : Dim::symbol("g" + std::to_string(i)));
  return s;
}

void add_specs(KernelChoice& choice, size_t input_count) {
  for (size_t i = 0; i < choice.arguments.size(); ++i)
    (i < input_count ? choice.spec.inputs : choice.spec.outputs)
        .push_back(spec_of(choice.arguments[i]));
}

}  // namespace

bool all_ones(const std::vector<int64_t>& list) {
  return std::all_of(list.begin(), list.end(), [](int64_t v) { return v == 1; });
}

const Node* find_anchor(const Graph& body) {
  for (const auto& n : body.nodes())
    if (n->op().has(kContraction | kWindow | kReduction | kKernel | kTileTransform)) return n.get();
  return nullptr;
}

bool is_pointwise_only(const Graph& body) {
  return std::all_of(body.nodes().begin(), body.nodes().end(),
                     [](const auto& n) { return n->op().has(kPointwise) || n->is("constant"); });
}

std::vector<Buffer> buffers_of(const Node& region, const std::vector<Placement>& inputs,
                               const std::vector<Placement>& outputs) {
  std::vector<Buffer> list;
  const Graph& body = *region.body();
  for (size_t i = 0; i < inputs.size(); ++i)
    list.push_back({body.inputs()[i].get(), body.inputs()[i]->dtype(), inputs[i]});
  for (size_t i = 0; i < outputs.size(); ++i)
    list.push_back({body.output(i), body.output(i)->dtype(), outputs[i]});
  return list;
}

KernelChoice elementwise_choice(const Node& region, const std::vector<Buffer>& buffers,
                                const Machine& machine) {
  const Graph& body = *region.body();
  const Shape space = body.output(0)->shape();
  const auto groups = merge_dims(buffers, space);
  KernelChoice c;
  c.algorithm = "elementwise";
  c.spec.schedule = ScheduleKind::elementwise;
  std::vector<Shape> shapes;
  for (const Buffer& b : buffers) c.arguments.push_back(merged_argument(b, space, groups));
  for (size_t i = 0; i < body.inputs().size(); ++i) shapes.push_back(group_shape(c.arguments[i]));
  c.spec.body =
      rebuild(body, shapes,
              [](Builder&, const Node&, const std::vector<Value*>&) -> Value* { return nullptr; });
  // Rows that stay apart and do not fill a vector get one that fits.
  const Shape& extents = c.arguments.back().extents;
  if (extents.size() > 1 && extents.back().is_static() && extents.back().value() < machine.lanes)
    c.spec.lanes = extents.back().value() <= 8 ? std::min(8, machine.lanes) : machine.lanes;
  add_specs(c, body.inputs().size());
  return c;
}

KernelChoice plain_choice(const Node& region, const std::vector<Buffer>& buffers,
                          ScheduleKind kind) {
  KernelChoice c;
  c.spec.schedule = kind;
  c.spec.body = region.body()->clone();
  for (const Buffer& b : buffers) c.arguments.push_back({b.dtype, b.placement, b.value->shape()});
  add_specs(c, region.body()->inputs().size());
  return c;
}

std::optional<KernelChoice> merged_contraction(const Node& region, const Node& anchor,
                                               const std::vector<Buffer>& buffers) {
  const AttrMap& attrs = anchor.attrs();
  const int64_t block = attrs.integer("block"), terms = attrs.integer("terms");
  const Value* x = anchor.operand(0);
  const Value* w = anchor.operand(1);
  const Shape space = anchor.result()->shape();
  if (block == 0 || x->def() != nullptr || w->def() != nullptr || space.size() < 2)
    return std::nullopt;
  if (anchor.is("dot") && w->rank() != 3) return std::nullopt;
  if (terms > 0 && !space.back().is_static()) return std::nullopt;
  if (anchor.is("conv") &&
      (!all_ones(attrs.integers("window")) || !all_ones(attrs.integers("strides", {1})) ||
       attrs.integer("group", 1) != 1))
    return std::nullopt;
  const size_t leading = space.size() - 1;
  KernelChoice c;
  std::vector<Shape> shapes;
  for (const Buffer& b : buffers) {
    KernelArgument a{
        b.dtype, {b.placement.storage, b.placement.offset, {}, b.placement.motions}, {}};
    if (b.value == w) {
      const Shape& s = w->shape();  // [panels, (window of ones,) K, block]
      a.extents = {s[0], s[s.size() - 2], s.back()};
      a.placement.strides = {b.placement.strides[0], b.placement.strides[s.size() - 2],
                             b.placement.strides.back()};
      c.arguments.push_back(a);
      const Dim depth = Dim::symbol("depth");
      if (terms > 0) shapes.push_back(a.extents);
      else shapes.push_back({Dim::symbol("panels"), depth, s.back()});
      continue;
    }
    const Shape own = b.value == x ? x->shape() : space;
    Dim extent = 1, stride = 1;
    int varying = 0, fixed = 0;
    bool mergeable = true;
    for (size_t d = leading; d-- > 0;) {
      const int at =
          b.value == x ? (own[d].is(1) ? -1 : static_cast<int>(d)) : own_dim(b, space.size(), d);
      if (space[d].is(1)) continue;
      if (at < 0) {
        ++fixed;
        continue;
      }
      const Dim& s = b.placement.strides[static_cast<size_t>(at)];
      if (varying == 0) stride = s;
      else if (!(s == stride * extent)) mergeable = false;
      extent = extent * space[d];
      ++varying;
    }
    if (!mergeable || (varying > 0 && fixed > 0)) return std::nullopt;
    const size_t rank = b.value->shape().size();
    const Dim last = rank == 0 ? Dim(1) : b.value->shape().back();
    a.extents = {varying > 0 ? extent : Dim(1), last};
    a.placement.strides = {stride, rank == 0 ? Dim(1) : b.placement.strides.back()};
    c.arguments.push_back(a);
    shapes.push_back({varying > 0 ? Dim::symbol("positions") : Dim(1),
                      b.value == x ? (terms > 0 ? last : Dim::symbol("depth"))
                      : last.is(1) ? Dim(1)
                                   : Dim::symbol("columns")});
  }
  shapes.resize(region.body()->inputs().size());
  c.spec.body =
      rebuild(*region.body(), shapes,
              [&](Builder& b, const Node& n, const std::vector<Value*>& operands) -> Value* {
                if (&n != &anchor) return nullptr;
                AttrMap dot = {{"block", block}, {"columns", int64_t{1}}};
                if (terms > 0) {
                  dot.set("columns", space.back().value());
                  dot.set("terms", terms);
                }
                if (n.attrs().has("result")) dot.set("result", n.result()->dtype());
                Value* y = b.make("dot", {operands[0], operands[1]}, dot);
                // Columns get the symbol the epilogue's operands use, so that shapes agree.
                y->set_type({y->dtype(), {operands[0]->shape()[0], Dim::symbol("columns")}});
                return y;
              });
  c.spec.schedule = ScheduleKind::contraction;
  add_specs(c, region.body()->inputs().size());
  return c;
}

bool is_cell(const Graph& body, const Node& anchor) {
  const Shape& sums = anchor.result()->shape();
  const Shape& out = body.output(0)->shape();
  return (anchor.is("dot") || anchor.is("gate_products")) && sums.size() == 3 && !sums[0].is(1) &&
         (out.size() == 2 || (out.size() == 3 && out[0].is(1)));
}

bool is_attention(const Graph& body) {
  return std::count_if(body.nodes().begin(), body.nodes().end(),
                       [](const auto& n) { return n->is("dot"); }) == 2;
}

bool is_depthwise(const Node& conv) {
  const Dim& filters = conv.result()->shape().back();
  const Dim& channels = conv.operand(0)->shape().back();
  return conv.attrs().integer("block") == 0 && filters == channels &&
         filters.is(conv.attrs().integer("group", 1)) && conv.result()->rank() >= 3;
}

PanelTail panel_tail(const Node& prepack) {
  const auto axis = static_cast<size_t>(prepack.attrs().integers("perm").back());
  const Dim& columns = prepack.operand(0)->shape()[axis];
  const bool whole = columns.is_static() && columns.value() % prepack.attrs().integer("block") == 0;
  return whole ? PanelTail::whole : PanelTail::padded;
}

}  // namespace tintype
