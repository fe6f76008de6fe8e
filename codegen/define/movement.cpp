// Movement ops as index arithmetic.
#include "codegen/define/movement.h"

#include "ir/diagnostic.h"

#include <algorithm>

namespace tintype::movement {

using Halide::Expr;

namespace {

Expr padded(const Node& n, const Index& index, const Operands& of) {
  Value* x = n.operand(0);
  const Shape before = n.attrs().dims("before");
  const Shape after = n.attrs().dims("after");
  const std::string mode = n.attrs().string("mode", "constant");
  Index at(index.size());
  Expr inside = Halide::Internal::const_true();
  for (size_t d = 0; d < at.size(); ++d) {
    at[d] = index[d];
    if (before[d].is(0) && after[d].is(0)) continue;
    const Expr size = of.extent(x, d);
    const Expr i = index[d] - of.amount(before[d]);
    if (mode == "constant") {
      inside = inside && i >= 0 && i < size;
      at[d] = Halide::clamp(i, 0, Halide::max(size - 1, 0));
    } else if (mode == "edge") {
      at[d] = Halide::clamp(i, 0, size - 1);
    } else if (mode == "wrap") {
      at[d] = i % size;
    } else {  // reflect: period 2 (size - 1), without repeating the border
      const Expr period = Halide::max(2 * (size - 1), 1);
      const Expr j = i % period;
      at[d] = Halide::min(j, period - j);
    }
  }
  const Expr e = of.element(x, at);
  if (mode != "constant") return e;
  Expr fill = Halide::Internal::make_zero(e.type());
  if (n.operand(1) != nullptr)
    fill = of.element(n.operand(1), Index(n.operand(1)->shape().size(), Expr(0)));
  return Halide::select(inside, e, fill);
}

/// index: panel, axes but the last, column within the panel.
Expr packed(const Node& n, const Index& index, const Operands& of, const Expr& size) {
  Value* x = n.operand(0);
  const auto perm = n.attrs().integers("perm");
  const auto last = static_cast<size_t>(perm.back());
  const auto block = static_cast<int32_t>(n.attrs().integer("block"));
  Index at(perm.size());
  for (size_t i = 0; i + 1 < perm.size(); ++i) at[static_cast<size_t>(perm[i])] = index[i + 1];
  const Expr column = index.front() * block + index.back();
  if (!size.defined()) {
    at[last] = column;
    return of.element(x, at);
  }
  at[last] = Halide::min(column, size - 1);
  const Expr e = of.element(x, at);
  return Halide::select(column < size, e, Halide::Internal::make_zero(e.type()));
}

Expr gathered(const Node& n, const Index& index, const Operands& of) {
  Value* x = n.operand(0);
  Value* indices = n.operand(1);
  const auto axis = static_cast<size_t>(n.attrs().integer("axis"));
  const size_t k = indices->shape().size();
  const Index which(index.begin() + static_cast<std::ptrdiff_t>(axis),
                    index.begin() + static_cast<std::ptrdiff_t>(axis + k));
  const Expr size = of.extent(x, axis);
  Expr i = of.element(indices, which);
  // In their own type: 2^32 + 1 is not 1.
  if (i.type().bits() > 32) i = Halide::clamp(i, Halide::cast(i.type(), -size), size);
  i = Halide::cast<int32_t>(i);
  i = Halide::select(i < 0, i + size, i);
  Index at(index.begin(), index.begin() + static_cast<std::ptrdiff_t>(axis));
  // Indices that are inputs or constants are checked before the kernel runs; the clamp keeps the
  // loads of computed ones in bounds.
  at.push_back(
      Halide::unsafe_promise_clamped(Halide::clamp(i, 0, Halide::max(size - 1, 0)), 0, size - 1));
  at.insert(at.end(), index.begin() + static_cast<std::ptrdiff_t>(axis + k), index.end());
  return of.element(x, at);
}

}  // namespace

Index broadcast_index(const Value* operand, const Index& index) {
  const size_t skip = index.size() - operand->shape().size();
  Index at;
  for (size_t d = 0; d < operand->shape().size(); ++d)
    at.push_back(operand->shape()[d].is(1) ? Expr(0) : index[d + skip]);
  return at;
}

Expr define(const Node& n, const Index& index, const Operands& of, const Expr& columns) {
  Value* x = n.operand(0);
  Index at(x->shape().size());
  if (n.is("transpose")) {
    const auto perm = n.attrs().integers("perm");
    for (size_t i = 0; i < perm.size(); ++i) at[static_cast<size_t>(perm[i])] = index[i];
    return of.element(x, at);
  }
  if (n.is("broadcast")) return of.element(x, broadcast_index(x, index));
  if (n.is("reshape")) {  // regions hold those that drop leading axes of extent 1
    TINTYPE_CHECK(at.size() >= index.size(), "a reshape in a kernel adds axes");
    const size_t more = at.size() - index.size();
    for (size_t d = 0; d < at.size(); ++d) at[d] = d < more ? Expr(0) : index[d - more];
    return of.element(x, at);
  }
  if (n.is("slice")) {
    const Shape starts = n.attrs().dims("starts");
    const auto steps = n.attrs().integers("steps");
    for (size_t d = 0; d < at.size(); ++d)
      at[d] = starts[d].is(0) && steps[d] == 1
                  ? index[d]
                  : of.amount(starts[d]) + index[d] * static_cast<int32_t>(steps[d]);
    return of.element(x, at);
  }
  if (n.is("reverse")) {
    const auto axes = n.attrs().integers("axes");
    for (size_t d = 0; d < at.size(); ++d) {
      const bool flip = std::find(axes.begin(), axes.end(), static_cast<int64_t>(d)) != axes.end();
      at[d] = flip ? of.extent(x, d) - 1 - index[d] : index[d];
    }
    return of.element(x, at);
  }
  if (n.is("dilate")) {
    const auto factors = n.attrs().integers("factors");
    Expr on = Halide::Internal::const_true();
    for (size_t d = 0; d < at.size(); ++d) {
      const auto f = static_cast<int32_t>(factors[d]);
      at[d] = f == 1 ? index[d] : index[d] / f;
      if (f != 1) on = on && index[d] % f == 0;
    }
    const Expr inside = of.element(x, at);
    return Halide::select(on, inside, Halide::Internal::make_zero(inside.type()));
  }
  if (n.is("pad")) return padded(n, index, of);
  if (n.is("gather")) return gathered(n, index, of);
  if (n.is("pack")) return packed(n, index, of, columns);
  throw InternalError("op " + std::string(n.name()) + " has no definition in codegen");
}

}  // namespace tintype::movement
