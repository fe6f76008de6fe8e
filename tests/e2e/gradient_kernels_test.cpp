// The kernels of ops that training needs against their host evaluation, over shapes that break
// schedules: no elements, one, odd extents, fewer channels than lanes.
#include "ir/builder.h"
#include "ir/parse.h"
#include "ir/print.h"
#include "passes/autodiff.h"
#include "passes/passes.h"
#include "tests/support/host_results.h"
#include "tests/support/random_network.h"
#include "tools/driver/driver.h"

#include <gtest/gtest.h>

#include <string>

namespace tintype {
namespace {

/// A graph that returns %y.
struct KernelCase {
  std::string inputs, body;
};

std::string text_of(const KernelCase& c) {
  return "graph \"g\"(" + c.inputs + ") {\n" + c.body + "  return %y as \"y\"\n}\n";
}

bool runs_on_host(const Program& p) {
  for (const Step& s : p.steps)
    if (s.kind == Step::Kind::host) return true;
  return false;
}

double tolerance(DType t) {
  switch (t) {
    case DType::f32: return 2e-6;
    case DType::f16: return 2e-3;
    case DType::bf16: return 2e-2;
    default: return 0;  // integers and f64 are exact, or nearly so
  }
}

/// Kernels, reference loops and host ops agree; one thread and several give the same bits.
void expect_same(const std::string& text) {
  SCOPED_TRACE(text);
  const auto graph = parse_graph(text);
  const test::HostResults host(*graph, test::small_symbols(*graph), 3);
  const double limit = host.dtype(0) == DType::f64 ? 1e-13 : tolerance(host.dtype(0));
  for (const bool reference : {false, true}) {
    SCOPED_TRACE(reference ? "reference" : "scheduled");
    CompileOptions options;
    options.reference = reference;
    const CompiledModel compiled = compile_graph(parse_graph(text), options);
    EXPECT_FALSE(runs_on_host(compiled.model.program()));
    host.expect_of(compiled.model, limit);
  }
}

std::string window_attributes(const std::string& window, const std::string& strides,
                              const std::string& dilations) {
  return "dilations = " + dilations + ", strides = " + strides + ", window = " + window;
}

void check_weight_gradient(const std::string& type, const std::string& x, const std::string& dy,
                           const std::string& window, const std::string& strides,
                           const std::string& dilations, int group) {
  expect_same(text_of({"%x: " + type + x + ", %dy: " + type + dy,
                       "  %y = conv_weight_gradient(%x, %dy) {group = " + std::to_string(group) +
                           ", " + window_attributes(window, strides, dilations) + "}\n"}));
}

TEST(GradientKernels, WeightGradient) {
  check_weight_gradient("f32", "[2,7,6,16]", "[2,5,5,32]", "[3,2]", "[1,1]", "[1,1]", 1);
  check_weight_gradient("f32", "[N,9,9,3]", "[N,4,4,64]", "[3,3]", "[2,2]", "[1,1]", 1);
  check_weight_gradient("f32", "[1,8,7,5]", "[1,2,3,37]", "[2,2]", "[3,2]", "[3,2]", 1);
  check_weight_gradient("f32", "[2,6,6,7]", "[2,4,4,3]", "[3,3]", "[1,1]", "[1,1]", 1);
  check_weight_gradient("f32", "[1,1,1,1]", "[1,1,1,1]", "[1,1]", "[1,1]", "[1,1]", 1);
  check_weight_gradient("f32", "[0,4,4,8]", "[0,2,2,16]", "[3,3]", "[1,1]", "[1,1]", 1);
  check_weight_gradient("f32", "[2,9,20]", "[2,4,48]", "[3]", "[2]", "[1]", 1);
  check_weight_gradient("f32", "[1,4,3,5,6]", "[1,3,3,2,16]", "[2,1,3]", "[1,1,2]", "[1,1,1]", 1);
  check_weight_gradient("f64", "[2,5,5,9]", "[2,3,3,17]", "[3,3]", "[1,1]", "[1,1]", 1);
  check_weight_gradient("f16", "[1,5,5,4]", "[1,3,3,16]", "[3,3]", "[1,1]", "[1,1]", 1);
}

TEST(GradientKernels, WeightGradientOfGroups) {
  check_weight_gradient("f32", "[1,6,6,8]", "[1,4,4,32]", "[3,3]", "[1,1]", "[1,1]", 2);
  check_weight_gradient("f32", "[1,6,6,12]", "[1,4,4,12]", "[3,3]", "[1,1]", "[1,1]", 4);
  check_weight_gradient("f32", "[2,7,7,24]", "[2,3,3,24]", "[3,3]", "[2,2]", "[1,1]", 24);
  check_weight_gradient("f32", "[1,5,5,3]", "[1,3,3,9]", "[3,3]", "[1,1]", "[1,1]", 3);
}

void check_window_max(const std::string& type, const std::string& x, const std::string& dy,
                      const std::string& window, const std::string& strides,
                      const std::string& dilations) {
  expect_same(text_of({"%x: " + type + x + ", %dy: " + type + dy,
                       "  %y = window_max_gradient(%x, %dy) {" +
                           window_attributes(window, strides, dilations) + "}\n"}));
}

TEST(GradientKernels, WindowMaximum) {
  check_window_max("f32", "[2,8,8,16]", "[2,4,4,16]", "[2,2]", "[2,2]", "[1,1]");
  check_window_max("f32", "[N,9,8,20]", "[N,4,3,20]", "[3,3]", "[2,2]", "[1,1]");
  check_window_max("f32", "[1,7,7,3]", "[1,5,3,3]", "[3,3]", "[1,1]", "[1,2]");
  check_window_max("f32", "[1,1,1,1]", "[1,1,1,1]", "[1,1]", "[1,1]", "[1,1]");
  check_window_max("f32", "[1,2,4,8]", "[1,0,3,8]", "[3,2]", "[1,1]", "[1,1]");
  check_window_max("f32", "[2,9,5]", "[2,4,5]", "[3]", "[2]", "[1]");
  check_window_max("f32", "[1,4,4,4,17]", "[1,3,2,4,17]", "[2,2,1]", "[1,2,1]", "[1,1,1]");
  check_window_max("f64", "[1,5,5,11]", "[1,4,4,11]", "[2,2]", "[1,1]", "[1,1]");
  check_window_max("f16", "[1,5,5,8]", "[1,4,4,8]", "[2,2]", "[1,1]", "[1,1]");
}

// Integers repeat, so windows have several largest elements: the first one counts.
TEST(GradientKernels, WindowMaximumOfEqualElements) {
  expect_same(text_of({"%i: i32[2,7,7,19], %dy: f32[2,5,5,19]",
                       "  %x = cast(%i) {to = f32}\n"
                       "  %y = window_max_gradient(%x, %dy) {window = [3, 3]}\n"}));
}

void check_scatter(const std::string& type, const std::string& updates, const std::string& indices,
                   const std::string& rows) {
  expect_same(text_of({"%i: " + indices + ", %u: " + type + updates,
                       "  %y = scatter_add(%i, %u) {rows = <" + rows + ">}\n"}));
}

TEST(GradientKernels, ScatterAdd) {
  check_scatter("f32", "[1,9,64]", "i64[9]", "3");
  check_scatter("f32", "[3,7,5]", "i64[7]", "4");
  check_scatter("f32", "[A,N,20]", "i32[N]", "N+1");
  check_scatter("f32", "[1,1,1]", "i64[1]", "3");
  check_scatter("f32", "[2,0,8]", "i64[0]", "3");
  check_scatter("f32", "[1,5,1]", "i64[5]", "6");
  check_scatter("f64", "[2,5,9]", "i64[5]", "3");
  check_scatter("f16", "[1,5,16]", "i64[5]", "3");
}

TEST(GradientKernels, RandomBits) {
  const std::string seeded = "%s: i64[], %t: i64[1]";
  for (const std::string shape : {"<17>", "<3,5,7>", "<1>", "<0,4>", "<>", "<64,16>"})
    expect_same(
        text_of({seeded, "  %y = random_bits(%s, %t) {shape = " + shape + ", stream = 5}\n"}));
  expect_same(
      text_of({"%x: f32[N,3]", "  %y = random_bits() {shape = <N,3>, stream = 4294967295}\n"}));
}

TEST(GradientKernels, RandomBitsFuseWithTheirUsers) {
  expect_same(text_of({"%x: f32[N,30], %t: i64[]",
                       "  %0 = random_bits(none, %t) {shape = <N,30>, stream = 0}\n"
                       "  %1 = constant() {value = u32[](8)}\n"
                       "  %2 = shift_right(%0, %1)\n"
                       "  %3 = cast(%2) {to = f32}\n"
                       "  %4 = constant() {value = f32[](5.9604645e-08)}\n"
                       "  %5 = mul(%3, %4)\n"
                       "  %y = mul(%5, %x)\n"}));
}

TEST(GradientKernels, APadMayBeAnOutput) {
  expect_same(text_of({"%x: f32[N,3,4]", "  %0 = exp(%x)\n"
                                         "  %y = pad(%0) {after = <1,0,2>, before = <0,0,1>}\n"}));
  expect_same(text_of({"%x: f32[N,3]", "  %0 = dilate(%x) {factors = [1, 2]}\n"
                                       "  %y = pad(%0) {after = <0,1>, before = <0,1>}\n"}));
}

TEST(GradientKernels, PadsThatMayCropAreKernels) {
  expect_same(text_of({"%x: f32[N,6]", "  %0 = exp(%x)\n"
                                       "  %y = pad(%0) {after = <N-4,-2>, before = <1,1>}\n"}));
}

/// A network of core ops whose outputs are its own and the gradients of a loss made of the first.
std::unique_ptr<Graph> with_gradients(uint64_t seed) {
  auto graph = test::random_network(seed, DType::f32);
  PassContext context;
  decompose(*graph, context);
  Builder b(*graph);
  Value* y = graph->output(0);
  // Linear in the result, so that the gradient is as well conditioned as the network is.
  Value* place = b.make("iota", {}, {{"shape", Shape{y->shape()[1]}}, {"dtype", DType::f32}});
  Value* loss = b.reduce("reduce_sum", b.mul(y, b.unary("cos", place)), {0, 1});
  std::vector<Value*> wrt;
  for (const auto& input : graph->inputs()) wrt.push_back(input.get());
  const std::vector<Value*> found = gradients(*graph, loss, wrt);
  for (size_t i = 0; i < wrt.size(); ++i)
    if (found[i] != nullptr) graph->add_output("gradient of " + wrt[i]->name(), found[i]);
  return graph;
}

class TrainedNetworks : public testing::TestWithParam<uint64_t> {};

// What the passes and kernels make of backward graphs: reversed weights, spread-out gradients,
// negative margins, sums that undo broadcasting.
TEST_P(TrainedNetworks, CompiledGradientsAreThoseOfTheHost) {
  const auto graph = with_gradients(GetParam());
  const test::Symbols symbols = {{"N", 2}};
  std::vector<Tensor> inputs = test::random_inputs(*graph, symbols, GetParam());
  for (size_t i = 1; i < inputs.size(); ++i)
    for (float& v : inputs[i].mutable_values<float>()) v += 0.75f;
  const std::vector<Tensor> want = test::evaluate(*graph, inputs, symbols);
  for (const MathMode math : {MathMode::standard, MathMode::strict}) {
    CompileOptions options;
    options.math = math;
    const CompiledModel compiled = compile_graph(graph->clone(), options);
    const auto got = compiled.model.run(std::span<const Tensor>(inputs));
    ASSERT_TRUE(got.ok()) << got.status().message();
    for (size_t i = 0; i < want.size(); ++i)
      EXPECT_EQ(test::difference(got.value()[i], want[i], 5e-4), "")
          << graph->output_name(i) << " of\n"
          << print(*graph);
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, TrainedNetworks,
                         testing::Values(0, 3, 4, 6, 9, 13, 22, 35, 41, 44, 56, 58));

}  // namespace
}  // namespace tintype
