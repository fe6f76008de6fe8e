// Modules, constants, the streams of an executor.
#include "runtime/cuda/queue.h"

#include "runtime/memory.h"

#include <algorithm>

namespace tintype {

namespace {

constexpr int kNonBlockingStream = 1;    // CU_STREAM_NON_BLOCKING
constexpr int kEventWithoutTime = 2;     // CU_EVENT_DISABLE_TIMING
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
  const bool used = cublaslt_ != nullptr || !events_.empty() ||
                    std::any_of(lanes_.begin(), lanes_.end(), [](const Lane& l) {
                      return l.stream != nullptr || l.cudnn != nullptr;
                    });
  if (!used || !device()->make_current().ok()) return;
  const CudaDriver& d = device()->driver();
  for (const Lane& lane : lanes_)
    if (lane.stream != nullptr) d.stream_wait(lane.stream);
  for (const Lane& lane : lanes_)
    if (lane.cudnn != nullptr) cudnn_library_->destroy(lane.cudnn);
  if (cublaslt_ != nullptr) cublaslt_library_->destroy(cublaslt_);
  for (void* event : events_) d.event_destroy(event);
  for (const Lane& lane : lanes_)
    if (lane.stream != nullptr) d.stream_destroy(lane.stream);
}

Status CudaQueue::begin() {
  if (Status s = program_->open(); !s.ok()) return s;
  lane_ = 0;
  if (busy()) return wait();  // the last run could not
  return open_lane(lanes_[0]);
}

Status CudaQueue::open_lane(Lane& lane) {
  if (lane.stream != nullptr) return {};
  if (Status s = device()->check(device()->driver().stream_create(&lane.stream, kNonBlockingStream),
                                 "cuStreamCreate");
      !s.ok())
    return s;
  // A stream that takes the place of one that was dropped.
  if (lane.cudnn == nullptr ||
      cudnn_library_->set_stream(lane.cudnn, lane.stream) == cudnn::kSuccess)
    return {};
  device()->driver().stream_destroy(lane.stream);
  lane.stream = nullptr;
  return {StatusCode::internal, "cudnnSetStream failed"};
}

Status CudaQueue::prepare(size_t lanes, size_t events) {
  if (lanes > lanes_.size()) lanes_.resize(lanes);
  for (size_t i = 0; i < lanes; ++i)
    if (Status s = open_lane(lanes_[i]); !s.ok()) return s;
  while (events_.size() < events) {
    void* event = nullptr;
    if (Status s = device()->check(device()->driver().event_create(&event, kEventWithoutTime),
                                   "cuEventCreate");
        !s.ok())
      return s;
    events_.push_back(event);
  }
  return {};
}

Status CudaQueue::mark(size_t event) {
  return device()->check(device()->driver().event_record(events_[event], stream()),
                         "cuEventRecord");
}

Status CudaQueue::wait_for(size_t event) {
  Status s = device()->check(device()->driver().stream_wait_event(stream(), events_[event], 0),
                             "cuStreamWaitEvent");
  if (s.ok()) note_busy();
  return s;
}

void CudaQueue::joined() {
  for (size_t i = 1; i < lanes_.size(); ++i) lanes_[i].busy = false;
}

bool CudaQueue::busy() const {
  return std::any_of(lanes_.begin(), lanes_.end(), [](const Lane& l) { return l.busy; });
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
  void*& handle = lanes_[lane_].cudnn;
  if (handle != nullptr) return handle;
  if (const int code = library.create(&handle); code != cudnn::kSuccess) {
    handle = nullptr;
    return Status(StatusCode::internal, std::string("cudnnCreate: ") + library.status_text(code));
  }
  cudnn_library_ = &library;
  const int code = library.set_stream(handle, stream());
  if (code == cudnn::kSuccess) return handle;
  library.destroy(handle);
  handle = nullptr;
  return Status(StatusCode::internal, std::string("cudnnSetStream: ") + library.status_text(code));
}

Status CudaQueue::copy_to_device(std::byte* to, const void* from, size_t bytes) {
  if (bytes == 0) return {};
  note_busy();
  return device()->check(
      device()->driver().copy_to_device(reinterpret_cast<uint64_t>(to), from, bytes, stream()),
      "cuMemcpyHtoDAsync_v2");
}

Status CudaQueue::copy_to_host(void* to, const std::byte* from, size_t bytes) {
  if (bytes == 0) return {};
  note_busy();
  return device()->check(
      device()->driver().copy_to_host(to, reinterpret_cast<uint64_t>(from), bytes, stream()),
      "cuMemcpyDtoHAsync_v2");
}

Status CudaQueue::copy_on_device(std::byte* to, const std::byte* from, size_t bytes) {
  if (bytes == 0) return {};
  note_busy();
  return device()->check(device()->driver().copy_on_device(reinterpret_cast<uint64_t>(to),
                                                           reinterpret_cast<uint64_t>(from), bytes,
                                                           stream()),
                         "cuMemcpyDtoDAsync_v2");
}

Status CudaQueue::wait() {
  Status first;
  for (Lane& lane : lanes_) {
    if (!lane.busy) continue;
    Status s = device()->check(device()->driver().stream_wait(lane.stream), "cuStreamSynchronize");
    lane.busy = !s.ok();
    if (first.ok()) first = std::move(s);
  }
  return first;
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
  note_busy();
  return device()->check(d.launch(function.value(), l.blocks[0], l.blocks[1], l.blocks[2],
                                  l.threads[0], l.threads[1], l.threads[2], l.shared_bytes,
                                  stream(), l.arguments, nullptr),
                         "cuLaunchKernel");
}

Result<uint64_t> CudaQueue::scratch(size_t bytes) {
  bytes = round_up(std::max<size_t>(bytes, 1), kDeviceAlignment);
  Lane& lane = lanes_[lane_];
  for (; lane.scratch_block < lane.scratch.size(); ++lane.scratch_block, lane.scratch_used = 0) {
    const CudaMemory& block = lane.scratch[lane.scratch_block];
    if (block.bytes() - lane.scratch_used < bytes) continue;
    const uint64_t address = block.address() + lane.scratch_used;
    lane.scratch_used += bytes;
    return address;
  }
  Result<CudaMemory> block = CudaMemory::allocate(device(), std::max(bytes, kScratchBlock));
  if (!block.ok()) return block.status();
  lane.scratch.push_back(std::move(block).value());
  lane.scratch_used = bytes;
  return lane.scratch.back().address();
}

Status CudaQueue::begin_recording() {
  lane_ = 0;
  return device()->check(device()->driver().capture_begin(stream(), kCaptureThisThread),
                         "cuStreamBeginCapture_v2");
}

Result<CudaGraph> CudaQueue::end_recording() {
  const CudaDriver& d = device()->driver();
  void *graph = nullptr, *executable = nullptr;
  lane_ = 0;
  for (Lane& lane : lanes_) lane.busy = false;
  if (Status s = device()->check(d.capture_end(stream(), &graph), "cuStreamEndCapture"); !s.ok()) {
    drop_streams();
    return s;
  }
  Status s =
      device()->check(d.graph_instantiate(&executable, graph, 0), "cuGraphInstantiateWithFlags");
  d.graph_release(graph);
  if (!s.ok()) return s;
  return CudaGraph(device(), executable);
}

void CudaQueue::abandon_recording() {
  const CudaDriver& d = device()->driver();
  void* graph = nullptr;
  // A recording ends well with all of its streams joined only.
  bool joined = true;
  for (size_t i = 1; i < lanes_.size(); ++i)
    if (lanes_[i].busy)
      joined = joined && d.event_record(events_.back(), lanes_[i].stream) == 0 &&
               d.stream_wait_event(lanes_[0].stream, events_.back(), 0) == 0;
  lane_ = 0;
  for (Lane& lane : lanes_) lane.busy = false;
  const bool ended = d.capture_end(stream(), &graph) == 0;
  if (ended && graph != nullptr) d.graph_release(graph);
  if (!ended || !joined) drop_streams();
}

void CudaQueue::drop_streams() {
  for (Lane& lane : lanes_) {
    if (lane.stream != nullptr) device()->driver().stream_destroy(lane.stream);
    lane.stream = nullptr;
  }
}

Status CudaQueue::replay(const CudaGraph& graph) {
  lane_ = 0;
  note_busy();
  return device()->check(device()->driver().graph_launch(graph.executable(), stream()),
                         "cuGraphLaunch");
}

}  // namespace tintype
