// What runs on a CUDA device: a model's code and constants there, and the queue of one executor.
#pragma once

#include "runtime/cuda/device.h"
#include "runtime/cuda/libraries.h"
#include "runtime/library_use.h"
#include "runtime/program.h"

#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace tintype {

/// A model's code and constants on the device, shared by its executors. Opened on the first run, so
/// that programs for a device can be made where there is none. Thread-safe.
class CudaProgram {
 public:
  explicit CudaProgram(std::shared_ptr<const Program> program) : program_(std::move(program)) {}
  ~CudaProgram();

  /// Opens the device and copies the constants, unless that is done.
  Status open();
  const std::shared_ptr<CudaDevice>& device() const { return device_; }
  /// Where constant `index` lies on the device; null when it does not.
  std::byte* constant(size_t index) const { return constants_.at(index).data(); }
  /// A kernel of the PTX text `source`, which must stay where it is; loaded on first use.
  Result<void*> function(const char* source, const char* name);

  /// What the steps for libraries came to when extents were last bound.
  void note_libraries(std::vector<LibraryUse> steps);
  std::vector<LibraryUse> libraries() const;

 private:
  Status copy_constants();

  const std::shared_ptr<const Program> program_;
  mutable std::mutex mutex_;
  std::vector<LibraryUse> libraries_;
  std::shared_ptr<CudaDevice> device_;
  std::vector<CudaMemory> constants_;  ///< per constant of the program, empty for those of the host
  std::map<const char*, void*> modules_;
  std::map<std::pair<const char*, std::string>, void*> functions_;
};

/// A sequence of steps recorded once and replayed as a whole.
class CudaGraph {
 public:
  CudaGraph() = default;
  CudaGraph(std::shared_ptr<CudaDevice> device, void* executable)
      : device_(std::move(device)), executable_(executable) {}
  CudaGraph(CudaGraph&& other) noexcept { swap(other); }
  CudaGraph& operator=(CudaGraph&& other) noexcept {
    CudaGraph moved(std::move(other));
    swap(moved);
    return *this;
  }
  ~CudaGraph();
  bool recorded() const { return executable_ != nullptr; }
  void* executable() const { return executable_; }

 private:
  void swap(CudaGraph& other) noexcept {
    device_.swap(other.device_);
    std::swap(executable_, other.executable_);
  }
  std::shared_ptr<CudaDevice> device_;
  void* executable_ = nullptr;
};

/// Launches and copies of one executor. They go to one lane at a time, a stream, and happen in the
/// order of the calls there; between lanes nothing but `mark` and `wait_for` makes an order. Used
/// by one thread at a time; every call but the first needs the device to be current (`begin`).
class CudaQueue {
 public:
  explicit CudaQueue(std::shared_ptr<CudaProgram> program) : program_(std::move(program)) {}
  ~CudaQueue();
  CudaQueue(const CudaQueue&) = delete;
  CudaQueue& operator=(const CudaQueue&) = delete;

  /// Opens what is not open and makes the device current. First call of every run.
  Status begin();
  CudaProgram& program() { return *program_; }
  const std::shared_ptr<CudaDevice>& device() const { return program_->device(); }

  /// Makes streams for so many lanes, and so many events, unless they are there. Between the
  /// beginning and the end of a recording none can be made.
  Status prepare(size_t lanes, size_t events);
  /// What follows goes to this lane; lane 0 after `begin`.
  void use_lane(size_t lane) { lane_ = lane; }
  /// The event happens when what was asked for on the current lane so far is done.
  Status mark(size_t event);
  /// What follows on the current lane comes after the event that was marked last under this number.
  Status wait_for(size_t event);
  /// Lane 0 waits for everything that the others were asked for: waiting for it is enough.
  void joined();

  Status copy_to_device(std::byte* to, const void* from, size_t bytes);
  Status copy_to_host(void* to, const std::byte* from, size_t bytes);
  Status copy_on_device(std::byte* to, const std::byte* from, size_t bytes);
  /// Waits for everything asked for so far. When that fails, the next run begins with it.
  Status wait();
  /// True when something was asked for since the last wait.
  bool busy() const;

  /// What kernels of Halide's do, through the hooks.
  struct Launch {
    const char* source;
    const char* name;
    unsigned blocks[3], threads[3];
    unsigned shared_bytes;
    void** arguments;
  };
  Status launch(const Launch& launch);
  /// Why the kernel step that is running has failed; kept until the next step begins.
  const Status& failure() const { return failure_; }
  void fail(const Status& status) { failure_ = status; }
  /// Memory that a kernel step may use until it ends: what it stores between two launches.
  Result<uint64_t> scratch(size_t bytes);
  /// A new step: the scratch of the one before may be used again, which comes later on its lane.
  void begin_step() {
    Lane& lane = lanes_[lane_];
    lane.scratch_block = lane.scratch_used = 0;
    if (!failure_.ok()) failure_ = Status();
  }

  /// Between the two nothing runs: it is recorded. Begins on lane 0; in the end all lanes have to
  /// be joined.
  Status begin_recording();
  Result<CudaGraph> end_recording();
  /// Drops what is being recorded, after a failure.
  void abandon_recording();
  Status replay(const CudaGraph& graph);

  // For library steps.
  void* stream() const { return lanes_[lane_].stream; }
  /// Something was queued on the current lane.
  void note_busy() { lanes_[lane_].busy = true; }
  /// The handle of a library, made on first use. cuDNN's belongs to the current lane: it may keep
  /// memory that its calls share.
  Result<void*> cublaslt(const CublasLt& library);
  Result<void*> cudnn(const Cudnn& library);

 private:
  struct Lane {
    void* stream = nullptr;
    void* cudnn = nullptr;
    bool busy = false;                ///< asked for something since it was last waited for
    std::vector<CudaMemory> scratch;  ///< blocks stay: recorded graphs refer to them
    size_t scratch_block = 0, scratch_used = 0;
  };

  Status open_lane(Lane& lane);
  /// Nobody knows whether a stream still records whose recording could not be ended: the next run
  /// makes others.
  void drop_streams();

  const std::shared_ptr<CudaProgram> program_;
  std::vector<Lane> lanes_{1};
  size_t lane_ = 0;
  std::vector<void*> events_;
  const CublasLt* cublaslt_library_ = nullptr;
  const Cudnn* cudnn_library_ = nullptr;
  void* cublaslt_ = nullptr;
  Status failure_;
};

}  // namespace tintype
