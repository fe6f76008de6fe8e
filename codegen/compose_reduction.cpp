// Definitions of windows and of reductions over axes.
#include "codegen/composer.h"
#include "codegen/define/math.h"
#include "codegen/digits.h"
#include "ir/diagnostic.h"

#include <algorithm>
#include <limits>

namespace tintype {

using Halide::Expr;
using Halide::Func;
using Halide::RDom;
using Halide::Var;

namespace {

Expr lowest(const Halide::Type& t) {
  return t.is_float() ? Halide::cast(t, -std::numeric_limits<float>::infinity()) : t.min();
}

Expr highest(const Halide::Type& t) {
  return t.is_float() ? Halide::cast(t, std::numeric_limits<float>::infinity()) : t.max();
}

}  // namespace

void Composer::define_window(const Node& n) {
  Value* x = n.operand(0);
  const auto window = n.attrs().integers("window");
  const size_t spatial = window.size();
  const auto strides = n.attrs().integers("strides", std::vector<int64_t>(spatial, 1));
  const auto dilations = n.attrs().integers("dilations", std::vector<int64_t>(spatial, 1));
  const std::vector<Var> vars = make_vars(n.result()->rank());
  const Index index = index_of(vars);
  Halide::Region region;
  for (size_t i = spatial; i-- > 0;) region.push_back({0, static_cast<int32_t>(window[i])});
  const RDom r(region, "r");
  Index at = {index[0]};
  for (size_t i = 0; i < spatial; ++i)
    at.push_back(index[i + 1] * static_cast<int32_t>(strides[i]) +
                 r[static_cast<int>(spatial - 1 - i)] * static_cast<int32_t>(dilations[i]));
  at.push_back(index.back());
  const bool is_max = n.attrs().string("kind") == "max";
  const Halide::Type t = arithmetic_type(n.result()->dtype());
  Func f = new_func(n);
  f(vars) = is_max ? lowest(t) : Halide::Internal::make_zero(t);
  if (is_max) f(vars) = Halide::max(f(vars), value(x, at));
  else f(vars) += value(x, at);
  add_anchor(n, f, vars, r);
}

Monoid Composer::monoid_of(const Node& n) {
  const Halide::Type t = arithmetic_type(n.result()->dtype());
  if (n.is("reduce_sum"))
    return {Halide::Internal::make_zero(t), [](const Expr& a, const Expr& b) { return a + b; }};
  if (n.is("reduce_prod"))
    return {Halide::Internal::make_one(t), [](const Expr& a, const Expr& b) { return a * b; }};
  // NaN wins, as in numpy.
  if (n.is("reduce_max"))
    return {lowest(t), [](const Expr& a, const Expr& b) {
              return a.type().is_float() ? Halide::select(b > a || math::is_nan(b), b, a)
                                         : Halide::max(a, b);
            }};
  TINTYPE_CHECK(n.is("reduce_min"), "unknown reduction " + std::string(n.name()));
  return {highest(t), [](const Expr& a, const Expr& b) {
            return a.type().is_float() ? Halide::select(b < a || math::is_nan(b), b, a)
                                       : Halide::min(a, b);
          }};
}

bool Composer::sums_per_channel() const {
  if (spec_.schedule != ScheduleKind::rows || spec_.outputs[0].unit.size() < 3) return false;
  return std::all_of(spec_.body->nodes().begin(), spec_.body->nodes().end(), [](const auto& n) {
    if (!n->op().has(kReduction)) return !stored_in_rows(*n);
    const auto axes = n->attrs().integers("axes");
    const int rank = n->result()->rank();
    return n->is("reduce_sum") && static_cast<int>(axes.size()) == rank - 1 &&
           std::find(axes.begin(), axes.end(), static_cast<int64_t>(rank - 1)) == axes.end();
  });
}

// On a device every thread has a few dozen places of a channel, so that there are threads enough,
// the next launch adds as many of their sums each, and the result is the sum of what is left.
void Composer::define_channel_sum_on_device(const Node& n) {
  constexpr int32_t kPlaces = 64;
  Value* x = n.operand(0);
  const auto rank = static_cast<size_t>(x->rank());
  const Halide::Type t = arithmetic_type(n.result()->dtype());
  const Expr zero = Halide::Internal::make_zero(t);
  const std::vector<Var> vars = make_vars(x->rank());
  Index outer;  // what the number of a line is made of
  for (size_t d = 0; d + 2 < rank; ++d) outer.push_back(extent(x, d));
  const Expr lines = product(outer), width = extent(x, rank - 2);
  const Expr together = Halide::max(kPlaces / Halide::max(width, 1), 1);  // short lines
  const Expr pieces = (width + kPlaces - 1) / kPlaces;                    // of a long one
  const Expr tasks = (lines + together - 1) / together * pieces;

  const auto number = std::to_string(c_.partials.size());
  const Var task("task");
  const RDom r({{0, Halide::min(width, kPlaces)}, {0, together}}, "r");
  const Expr line = task / pieces * together + r.y, place = task % pieces * kPlaces + r.x;
  Index at = digits(Halide::clamp(line, 0, lines - 1), outer);
  at.push_back(Halide::clamp(place, 0, width - 1));
  at.emplace_back(vars[0]);
  Func places("partial" + number);
  places(vars[0], task) = zero;
  places(vars[0], task) += Halide::select(line < lines && place < width, value(x, at), zero);

  const RDom some(0, kPlaces, "some");
  const Expr part = task * kPlaces + some.x;
  Func parts("partial" + number + "_parts");
  parts(vars[0], task) = zero;
  parts(vars[0], task) +=
      Halide::select(part < tasks, places(vars[0], Halide::clamp(part, 0, tasks - 1)), zero);

  const RDom all(0, (tasks + kPlaces - 1) / kPlaces, "tasks");
  Func total = new_func(n);
  total(vars) = zero;
  total(vars) += parts(vars[0], all.x);
  c_.partials.insert(c_.partials.end(), {places, parts});
  add_anchor(n, total, vars, all);
}

// Each index of the outermost axis has a sum of its own, all at once; those are added in order,
// so the result depends on the shape alone.
void Composer::define_channel_sum(const Node& n) {
  if (spec_.cuda) return define_channel_sum_on_device(n);
  Value* x = n.operand(0);
  const int rank = x->rank();
  const std::vector<Var> vars = make_vars(rank);
  const Halide::Type t = arithmetic_type(n.result()->dtype());
  Halide::Region region;
  for (size_t d = static_cast<size_t>(rank - 1); d-- > 1;) region.push_back({0, extent(x, d)});
  const RDom r(region, "r");
  const Var task("task");
  Index at(static_cast<size_t>(rank));
  at.front() = task;
  at.back() = vars[0];
  for (int i = 0; i < r.dimensions(); ++i) at[static_cast<size_t>(rank - 2 - i)] = r[i];
  Func partial("partial" + std::to_string(c_.partials.size()));
  partial(vars[0], task) = Halide::Internal::make_zero(t);
  partial(vars[0], task) += value(x, at);
  const RDom all(0, extent(x, 0), "tasks");
  Func total = new_func(n);
  total(vars) = Halide::Internal::make_zero(t);
  total(vars) += partial(vars[0], all.x);
  c_.partials.push_back(partial);
  add_anchor(n, total, vars, all);
}

// A reduction over the innermost axis of `rows` keeps one partial result per lane, so that it
// runs on vectors; the order of additions depends on the extent alone.
void Composer::define_reduce(const Node& n) {
  Value* x = n.operand(0);
  // The scores of a chunk of queries, also where nothing scales the product.
  if (spec_.schedule == ScheduleKind::attention && (stored_.count(x) == 0 || x->def()->is("dot")))
    store(x);
  const auto axes = n.attrs().integers("axes");
  const int rank = x->rank();
  const std::vector<Var> vars = make_vars(rank);
  const Monoid m = monoid_of(n);
  const bool inner =
      spec_.schedule == ScheduleKind::rows &&
      std::find(axes.begin(), axes.end(), static_cast<int64_t>(rank - 1)) != axes.end() &&
      !is_unit(x, static_cast<size_t>(rank - 1));
  constexpr int32_t kWarp = 32;
  const int32_t lanes = !inner ? 1 : spec_.cuda ? kWarp : machine_.lanes;
  Halide::Region region;
  std::vector<size_t> reduced;  // innermost first
  for (size_t d = static_cast<size_t>(rank); d-- > 0;)
    if (std::find(axes.begin(), axes.end(), static_cast<int64_t>(d)) != axes.end())
      reduced.push_back(d);
  for (size_t d : reduced) {
    const Expr e = extent(x, d);
    const bool split = inner && d + 1 == static_cast<size_t>(rank);
    region.push_back({0, split ? (e + lanes - 1) / lanes : e});
  }
  const RDom r(region, "r");
  auto operand = [&](const Index& base, const Expr& lane) {
    Index at = base;
    for (size_t i = 0; i < reduced.size(); ++i) at[reduced[i]] = r[static_cast<int>(i)];
    if (!inner) return value(x, at);
    const size_t last = static_cast<size_t>(rank - 1);
    const Expr e = extent(x, last);
    const Expr i = r[0] * lanes + lane;
    at[last] = Halide::min(i, e - 1);
    return Halide::select(i < e, value(x, at), m.identity);
  };
  Index index = index_of(vars);
  Func total = new_func(n);
  if (!inner) {
    total(vars) = m.identity;
    total(vars) = masked(m.combine(total(vars), operand(index, Expr())));
    add_anchor(n, total, vars, r);
    return;
  }
  Var lane("lane");
  std::vector<Var> partial_vars = {lane};
  partial_vars.insert(partial_vars.end(), vars.begin() + 1, vars.end());
  Func partial("partial" + std::to_string(c_.partials.size()));
  partial(partial_vars) = m.identity;
  partial(partial_vars) = m.combine(partial(partial_vars), operand(index, Expr(lane)));
  const RDom lanes_domain(0, lanes, "l");
  std::vector<Expr> from = {lanes_domain.x};
  for (size_t d = 1; d < vars.size(); ++d) from.emplace_back(vars[d]);
  total(vars) = m.identity;
  total(vars) = m.combine(total(vars), partial(from));
  c_.partials.push_back(partial);
  add_anchor(n, total, vars, lanes_domain);
}

}  // namespace tintype
