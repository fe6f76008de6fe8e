// Matrix products of ONNX.
#include "ir/ops/decompose.h"

#include <string>

namespace tintype::ops {

namespace {

/// Swaps the last two axes.
Value* matrix_transpose(Builder& b, Value* x) {
  std::vector<int64_t> perm(x->shape().size());
  for (size_t i = 0; i < perm.size(); ++i) perm[i] = static_cast<int64_t>(i);
  std::swap(perm[perm.size() - 1], perm[perm.size() - 2]);
  return b.transpose(x, perm);
}

// alpha * op(A) op(B) + beta * C
Values gemm(Builder& b, const Node& n) {
  Value* x = n.operand(0);
  Value* w = n.operand(1);
  if (x->rank() != 2 || w->rank() != 2)
    fail(n, "expected matrices, got " + x->type().text() + " and " + w->type().text());
  if (n.attrs().integer("transA") != 0) x = matrix_transpose(b, x);
  if (n.attrs().integer("transB") != 0) w = matrix_transpose(b, w);
  Value* y = b.make("dot", {x, w});
  const double alpha = n.attrs().number("alpha", 1.0);
  if (alpha != 1.0) y = b.with_scalar("mul", y, alpha);
  if (Value* c = n.operand(2); c != nullptr) {
    const double beta = n.attrs().number("beta", 1.0);
    if (beta != 0.0) y = b.add(y, beta == 1.0 ? c : b.with_scalar("mul", c, beta));
  }
  return {y};
}

// numpy's matmul: vectors gain an axis that the result drops again
Values matmul(Builder& b, const Node& n) {
  Value* x = n.operand(0);
  Value* y = n.operand(1);
  if (x->rank() < 1 || y->rank() < 1) fail(n, "scalars cannot be multiplied as matrices");
  const bool row = x->rank() == 1;
  const bool column = y->rank() == 1;
  if (row) x = b.reshape(x, {Dim(1), x->shape()[0]});
  if (column) y = b.reshape(y, {y->shape()[0], Dim(1)});
  Value* z = b.make("dot", {x, y});
  if (row || column) {
    Shape shape(z->shape().begin(), z->shape().end() - 2);
    if (!row) shape.push_back(z->shape()[z->shape().size() - 2]);
    if (!column) shape.push_back(z->shape().back());
    z = b.reshape(z, shape);
  }
  return {z};
}

/// Gaussian elimination with partial pivoting, written out: the determinant is the product of the
/// pivots, its sign changed by every exchange of rows.
class Determinant {
 public:
  explicit Determinant(Builder& b) : b_(b) {}

  /// x[batch, n, n] to [batch, 1, 1]
  Value* of(Value* x) {
    Value* det = nullptr;
    for (int64_t rows = x->shape()[1].value(); rows > 0; --rows) {
      Value* factor = eliminate(x, rows);
      det = det == nullptr ? factor : b_.mul(det, factor);
    }
    return det;
  }

 private:
  /// Takes the row with the largest first element away, and its first element from all others.
  Value* eliminate(Value*& x, int64_t rows) {
    Value* first = b_.slice_axis(x, 2, Dim(0), Dim(1));
    Value* index = b_.make("arg_max", {b_.unary("abs", first)},
                           {{"axis", int64_t{1}}, {"select_last_index", int64_t{0}}});
    Value* places = b_.make(
        "iota", {},
        {{"shape", Shape{Dim(1), Dim(rows), Dim(1)}}, {"axis", int64_t{1}}, {"dtype", DType::i64}});
    Value* chosen = b_.compare("eq", places, index);
    Value* zero = b_.scalar(0, x->dtype());
    Value* row = b_.reduce("reduce_sum", b_.select(chosen, x, zero), {1});
    Value* pivot = b_.slice_axis(row, 2, Dim(0), Dim(1));
    Value* exchanged = b_.compare("ne", index, b_.scalar(0, DType::i64));
    Value* factor = b_.select(exchanged, b_.neg(pivot), pivot);
    // The first row goes where the chosen one was. A column of zeros leaves nothing to take away.
    Value* rest = b_.select(chosen, b_.slice_axis(x, 1, Dim(0), Dim(1)), x);
    rest = b_.slice_axis(rest, 1, Dim(1), Dim(rows - 1));
    Value* divisor = b_.select(b_.compare("eq", pivot, zero), b_.scalar(1, x->dtype()), pivot);
    Value* times = b_.div(b_.slice_axis(rest, 2, Dim(0), Dim(1)), divisor);
    const auto behind = [&](Value* v) { return b_.slice_axis(v, 2, Dim(1), Dim(rows - 1)); };
    x = b_.sub(behind(rest), b_.mul(times, behind(row)));
    return factor;
  }

  Builder& b_;
};

Values det(Builder& b, const Node& n) {
  constexpr int64_t kMostRows = 64;
  Value* x = n.operand(0);
  if (x->rank() < 2 || !is_float(x->dtype()))
    fail(n, "expected square matrices of floats, got " + x->type().text());
  const Dim rows = x->shape()[x->shape().size() - 2], columns = x->shape().back();
  if (!(rows == columns) || !rows.is_static() || rows.value() > kMostRows)
    fail(n, "expected square matrices of at most " + std::to_string(kMostRows) +
                " rows that are known when compiling, got " + x->type().text());
  const Shape batch(x->shape().begin(), x->shape().end() - 2);
  const DType work = x->dtype() == DType::f64 ? DType::f64 : DType::f32;
  Value* y = rows.is(0) ? b.broadcast(b.scalar(1, work), batch)
                        : b.reshape(Determinant(b).of(b.reshape(b.cast(x, work),
                                                                {product(batch), rows, columns})),
                                    batch);
  return {b.cast(y, x->dtype())};
}

constexpr AttrDef kGemm[] = {{"alpha", AttrKind::number},
                             {"beta", AttrKind::number},
                             {"transA", AttrKind::integer},
                             {"transB", AttrKind::integer}};

constexpr OpDef kOps[] = {
    {.name = "Gemm",
     .min_operands = 2,
     .max_operands = 3,
     .attrs = kGemm,
     .traits = kOnnx,
     .decompose = gemm,
     .doc = "alpha * A B + beta * C"},
    {.name = "MatMul",
     .min_operands = 2,
     .max_operands = 2,
     .traits = kOnnx,
     .decompose = matmul,
     .doc = "numpy's matrix product"},
    {.name = "Det",
     .min_operands = 1,
     .max_operands = 1,
     .traits = kOnnx,
     .decompose = det,
     .doc = "determinants of the last two axes"},
};

}  // namespace

std::span<const OpDef> onnx_matmul() { return kOps; }

}  // namespace tintype::ops
