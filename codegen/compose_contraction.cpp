// Definitions of products: conv, dot, attention.
#include "codegen/amx_cost.h"
#include "codegen/composer.h"
#include "codegen/define/movement.h"
#include "runtime/tile_product.h"

namespace tintype {

using Halide::Expr;
using Halide::Func;
using Halide::RDom;
using Halide::Var;

void Composer::define_conv(const Node& n) {
  Value* x = n.operand(0);
  Value* w = n.operand(1);
  const auto window = n.attrs().integers("window");
  const size_t spatial = window.size();
  const auto strides = n.attrs().integers("strides", std::vector<int64_t>(spatial, 1));
  const auto dilations = n.attrs().integers("dilations", std::vector<int64_t>(spatial, 1));
  const auto group = static_cast<int32_t>(n.attrs().integer("group", 1));
  const auto block = static_cast<int32_t>(n.attrs().integer("block"));
  const std::vector<Var> vars = make_vars(n.result()->rank());
  Index index = index_of(vars);
  // A tile of a device may reach past the image or the filters: what it computes there is not
  // stored, and reads what the last position reads.
  if (spec_.cuda) {
    for (size_t i = 0; i < spatial; ++i) {
      const auto span = static_cast<int32_t>((window[i] - 1) * dilations[i] + 1);
      index[i + 1] =
          Halide::min(index[i + 1], (extent(x, i + 1) - span) / static_cast<int32_t>(strides[i]));
    }
    if (block == 0)
      index.back() = Halide::min(index.back(), extent(w, static_cast<size_t>(w->rank() - 1)) - 1);
  }
  const Expr filter = index.back();
  // Reduction order: channel innermost, then the window from its last axis outwards.
  const size_t w_axis = block > 0 ? 1 : 0;  // where the window starts in the weights
  Halide::Region region;
  const Expr depth = multiple_of(extent(w, w_axis + spatial), spec_.depth_multiple);
  region.push_back({0, depth});
  for (size_t i = spatial; i-- > 0;) region.push_back({0, static_cast<int32_t>(window[i])});
  const RDom r(region, "r");
  const auto at = [&](const std::vector<Expr>& place) {
    Index in = {index[0]};
    for (size_t i = 0; i < spatial; ++i)
      in.push_back(index[i + 1] * static_cast<int32_t>(strides[i]) +
                   place[spatial - i] * static_cast<int32_t>(dilations[i]));
    Expr channel = place[0];
    if (spec_.schedule == ScheduleKind::depthwise) {
      channel = filter;  // one channel per filter, known to be the same one
    } else if (group > 1) {
      // Filters of group g read channels [g * depth, (g + 1) * depth).
      const Expr g = block > 0 ? (filter / block) / (extent(w, 0) / group)
                               : filter / (extent(w, w_axis + spatial + 1) / group);
      channel = channel + g * extent(w, w_axis + spatial);
    }
    in.push_back(channel);
    return in;
  };
  Index weight;
  if (block > 0) weight.push_back(filter / block);
  for (size_t i = 0; i < spatial; ++i) weight.push_back(r[static_cast<int>(spatial - i)]);
  weight.push_back(r[0]);
  weight.push_back(block > 0 ? filter % block : filter);
  pin_panel(w, block);
  Func f = new_func(n);
  f(vars) = Halide::Internal::make_zero(arithmetic_type(n.result()->dtype()));
  f(vars) += left_side(x, r, vars, at) * value(w, weight);
  add_anchor(n, f, vars, r);
}

Expr Composer::left_side(const Value* x, const RDom& r, const std::vector<Var>& vars,
                         const std::function<Index(const std::vector<Expr>&)>& at) {
  std::vector<Expr> call, place;
  std::vector<Var> stage_vars;
  for (int i = 0; i < r.dimensions(); ++i) {
    call.emplace_back(r[i]);
    stage_vars.emplace_back("place" + std::to_string(i));
    place.emplace_back(stage_vars.back());
  }
  if (!loads_vectors(x)) return value(x, at(call));
  for (size_t i = 1; i < vars.size(); ++i) {
    stage_vars.push_back(vars[i]);
    call.emplace_back(vars[i]);
  }
  Func stage("left");
  stage(stage_vars) = value(x, at(place));
  c_.stages.push_back(stage);
  return stage(call);
}

bool Composer::loads_vectors(const Value* x) const {
  for (size_t i = 0; i < spec_.inputs.size(); ++i)
    if (spec_.body->inputs()[i].get() == x) return spec_.cuda && spec_.inputs[i].aligned;
  return false;
}

void Composer::pin_panel(const Value* w, int32_t block) {
  auto it = inputs_.find(w);
  if (block == 0 || it == inputs_.end()) return;
  Halide::ImageParam& p = it->second;
  p.dim(0).set_bounds(0, block);
  p.dim(1).set_stride(block);
  if (!spec_.cuda) return;
  // Packed weights are dense, and start where vectors of four may be loaded.
  p.set_host_alignment(16);
  for (int d = 2; d < p.dimensions(); ++d) p.dim(d).set_stride(p.dim(d).stride() / block * block);
}

void Composer::define_dot(const Node& n) {
  Value* a = n.operand(0);
  Value* b = n.operand(1);
  const auto block = static_cast<int32_t>(n.attrs().integer("block"));
  const std::vector<Var> vars = make_vars(n.result()->rank());
  const Index index = index_of(vars);
  const size_t batch = index.size() - 2;
  const Expr depth = multiple_of(extent(a, a->shape().size() - 1), spec_.depth_multiple);
  const RDom r(0, depth, "r");
  const Index left = batch_index(a, 2, index);
  Expr row = index[batch], column = index[batch + 1];
  if (spec_.guarded_rows ||
      spec_.depth_block > 0)  // what is read behind the last row is not stored
    row = Halide::min(row, extent(a, a->shape().size() - 2) - 1);
  if (spec_.cuda) {  // as in convolutions
    row = Halide::min(row, extent(a, a->shape().size() - 2) - 1);
    if (block == 0) column = Halide::min(column, extent(b, b->shape().size() - 1) - 1);
  }
  const auto at = [&](const std::vector<Expr>& place) {
    Index in = left;
    in.push_back(row);
    in.push_back(place[0]);
    return in;
  };
  Index right = batch_index(b, block > 0 ? 3 : 2, index);
  if (block > 0) right.push_back(column / block);
  right.push_back(r.x);
  right.push_back(block > 0 ? column % block : column);
  pin_panel(b, block);
  Func f = new_func(n);
  f(vars) = Halide::Internal::make_zero(arithmetic_type(n.result()->dtype()));
  f(vars) += left_side(a, r, vars, at) * value(b, right);
  add_anchor(n, f, vars, r);
}

Halide::ExternFuncArgument Composer::whole_operand(const Value* v) {
  if (auto it = inputs_.find(v); it != inputs_.end()) return it->second;
  const std::vector<Var> vars = make_vars(v->rank());
  Func f("operand" + std::to_string(c_.stages.size()));
  Index at = index_of(vars);
  for (size_t d = 0; d < at.size(); ++d)
    if (is_unit(v, d)) at[d] = 0;
  f(vars) = value(v, at);
  f.compute_root();
  return f;
}

void Composer::define_tile_product(const Node& n) {
  const auto terms = static_cast<int32_t>(n.attrs().integer("terms"));
  std::vector<Halide::ExternFuncArgument> operands;
  for (const Value* v : n.operands()) operands.push_back(whole_operand(v));
  const auto add = [&](const Expr& e) { operands.emplace_back(e); };
  Func f = new_func(n);
  if (n.is("pack")) {
    const std::vector<Var> vars = make_vars(n.result()->rank());
    const auto perm = n.attrs().integers("perm");
    // Halide counts dimensions from the innermost.
    const auto dimension = [&](int64_t axis) {
      return static_cast<int32_t>(static_cast<int64_t>(perm.size()) - 1 - axis);
    };
    const size_t rank = perm.size();
    const bool groups = n.attrs().integer("rows", 1) == 2;
    const size_t rows = groups ? 2 : 1;
    add(dimension(perm[rank - 1]));
    add(dimension(perm[rank - 2]));
    add(groups ? dimension(perm[rank - 3]) : -1);
    add(rank > rows + 1 ? dimension(perm[rank - 2 - rows]) : -1);
    add(terms);
    f.define_extern("tintype_tile_pack", operands, Halide::BFloat(16), vars,
                    Halide::NameMangling::C);
    return add_anchor(n, f, vars, RDom());
  }
  // Column, place, panel, and what stacks of matrices and images have beyond.
  const auto rank = static_cast<size_t>(n.result()->rank());
  const bool planar = n.is("conv") && rank == 4, windows = spec_.tile_rows == TileRows::windows;
  const std::vector<Var> vars = make_vars(static_cast<int>(windows ? 3 : planar ? rank : rank + 1));
  Expr line = 1, lines = 1;
  if (n.is("conv")) {
    const TileWindow w(n);
    const auto number = [](int64_t i) { return static_cast<int32_t>(i); };
    if (planar) {
      line = extent(n.operand(0), 2);
      if (spec_.tile_rows != TileRows::places)
        line = (line - number(w.width)) / number(w.stride_x) + 1;
      lines = (extent(n.operand(0), 1) - number((w.height - 1) * w.dilation_y + 1)) /
                  number(w.stride_y) +
              1;
    }
    for (const int64_t i : {w.width, w.height, w.stride_x, w.stride_y, w.dilation_x, w.dilation_y})
      add(number(i));
    add(line);
    add(static_cast<int32_t>(spec_.tile_rows));
  }
  add(terms);
  f.define_extern(n.is("conv") ? "tintype_tile_conv" : "tintype_tile_dot", operands,
                  Halide::Float(32), vars, Halide::NameMangling::C);
  f.bound(vars[0], 0, kTileColumns).align_storage(vars[1], kTileRows);
  // The result by its own indices.
  const std::vector<Var> own = make_vars(static_cast<int>(rank));
  Expr place = own[1];
  if (windows) place = (own[3] * lines + own[2]) * line + own[1];
  else if (planar) place = own[2] * line + own[1];
  std::vector<Expr> at = {own[0] % kTileColumns, place, own[0] / kTileColumns};
  for (size_t d = windows ? rank : planar ? 3 : 2; d < rank; ++d) at.emplace_back(own[d]);
  Func result("result");
  result(own) = f(at);
  stored_[n.result()] = result;
  c_.anchors.push_back({&n, f, vars, RDom()});
}

// One sum per gate for both products, so that a tile keeps them in the same registers.
void Composer::define_gate_products(const Node& n) {
  const auto block = static_cast<int32_t>(n.attrs().integer("block"));
  const auto places = n.attrs().integers("places");
  const std::vector<Var> vars = make_vars(3);
  const Expr column = vars[0], row = vars[1];
  const int64_t gates = n.result()->shape()[0].value();
  Func f = new_func(n);
  f(vars) = Halide::Internal::make_zero(arithmetic_type(n.result()->dtype()));
  const auto multiply = [&](int left, const std::function<Expr(const Expr&)>& place) {
    Value *a = n.operand(left), *w = n.operand(left + 1);
    const int64_t count = w->shape()[block > 0 ? 2 : 0].value();
    const Expr depth = multiple_of(extent(a, 2), spec_.depth_multiple);
    const RDom r =
        count == gates ? RDom(0, depth, "r") : RDom(0, depth, 0, static_cast<int32_t>(count), "r");
    const Expr gate = count == gates ? Expr(vars[2]) : Expr(r[1]);
    const Index plain = {gate, r[0], column},
                packed = {column / std::max(block, 1), r[0], gate, column % std::max(block, 1)};
    const Index& weight = block > 0 ? packed : plain;
    pin_panel(w, block);
    if (auto it = inputs_.find(w); block > 0 && it != inputs_.end())
      it->second.dim(2).set_stride(block * static_cast<int32_t>(count));
    const Expr at = count == gates ? gate : place(gate);
    f(vars[0], vars[1], at) += value(a, {0, row, r[0]}) * value(w, weight);
    return r;
  };
  const RDom first = multiply(0, [](const Expr& g) { return g; });
  const RDom second = multiply(2, [&](const Expr& g) {
    Expr at = static_cast<int32_t>(places.back());
    for (size_t i = places.size() - 1; i-- > 0;)
      at = Halide::select(g == static_cast<int32_t>(i), static_cast<int32_t>(places[i]), at);
    return at;
  });
  add_anchor(n, f, vars, first);
  c_.anchors.back().second = second;
}

Index Composer::batch_index(const Value* v, size_t matrix, const Index& index) const {
  const size_t own = v->shape().size() - matrix, batch = index.size() - 2;
  Index at;
  for (size_t d = 0; d < own; ++d) at.push_back(is_unit(v, d) ? Expr(0) : index[batch - own + d]);
  return at;
}

// Tiles may reach past the last query and the last key: what they compute there, from the last
// one again, nobody reads.
void Composer::define_attention(const Node& n) {
  const bool second = n.result() == spec_.body->output(0);
  Value* a = n.operand(0);
  Value* b = n.operand(1);
  const std::vector<Var> vars = make_vars(n.result()->rank());
  const Index index = index_of(vars);
  const Expr row = index[index.size() - 2], column = index.back();
  const RDom r(0, multiple_of(extent(a, a->shape().size() - 1), second ? 1 : spec_.depth_multiple),
               "r");
  Index right = batch_index(b, 2, index);
  right.emplace_back(r.x);
  right.push_back(second ? column : Halide::min(column, extent(b, b->shape().size() - 1) - 1));
  Func f = new_func(n);
  f(vars) = 0.0f;
  if (second) {
    // (sum of e v) / (sum of e): fewer divisions than there are exponentials.
    const Node& quotient = *a->def();
    Index left = index;
    left.back() = r.x;
    f(vars) += value(quotient.operand(0), left) * value(b, right);
    add_anchor(n, f, vars, r);
    const Value* sum = quotient.operand(1);
    Func y("context");
    y(vars) = f(vars) / value(sum, movement::broadcast_index(sum, index));
    stored_[n.result()] = y;
    return;
  }
  for (const auto& v : spec_.body->inputs())
    if (v.get() != a && v.get() != b && v.get() != spec_.body->output(0)->def()->operand(1))
      masks_.insert(v.get());
  Index left = batch_index(a, 2, index);
  left.push_back(Halide::min(row, extent(a, a->shape().size() - 2) - 1));
  left.emplace_back(vars[0]);
  Func queries("queries");  // with the features in place of the keys
  queries(vars) = value(a, left);
  c_.stages.push_back(queries);
  std::vector<Expr> query(vars.begin(), vars.end());
  query[0] = r.x;
  f(vars) += queries(query) * value(b, right);
  add_anchor(n, f, vars, r);
}

}  // namespace tintype
