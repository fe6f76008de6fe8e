// tintype bundle: a model's program, inputs and expected results, for another machine to check and
// measure with tintype-check alone.
#include "ir/diagnostic.h"
#include "runtime/session.h"
#include "tools/check/case.h"
#include "tools/command.h"
#include "tools/driver/graph_file.h"
#include "tools/model_inputs.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fmt/format.h>
#include <fstream>

namespace tintype::cli {

namespace {

namespace fs = std::filesystem;

struct BundleArguments {
  ModelArguments model;
  std::vector<std::string> inputs;
  std::string output;
  int64_t runs = 1;
  uint64_t seed = 1;
  bool coarse = false;
};

/// Few values instead of a weight's own, so that files of programs are small when compressed: two
/// for large tensors, sixteen for others, with about the same variance.
Tensor coarse(const Tensor& t) {
  constexpr int64_t kSmall = 4096, kLarge = int64_t{1} << 16;
  if (t.dtype() != DType::f32 || t.size() <= kSmall) return t;
  double squares = 0;
  for (const float v : t.values<float>()) squares += static_cast<double>(v) * v;
  const auto deviation = static_cast<float>(std::sqrt(squares / static_cast<double>(t.size())));
  Tensor result = Tensor::empty(t.dtype(), t.dims());
  const float step = deviation / 3;
  std::transform(t.values<float>().begin(), t.values<float>().end(),
                 result.mutable_values<float>().begin(), [&](float v) {
                   if (t.size() > kLarge) return v < 0 ? -deviation : deviation;
                   return deviation == 0 ? 0 : std::clamp(std::round(v / step), -8.0f, 7.0f) * step;
                 });
  return result;
}

void make_coarse(Graph& graph) {
  for (const auto& n : graph.nodes())
    if (const Tensor* t = n->is("constant") ? n->result()->constant() : nullptr)
      n->attrs().set("value", coarse(*t));
  std::vector<State> states(graph.states().begin(), graph.states().end());
  for (const State& s : states) graph.set_layout(s.current, coarse(s.initial), s.layout);
}

/// data.bin, as it grows.
class Data {
 public:
  uint64_t add(const void* data, size_t bytes) {
    const uint64_t offset = bytes_.size();
    const auto* p = static_cast<const char*>(data);
    bytes_.insert(bytes_.end(), p, p + bytes);
    return offset;
  }
  void save(const std::string& path) const { write_report({bytes_.data(), bytes_.size()}, path); }

 private:
  std::vector<char> bytes_;
};

void require_plain(const std::string& name) {
  if (name.empty() || name.find_first_of(" \t\n") != std::string::npos)
    throw Error("bundle: the name '" + name + "' has spaces, which a case cannot hold; rename it");
}

/// Inputs of the command line lie in the data, others are made where they are used.
std::vector<Tensor> add_inputs(const BundleArguments& a, const Model& model, check::Case& c,
                               Data& data) {
  for (const std::string& f : a.inputs) split_assignment(f, "--input");
  std::vector<Tensor> inputs = make_inputs(model, a.inputs, a.model.dim_values(), a.seed);
  for (size_t i = 0; i < inputs.size(); ++i) {
    const std::string& name = model.program().inputs[i].name;
    require_plain(name);
    check::Input input{name, inputs[i].dtype(), inputs[i].dims(), std::nullopt};
    const bool given = std::any_of(a.inputs.begin(), a.inputs.end(),
                                   [&](const auto& f) { return f.starts_with(name + "="); });
    if (given) {
      input.offset = data.add(inputs[i].data(), inputs[i].bytes());
    } else {
      input.seed = a.seed + i;
      inputs[i] = check::random_elements(input.dtype, input.dims, *input.seed);
    }
    c.inputs.push_back(std::move(input));
  }
  return inputs;
}

void expect(const std::string& what, const Tensor& t, check::Case& c, Data& data) {
  require_plain(what);
  const std::vector<std::byte> sample = check::sample_of(t);
  c.expectations.push_back(
      {what, t.dtype(), t.dims(), check::scale_of(t), data.add(sample.data(), sample.size())});
}

/// Results of the runs, and the states after the last.
void add_expectations(const CompiledModel& reference, const std::vector<Tensor>& inputs,
                      const BundleArguments& a, check::Case& c, Data& data) {
  Session session = open_session(reference, a.model.path);
  const RunOptions options{.threads = a.model.threads};
  for (int64_t run = 0; run < a.runs; ++run) {
    const auto results = session.run(std::span<const Tensor>(inputs), options);
    if (!results.ok()) throw Error(a.model.path + ": " + results.status().message());
    for (size_t i = 0; i < results.value().size(); ++i)
      expect(std::to_string(run) + "/" + reference.model.program().outputs[i].name,
             results.value()[i], c, data);
  }
  for (const std::string& name : session.states()->names())
    expect("state/" + name, session.states()->get(name).value(), c, data);
}

int bundle(const BundleArguments& a) {
  const CompileOptions options = a.model.options();
  CompileOptions here = options;
  here.target = "host";
  here.math = MathMode::strict;
  std::unique_ptr<Graph> graph = load_graph(a.model.path, options.import);
  if (a.coarse) make_coarse(*graph);
  check::Case c;
  c.runs = a.runs;
  Data data;
  {
    const CompiledModel reference = compile_graph(graph->clone(), here);
    add_expectations(reference, add_inputs(a, reference.model, c, data), a, c, data);
  }
  const CompiledModel there = compile_graph(std::move(graph), options);
  print_compile_summary(there.report);
  std::error_code error;
  fs::create_directories(a.output, error);
  if (error) throw Error(a.output + ": cannot be made: " + error.message());
  save_model(there, a.output + "/program.tt");
  data.save(a.output + "/data.bin");
  write_report(check::text_of(c), a.output + "/case.txt");
  fmt::print("{}: {} inputs, {} results of {} runs\n", a.output, c.inputs.size(),
             c.expectations.size(), c.runs);
  return kOk;
}

}  // namespace

Runner add_bundle(CLI::App& parent) {
  auto args = std::make_shared<BundleArguments>();
  CLI::App* app = parent.add_subcommand(
      "bundle", "pack a program with inputs and expected results, for tintype-check elsewhere");
  args->model.add_to(*app);
  app->add_option("--input", args->inputs,
                  "NAME=FILE: .npy or .pb; made from --seed where none is given (repeatable)");
  add_seed(*app, args->seed, "of inputs");
  app->add_option("--runs", args->runs, "of one session, whose results all count")
      ->check(positive());
  app->add_flag("--coarse-weights", args->coarse,
                "large weights take few values, so that the folder compresses well");
  app->add_option("-o,--output", args->output, "folder to write")->required();
  app->footer("Expected results are those of this computer's CPU with --math strict.\n"
              "Examples:\n  tintype bundle resnet50.onnx --target cuda,sm_90 -o cases/resnet50\n"
              "  tintype-check check cases/resnet50");
  return [args] { return bundle(*args); };
}

}  // namespace tintype::cli
