// Texts: graphs, patterns, pipelines, records of tuning and training, options.
#include "frontend/data/checkpoint.h"
#include "ir/diagnostic.h"
#include "ir/parse.h"
#include "ir/print.h"
#include "ir/verify.h"
#include "passes/pass_manager.h"
#include "passes/pattern/pattern.h"
#include "tests/damage/readers.h"
#include "tests/data/folder.h"
#include "tools/config_file.h"
#include "tools/driver/driver.h"
#include "tools/driver/pipeline.h"
#include "tools/driver/reproducer.h"
#include "tools/driver/training_progress.h"
#include "tools/driver/tuning_file.h"

#include <algorithm>
#include <filesystem>

namespace tintype::test {

namespace {

namespace fs = std::filesystem;
using Files = std::vector<std::string>;

/// The graphs of the tests of passes, with regions, loops, states and symbols, and one for each
/// operator of ONNX whose attributes or constants decide about shapes.
Files graph_files() {
  Files files;
  std::vector<fs::path> paths = {TINTYPE_SOURCE_DIR "/tests/damage/onnx_ops.ir"};
  for (const auto& entry : fs::directory_iterator(TINTYPE_SOURCE_DIR "/tests/passes/data"))
    paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  for (const fs::path& path : paths) {
    const std::string text = "\n" + content_of(path.string());
    for (size_t at = text.find("\ngraph "); at != std::string::npos;) {
      const size_t end = text.find("\n}\n", at);
      if (end == std::string::npos) break;
      std::string graph = text.substr(at + 1, end + 2 - at);
      try {
        (void)parse_graph(graph);
        files.push_back(std::move(graph));
      } catch (const Error&) {
        // Its ops are those of a plugin.
      }
      at = text.find("\ngraph ", end);
    }
  }
  return files;
}

void read_graph(const std::string& path, Outcome& outcome) {
  const auto graph = load_text(path);
  verify(*graph);
  PrintOptions everything;
  everything.inline_elements = 1 << 20;
  const std::string text = print(*graph, everything);
  if (print(*parse_graph(text), everything) != text)
    outcome = {StatusCode::internal, "the text of the graph does not read back:\n" + text};
}

void read_graph_to_regions(const std::string& path, Outcome&) {
  optimize_to_regions(*load_text(path));
}

Files pattern_files() {
  Files files;
  for (const char* name : {"tests/passes/patterns/activations.pat",
                           "tests/passes/patterns/structure.pat", "examples/patterns/cleanup.pat"})
    files.push_back(content_of(std::string(TINTYPE_SOURCE_DIR "/") + name));
  return files;
}

void read_patterns(const std::string& path, Outcome&) {
  const std::string text = content_of(path);
  (void)pattern::parse_patterns(text, "my.pat");
}

Files pipeline_files() {
  Files files = {"decompose,fold-constants,simplify,fuse-regions",
                 "canonical,select-algorithms{terms=0},finish"};
  for (const NamedPipeline& p : named_pipelines()) files.push_back(p.text);
  return files;
}

void read_pipeline(const std::string& path, Outcome&) {
  CompileOptions options;
  options.passes = content_of(path);
  (void)text_of(pipeline_for(options));
}

Files tuning_files() {
  return {R"({"format": "tintype tuning", "version": 1, "settings": [{"processor": "p", "target":
 "x86-64-linux", "threads": 2, "math": "default", "kernels": "k", "choices": [{"node": "conv",
 "choice": "winograd fused f4 48", "ms": 0.21, "untuned": "packed 64", "untuned_ms": 0.34}]}]})"};
}

void read_tuning(const std::string& path, Outcome&) {
  const Folder folder;
  save_tuning(load_tuning(path), folder.path("again.json"));
}

/// Options of all the kinds that subcommands have.
void read_config(const std::string& path, Outcome&) {
  CLI::App app;
  std::string model, optimizer;
  int epochs = 0;
  double rate = 0;
  bool force = false;
  std::vector<std::string> groups, data;
  app.add_option("model", model);
  app.add_option("--optimizer", optimizer);
  app.add_option("--epochs", epochs)->check(CLI::PositiveNumber);
  app.add_option("--rate", rate);
  app.add_flag("--force", force);
  app.add_option("--group", groups);
  app.add_option("--data", data)->expected(1, 2);
  cli::apply_config(app, path);
  const Folder folder;
  cli::save_config(app, {}, folder.path("again.json"));
}

Files json_files() {
  return {R"({"model": "lenet5", "optimizer": "adam,lr=1e-3", "epochs": 30, "rate": 0.5,
 "force": true, "group": ["bias$,rate=2", "x"], "data": ["a.npy", "b.npy"]})"};
}

Files toml_files() {
  return {"# training\nmodel = \"lenet5\"\noptimizer = 'adam,lr=1e-3'\nepochs = 30\nrate = 0.5\n"
          "force = true\ngroup = [\"bias$,rate=2\", \"x\"]\ndata = [\"a.npy\",\n  \"b.npy\"]\n"};
}

Files progress_files() {
  TrainingProgress p;
  p.fingerprint = "f";
  p.epoch = 3;
  p.warnings = {"w"};
  p.rate_memory = {0.5, std::numeric_limits<double>::infinity()};
  p.best = 0.25;
  p.history.emplace_back().training = {{"loss", 0.5}};
  p.history.back().warnings = {"slow"};
  return {p.to_json()};
}

void read_progress(const std::string& path, Outcome&) {
  (void)TrainingProgress::from_json(content_of(path)).to_json();
}

/// The description in the folder of a reproducer; its graph is whole.
void read_reproducer(const std::string& path, Outcome&) {
  const Folder folder;
  fs::copy_file(path, folder.path("reproducer.json"));
  folder.write("model.ir", "graph \"g\"(%x: f32[2]) {\n  return %x as \"y\"\n}\n");
  (void)load_reproducer(folder.path(), [](const Reproducer&) {});
}

Files reproducer_files() {
  return {R"({"passes": "simplify", "tolerance": 1e-4, "seed": 7, "inputs": {}, "message": "m",
 "plugins": ["a.so"], "patterns": ["b.pat"]})"};
}

}  // namespace

std::vector<Reader> text_readers() {
  return {{"graph", ".ir", graph_files, read_graph},
          {"graph_to_regions", ".ir", graph_files, read_graph_to_regions, nullptr, 500},
          {"patterns", ".pat", pattern_files, read_patterns},
          {"pipeline", ".txt", pipeline_files, read_pipeline},
          {"tuning", ".json", tuning_files, read_tuning},
          {"config_json", ".json", json_files, read_config},
          {"config_toml", ".toml", toml_files, read_config},
          {"progress", ".json", progress_files, read_progress},
          {"reproducer", ".json", reproducer_files, read_reproducer}};
}

}  // namespace tintype::test
