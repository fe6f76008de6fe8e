// tintype run: one inference, from files or random input, to a table, npy files or JSON.
#include "frontend/data/npy.h"
#include "ir/diagnostic.h"
#include "ir/open_text.h"
#include "runtime/scalar.h"
#include "tools/command.h"
#include "tools/driver/data_files.h"
#include "tools/model_inputs.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <fmt/format.h>
#include <fstream>
#include <numeric>

namespace tintype::cli {

namespace {

struct RunArguments {
  ModelArguments model;
  std::vector<std::string> inputs;
  ImageArguments images;
  std::string labels, output;
  int top = 5;
  uint64_t seed = 1;
};

std::vector<std::string> read_lines(const std::string& path) {
  std::ifstream file = open_text(path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

/// Rows of a [N, classes] tensor as their most probable classes.
void print_top(const Tensor& t, int top, const std::vector<std::string>& labels,
               const std::vector<std::string>& images) {
  const int64_t classes = t.dims().back();
  const int64_t rows = classes == 0 ? 0 : t.size() / classes;
  for (int64_t r = 0; r < rows; ++r) {
    std::vector<int64_t> order(static_cast<size_t>(classes));
    std::iota(order.begin(), order.end(), int64_t{0});
    const auto at = [&](int64_t i) { return element_as_double(t, r * classes + i); };
    const int64_t shown = std::min<int64_t>(top, classes);
    std::partial_sort(order.begin(), order.begin() + shown, order.end(),
                      [&](int64_t a, int64_t b) { return at(a) > at(b); });
    double sum = 0;
    bool probabilities = true;
    for (int64_t i = 0; i < classes; ++i) {
      sum += at(i);
      probabilities = probabilities && at(i) >= 0;
    }
    probabilities = probabilities && std::abs(sum - 1) < 1e-3;
    double normalizer = 0;
    for (int64_t i = 0; i < classes; ++i) normalizer += std::exp(at(i) - at(order[0]));
    const bool of_images = images.size() == static_cast<size_t>(rows);
    if (of_images && rows > 1) fmt::print("{}\n", images[static_cast<size_t>(r)]);
    else if (rows > 1) fmt::print("row {}\n", r);
    for (int64_t i = 0; i < shown; ++i) {
      const int64_t c = order[static_cast<size_t>(i)];
      const double p = probabilities ? at(c) : std::exp(at(c) - at(order[0])) / normalizer;
      const std::string label = static_cast<size_t>(c) < labels.size()
                                    ? labels[static_cast<size_t>(c)]
                                    : "class " + std::to_string(c);
      fmt::print("  {:.3f}  {}\n", p, label);
    }
  }
}

/// The inputs, and the names of the classes where the images' settings have them.
std::vector<Tensor> inputs_of(const RunArguments& a, const Model& model,
                              std::vector<std::string>& classes) {
  std::vector<Tensor> inputs(model.program().inputs.size());
  const auto preprocess = [&](size_t input) {
    ImageSettings s = image_settings(a.images, a.model.path, model, input);
    if (!s.source.empty()) fmt::print("images are prepared as {} says\n", s.source);
    classes = std::move(s.classes);
    return s.preprocess;
  };
  if (const auto& images = a.images.images; !images.empty()) {
    if (inputs.empty()) throw UsageError("--image: the model has no input");
    inputs[0] = load_images(images, preprocess(0));
    check_image(model, 0, inputs[0], images[0]);
  } else if (a.images.any_setting() && a.inputs.empty()) {
    throw UsageError("there is no image to prepare; give --image FILE or --input NAME=FILE");
  }
  read_inputs(model, a.inputs, preprocess, inputs);
  note_unprepared(a.model.path, a.inputs);
  fill_inputs(model, a.model.dim_values(), a.seed, inputs);
  return inputs;
}

int run(const RunArguments& a) {
  const std::string output =
      a.output.ends_with(".npy") ? a.output.substr(0, a.output.size() - 4) : a.output;
  if (!output.empty()) require_writable(output + ".npy");
  CompiledModel m = open_model(a.model.path, a.model.options());
  print_compile_summary(m.report);
  std::vector<std::string> labels;
  const std::vector<Tensor> inputs = inputs_of(a, m.model, labels);
  if (!a.labels.empty()) labels = read_lines(a.labels);
  RunOptions options;
  options.threads = a.model.threads;
  const auto start = std::chrono::steady_clock::now();
  const auto results = open_session(m, a.model.path).run(std::span<const Tensor>(inputs), options);
  const double ms =
      std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
  if (!results.ok()) throw Error(a.model.path + ": " + results.status().message());
  print_libraries(m.model);
  for (size_t i = 0; i < results.value().size(); ++i) {
    const Tensor& t = results.value()[i];
    fmt::print("{}: {}\n", m.model.program().outputs[i].name, t.type_string());
    if (is_float(t.dtype()) && t.rank() == 2 && t.size() > 1) {
      if (!a.labels.empty() && static_cast<int64_t>(labels.size()) < t.dims()[1])
        fmt::print(stderr, "warning: {} has {} names, '{}' has {} classes\n", a.labels,
                   labels.size(), m.model.program().outputs[i].name, t.dims()[1]);
      print_top(t, a.top, labels, a.images.images);
    }
    if (output.empty()) continue;
    const std::string number = results.value().size() > 1 ? "." + std::to_string(i) : "";
    if (Status s = save_npy(t, output + number + ".npy"); !s.ok()) throw Error(s.message());
  }
  fmt::print("{:.1f} ms\n", ms);
  return kOk;
}

}  // namespace

Runner add_run(CLI::App& parent) {
  auto args = std::make_shared<RunArguments>();
  CLI::App* app = parent.add_subcommand("run", "run a model once");
  args->model.add_program_to(*app);
  app->add_option("--input", args->inputs,
                  "[NAME=]FILE: .npy, .npz, .pb or an image; random where none is given "
                  "(repeatable)");
  args->images.add_to(*app);
  app->add_option("--labels", args->labels, "file with one class name per line");
  app->add_option("--top", args->top, "classes to print")->check(not_negative());
  add_seed(*app, args->seed, "of random inputs");
  app->add_option("--output", args->output,
                  "write results to OUTPUT.npy, several to OUTPUT.0.npy and so on");
  app->footer(
      "Examples:\n  tintype run resnet50.onnx --image cat.jpg --preprocess imagenet --top 3\n  tintype run model.onnx --input x=x.npy --output y");
  return [args] { return run(*args); };
}

}  // namespace tintype::cli
