// Saves a small model, then loads and runs it from C++ and from C with nothing but the runtime.
#include "runtime/model.h"

#include <cstdio>
#include <cstdlib>
#include <string>
#include <unistd.h>

/// Runs the model at `path` by the C interface alone (c_usage.c); returns the number of failed
/// checks.
extern "C" int use_from_c(const char* path, const char* missing_path);

namespace {

using namespace tintype;

// y[N,2] = x[N,2] + (10, 20)
Program make_program() {
  Program p;
  p.model_name = "add";
  p.symbols = {{"N", 0, 0}};
  using Kind = ExtentExpr::Kind;
  p.expressions = {{Kind::symbol, 0, 0, 0},   {Kind::constant, 2, 0, 0}, {Kind::constant, 1, 0, 0},
                   {Kind::constant, 0, 0, 0}, {Kind::constant, 8, 0, 0}, {Kind::mul, 0, 0, 4}};
  p.constants = {Tensor::from<float>({2}, {10, 20})};
  p.storages = {{Storage::Kind::input, 0, 5, 0, 0},
                {Storage::Kind::output, 0, 5, 0, 0},
                {Storage::Kind::constant, 0, 4, 0, 0}};
  p.views = {{0, DType::f32, 3, {0, 1}, {1, 2}},
             {1, DType::f32, 3, {0, 1}, {1, 2}},
             {2, DType::f32, 3, {1}, {2}}};
  p.inputs = {{"x", DType::f32, {0, 1}, 0}};
  p.outputs = {{"y", DType::f32, {0, 1}, 1}};
  Step add;
  add.kind = Step::Kind::host;
  add.host_op = "add";
  add.inputs = {0, 2};
  add.outputs = {1};
  p.steps = {add};
  return p;
}

int fail(const std::string& message) {
  std::fprintf(stderr, "failed: %s\n", message.c_str());
  return 1;
}

}  // namespace

int main() {
  const char* temporary = std::getenv("TMPDIR");
  const std::string path = std::string(temporary == nullptr ? "/tmp" : temporary) +
                           "/runtime_only-" + std::to_string(getpid()) + ".tt";
  if (const Status s = save_program(make_program(), {}, path); !s.ok()) return fail(s.message());
  int failures = 0;
  {
    const Result<Model> model = Model::load(path);
    if (!model.ok()) return fail(model.status().message());
    const auto y = model.value().run({{"x", Tensor::from<float>({1, 2}, {1, 2})}});
    if (!y.ok()) return fail(y.status().message());
    if (y.value()[0].values<float>()[1] != 22) failures += fail("wrong value");
  }
  failures += use_from_c(path.c_str(), (path + ".missing").c_str());
  std::remove(path.c_str());
  return failures == 0 ? 0 : 1;
}
