// The C interface on top of Model.
#include "runtime/tintype.h"

#include "runtime/extents.h"
#include "runtime/guarded.h"
#include "runtime/model.h"

namespace {

using tintype::DType;
using tintype::Status;
using tintype::StatusCode;

static_assert(TINTYPE_F64 == static_cast<int>(DType::f64));
static_assert(TINTYPE_BOOL == static_cast<int>(DType::boolean));
static_assert(TINTYPE_INTERNAL == static_cast<int>(StatusCode::internal));

thread_local std::string last_error;

tintype_status finish(const Status& status) {
  // Assigning may need memory that is not there; the code still tells.
  try {
    last_error = status.message();
  } catch (...) {
    last_error.clear();
  }
  return static_cast<tintype_status>(status.code());
}

tintype_status null_pointer(const char* argument) {
  return finish(tintype::guarded(
      [&] { return tintype::invalid_argument(std::string(argument) + " is a null pointer"); }));
}

constexpr int32_t kMaxRank = 32;

tintype::Result<tintype::Tensor> borrow(const tintype_tensor& t, size_t index) {
  const std::string name = "input " + std::to_string(index);
  const auto dtype = static_cast<DType>(t.dtype);
  if (t.dtype < TINTYPE_BOOL || t.dtype > TINTYPE_F64)
    return tintype::invalid_argument(name + ": unknown element type " + std::to_string(t.dtype));
  if (t.rank < 0 || t.rank > kMaxRank)
    return tintype::invalid_argument(name + ": rank " + std::to_string(t.rank) +
                                     " is not between 0 and 32");
  if (t.rank > 0 && t.dims == nullptr) return tintype::invalid_argument(name + ": dims are null");
  auto made = tintype::guarded([&]() -> tintype::Result<tintype::Tensor> {
    return tintype::Tensor::borrow(dtype, {t.dims, t.dims + t.rank}, t.data, nullptr);
  });
  if (made.ok()) return made;
  return Status(made.status().code(), name + ": " + made.status().message());
}

}  // namespace

struct tintype_model {
  tintype::Model model;
  std::vector<std::string> input_types, output_types;
};

struct tintype_result {
  std::vector<tintype::Tensor> tensors;
};

namespace {

tintype_status get_port(const std::vector<tintype::Port>& ports,
                        const std::vector<std::string>& types, size_t index, tintype_port* port) {
  if (index >= ports.size())
    return finish(tintype::guarded([&] {
      return tintype::invalid_argument("no port " + std::to_string(index) + ", there are " +
                                       std::to_string(ports.size()));
    }));
  const tintype::Port& p = ports[index];
  *port = {p.name.c_str(), types[index].c_str(), static_cast<int32_t>(p.dtype),
           static_cast<int32_t>(p.dims.size())};
  return finish({});
}

}  // namespace

extern "C" {

const char* tintype_last_error(void) { return last_error.c_str(); }

tintype_status tintype_load(const char* path, tintype_model** model) {
  if (path == nullptr) return null_pointer("path");
  if (model == nullptr) return null_pointer("model");
  *model = nullptr;
  return finish(tintype::guarded([&]() -> Status {
    tintype::Result<tintype::Model> loaded = tintype::Model::load(path);
    if (!loaded.ok()) return loaded.status();
    auto made = std::make_unique<tintype_model>();
    made->model = std::move(loaded).value();
    const tintype::Program& program = made->model.program();
    for (const tintype::Port& p : program.inputs)
      made->input_types.push_back(format_type(program, p));
    for (const tintype::Port& p : program.outputs)
      made->output_types.push_back(format_type(program, p));
    *model = made.release();
    return {};
  }));
}

void tintype_free_model(tintype_model* model) { delete model; }

size_t tintype_input_count(const tintype_model* model) {
  return model == nullptr ? 0 : model->input_types.size();
}

size_t tintype_output_count(const tintype_model* model) {
  return model == nullptr ? 0 : model->output_types.size();
}

tintype_status tintype_input(const tintype_model* model, size_t index, tintype_port* port) {
  if (model == nullptr) return null_pointer("model");
  if (port == nullptr) return null_pointer("port");
  return get_port(model->model.program().inputs, model->input_types, index, port);
}

tintype_status tintype_output(const tintype_model* model, size_t index, tintype_port* port) {
  if (model == nullptr) return null_pointer("model");
  if (port == nullptr) return null_pointer("port");
  return get_port(model->model.program().outputs, model->output_types, index, port);
}

tintype_status tintype_run(const tintype_model* model, const tintype_tensor* inputs,
                           size_t input_count, int threads, tintype_result** result) {
  if (model == nullptr) return null_pointer("model");
  if (inputs == nullptr && input_count != 0) return null_pointer("inputs");
  if (result == nullptr) return null_pointer("result");
  *result = nullptr;
  return finish(tintype::guarded([&]() -> Status {
    std::vector<tintype::Tensor> borrowed;
    for (size_t i = 0; i < input_count; ++i) {
      tintype::Result<tintype::Tensor> t = borrow(inputs[i], i);
      if (!t.ok()) return t.status();
      borrowed.push_back(std::move(t).value());
    }
    tintype::RunOptions options;
    options.threads = threads;
    tintype::Result<std::vector<tintype::Tensor>> outputs = model->model.run(borrowed, options);
    if (!outputs.ok()) return outputs.status();
    auto made = std::make_unique<tintype_result>();
    made->tensors = std::move(outputs).value();
    *result = made.release();
    return {};
  }));
}

tintype_status tintype_result_tensor(const tintype_result* result, size_t index,
                                     tintype_tensor* tensor) {
  if (result == nullptr) return null_pointer("result");
  if (tensor == nullptr) return null_pointer("tensor");
  if (index >= result->tensors.size())
    return finish(tintype::guarded([&] {
      return tintype::invalid_argument("no output " + std::to_string(index) + ", there are " +
                                       std::to_string(result->tensors.size()));
    }));
  const tintype::Tensor& t = result->tensors[index];
  *tensor = {static_cast<int32_t>(t.dtype()), t.rank(), t.dims().data(), t.data()};
  return finish({});
}

void tintype_free_result(tintype_result* result) { delete result; }

size_t tintype_dtype_size(int32_t dtype) {
  return dtype < TINTYPE_BOOL || dtype > TINTYPE_F64 ? 0
                                                     : tintype::size_of(static_cast<DType>(dtype));
}

}  // extern "C"
