// Modules, constants, the stream of an executor.
#include "runtime/cuda/queue.h"

#include "runtime/memory.h"

#include <algorithm>

namespace tintype {

namespace {

constexpr int kNonBlockingStream = 1;    // CU_STREAM_NON_BLOCKING
constexpr int kDynamicSharedMemory = 8;  // CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
constexpr unsigned kSharedWithoutAsking = 48 << 10;
constexpr int kCaptureThisThread = 1;             // CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
constexpr int kMostRegisters = 0;                 // CU_JIT_MAX_REGISTERS
constexpr int kErrorLog = 5, kErrorLogBytes = 6;  // CU_JIT_ERROR_LOG_BUFFER(_SIZE_BYTES)
constexpr size_t kScratchBlock = size_t{1} << 20;
constexpr size_t kDeviceAlignment = 256;

/// The number behind "sm_" in a program's target, or 0.
int capability_in(const std::string& target) {
  const size_t at = target.find("-cuda-sm_");
  return at == std::string::npos ? 0 : std::atoi(target.c_str() + at + 9);
}

}  // namespace

CudaProgram::~CudaProgram() {
  if (device_ == nullptr || !device_->make_current().ok()) return;
  for (const auto& [source, module] : modules_) device_->driver().module_unload(module);
}

Status CudaProgram::open() {
  const std::lock_guard lock(mutex_);
  if (device_ != nullptr) return device_->make_current();
  Result<std::shared_ptr<CudaDevice>> opened = CudaDevice::open();
  if (!opened.ok()) return opened.status();
  device_ = std::move(opened).value();
  Status s = device_->make_current();
  if (const int wanted = capability_in(program_->target); s.ok() && device_->capability() < wanted)
    s = {StatusCode::unsupported,
         "'" + program_->model_name + "' was compiled for sm_" + std::to_string(wanted) +
             ", the CUDA device " + device_->name() + " is sm_" +
             std::to_string(device_->capability()) + ": compile it with --target cuda,sm_" +
             std::to_string(device_->capability())};
  if (s.ok()) s = copy_constants();
  if (s.ok()) return s;
  constants_.clear();
  device_ = nullptr;  // the next run tries again
  return s;
}

Status CudaProgram::copy_constants() {
  constants_.clear();
  constants_.resize(program_->constants.size());
  for (const Storage& storage : program_->storages) {
    if (!storage.device || storage.kind != Storage::Kind::constant) continue;
    CudaMemory& there = constants_[static_cast<size_t>(storage.value)];
    const Tensor& t = program_->constants[static_cast<size_t>(storage.value)];
    if (there.bytes() != 0) continue;
    Result<CudaMemory> memory = CudaMemory::allocate(device_, std::max<size_t>(t.bytes(), 1));
    if (!memory.ok()) return memory.status();
    there = std::move(memory).value();
    if (Status s = device_->copy_to_device(there.address(), t.data(), t.bytes()); !s.ok()) return s;
  }
  return {};
}

Result<void*> CudaProgram::function(const char* source, const char* name) {
  const std::lock_guard lock(mutex_);
  void*& known = functions_[{source, name}];
  if (known != nullptr) return known;
  const CudaDriver& d = device_->driver();
  void*& module = modules_[source];
  if (module == nullptr) {
    char log[1024] = {};
    int options[] = {kErrorLog, kErrorLogBytes, kMostRegisters};
    void* values[] = {log, reinterpret_cast<void*>(sizeof log - 1),
                      reinterpret_cast<void*>(uintptr_t{kCudaRegisters})};
    Status s =
        device_->check(d.module_load(&module, source, 3, options, values), "cuModuleLoadDataEx");
    if (!s.ok()) {
      modules_.erase(source);
      return Status(s.code(), s.message() + (log[0] == '\0' ? "" : ": ") + log);
    }
  }
  if (Status s = device_->check(d.module_function(&known, module, name), "cuModuleGetFunction");
      !s.ok())
    return s;
  return known;
}

void CudaProgram::note_libraries(std::vector<LibraryUse> steps) {
  const std::lock_guard lock(mutex_);
  libraries_ = std::move(steps);
}

std::vector<LibraryUse> CudaProgram::libraries() const {
  const std::lock_guard lock(mutex_);
  return libraries_;
}

CudaGraph::~CudaGraph() {
  if (executable_ != nullptr && device_->make_current().ok())
    device_->driver().executable_graph_release(executable_);
}

CudaQueue::~CudaQueue() {
  if (stream_ == nullptr && cudnn_ == nullptr && cublaslt_ == nullptr) return;
  if (!device()->make_current().ok()) return;
  if (stream_ != nullptr) device()->driver().stream_wait(stream_);
  if (cudnn_ != nullptr) cudnn_library_->destroy(cudnn_);
  if (cublaslt_ != nullptr) cublaslt_library_->destroy(cublaslt_);
  if (stream_ != nullptr) device()->driver().stream_destroy(stream_);
}

Status CudaQueue::begin() {
  if (Status s = program_->open(); !s.ok()) return s;
  if (stream_ != nullptr) return busy_ ? wait() : Status();  // the last run could not wait
  if (Status s = device()->check(device()->driver().stream_create(&stream_, kNonBlockingStream),
                                 "cuStreamCreate");
      !s.ok())
    return s;
  // A stream that takes the place of one that was dropped.
  if (cudnn_ == nullptr || cudnn_library_->set_stream(cudnn_, stream_) == cudnn::kSuccess)
    return {};
  drop_stream();
  return {StatusCode::internal, "cudnnSetStream failed"};
}

Result<void*> CudaQueue::cublaslt(const CublasLt& library) {
  if (cublaslt_ != nullptr) return cublaslt_;
  if (const int code = library.create(&cublaslt_); code != cublaslt::kSuccess) {
    cublaslt_ = nullptr;
    return Status(StatusCode::internal,
                  std::string("cublasLtCreate: ") + library.status_text(code));
  }
  cublaslt_library_ = &library;
  return cublaslt_;
}

Result<void*> CudaQueue::cudnn(const Cudnn& library) {
  if (cudnn_ != nullptr) return cudnn_;
  if (const int code = library.create(&cudnn_); code != cudnn::kSuccess) {
    cudnn_ = nullptr;
    return Status(StatusCode::internal, std::string("cudnnCreate: ") + library.status_text(code));
  }
  cudnn_library_ = &library;
  const int code = library.set_stream(cudnn_, stream_);
  if (code == cudnn::kSuccess) return cudnn_;
  library.destroy(cudnn_);
  cudnn_ = nullptr;
  return Status(StatusCode::internal, std::string("cudnnSetStream: ") + library.status_text(code));
}

Status CudaQueue::copy_to_device(std::byte* to, const void* from, size_t bytes) {
  if (bytes == 0) return {};
  busy_ = true;
  return device()->check(
      device()->driver().copy_to_device(reinterpret_cast<uint64_t>(to), from, bytes, stream_),
      "cuMemcpyHtoDAsync_v2");
}

Status CudaQueue::copy_to_host(void* to, const std::byte* from, size_t bytes) {
  if (bytes == 0) return {};
  busy_ = true;
  return device()->check(
      device()->driver().copy_to_host(to, reinterpret_cast<uint64_t>(from), bytes, stream_),
      "cuMemcpyDtoHAsync_v2");
}

Status CudaQueue::copy_on_device(std::byte* to, const std::byte* from, size_t bytes) {
  if (bytes == 0) return {};
  busy_ = true;
  return device()->check(device()->driver().copy_on_device(reinterpret_cast<uint64_t>(to),
                                                           reinterpret_cast<uint64_t>(from), bytes,
                                                           stream_),
                         "cuMemcpyDtoDAsync_v2");
}

Status CudaQueue::wait() {
  Status s = device()->check(device()->driver().stream_wait(stream_), "cuStreamSynchronize");
  if (s.ok()) busy_ = false;
  return s;
}

Status CudaQueue::launch(const Launch& l) {
  if (l.blocks[0] == 0 || l.blocks[1] == 0 || l.blocks[2] == 0) return {};  // an empty tensor
  const Result<void*> function = program_->function(l.source, l.name);
  if (!function.ok()) return function.status();
  const CudaDriver& d = device()->driver();
  if (l.shared_bytes > kSharedWithoutAsking) {
    if (l.shared_bytes > static_cast<unsigned>(device()->most_shared_memory()))
      return {StatusCode::unsupported, "a block needs " + std::to_string(l.shared_bytes) +
                                           " bytes of shared memory, the device has " +
                                           std::to_string(device()->most_shared_memory())};
    if (Status s = device()->check(d.function_attribute(function.value(), kDynamicSharedMemory,
                                                        static_cast<int>(l.shared_bytes)),
                                   "cuFuncSetAttribute");
        !s.ok())
      return s;
  }
  busy_ = true;
  return device()->check(d.launch(function.value(), l.blocks[0], l.blocks[1], l.blocks[2],
                                  l.threads[0], l.threads[1], l.threads[2], l.shared_bytes, stream_,
                                  l.arguments, nullptr),
                         "cuLaunchKernel");
}

Result<uint64_t> CudaQueue::scratch(size_t bytes) {
  bytes = round_up(std::max<size_t>(bytes, 1), kDeviceAlignment);
  for (; scratch_block_ < scratch_.size(); ++scratch_block_, scratch_used_ = 0) {
    const CudaMemory& block = scratch_[scratch_block_];
    if (block.bytes() - scratch_used_ < bytes) continue;
    const uint64_t address = block.address() + scratch_used_;
    scratch_used_ += bytes;
    return address;
  }
  Result<CudaMemory> block = CudaMemory::allocate(device(), std::max(bytes, kScratchBlock));
  if (!block.ok()) return block.status();
  scratch_.push_back(std::move(block).value());
  scratch_used_ = bytes;
  return scratch_.back().address();
}

Status CudaQueue::begin_recording() {
  return device()->check(device()->driver().capture_begin(stream_, kCaptureThisThread),
                         "cuStreamBeginCapture_v2");
}

Result<CudaGraph> CudaQueue::end_recording() {
  const CudaDriver& d = device()->driver();
  void *graph = nullptr, *executable = nullptr;
  busy_ = false;
  if (Status s = device()->check(d.capture_end(stream_, &graph), "cuStreamEndCapture"); !s.ok()) {
    drop_stream();
    return s;
  }
  Status s =
      device()->check(d.graph_instantiate(&executable, graph, 0), "cuGraphInstantiateWithFlags");
  d.graph_release(graph);
  if (!s.ok()) return s;
  return CudaGraph(device(), executable);
}

void CudaQueue::abandon_recording() {
  void* graph = nullptr;
  busy_ = false;
  if (device()->driver().capture_end(stream_, &graph) != 0) return drop_stream();
  if (graph != nullptr) device()->driver().graph_release(graph);
}

void CudaQueue::drop_stream() {
  device()->driver().stream_destroy(stream_);
  stream_ = nullptr;  // the next run makes another one
}

Status CudaQueue::replay(const CudaGraph& graph) {
  busy_ = true;
  return device()->check(device()->driver().graph_launch(graph.executable(), stream_),
                         "cuGraphLaunch");
}

}  // namespace tintype
