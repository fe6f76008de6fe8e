// Public API of the runtime: load or hold a compiled model and run it.
#pragma once

#include "runtime/kernel.h"
#include "runtime/library_use.h"
#include "runtime/program.h"
#include "runtime/status.h"
#include "runtime/tensor.h"

#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tintype {

/// Options of one run or session.
struct RunOptions {
  int threads = 0;  ///< upper bound on threads used; 0 means the pool's default. Results do not
                    ///< depend on it.
};

/// One row of a profile: a step, averaged over the profiled runs.
struct StepTime {
  int32_t step = 0;     ///< index into Program::steps
  int32_t kernel = -1;  ///< index into Program::kernels of the alternative taken; -1 otherwise
  double milliseconds = 0;
  double flops = 0;    ///< mathematical operations of one run, 0 when not counted
  int32_t stream = 0;  ///< of the CUDA device, counted from 0; 0 for steps of the host, too
};

/// Memory of a program bound to concrete extents, in bytes.
struct MemoryReport {
  size_t arena = 0;      ///< planned buffers, lifetimes overlapped
  size_t unplanned = 0;  ///< what the arena would need without reuse
  size_t constants = 0;
  size_t device_arena = 0;      ///< planned buffers on the CUDA device
  size_t device_constants = 0;  ///< of the constants, those that are copied there
  size_t device_states = 0;     ///< states that stay there from run to run
};

/// How a program bound to concrete extents uses streams of the CUDA device.
struct StreamReport {
  int32_t streams = 1;
  size_t waits = 0;                ///< of streams for each other, in one run
  size_t arena_on_one_stream = 0;  ///< what MemoryReport::device_arena would be with one
};

/// A compiled model. Cheap to copy (shared). `run` may be called from many threads at once: each
/// call takes a session (arena + bound buffers) from a free list.
class Model {
 public:
  /// Loads a `.tt` file: maps it, checks magic, version and checksum, loads the machine code in it.
  static Result<Model> load(const std::string& path);
  /// A model from parts, as the compiler makes them.
  static Result<Model> create(std::shared_ptr<const Program> program,
                              std::shared_ptr<const KernelLibrary> kernels);

  /// Names and types of inputs and outputs, and what runs; valid as long as a copy of the model
  /// lives. Of a model that is empty (default-constructed, moved from), a program without anything.
  const Program& program() const;

  /// Runs once. A program with states needs a Session (runtime/session.h). `inputs` by name; dtype
  /// and shape are checked against the program, symbols are read from the shapes. Results are in
  /// the program's output order.
  Result<std::vector<Tensor>> run(const std::map<std::string, Tensor>& inputs,
                                  const RunOptions& options = {}) const;
  /// The same with inputs in port order: no name look-up, no map.
  Result<std::vector<Tensor>> run(std::span<const Tensor> inputs,
                                  const RunOptions& options = {}) const;

  /// Runs once to warm up, then `runs` times, and reports the mean time of each step, in step
  /// order.
  Result<std::vector<StepTime>> profile(std::span<const Tensor> inputs, int runs,
                                        const RunOptions& options = {}) const;
  /// What the steps for libraries came to when new extents were last run; empty before the first
  /// run, and without such steps.
  std::vector<LibraryUse> libraries() const;
  /// Memory needed for these input shapes.
  Result<MemoryReport> memory(std::span<const Tensor> inputs) const;
  /// Streams that runs with these input shapes use.
  Result<StreamReport> streams(std::span<const Tensor> inputs) const;

 private:
  friend class Session;
  struct Shared;
  std::shared_ptr<Shared> shared_;
};

/// Writes a `.tt` file: the program, its constants and `machine_code` (an ELF shared object that
/// exports every kernel symbol). Written to a temporary file, synced, then renamed.
Status save_program(const Program& program, std::span<const std::byte> machine_code,
                    const std::string& path);

}  // namespace tintype
