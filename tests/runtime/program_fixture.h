// Programs for tests of the executor, made by hand, and kernels written in C++ behind the argv ABI.
#pragma once

#include "runtime/kernel.h"
#include "runtime/model.h"
#include "runtime/program.h"

#include <HalideRuntime.h>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace tintype::testing {

/// A library of plain functions.
class FakeLibrary : public KernelLibrary {
 public:
  explicit FakeLibrary(std::map<std::string, KernelFunction, std::less<>> functions)
      : functions_(std::move(functions)) {}
  Result<KernelFunction> find(std::string_view symbol) const override {
    const auto it = functions_.find(symbol);
    if (it == functions_.end())
      return Status(StatusCode::internal, "no kernel '" + std::string(symbol) + "'");
    return it->second;
  }

 private:
  std::map<std::string, KernelFunction, std::less<>> functions_;
};

/// Builds the tables of a Program.
class ProgramBuilder {
 public:
  ProgramBuilder() { program.model_name = "test"; }

  ExprId constant(int64_t value) { return add_expr({ExtentExpr::Kind::constant, value, 0, 0}); }
  ExprId op(ExtentExpr::Kind kind, ExprId a, ExprId b) { return add_expr({kind, 0, a, b}); }
  /// A symbol read from an axis of an input that is (or will be) the given port.
  ExprId symbol(std::string name, int32_t input, int32_t axis) {
    program.symbols.push_back({std::move(name), input, axis});
    return add_expr(
        {ExtentExpr::Kind::symbol, static_cast<int64_t>(program.symbols.size()) - 1, 0, 0});
  }
  ExprId product(const std::vector<ExprId>& list) {
    ExprId p = constant(1);
    for (ExprId e : list) p = op(ExtentExpr::Kind::mul, p, e);
    return p;
  }

  ViewId input(std::string name, DType dtype, std::vector<ExprId> dims) {
    return port(program.inputs, std::move(name), dtype, std::move(dims), Storage::Kind::input);
  }
  ViewId output(std::string name, DType dtype, std::vector<ExprId> dims) {
    return port(program.outputs, std::move(name), dtype, std::move(dims), Storage::Kind::output);
  }
  ViewId buffer(DType dtype, const std::vector<ExprId>& dims, int32_t first, int32_t last) {
    return dense_view(add_storage(Storage::Kind::arena, 0, dtype, dims, first, last), dtype, dims);
  }
  ViewId constant_tensor(const Tensor& t) {
    std::vector<ExprId> dims;
    for (int64_t d : t.dims()) dims.push_back(constant(d));
    program.constants.push_back(t);
    return dense_view(add_storage(Storage::Kind::constant,
                                  static_cast<int32_t>(program.constants.size()) - 1, t.dtype(),
                                  dims, 0, 0),
                      t.dtype(), dims);
  }
  /// Another view of the same storage.
  ViewId view(ViewId of, ExprId offset, std::vector<ExprId> extents, std::vector<ExprId> strides) {
    View v = program.views[static_cast<size_t>(of)];
    v.offset = offset;
    v.extents = std::move(extents);
    v.strides = std::move(strides);
    program.views.push_back(v);
    return static_cast<ViewId>(program.views.size()) - 1;
  }

  int32_t kernel(const std::string& symbol) {
    program.kernels.push_back({symbol, symbol, "test"});
    return static_cast<int32_t>(program.kernels.size()) - 1;
  }
  Step& kernel_step(int32_t kernel, std::vector<ViewId> arguments) {
    Step s;
    s.kind = Step::Kind::kernel;
    s.alternatives.push_back({-1, kernel, std::move(arguments)});
    s.name = program.kernels[static_cast<size_t>(kernel)].name;
    s.origin = "node_" + std::to_string(program.steps.size());
    program.steps.push_back(std::move(s));
    return program.steps.back();
  }
  Step& host_step(std::string op, std::vector<ViewId> inputs, std::vector<ViewId> outputs) {
    Step& s = plain_step(Step::Kind::host, std::move(inputs), std::move(outputs));
    s.host_op = std::move(op);
    return s;
  }
  Step& plain_step(Step::Kind kind, std::vector<ViewId> inputs, std::vector<ViewId> outputs) {
    Step s;
    s.kind = kind;
    s.inputs = std::move(inputs);
    s.outputs = std::move(outputs);
    s.name = "plain";
    program.steps.push_back(std::move(s));
    return program.steps.back();
  }

  Result<Model> model(std::map<std::string, KernelFunction, std::less<>> functions = {}) const {
    return Model::create(std::make_shared<Program>(program),
                         std::make_shared<FakeLibrary>(std::move(functions)));
  }

  Program program;

 private:
  ExprId add_expr(ExtentExpr e) {
    program.expressions.push_back(e);
    return static_cast<ExprId>(program.expressions.size()) - 1;
  }
  int32_t add_storage(Storage::Kind kind, int32_t value, DType dtype,
                      const std::vector<ExprId>& dims, int32_t first, int32_t last) {
    const ExprId bytes =
        op(ExtentExpr::Kind::mul, product(dims), constant(static_cast<int64_t>(size_of(dtype))));
    program.storages.push_back({kind, value, bytes, first, last});
    return static_cast<int32_t>(program.storages.size()) - 1;
  }
  ViewId dense_view(int32_t storage, DType dtype, const std::vector<ExprId>& dims) {
    View v{storage, dtype, constant(0), dims, std::vector<ExprId>(dims.size())};
    ExprId stride = constant(1);
    for (size_t i = dims.size(); i-- > 0;) {
      v.strides[i] = stride;
      stride = op(ExtentExpr::Kind::mul, stride, dims[i]);
    }
    program.views.push_back(v);
    return static_cast<ViewId>(program.views.size()) - 1;
  }
  ViewId port(std::vector<Port>& list, std::string name, DType dtype, std::vector<ExprId> dims,
              Storage::Kind kind) {
    const int32_t storage = add_storage(kind, static_cast<int32_t>(list.size()), dtype, dims, 0, 0);
    const ViewId v = dense_view(storage, dtype, dims);
    list.push_back({std::move(name), dtype, std::move(dims), v});
    return v;
  }
};

inline halide_buffer_t& buffer_of(void** argv, int index) {
  return *static_cast<halide_buffer_t*>(argv[index]);
}
inline KernelContext* context_of(void** argv) {
  return static_cast<KernelContext*>(*static_cast<void**>(argv[0]));
}

/// Calls f(a, b, out) for every element of equally shaped f32 buffers of any strides.
template <typename F>
void for_each_element(halide_buffer_t& a, halide_buffer_t& b, halide_buffer_t& out, const F& f) {
  std::vector<int> pos(static_cast<size_t>(out.dimensions), 0);
  for (int d = 0; d < out.dimensions; ++d)
    if (out.dim[d].extent == 0) return;
  for (;;) {
    f(*reinterpret_cast<float*>(a.address_of(pos.data())),
      *reinterpret_cast<float*>(b.address_of(pos.data())),
      *reinterpret_cast<float*>(out.address_of(pos.data())));
    int d = 0;
    for (; d < out.dimensions; ++d) {
      if (++pos[static_cast<size_t>(d)] < out.dim[d].extent) break;
      pos[static_cast<size_t>(d)] = 0;
    }
    if (d == out.dimensions) return;
  }
}

}  // namespace tintype::testing
