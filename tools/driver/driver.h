// The embedding API of the compiler: from a model file to a Model that runs.
#pragma once

#include "codegen/compile.h"
#include "codegen/libraries.h"
#include "frontend/onnx/import.h"
#include "ir/graph.h"
#include "passes/pass.h"
#include "passes/recompute.h"
#include "runtime/model.h"

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace tintype {

enum class MathMode : uint8_t {
  /// Error within 1e-4 of the output's scale; Winograd convolution, folded BN. On a CUDA device,
  /// products and convolutions of NVIDIA's libraries in TF32, as the peers have it: within 1e-2.
  standard,
  strict,  ///< no algorithm that reassociates across taps, no folding into weights
  /// As standard, with operands of products rounded to CompileOptions::narrow where the machine has
  /// arithmetic for that (codegen/narrow_operands.h); sums stay f32. Measured with
  /// bf16: 3e-3 to 6e-2 of the output's scale (docs/benchmarks.md).
  fast,
};

struct CompileOptions {
  ImportOptions import;
  MathMode math = MathMode::standard;
  DType narrow = DType::bf16;  ///< of the operands of products in MathMode::fast: bf16 or f16
  bool reference = false;      ///< unfused, unscheduled: the oracle
  /// Passes in order, as passes/pass_manager.h reads them; empty is what `math` and `reference` ask
  /// for. They have to lead to regions: "swish,default", say, with a pattern or plugin loaded
  /// before.
  std::string passes;
  std::vector<std::string> disabled_passes;  ///< names of passes to leave out
  /// With a CUDA device: whether products and convolutions may be those of cuBLASLt and cuDNN, in
  /// TF32 unless math is strict. Where the machine that runs has no library, kernels do them.
  Libraries libraries = Libraries::automatic;
  bool tf32 = true;    ///< false keeps libraries to f32 arithmetic, as strict does
  std::string target;  ///< as codegen/machine.h reads it: "cuda,sm_90"; empty is this computer
  std::string cache_directory = "default";  ///< "" turns the kernel cache off
  std::map<std::string, int64_t> hints;     ///< likely values of symbols, for choosing tiles
  int64_t batch = 1;  ///< the same for symbols that are the first axis of an input
  int compile_threads = 0;
  /// Measured choices of algorithms (tools/driver/tuning_file.h): a file of `tintype tune`; "auto",
  /// the one in cache_directory, where it has choices for this very processor; "": none. Results
  /// may differ from untuned ones within what `math` allows.
  std::string tuning;
  int threads = 0;  ///< that the program is going to run with, for choosing among these
  /// Training programs: compute activations again instead of keeping them (passes/recompute.h).
  std::optional<RecomputeOptions> recompute = {};
  ExplainSink explain;
  std::function<void(int done, int total)> progress;
};

/// What CompileOptions::recompute saved, at the likely extents.
struct RecomputeReport {
  size_t arena_before = 0, arena_after = 0;  ///< bytes that buffers need
  int steps = 0;                             ///< executed a second time
};

struct CompileReport {
  double import_ms = 0, passes_ms = 0;
  std::optional<RecomputeReport> recompute;  ///< when it was asked for
  std::string tuning_problem;                ///< why CompileOptions::tuning was not used, or ""
  CodegenReport codegen;
  /// Everything but making kernels: what remains when the cache is warm.
  double load_ms = 0;
  std::string narrow_problem;  ///< why MathMode::fast finds no arithmetic here, "" where it does
};

struct CompiledModel {
  Model model;
  std::unique_ptr<Graph> graph;  ///< as lowered: regions and host ops; null of a `.tt` file
  std::vector<KernelObject> objects;
  CompileReport report;
};

/// Imports, optimises, compiles and links. Throws Error; NeedsInputValue when an input that decides
/// shapes must be given in options.import.known_inputs. Thread-safe.
CompiledModel compile_model(const std::string& path, const CompileOptions& options = {});
/// The same from a graph of ONNX-level or core ops, which is consumed.
CompiledModel compile_graph(std::unique_ptr<Graph> graph, const CompileOptions& options = {});
/// Runs the passes that `options` asks for, up to regions.
void optimize(Graph& graph, const CompileOptions& options);

/// Writes a `.tt` file, which Model::load (runtime/model.h) loads without a compiler. Throws Error
/// when it can not be written, and for a model that came from such a file.
void save_model(const CompiledModel& model, const std::string& path);

/// A `.tt` file is loaded, anything else is compiled.
CompiledModel open_model(const std::string& path, const CompileOptions& options = {});

}  // namespace tintype
