// From a graph to a model that runs: lowering, kernels from the cache or the compiler, linking.
#pragma once

#include "codegen/lower.h"
#include "codegen/object_library.h"
#include "ir/graph.h"
#include "runtime/model.h"

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tintype {

struct CodegenOptions {
  Machine machine;
  std::string cache_directory;  ///< empty: no kernel cache
  bool reference = false;       ///< unscheduled kernels
  std::map<std::string, int64_t> hints;
  int compile_threads = 0;  ///< 0: one per processor
  /// Called after each kernel, from any thread, one call at a time.
  std::function<void(int done, int total)> progress;
};

struct CodegenReport {
  int kernels = 0;        ///< distinct kernels of the model
  int from_cache = 0;     ///< of those, found on disk
  double compile_ms = 0;  ///< time spent making the others
  double link_ms = 0;
  std::vector<std::string> on_host;  ///< with a CUDA device: what runs on the CPU, and why
  std::string cache_problem;         ///< why the cache was not used or written, or ""
};

struct Compiled {
  std::shared_ptr<const Program> program;
  std::vector<KernelObject> objects;
  std::shared_ptr<const KernelLibrary> library;
  CodegenReport report;
};

/// The graph as passes leave it: regions, views, host ops. Throws Error.
Compiled compile(const Graph& graph, const CodegenOptions& options);

/// Changes whenever the same kernel text would give other machine code.
std::string_view kernel_version();

/// Bytes of the arena that the graph's program plans for the likely extents of `options`; nothing
/// when the program can not have these extents. Compiles no kernel.
std::optional<size_t> planned_arena(const Graph& graph, const CodegenOptions& options);

}  // namespace tintype
