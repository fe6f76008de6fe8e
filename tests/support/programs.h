// Graphs and inputs that tests of compiled programs have in common, whatever they compile for.
#pragma once

#include "ir/builder.h"
#include "runtime/program.h"
#include "tools/driver/data_files.h"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

namespace tintype::test {

using Make = std::function<void(Graph&, Builder&)>;
using Dims = std::map<std::string, int64_t>;

inline std::unique_ptr<Graph> built(const Make& make) {
  auto graph = std::make_unique<Graph>("test");
  Builder b(*graph);
  make(*graph, b);
  return graph;
}

inline Tensor random_weights(std::vector<int64_t> dims, uint64_t seed) {
  Tensor t = random_tensor(DType::f32, std::move(dims), seed);
  for (float& v : t.mutable_values<float>()) v = v - 0.5f;
  return t;
}

inline Value* weights(Builder& b, std::vector<int64_t> dims, uint64_t seed) {
  return b.constant(random_weights(std::move(dims), seed));
}

/// Random inputs, f32 between -1 and 1, for the given values of symbols.
inline std::vector<Tensor> inputs_of(const Program& p, const Dims& dims) {
  std::vector<Tensor> inputs;
  for (const Port& port : p.inputs) {
    std::vector<int64_t> extents;
    for (ExprId id : port.dims) {
      const ExtentExpr& e = p.expressions[static_cast<size_t>(id)];
      extents.push_back(e.kind == ExtentExpr::Kind::constant
                            ? e.value
                            : dims.at(p.symbols[static_cast<size_t>(e.value)].name));
    }
    Tensor t = random_tensor(port.dtype, extents, 7 + inputs.size());
    if (port.dtype == DType::f32)
      for (float& v : t.mutable_values<float>()) v = 2 * v - 1;
    inputs.push_back(t);
  }
  return inputs;
}

struct ConvCase {
  int64_t n, ci, h, w, co, kh, kw, stride, pad, dilation, group;
};

inline void PrintTo(const ConvCase& c, std::ostream* out) {
  *out << c.n << "x" << c.ci << "x" << c.h << "x" << c.w << " to " << c.co << ", window " << c.kh
       << "x" << c.kw << "/" << c.stride << ", pad " << c.pad << ", dilation " << c.dilation
       << ", group " << c.group;
}

/// relu(conv(x) + bias + shortcut), as ONNX has it.
inline Make conv_with_epilogue(const ConvCase& p) {
  return [p](Graph& g, Builder& b) {
    Value* x = g.add_input("x", {DType::f32, {p.n, p.ci, p.h, p.w}});
    Value* y = b.make("Conv",
                      {x, weights(b, {p.co, p.ci / p.group, p.kh, p.kw}, 1), weights(b, {p.co}, 2)},
                      {{"strides", std::vector<int64_t>{p.stride, p.stride}},
                       {"pads", std::vector<int64_t>{p.pad, p.pad, p.pad, p.pad}},
                       {"dilations", std::vector<int64_t>{p.dilation, p.dilation}},
                       {"group", p.group}});
    Value* shortcut = g.add_input("s", y->type());
    g.add_output("y", b.make("Relu", {b.make("Add", {y, shortcut})}));
  };
}

}  // namespace tintype::test
