// All kernels of well-known networks go through NVIDIA's assembler, and a small picture through one
// of them.
#include "frontend/zoo/zoo.h"
#include "tests/cuda/fixture.h"
#include "tests/cuda/ptxas.h"

#include <cstdlib>
#include <fmt/format.h>
#include <fstream>
#include <map>

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
  return compile_graph(std::move(graph), options);
}

struct Row {
  int kernels = 0, functions = 0, registers = 0, spills = 0, stack = 0;
};

/// Every kernel is accepted; those that hold register tiles spill nothing.
void check_kernels(const CompiledModel& m, const std::string& ptxas,
                   const std::string& architecture, Row& row) {
  const Program& p = m.model.program();
  for (size_t i = 0; i < m.objects.size(); ++i) {
    const std::string ptx = ptx_of(m.objects[i]);
    ASSERT_NE(ptx, "") << p.kernels[i].name << " is no kernel for CUDA";
    const Verdict v = assemble(ptxas, ptx, architecture);
    ASSERT_TRUE(v.accepted) << p.kernels[i].name << ": " << v.messages;
    ++row.kernels;
    for (const cuda_test::Needs& needs : v.functions) {
      ++row.functions;
      row.registers = std::max(row.registers, needs.registers);
      row.spills += needs.spills;
      row.stack = std::max(row.stack, needs.stack);
      EXPECT_EQ(needs.spills, 0) << p.kernels[i].name << ", " << p.kernels[i].algorithm;
      EXPECT_EQ(needs.stack, 0) << p.kernels[i].name << ", " << p.kernels[i].algorithm;
    }
  }
}

class CudaZoo : public testing::TestWithParam<std::string> {};

TEST_P(CudaZoo, KernelsPassTheAssembler) {
  const std::string ptxas = find_ptxas();
  if (ptxas.empty()) GTEST_SKIP() << "there is no ptxas: run tools/setup/ptxas.sh";
  const std::string name = GetParam();
  for (const std::string architecture : {"sm_80", "sm_90"}) {
    Row row;
    check_kernels(compiled_for(network(name), "cuda," + architecture), ptxas, architecture, row);
    const std::string text =
        fmt::format("| {} | {} | {} | {} | {} | {} | {} |\n", name, architecture, row.kernels,
                    row.functions, row.registers, row.spills, row.stack);
    if (const char* file = std::getenv("TINTYPE_CUDA_TABLE"))
      std::ofstream(file, std::ios::app) << text;
  }
}

std::vector<std::string> networks() {
  // The whole zoo takes minutes: TINTYPE_CUDA_ZOO=1 asks for it.
  if (std::getenv("TINTYPE_CUDA_ZOO") == nullptr)
    return {"lenet5", "resnet18", "googlenet", "lstm-rows"};
  std::vector<std::string> all;
  for (const ZooEntry& e : zoo()) all.emplace_back(e.name);
  return all;
}

INSTANTIATE_TEST_SUITE_P(Networks, CudaZoo, testing::ValuesIn(networks()), [](const auto& of) {
  std::string name = of.param;
  for (char& c : name)
    if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
  return name;
});

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
