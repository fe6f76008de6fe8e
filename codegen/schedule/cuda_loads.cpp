// Loads move from host code into kernels, on Halide's statements.
#include "codegen/schedule/cuda_loads.h"

#include "ir/diagnostic.h"

namespace tintype::cuda {

using Halide::Expr;
using Halide::Internal::Allocate;
using Halide::Internal::For;
using Halide::Internal::ForType;
using Halide::Internal::IfThenElse;
using Halide::Internal::IRMutator;
using Halide::Internal::IRVisitor;
using Halide::Internal::LetStmt;
using Halide::Internal::Load;
using Halide::Internal::Stmt;

namespace {

/// Of an argument of the kernel: what Halide keeps on the host for itself has no parameter.
bool is_argument(const Load* op) { return op->param.defined() || op->image.defined(); }

bool loads(const Expr& e) {
  class : public IRVisitor {
   public:
    bool found = false;

   private:
    using IRVisitor::visit;
    void visit(const Load* op) override { found = found || is_argument(op); }
  } finder;
  e.accept(&finder);
  return finder.found;
}

/// Walks through host code, and stays out of kernels.
class LoadsOnDevice : public IRMutator {
 private:
  using IRMutator::visit;

  Stmt visit(const For* op) override {
    const bool kernel = op->for_type == ForType::GPUBlock || op->for_type == ForType::GPUThread;
    return kernel ? op : IRMutator::visit(op);
  }

  Stmt visit(const LetStmt* op) override {
    if (!loads(op->value)) return IRMutator::visit(op);
    return mutate(Halide::Internal::substitute(op->name, op->value, op->body));
  }

  // What nobody needs may be computed all the same.
  Stmt visit(const IfThenElse* op) override {
    if (op->else_case.defined() || !loads(op->condition)) return IRMutator::visit(op);
    return mutate(op->then_case);
  }
  Stmt visit(const Allocate* op) override {
    if (!loads(op->condition)) return IRMutator::visit(op);
    return mutate(Allocate::make(op->name, op->type, op->memory_type, op->extents,
                                 Halide::Internal::const_true(), op->body, op->new_expr,
                                 op->free_function, op->padding));
  }

  Expr visit(const Load* op) override {
    if (!is_argument(op)) return IRMutator::visit(op);
    internal_error(__FILE__, __LINE__,
                   "host code of a CUDA kernel reads '" + op->name + "', which is on the device");
  }
};

}  // namespace

std::unique_ptr<IRMutator> loads_on_device() { return std::make_unique<LoadsOnDevice>(); }

}  // namespace tintype::cuda
