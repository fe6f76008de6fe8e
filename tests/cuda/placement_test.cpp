// Which side runs what, what the user is told of it, and how targets are spelled.
#include "codegen/kernel.h"
#include "codegen/machine.h"
#include "ir/diagnostic.h"
#include "tests/cuda/fixture.h"

#include <algorithm>

namespace tintype {
namespace {

using cuda_test::compiled;
using cuda_test::expect_same;
using cuda_test::weights;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

std::string message_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

TEST(CudaTarget, SpellsDevices) {
  EXPECT_EQ(machine_for("cuda").cuda, 80);
  EXPECT_FALSE(machine_for("cuda").split);
  EXPECT_EQ(machine_for("cuda,sm_90").cuda, 90);
  EXPECT_EQ(machine_for("host,cuda,sm_86").cuda, 86);
  EXPECT_TRUE(machine_for("host,cuda").split);
  EXPECT_EQ(machine_for("host").cuda, 0);
  EXPECT_EQ(machine_for("host").target, host_machine().target);
  const Machine cross = machine_for("x86-64-linux-avx-avx2-f16c-fma-sse41,cuda");
  EXPECT_EQ(cross.lanes, 8);
  EXPECT_TRUE(cross.split);
  EXPECT_THAT(program_target(cross), HasSubstr("-cuda-sm_80"));
}

TEST(CudaTarget, SaysWhatIsWrong) {
  const auto of = [](const std::string& t) { return message_of([&] { machine_for(t); }); };
  EXPECT_THAT(of("cuda,sm_9x"), AllOf(HasSubstr("'sm_9x'"), HasSubstr("sm_90 (H100)")));
  EXPECT_THAT(of("cuda,sm_35"), HasSubstr("from sm_70 on"));
  EXPECT_THAT(of("cuda,sm_999"), HasSubstr("'sm_999'"));
  EXPECT_THAT(of("sm_90"), HasSubstr("needs cuda in front"));
  EXPECT_THAT(of("cuda,cuda"), HasSubstr("names cuda twice"));
  EXPECT_THAT(of("gpu"), AllOf(HasSubstr("'gpu' is not known"), HasSubstr("host,cuda")));
  EXPECT_THAT(of("host,x86-64-linux"), HasSubstr("two processors"));
  EXPECT_THAT(of("x86-64-linux-cuda"), HasSubstr("devices are named apart"));
  for (const char* other : {"arm-64-linux", "x86-32-linux", "x86-64-osx", "wasm-32-wasmrt"})
    EXPECT_THAT(of(other), HasSubstr("this build makes kernels for x86-64-linux")) << other;
  for (const char* part : {"x86-64-linux-avx512", "x86-64-linux-avx512-avx2-avx-fma-f16c-sse41",
                           "x86-64-linux-avx512_knl"})
    EXPECT_THAT(of(part), HasSubstr("AVX-512 is supported as avx512_skylake")) << part;
  EXPECT_EQ(of("x86-64-linux-avx-avx2-avx512-avx512_skylake-f16c-fma-sse41"), "no error");
  EXPECT_EQ(of("x86-64-linux"), "no error");
}

TEST(CudaTarget, DecidesTheKeysOfKernels) {
  const auto symbols = [](const std::string& target) {
    const CompiledModel m = compiled(
        [](Graph& g, Builder& b) {
          g.add_output("y", b.make("Exp", {g.add_input("x", {DType::f32, {8}})}));
        },
        target);
    return m.model.program().kernels.at(0).symbol;
  };
  const std::vector<std::string> all = {symbols("host"), symbols("cuda"), symbols("cuda,sm_90")};
  EXPECT_NE(all[0], all[1]);
  EXPECT_NE(all[1], all[2]);
  EXPECT_EQ(all[1], symbols("host,cuda,sm_80"));
}

/// NonZero-like ops have no kernel: sorting is one of them.
void sorted_product(Graph& g, Builder& b) {
  Value* x = g.add_input("x", {DType::f32, {3, 8}});
  Value* y = b.make("Relu", {b.make("MatMul", {x, weights(b, {8, 9}, 1)})});
  Value* k = b.constant(Tensor::from<int64_t>({1}, {4}));
  b.set_origins({"the_best"});
  Node* top = b.create("TopK", {y, k}, {}, 2);
  b.set_origins({});
  g.add_output("values", b.make("Exp", {top->result(0)}));
  g.add_output("indices", top->result(1));
}

TEST(CudaPlacement, SplitsBetweenHostAndDevice) {
  const CompiledModel m = compiled(sorted_product, "host,cuda");
  ASSERT_EQ(m.report.codegen.on_host.size(), 1u);
  EXPECT_THAT(m.report.codegen.on_host[0],
              AllOf(HasSubstr("the_best"), HasSubstr("has no kernel for CUDA")));
  expect_same(sorted_product, {}, "host,cuda");
}

TEST(CudaPlacement, RefusesWhatOnlyTheHostCanDo) {
  EXPECT_THAT(message_of([] { compiled(sorted_product, "cuda"); }),
              AllOf(HasSubstr("the_best"), HasSubstr("--target host,cuda")));
}

TEST(CudaPlacement, LoopsThatTheHostDecides) {
  const auto branch = [](Graph& g, Builder& b) {
    Value* c = g.add_input("c", {DType::boolean, {}});
    Value* x = g.add_input("x", {DType::f32, {2, 5}});
    Value* y = b.make("Exp", {x});
    std::vector<std::unique_ptr<Graph>> bodies;
    for (const char* op : {"Relu", "Neg"}) {
      bodies.push_back(std::make_unique<Graph>(op));
      Value* in = bodies.back()->add_input("a", {DType::f32, {2, 5}});
      Builder inner(*bodies.back());
      bodies.back()->add_output("r", inner.make(op, {in}));
    }
    g.add_output("y", b.make("Tanh", {b.create("if", {c, y}, {}, 1, std::move(bodies))->result()}));
  };
  expect_same(branch, {}, "host,cuda");
  EXPECT_THAT(message_of([&] { compiled(branch, "cuda"); }), HasSubstr("'if'"));
}

// Only inputs and outputs cross, once each; what is concatenated or padded is not.
TEST(CudaPlacement, CopiesInputsAndOutputsAlone) {
  const CompiledModel m = compiled(
      [](Graph& g, Builder& b) {
        Value* x = g.add_input("x", {DType::f32, {1, 3, 6, 6}});
        Value* a = b.make("Conv", {x, weights(b, {4, 3, 3, 3}, 1)},
                          {{"pads", std::vector<int64_t>{1, 1, 1, 1}}});
        Value* c =
            b.make("Concat", {b.make("Relu", {a}), b.make("Tanh", {a})}, {{"axis", int64_t{1}}});
        g.add_output("y", b.make("Conv", {c, weights(b, {2, 8, 1, 1}, 2)}));
      },
      "cuda");
  const Program& p = m.model.program();
  const auto crossing = std::count_if(p.steps.begin(), p.steps.end(), [&](const Step& s) {
    if (s.kind != Step::Kind::copy) return false;
    const auto device = [&](ViewId v) {
      return p.storages[static_cast<size_t>(p.views[static_cast<size_t>(v)].storage)].device;
    };
    return device(s.inputs[0]) != device(s.outputs[0]);
  });
  EXPECT_EQ(crossing, 2);
  EXPECT_TRUE(std::all_of(p.steps.begin(), p.steps.end(), [](const Step& s) {
    return s.kind == Step::Kind::kernel || s.kind == Step::Kind::copy;
  }));
}

}  // namespace
}  // namespace tintype
