// Lowering passes of CUDA kernels, on statements made by hand.
#include "codegen/schedule/cuda_pipeline.h"

#include <gtest/gtest.h>

namespace tintype {
namespace {

using Halide::Expr;
using Halide::Internal::Allocate;
using Halide::Internal::For;
using Halide::Internal::ForType;
using Halide::Internal::Load;
using Halide::Internal::Ramp;
using Halide::Internal::Stmt;
using Halide::Internal::Store;
using Halide::Internal::Variable;

Expr always(int lanes) { return Halide::Internal::const_true(lanes); }

Stmt loop(const std::string& name, ForType type, const Stmt& body) {
  return For::make(name, 0, 8, type, Halide::Partition::Auto, Halide::DeviceAPI::CUDA, body);
}

/// A block of 8 by 8 threads, each of which adds to four elements of its own.
Stmt block_of(const std::string& x_name, const std::string& y_name) {
  const Expr x = Variable::make(Halide::Int(32), x_name),
             y = Variable::make(Halide::Int(32), y_name);
  const Expr own = Ramp::make((y * 8 + x) * 4, 1, 4);
  const Halide::Type four = Halide::Float(32, 4);
  const Expr now = Load::make(four, "sums", own, {}, {}, always(4), {});
  const Stmt add =
      Store::make("sums", now + Halide::Internal::make_one(four), own, {}, always(4), {});
  return Allocate::make("sums", Halide::Float(32), Halide::MemoryType::Register, {Expr(256)},
                        always(1),
                        loop(y_name, ForType::GPUThread, loop(x_name, ForType::GPUThread, add)));
}

// Halide's names of the loops over threads may have a number behind them, which depends on what
// the process has compiled before.
TEST(CudaPipeline, ThreadsKeepTheirElementsWhateverTheirLoopsAreCalled) {
  for (const auto& [x, y] : {std::pair<std::string, std::string>{".thread_id_x", ".thread_id_y"},
                             {".thread_id_x$2", ".thread_id_y"},
                             {".thread_id_x$1", ".thread_id_y$12"}}) {
    const Stmt s = cuda::own_registers()->mutate(block_of(x, y));
    const auto* sums = s.as<Allocate>();
    ASSERT_NE(sums, nullptr);
    ASSERT_EQ(sums->extents.size(), 1u);
    EXPECT_TRUE(Halide::Internal::is_const(sums->extents[0], 4)) << x << ", " << y;
    const auto* thread = sums->body.as<For>()->body.as<For>();
    const auto* index = thread->body.as<Store>()->index.as<Ramp>();
    ASSERT_NE(index, nullptr);
    EXPECT_TRUE(Halide::Internal::is_const_zero(index->base)) << x << ", " << y;
  }
}

}  // namespace
}  // namespace tintype
