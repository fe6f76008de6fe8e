// tintype gradcheck: gradients of a model against central differences, in double precision.
#include "frontend/data/json.h"
#include "ir/diagnostic.h"
#include "passes/autodiff.h"
#include "passes/gradient_check.h"
#include "passes/pass_manager.h"
#include "tools/command.h"
#include "tools/driver/data_files.h"
#include "tools/driver/graph_file.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace tintype::cli {

namespace {

struct GradcheckArguments {
  ModelArguments model;
  GradientCheckOptions check;
  std::string json;
};

/// Values of the symbols in the inputs' shapes: as given, else 2, the smallest that has neighbours.
std::map<std::string, int64_t> symbol_values(const Graph& graph,
                                             const std::map<std::string, int64_t>& given) {
  std::map<std::string, int64_t> values;
  const std::vector<std::string> symbols = input_symbols(graph);
  require_symbols(given, symbols);
  for (const std::string& name : symbols) values.emplace(name, 2);
  for (const auto& [name, value] : given) values[name] = value;
  return values;
}

/// Uniform in [-1, 1] for floats; small for integers, which tend to be indices.
Tensor random_input(const Value& input, const SymbolLookup& symbols, uint64_t seed) {
  const auto dims = known_dims(input.shape(), symbols);
  TINTYPE_CHECK(dims.has_value(), "a symbol of input '" + input.name() + "' has no value");
  Tensor t = random_tensor(input.dtype(), *dims, seed);
  if (input.dtype() == DType::f64)
    for (double& v : t.mutable_values<double>()) v = 2 * v - 1;
  return t;
}

nlohmann::json report_of(const std::vector<GradientComparison>& comparisons,
                         const std::vector<std::string>& problems) {
  nlohmann::json rows = nlohmann::json::array();
  for (const GradientComparison& c : comparisons)
    rows.push_back({{"name", c.input},
                    {"type", c.type.text()},
                    {"checked", c.checked},
                    {"failed", c.failed},
                    {"element", c.worst},
                    {"error", c.error},
                    {"gradient", c.analytic},
                    {"difference_quotient", c.numeric}});
  return {{"parameters", rows}, {"not_differentiable", problems}};
}

void print_table(const std::vector<GradientComparison>& comparisons) {
  size_t name = 9, type = 4;
  for (const GradientComparison& c : comparisons) {
    name = std::max(name, c.input.size());
    type = std::max(type, c.type.text().size());
  }
  fmt::print("{:{}}  {:{}}  checked  max error      gradient    difference\n", "parameter", name,
             "type", type);
  for (const GradientComparison& c : comparisons)
    fmt::print("{:{}}  {:{}}  {:7}  {:9.2e}  {:12.5g}  {:12.5g}  {}\n", c.input, name,
               c.type.text(), type, c.checked, c.error, c.analytic, c.numeric,
               c.failed == 0 ? "ok" : fmt::format("{} wrong", c.failed));
}

int gradcheck(const GradcheckArguments& a) {
  require_writable(a.json);
  const auto model = load_graph(a.model.path, a.model.options().import);
  run_pipeline(*model, parse_pipeline("decompose,dead-code"));
  std::vector<Tensor> parameters;
  const auto graph = in_double_precision(*model, parameters);
  const auto values = symbol_values(*graph, a.model.dim_values());
  const SymbolLookup symbols = [&values](std::string_view name) -> std::optional<int64_t> {
    const auto it = values.find(std::string(name));
    return it == values.end() ? std::nullopt : std::optional(it->second);
  };
  std::vector<std::string> problems;
  for (const NotDifferentiable& p : not_differentiable(*graph))
    problems.push_back(fmt::format("{} ({}): {}", p.node->where(), p.node->name(), p.reason));
  std::vector<GradientComparison> comparisons;
  if (problems.empty()) {
    std::vector<Tensor> inputs;
    const size_t own = graph->inputs().size() - parameters.size();
    for (size_t i = 0; i < own; ++i)
      inputs.push_back(random_input(*graph->inputs()[i], symbols, a.check.seed + i));
    inputs.insert(inputs.end(), parameters.begin(), parameters.end());
    comparisons = check_gradients(*graph, inputs, symbols, a.check);
  }
  const auto wrong = std::count_if(comparisons.begin(), comparisons.end(),
                                   [](const GradientComparison& c) { return c.failed != 0; });
  if (!a.json.empty()) write_report(json_text(report_of(comparisons, problems)), a.json);
  if (a.json != "-") {
    for (const std::string& p : problems) fmt::print("not differentiable: {}\n", p);
    if (problems.empty()) {
      print_table(comparisons);
      fmt::print("{} of {} agree\n", comparisons.size() - static_cast<size_t>(wrong),
                 comparisons.size());
    }
  }
  return problems.empty() && wrong == 0 ? kOk : kFailed;
}

}  // namespace

Runner add_gradcheck(CLI::App& parent) {
  auto args = std::make_shared<GradcheckArguments>();
  args->check.samples = 8;
  CLI::App* app = parent.add_subcommand(
      "gradcheck", "compare gradients of a model with difference quotients, in double precision");
  app->add_option("model", args->model.path, kGraphHelp)->required();
  app->add_option("--samples", args->check.samples,
                  "elements tried per input and parameter, two evaluations each; 0: all")
      ->check(not_negative());
  add_seed(*app, args->check.seed, "of the inputs, and of the weights of the loss");
  app->add_option("--eps", args->check.epsilon, "step to each side")->check(positive());
  app->add_option("--rtol", args->check.relative, "relative tolerance")->check(not_negative());
  app->add_option("--atol", args->check.absolute, "absolute tolerance")->check(not_negative());
  app->add_option("--dim", args->model.dims, "value of a symbolic extent, NAME=VALUE (repeatable)");
  app->add_option("--known-input", args->model.known_inputs,
                  "value of an input, NAME=FILE (repeatable)");
  app->add_option("--shape", args->model.shapes,
                  "shape of an input, NAME=1x3x224x224 (repeatable)");
  app->add_option("--plugin", args->model.plugins, "shared library with ops (repeatable)");
  app->add_option("--json", args->json,
                  "write the table as JSON to a file, or - for standard output");
  app->footer("Exit code 0 when all gradients agree.\n\n"
              "Examples:\n  tintype gradcheck lenet5.onnx\n"
              "  tintype gradcheck model.onnx --samples 0 --dim N=3 --json -");
  return [args] { return gradcheck(*args); };
}

}  // namespace tintype::cli
