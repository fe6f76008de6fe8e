// tintype compile: one file that the runtime alone loads and runs.
#include "tools/command.h"
#include "tools/driver/graph_file.h"

#include <filesystem>
#include <fmt/format.h>

namespace tintype::cli {

namespace {

int compile_to_file(const ModelArguments& model, const std::string& output) {
  if (!output.ends_with(".tt"))
    throw UsageError("--output expects a name ending in .tt, got '" + output + "'");
  require_writable(output);
  const CompileOptions options = model.options();
  std::unique_ptr<Graph> graph = load_graph(model.path, options.import);
  model.check_dims(input_symbols(*graph));
  const CompiledModel m = compile_graph(std::move(graph), options);
  print_compile_summary(m.report);
  save_model(m, output);
  fmt::print("{}  {:.1f} MB, {} kernels\n", output,
             static_cast<double>(std::filesystem::file_size(output)) / 1e6,
             m.report.codegen.kernels);
  return kOk;
}

}  // namespace

Runner add_compile(CLI::App& parent) {
  auto model = std::make_shared<ModelArguments>();
  auto output = std::make_shared<std::string>("model.tt");
  CLI::App* app =
      parent.add_subcommand("compile", "compile a model to one file that the runtime alone runs");
  model->add_to(*app);
  app->add_option("-o,--output", *output, "file to write, ending in .tt");
  app->footer(
      "Examples:\n  tintype compile resnet50.onnx -o resnet50.tt\n  tintype run resnet50.tt --image cat.jpg --preprocess imagenet");
  return [model, output] { return compile_to_file(*model, *output); };
}

}  // namespace tintype::cli
