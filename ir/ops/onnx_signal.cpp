// Fourier transforms of ONNX, as products with matrices of cosines and sines.
#include "ir/ops/decompose.h"

#include <numbers>
#include <optional>
#include <string>

namespace tintype::ops {

namespace {

Value* iota(Builder& b, Shape shape, int64_t axis) {
  return b.make("iota", {}, {{"shape", std::move(shape)}, {"axis", axis}, {"dtype", DType::i64}});
}

struct Transform {
  Dim length;  ///< of the signal
  bool inverse, onesided;
};

/// Cosines and sines of 2 pi t k / length, f64[times, frequencies]. The product is taken modulo the
/// length, which keeps angles small and exact.
struct Waves {
  Value *cosine, *sine;
};

Waves waves(Builder& b, const Dim& times, const Dim& frequencies, const Dim& length) {
  Value* turns = b.mul(iota(b, {times, Dim(1)}, 0), iota(b, {Dim(1), frequencies}, 1));
  turns = b.make("mod", {turns, extent_scalar(b, length, DType::i64)});
  Value* angle = b.div(b.cast(turns, DType::f64), extent_scalar(b, length, DType::f64));
  angle = b.with_scalar("mul", angle, 2 * std::numbers::pi);
  return {b.unary("cos", angle), b.unary("sin", angle)};
}

/// [r, c] twice as [r, 1, c, 2]: real and imaginary parts of results side by side
Value* interleaved(Builder& b, Value* real, Value* imaginary) {
  const Shape& s = real->shape();
  const Shape apart = {s[0], Dim(1), s[1], Dim(1)};
  return b.concat({b.reshape(real, apart), b.reshape(imaginary, apart)}, 3);
}

/// The matrix that takes x[n, parts] to y[m, parts], both flattened. With e = exp(-i a), the
/// product (x + i y) e has the parts x cos a + y sin a and y cos a - x sin a.
Value* transform_matrix(Builder& b, const Dim& from, int64_t parts, const Dim& to,
                        const Transform& t) {
  Waves w = waves(b, from, to, t.length);
  Value* sine = t.inverse ? b.neg(w.sine) : w.sine;
  Value* matrix = interleaved(b, w.cosine, b.neg(sine));  // of real elements
  if (parts == 2) matrix = b.concat({matrix, interleaved(b, sine, w.cosine)}, 1);
  if (t.inverse) matrix = b.div(matrix, extent_scalar(b, t.length, DType::f64));
  return b.reshape(matrix, {from * Dim(parts), to * Dim(2)});
}

/// The same from half of the frequencies to a real signal: the other half is their conjugate, so
/// that all but the first, and the last of an even length, count twice.
Value* real_inverse_matrix(Builder& b, const Dim& from, const Transform& t) {
  Waves w = waves(b, from, t.length, t.length);
  Value* k = iota(b, {from, Dim(1)}, 0);
  Value* twin = b.sub(extent_scalar(b, t.length, DType::i64), k);
  Value* once =
      b.make("or", {b.compare("eq", k, b.scalar(0, DType::i64)), b.compare("eq", k, twin)});
  Value* times = b.select(once, b.scalar(1, DType::f64), b.scalar(2, DType::f64));
  times = b.div(times, extent_scalar(b, t.length, DType::f64));
  const Shape apart = {from, Dim(1), t.length};
  Value* real = b.reshape(b.mul(w.cosine, times), apart);
  Value* imaginary = b.reshape(b.neg(b.mul(w.sine, times)), apart);
  return b.reshape(b.concat({real, imaginary}, 1), {from * Dim(2), t.length});
}

/// Crops an axis, or fills it up with zeros.
Value* resized(Builder& b, Value* x, int axis, const Dim& extent) {
  Shape before(x->shape().size(), Dim(0)), after = before;
  after[static_cast<size_t>(axis)] = extent - x->shape()[static_cast<size_t>(axis)];
  return b.pad(x, before, after);
}

/// Along the last axis but one of x[..., n, parts].
Value* transformed(Builder& b, Value* x, const Transform& t) {
  const int axis = x->rank() - 2;
  const int64_t parts = x->shape().back().value();
  const bool to_real = t.inverse && t.onesided;
  const Dim half = floor_div(t.length, Dim(2)) + Dim(1);
  const Dim from = to_real ? half : t.length;
  const Dim to = t.onesided && !t.inverse ? half : t.length;
  if (to_real && parts == 1) x = b.concat({x, b.with_scalar("mul", x, 0)}, x->rank() - 1);
  x = resized(b, x, axis, from);
  Value* matrix =
      to_real ? real_inverse_matrix(b, from, t) : transform_matrix(b, from, parts, to, t);
  Shape shape(x->shape().begin(), x->shape().end() - 2);
  const Dim rows = product(shape);
  Value* y = b.make("dot", {b.reshape(x, {rows, matrix->shape()[0]}), b.cast(matrix, x->dtype())});
  shape.push_back(to);
  shape.emplace_back(to_real ? 1 : 2);
  return b.reshape(y, std::move(shape));
}

void require_signal(const Node& n, const Value* x) {
  const bool fits = is_float(x->dtype()) && x->rank() >= 2 &&
                    (x->shape().back().is(1) || x->shape().back().is(2));
  if (!fits)
    fail(n,
         "expected a signal whose last axis holds one real number or two parts of a complex one, "
         "got " +
             x->type().text());
}

DType working_type(DType dtype) { return dtype == DType::f64 ? DType::f64 : DType::f32; }

std::optional<Dim> scalar_operand(const Node& n, int i, const char* what) {
  if (n.operand(i) == nullptr) return std::nullopt;
  return symbolic_integer(n, i, what);
}

Values dft(Builder& b, const Node& n) {
  Value* x = n.operand(0);
  require_signal(n, x);
  const Dim stated = scalar_operand(n, 2, "axis").value_or(Dim(-2));
  if (!stated.is_static()) fail(n, "axis must be constant, got " + stated.text());
  const int axis = normalize_axis(stated.value(), x->rank(), n.where());
  if (axis == x->rank() - 1) fail(n, "the last axis holds parts of numbers, it has no transform");
  Transform t = {x->shape()[static_cast<size_t>(axis)], n.attrs().integer("inverse") != 0,
                 n.attrs().integer("onesided") != 0};
  if (t.inverse && t.onesided) t.length = Dim(2) * (t.length - Dim(1));
  t.length = scalar_operand(n, 1, "dft_length").value_or(t.length);
  if (t.onesided && !t.inverse && !x->shape().back().is(1))
    fail(n, "onesided goes with real signals, got " + x->type().text());
  std::vector<int64_t> perm, back(x->shape().size());
  for (int64_t a = 0; a < x->rank() - 1; ++a)
    if (a != axis) perm.push_back(a);
  perm.insert(perm.end(), {axis, x->rank() - 1});
  for (size_t i = 0; i < perm.size(); ++i)
    back[static_cast<size_t>(perm[i])] = static_cast<int64_t>(i);
  Value* y = transformed(b, b.transpose(b.cast(x, working_type(x->dtype())), perm), t);
  return {b.cast(b.transpose(y, back), x->dtype())};
}

// Frames begin every so many steps; each is weighted by the window and transformed.
Values stft(Builder& b, const Node& n) {
  Value* x = n.operand(0);
  // PyTorch's exporter writes real signals without the axis of their one part, and ONNX Runtime
  // reads them.
  if (x->rank() == 2) x = b.reshape(x, {x->shape()[0], x->shape()[1], Dim(1)});
  require_signal(n, x);
  if (x->rank() != 3) fail(n, "expected signals [N,length,parts], got " + x->type().text());
  const int64_t step = static_integer(n, 1, "frame_step");
  if (step < 1) fail(n, "frame_step must be positive");
  Value* window = n.operand(2);
  if (window != nullptr && window->rank() != 1)
    fail(n, "expected a window with one axis, got " + window->type().text());
  const Dim length = scalar_operand(n, 3, "frame_length")
                         .value_or(window != nullptr ? window->shape()[0] : x->shape()[1]);
  const bool onesided = n.attrs().integer("onesided", 1) != 0;
  if (onesided && !x->shape()[2].is(1))
    fail(n, "onesided goes with real signals, got " + x->type().text());
  const Dim frames = floor_div(x->shape()[1] - length, Dim(step)) + Dim(1);
  Value* start = b.with_scalar("mul", iota(b, {frames, Dim(1)}, 0), static_cast<double>(step));
  Value* place = b.add(start, iota(b, {Dim(1), length}, 1));
  Value* y = b.make("gather", {b.cast(x, working_type(x->dtype())), place}, {{"axis", int64_t{1}}});
  if (window != nullptr) {
    b.graph().require_equal(window->shape()[0], length,
                            n.where() + ": the window must be as long as a frame");
    y = b.mul(y, b.reshape(b.cast(window, y->dtype()), {length, Dim(1)}));
  }
  return {b.cast(transformed(b, y, {length, false, onesided}), x->dtype())};
}

constexpr AttrDef kDft[] = {{"inverse", AttrKind::integer}, {"onesided", AttrKind::integer}};
constexpr AttrDef kStft[] = {{"onesided", AttrKind::integer}};

constexpr OpDef kOps[] = {
    {.name = "DFT",
     .min_operands = 1,
     .max_operands = 3,
     .attrs = kDft,
     .traits = kOnnx,
     .decompose = dft,
     .doc = "discrete Fourier transform along an axis"},
    {.name = "STFT",
     .min_operands = 2,
     .max_operands = 4,
     .attrs = kStft,
     .traits = kOnnx,
     .decompose = stft,
     .doc = "Fourier transforms of frames of a signal"},
};

}  // namespace

std::span<const OpDef> onnx_signal() { return kOps; }

}  // namespace tintype::ops
