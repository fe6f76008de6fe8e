// Every pointwise op in every type that it takes: accepted by NVIDIA's assembler, and the same
// values as on the CPU.
#include "ir/op_def.h"
#include "runtime/scalar.h"
#include "tests/cuda/fixture.h"
#include "tests/cuda/ptxas.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <string_view>

namespace tintype {
namespace {

using cuda_test::compiled;

/// Values around the places where functions change, and the special ones of a type.
Tensor values_of(DType t, uint64_t seed) {
  Tensor base = random_tensor(DType::f32, {96}, seed);
  const auto x = base.mutable_values<float>();
  for (size_t i = 0; i < x.size(); ++i) x[i] = (x[i] - 0.5f) * (i % 3 == 0 ? 40.0f : 3.0f);
  if (is_float(t)) {
    x[0] = 0.0f, x[1] = -0.0f, x[2] = INFINITY, x[3] = -INFINITY, x[4] = NAN, x[5] = 1.0f;
    x[6] = 0.5f, x[7] = -1.0f, x[8] = 1.5f, x[9] = 2.5f, x[10] = -2.5f;
  }
  Tensor out = Tensor::empty(t, {96});
  for (int64_t i = 0; i < out.size(); ++i) {
    const float v = x[static_cast<size_t>(i)];
    const auto at = static_cast<size_t>(i);
    switch (t) {
      case DType::f32: out.mutable_values<float>()[at] = v; break;
      case DType::f64: out.mutable_values<double>()[at] = static_cast<double>(v); break;
      case DType::f16: out.mutable_values<uint16_t>()[at] = f32_to_f16(v); break;
      case DType::bf16: out.mutable_values<uint16_t>()[at] = f32_to_bf16(v); break;
      case DType::i8: out.mutable_values<int8_t>()[at] = static_cast<int8_t>(v); break;
      case DType::i32: out.mutable_values<int32_t>()[at] = static_cast<int32_t>(v); break;
      case DType::i64: out.mutable_values<int64_t>()[at] = static_cast<int64_t>(v); break;
      case DType::u8: out.mutable_values<uint8_t>()[at] = static_cast<uint8_t>(std::fabs(v)); break;
      case DType::u32:
        out.mutable_values<uint32_t>()[at] = static_cast<uint32_t>(std::fabs(v));
        break;
      default: out.mutable_values<uint8_t>()[at] = v > 0 ? 1 : 0;
    }
  }
  return out;
}

double tolerance_of(DType t) {
  if (t == DType::f16) return 2e-3;
  if (t == DType::bf16) return 1.6e-2;
  return t == DType::f64 ? 1e-7 : 2e-5;  // some f64 functions of the CPU's vector code are f32 wide
}

/// Differs by more than `tolerance` relative to itself, or in kind.
bool differs(double got, double want, double tolerance) {
  if (std::isnan(want) || std::isnan(got)) return std::isnan(want) != std::isnan(got);
  if (std::isinf(want) || std::isinf(got)) return want != got;
  return std::fabs(got - want) > tolerance * std::max(std::fabs(want), 1e-2);
}

/// What is defined on integers; of truth values, the last of them.
constexpr std::string_view kOnIntegers[] = {
    "add", "sub",     "mul",    "div",     "mod",     "abs",        "neg",         "sign",  "max",
    "min", "bit_and", "bit_or", "bit_xor", "bit_not", "shift_left", "shift_right", "lt",    "le",
    "gt",  "ge",      "relu",   "eq",      "ne",      "cast",       "identity",    "select"};
constexpr std::string_view kOnTruth[] = {"and", "or", "xor", "not", "eq", "cast", "select"};
/// 16-bit floats differ from f32 in how they are read, rounded and written alone.
constexpr std::string_view kOnHalves[] = {"add", "exp", "max", "cast", "lt", "mod", "tanh"};

std::vector<std::string> ops_for(DType t) {
  const auto all = [](const auto& list) {
    return std::vector<std::string>(std::begin(list), std::end(list));
  };
  if (t == DType::boolean) return all(kOnTruth);
  if (t == DType::f16 || t == DType::bf16) return all(kOnHalves);
  if (!is_float(t)) return all(kOnIntegers);
  std::vector<std::string> names;
  for (const OpDef* def : all_ops())
    if (def->has(kPointwise) && def->is_core()) names.emplace_back(def->name);
  const auto wrong = [](const std::string& name) {
    return name.starts_with("bit_") || name.starts_with("shift_") || name == "and" ||
           name == "or" || name == "xor" || name == "not";
  };
  names.erase(std::remove_if(names.begin(), names.end(), wrong), names.end());
  return names;
}

/// Their slow paths of f64 are functions, which the interpreter does not call.
bool has_functions(DType t, const std::string& name) {
  return t == DType::f64 && (name == "sin" || name == "cos" || name == "tan" || name == "pow");
}

class CudaPointwise : public testing::TestWithParam<DType> {};

TEST_P(CudaPointwise, AgreesWithTheCpu) {
  const DType t = GetParam();
  const std::vector<std::string> names = ops_for(t);
  bool interpreted = true;
  const auto make = [&](Graph& g, Builder& b) {
    Value* x[] = {g.add_input("x", {t, {96}}), g.add_input("y", {t, {96}})};
    Value* c = g.add_input("c", {DType::boolean, {96}});
    for (const std::string& name : names) {
      if (interpreted && has_functions(t, name)) continue;
      std::vector<Value*> operands;
      for (int i = 0; i < op(name).min_operands; ++i) operands.push_back(x[i % 2]);
      if (name == "select") operands[0] = c;
      AttrMap attrs;
      if (name == "cast") attrs.set("to", DType::f32);
      if (name == "bitcast") attrs.set("to", t == DType::f64 ? DType::i64 : DType::i32);
      g.add_output(name, b.make(name, operands, attrs));
    }
    g.add_output("used", b.make("select", {c, x[0], x[1]}));
  };
  CudaStandIn device;  // outlives the models
  const CompiledModel cpu = compiled(make, "host"), cuda = compiled(make, "cuda");
  interpreted = false;
  const CompiledModel whole = compiled(make, "cuda");
  const std::string ptxas = cuda_test::find_ptxas();
  for (const KernelObject& o : whole.objects) {
    if (ptxas.empty()) break;
    const auto v = cuda_test::assemble(ptxas, cuda_test::ptx_of(o), "sm_80");
    EXPECT_TRUE(v.accepted) << v.messages;
  }
  const std::vector<Tensor> inputs = {values_of(t, 3), values_of(t, 4),
                                      values_of(DType::boolean, 5)};
  const auto want = cpu.model.run(std::span<const Tensor>(inputs));
  const auto got = cuda.model.run(std::span<const Tensor>(inputs));
  ASSERT_TRUE(want.ok()) << want.status().message();
  ASSERT_TRUE(got.ok()) << got.status().message() << device.problem();
  for (size_t k = 0; k + 1 < got.value().size(); ++k)
    for (int64_t i = 0; i < 96; ++i) {
      const double y = element_as_double(got.value()[k], i);
      const double w = element_as_double(want.value()[k], i);
      if (!differs(y, w, tolerance_of(t))) continue;
      ADD_FAILURE() << cuda.model.program().outputs[k].name << " of "
                    << element_as_double(inputs[0], i) << ", " << element_as_double(inputs[1], i)
                    << " is " << y << " on the device, " << w << " on the CPU";
    }
}

INSTANTIATE_TEST_SUITE_P(Types, CudaPointwise,
                         testing::Values(DType::f32, DType::f64, DType::f16, DType::bf16,
                                         DType::i32, DType::i64, DType::u8, DType::boolean),
                         [](const auto& of) { return std::string(name_of(of.param)); });

}  // namespace
}  // namespace tintype
