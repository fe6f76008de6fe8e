// Models: ONNX with what lies beside it, and compiled programs.
#include "frontend/onnx/import.h"
#include "frontend/onnx/tensor_file.h"
#include "ir/print.h"
#include "ir/verify.h"
#include "runtime/checksum.h"
#include "runtime/model.h"
#include "runtime/program_file.h"
#include "tests/damage/readers.h"
#include "tests/data/folder.h"
#include "tests/frontend/model_writer.h"
#include "tests/runtime/program_fixture.h"
#include "tools/driver/driver.h"

#include <algorithm>
#include <cstring>
#include <filesystem>

namespace tintype::test {

namespace {

namespace fs = std::filesystem;
using Files = std::vector<std::string>;

constexpr const char* kModels = TINTYPE_SOURCE_DIR "/tests/e2e/data";

/// Files below the folder of stored models with this ending, up to a size, in order of their names.
Files stored(const std::string& ending, size_t most) {
  std::vector<std::string> paths;
  for (const auto& entry : fs::recursive_directory_iterator(kModels))
    if (entry.path().extension() == ending && entry.file_size() <= most)
      paths.push_back(entry.path().string());
  std::sort(paths.begin(), paths.end());
  Files files;
  for (const std::string& path : paths) files.push_back(content_of(path));
  return files;
}

Files onnx_files() { return stored(".onnx", 5000); }
Files tensor_files() { return stored(".pb", 600); }

/// Weights in the file of the model itself, which is as good a file as any.
Files self_contained_files() {
  const Message w = external_tensor(
      "w", kFloat, {4}, {{"location", "damaged.onnx"}, {"offset", "16"}, {"length", "16"}});
  return {model({.nodes = {node("Neg", {"w"}, {"y"})},
                 .initializers = {w},
                 .outputs = {value("y", kFloat, {4})}})};
}

void read_onnx(const std::string& path, Outcome&) {
  const auto graph = import_onnx(path);
  verify(*graph);
  const std::string text = print(*graph);
  touch(text.data(), text.size());
}

void read_self_contained(const std::string& path, Outcome& outcome) {
  const fs::path beside = fs::path(path).parent_path() / "damaged.onnx";
  if (path != beside.string()) fs::copy_file(path, beside, fs::copy_options::overwrite_existing);
  read_onnx(beside.string(), outcome);
}

/// All the way to regions, which kernels are made of.
void read_and_optimize(const std::string& path, Outcome&) {
  optimize_to_regions(*import_onnx(path));
}

void read_tensor(const std::string& path, Outcome&) {
  const Tensor t = load_tensor_proto(path);
  touch(t.data(), t.bytes());
}

/// y = reverse(x + c) with attributes of all kinds, as one file.
Files program_files() {
  testing::ProgramBuilder b;
  const ExprId two = b.constant(2), n = b.symbol("N", 0, 0);
  const ViewId x = b.input("x", DType::f32, {n, two}), y = b.output("y", DType::f32, {n, two});
  const ViewId c = b.constant_tensor(Tensor::from<float>({2}, {10, 20}));
  const ViewId sum = b.buffer(DType::f32, {n, two}, 0, 1);
  Step& add = b.host_step("add", {x, c}, {sum});
  add.attributes.set("integers", std::vector<int64_t>{1, -2});
  add.attributes.set("numbers", std::vector<double>{0.5, 1e300});
  add.attributes.set("tensor", Tensor::from<int16_t>({3}, {7, 8, 9}));
  add.origin = "/add/Add";
  Step& reverse = b.host_step("slice", {sum}, {y});
  reverse.attributes.set("steps", std::vector<int64_t>{-1, 1});
  reverse.extent_attributes = {
      {"starts", {b.op(ExtentExpr::Kind::sub, n, b.constant(1)), b.constant(0)}}};
  b.program.constraints.push_back({n, n, "always holds"});
  const Folder folder;
  if (!save_program(b.program, {}, folder.path("p.tt")).ok()) std::abort();
  return {read_file(folder.path("p.tt"))};
}

void read_program(const std::string& path, Outcome& outcome) {
  const Result<Model> m = Model::load(path);
  if (!accept(m.status(), outcome)) return;
  // What a forged program asks for is refused when it runs at the latest.
  (void)m.value().run({{"x", Tensor::zeros(DType::f32, {2, 2})}}).ok();
}

/// The file's size at 16, its checksum at 48.
void repair_program(std::string& bytes) {
  if (bytes.size() < 64) return;
  const uint64_t size = bytes.size();
  std::memcpy(bytes.data(), kProgramMagic.data(), kProgramMagic.size());
  std::memcpy(bytes.data() + 8, &kProgramVersion, sizeof kProgramVersion);
  std::memcpy(bytes.data() + 16, &size, sizeof size);
  std::memset(bytes.data() + 48, 0, 16);
  const Checksum sum = checksum_of(std::as_bytes(std::span(bytes)));
  std::memcpy(bytes.data() + 48, &sum, 16);
}

}  // namespace

std::vector<Reader> model_readers() {
  return {{"onnx", ".onnx", onnx_files, read_onnx, nullptr, 500},
          {"onnx_to_regions", ".onnx", onnx_files, read_and_optimize, nullptr, 150},
          {"external_data", ".onnx", self_contained_files, read_self_contained},
          {"tensor", ".pb", tensor_files, read_tensor},
          {"program", ".tt", program_files, read_program},
          {"forged_program", ".tt", program_files, read_program, repair_program}};
}

}  // namespace tintype::test
