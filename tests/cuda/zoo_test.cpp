// All kernels of well-known networks go through NVIDIA's assembler, and a small picture through one
// of them.
#include "frontend/train/training_graph.h"
#include "frontend/zoo/zoo.h"
#include "tests/cuda/fixture.h"
#include "tests/cuda/ptxas.h"

#include <algorithm>
#include <utility>

namespace tintype {
namespace {

using cuda_test::assemble;
using cuda_test::find_ptxas;
using cuda_test::inputs_of;
using cuda_test::ptx_of;
using cuda_test::Verdict;

std::unique_ptr<Graph> network(const std::string& name) { return build_zoo_network(name)->take(); }

CompiledModel compiled_for(std::unique_ptr<Graph> graph, const std::string& target) {
  CompileOptions options;
  options.target = target;
  options.libraries = Libraries::never;
  return compile_graph(std::move(graph), options);
}

/// Every kernel is accepted, and spills nothing. How many there are.
size_t check_kernels(const CompiledModel& m, const std::string& ptxas,
                     const std::string& architecture) {
  const Program& p = m.model.program();
  for (size_t i = 0; i < m.objects.size(); ++i) {
    const std::string what = p.kernels[i].name + ", " + p.kernels[i].algorithm;
    const Verdict v = assemble(ptxas, ptx_of(m.objects[i]), architecture);
    EXPECT_TRUE(v.accepted) << what << ": " << v.messages;
    EXPECT_FALSE(v.functions.empty()) << what << " is no kernel for CUDA";
    for (const cuda_test::Needs& needs : v.functions) {
      EXPECT_EQ(needs.spills, 0) << what;
      EXPECT_EQ(needs.stack, 0) << what;
    }
  }
  return m.objects.size();
}

std::string test_name(std::string name) {
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

// A representative part: tools/cuda/kernel_table.py takes all networks, steps and operators.

class CudaZoo : public testing::TestWithParam<const char*> {};

TEST_P(CudaZoo, KernelsPassTheAssembler) {
  const std::string ptxas = find_ptxas();
  if (ptxas.empty()) GTEST_SKIP() << "there is no ptxas: run tools/setup/ptxas.sh";
  for (const std::string architecture : {"sm_80", "sm_90"})
    EXPECT_GT(check_kernels(compiled_for(network(GetParam()), "cuda," + architecture), ptxas,
                            architecture),
              3u);
}

INSTANTIATE_TEST_SUITE_P(Networks, CudaZoo,
                         testing::Values("lenet5", "resnet18", "googlenet", "lstm-rows"),
                         [](const auto& of) { return test_name(of.param); });

struct TrainingStep {
  const char* network;
  const char* optimizer;
};

void PrintTo(const TrainingStep& s, std::ostream* out) { *out << s.network << ", " << s.optimizer; }

class CudaTrainingSteps : public testing::TestWithParam<TrainingStep> {};

TEST_P(CudaTrainingSteps, KernelsPassTheAssembler) {
  const std::string ptxas = find_ptxas();
  if (ptxas.empty()) GTEST_SKIP() << "there is no ptxas: run tools/setup/ptxas.sh";
  const TrainingOptions options = {.optimizer = parse_optimizer(GetParam().optimizer)};
  TrainingGraph step = make_training_graph(network(GetParam().network), options);
  EXPECT_GT(check_kernels(compiled_for(std::move(step.graph), "cuda,sm_90"), ptxas, "sm_90"), 15u);
}

INSTANTIATE_TEST_SUITE_P(Networks, CudaTrainingSteps,
                         testing::Values(TrainingStep{"mlp", "sgd,lr=0.1,momentum=0.9"},
                                         TrainingStep{"lenet5", "adam,lr=0.001"},
                                         TrainingStep{"lstm-rows", "adam,lr=0.001"}),
                         [](const auto& of) { return test_name(of.param.network); });

/// A network at a small size on the stand-in, against the CPU's program.
void expect_same_results(const std::string& name, const ZooOptions& zoo_options) {
  const CompiledModel cpu = compiled_for(build_zoo_network(name, zoo_options)->take(), "host");
  const auto inputs = inputs_of(cpu.model.program(), {{"N", 2}});
  const auto want = cpu.model.run(std::span<const Tensor>(inputs));
  ASSERT_TRUE(want.ok()) << want.status().message();
  CudaStandIn device;
  {
    const CompiledModel m = compiled_for(build_zoo_network(name, zoo_options)->take(), "cuda");
    const auto got = m.model.run(std::span<const Tensor>(inputs));
    ASSERT_TRUE(got.ok()) << got.status().message() << "\n" << device.problem();
    for (size_t i = 0; i < got.value().size(); ++i) {
      const Comparison c = compare_tensors(got.value()[i], want.value()[i], 0, 0);
      EXPECT_LE(c.max_error, 1e-4 * std::max(c.scale, 1e-3)) << c.message;
    }
  }
  EXPECT_EQ(device.problem(), "");
  EXPECT_EQ(device.leaks(), "");
}

TEST(CudaZooValues, Lenet5) { expect_same_results("lenet5", {}); }
TEST(CudaZooValues, Resnet18) { expect_same_results("resnet18", {.input = {3, 32, 32}}); }
TEST(CudaZooValues, LstmRows) { expect_same_results("lstm-rows", {}); }

}  // namespace
}  // namespace tintype
