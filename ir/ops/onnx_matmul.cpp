// Matrix products of ONNX.
#include "ir/ops/decompose.h"

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
};

}  // namespace

std::span<const OpDef> onnx_matmul() { return kOps; }

}  // namespace tintype::ops
