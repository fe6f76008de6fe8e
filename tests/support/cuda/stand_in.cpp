// The stand-in driver: memory, streams, modules, graphs.
#include "tests/support/cuda/stand_in.h"

#include "tests/support/cuda/ptx.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <stdexcept>
#include <sys/mman.h>
#include <thread>

namespace tintype {

namespace {

// Values of CUresult.
constexpr int kInvalidValue = 1, kOutOfMemory = 2, kInvalidContext = 201, kInvalidPtx = 218,
              kNotFound = 500, kIllegalAddress = 700;
constexpr size_t kReserved = size_t{64} << 30;  // addresses, not memory

using Work = std::function<int()>;

struct Block {
  size_t bytes;
  std::vector<std::byte> content;
  std::vector<uint32_t> writers;  ///< threads of the latest launch
};

struct Stream {
  std::vector<Work> queued;
  bool recording = false;
  /// Whose allocations a recording forbids: those of one thread, or of all (no thread).
  std::thread::id forbidden = {};
};

struct Graph {
  std::vector<Work> work;
};

struct Function {
  const ptx::Module* module;
  const ptx::Kernel* kernel;
};

}  // namespace

struct StandInState final : ptx::Memory {
  explicit StandInState(const CudaStandIn::Settings& s) : settings(s) {
    void* p =
        mmap(nullptr, kReserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) throw std::runtime_error("no addresses for the stand-in");
    base = next = reinterpret_cast<uint64_t>(p);
  }
  ~StandInState() override { munmap(reinterpret_cast<void*>(base), kReserved); }

  std::byte* at(uint64_t address, size_t bytes) override {
    Block* b = find(address);
    const size_t offset = b == nullptr ? 0 : address - last_begin;
    return b == nullptr || bytes > b->bytes - offset ? nullptr : b->content.data() + offset;
  }
  uint32_t& writer(uint64_t address) override {
    Block* b = find(address);
    const size_t offset = address - last_begin;
    if (b->writers.empty()) {
      b->writers.resize(b->bytes);
      written.push_back(b);
    }
    return b->writers[offset];
  }
  Block* find(uint64_t address) {
    if (last != nullptr && address >= last_begin && address - last_begin < last->bytes) return last;
    auto it = blocks.upper_bound(address);
    if (it == blocks.begin()) return nullptr;
    --it;
    if (address - it->first >= it->second.bytes) return nullptr;
    last_begin = it->first;
    return last = &it->second;
  }

  int note(const std::string& what, int code) {
    if (trouble.empty()) trouble = what;
    return code;
  }

  /// Counts a call; the code it has to fail with, or 0.
  int enter(const char* function) {
    calls.emplace_back(function);
    if (failing && (only.empty() ? countdown-- == 0 : only == function)) {
      failing = false;
      return failure;
    }
    return 0;
  }
  bool current() const { return context != nullptr && thread_context == context; }

  int enqueue(void* stream, Work work) {
    if (!current()) return note("a call without a current context", kInvalidContext);
    Stream* s = stream == nullptr ? &default_stream : static_cast<Stream*>(stream);
    if (stream != nullptr && streams.count(s) == 0) return note("an unknown stream", kInvalidValue);
    s->queued.push_back(std::move(work));
    return 0;
  }

  int drain(Stream& s) {
    std::vector<Work> work = std::move(s.queued);
    s.queued.clear();
    for (const Work& w : work)
      if (const int code = w(); code != 0) return broken = code;
    return 0;
  }

  int launch(const Function& f, const ptx::Grid& grid, const std::vector<std::byte>& parameters) {
    if (!settings.interpret) return 0;
    const std::string what = ptx::run(*f.module, *f.kernel, grid, parameters, *this);
    for (Block* b : written) b->writers.clear();
    written.clear();
    return what.empty() ? 0 : note(what, kIllegalAddress);
  }

  const CudaStandIn::Settings settings;
  std::recursive_mutex mutex;
  std::vector<std::string> calls, launched;
  bool failing = false;
  size_t countdown = 0;
  std::string only;  ///< function that has to fail; empty: the call that the countdown ends at
  int failure = 0, broken = 0;
  std::string trouble;
  uint64_t base = 0, next = 0;
  std::map<uint64_t, Block> blocks;
  Block* last = nullptr;
  uint64_t last_begin = 0;
  std::vector<Block*> written;
  size_t in_use = 0;
  std::map<void*, std::vector<std::byte>> pinned;
  std::set<Stream*> streams;
  Stream default_stream;
  std::set<Graph*> graphs, executables;
  std::map<void*, std::unique_ptr<ptx::Module>> modules;
  std::map<void*, std::unique_ptr<Function>> functions;
  int library_objects = 0;
  void* context = nullptr;  ///< the primary one
  int retained = 0;
  static thread_local void* thread_context;

  bool is_pinned(const void* p) const {
    auto it = pinned.upper_bound(const_cast<void*>(p));
    if (it == pinned.begin()) return false;
    --it;
    return static_cast<const std::byte*>(p) < it->second.data() + it->second.size();
  }
};

thread_local void* StandInState::thread_context = nullptr;

namespace {

StandInState* the = nullptr;

/// Every function of the driver: count the call, let it fail if it has to, then do it.
template <typename F>
int call(const char* name, const F& work) {
  const std::lock_guard lock(the->mutex);
  if (const int code = the->enter(name); code != 0) return code;
  if (the->broken != 0) return the->broken;  // as a device does after a fault
  return work(*the);
}

int create_stream(void** out, unsigned) {
  return call("cuStreamCreate", [&](StandInState& s) {
    if (!s.current()) return kInvalidContext;
    *out = *s.streams.insert(new Stream).first;
    return 0;
  });
}

int destroy_stream(void* stream) {
  return call("cuStreamDestroy_v2", [&](StandInState& s) {
    if (s.streams.erase(static_cast<Stream*>(stream)) == 0)
      return s.note("an unknown stream is destroyed", kInvalidValue);
    if (!static_cast<Stream*>(stream)->recording && !static_cast<Stream*>(stream)->queued.empty())
      return s.note("a stream is destroyed with work queued", kInvalidValue);
    delete static_cast<Stream*>(stream);
    return 0;
  });
}

int wait(void* stream) {
  return call("cuStreamSynchronize", [&](StandInState& s) {
    Stream& which = stream == nullptr ? s.default_stream : *static_cast<Stream*>(stream);
    if (which.recording) return s.note("waits for a stream that records", kInvalidValue);
    return s.drain(which);
  });
}

int allocate(uint64_t* out, size_t bytes) {
  return call("cuMemAlloc_v2", [&](StandInState& s) {
    if (!s.current()) return kInvalidContext;
    for (const Stream* stream : s.streams)
      if (stream->recording && (stream->forbidden == std::thread::id() ||
                                stream->forbidden == std::this_thread::get_id()))
        return s.note("allocates while a stream records", kInvalidValue);
    if (bytes == 0) return kInvalidValue;
    if (s.in_use + bytes > s.settings.memory) return kOutOfMemory;
    s.in_use += bytes;
    *out = s.next;
    s.next += (bytes + 4095) / 4096 * 4096 + 4096;  // so that a step too far hits nothing
    if (s.next > s.base + kReserved) return kOutOfMemory;
    s.blocks[*out] = {bytes, std::vector<std::byte>(bytes, std::byte{0xFF}), {}};
    return 0;
  });
}

int release(uint64_t address) {
  return call("cuMemFree_v2", [&](StandInState& s) {
    const auto it = s.blocks.find(address);
    if (it == s.blocks.end()) return s.note("frees what is no block", kInvalidValue);
    s.in_use -= it->second.bytes;
    if (s.last == &it->second) s.last = nullptr;
    s.blocks.erase(it);
    return 0;
  });
}

int host_allocate(void** out, size_t bytes, unsigned) {
  return call("cuMemHostAlloc", [&](StandInState& s) {
    if (!s.current()) return kInvalidContext;
    std::vector<std::byte> block(bytes + 64, std::byte{0xFF});
    void* p = block.data();
    s.pinned[p] = std::move(block);
    *out = p;
    return 0;
  });
}

int host_release(void* p) {
  return call("cuMemFreeHost", [&](StandInState& s) {
    return s.pinned.erase(p) == 1 ? 0 : s.note("frees what is not pinned", kInvalidValue);
  });
}

int store(uint64_t to, const void* from, size_t bytes) {
  return call("cuMemcpyHtoD_v2", [&](StandInState& s) {
    if (!s.current()) return s.note("a call without a current context", kInvalidContext);
    std::byte* p = s.at(to, bytes);
    if (p == nullptr) return s.note("a copy to outside of all blocks", kIllegalAddress);
    std::memcpy(p, from, bytes);
    return 0;
  });
}

int fetch(void* to, uint64_t from, size_t bytes) {
  return call("cuMemcpyDtoH_v2", [&](StandInState& s) {
    if (!s.current()) return s.note("a call without a current context", kInvalidContext);
    const std::byte* p = s.at(from, bytes);
    if (p == nullptr) return s.note("a copy from outside of all blocks", kIllegalAddress);
    std::memcpy(to, p, bytes);
    return 0;
  });
}

int copy_to_device(uint64_t to, const void* from, size_t bytes, void* stream) {
  return call("cuMemcpyHtoDAsync_v2", [&](StandInState& s) {
    const auto* source = static_cast<const std::byte*>(from);
    std::vector<std::byte> now;
    if (!s.is_pinned(from)) now.assign(source, source + bytes);
    return s.enqueue(stream, [&s, to, source, bytes, now] {
      std::byte* p = s.at(to, bytes);
      if (p == nullptr) return s.note("a copy to outside of all blocks", kIllegalAddress);
      std::memcpy(p, now.empty() ? source : now.data(), bytes);
      return 0;
    });
  });
}

int copy_to_host(void* to, uint64_t from, size_t bytes, void* stream) {
  return call("cuMemcpyDtoHAsync_v2", [&](StandInState& s) {
    return s.enqueue(stream, [&s, to, from, bytes] {
      const std::byte* p = s.at(from, bytes);
      if (p == nullptr) return s.note("a copy from outside of all blocks", kIllegalAddress);
      std::memcpy(to, p, bytes);
      return 0;
    });
  });
}

int copy_on_device(uint64_t to, uint64_t from, size_t bytes, void* stream) {
  return call("cuMemcpyDtoDAsync_v2", [&](StandInState& s) {
    return s.enqueue(stream, [&s, to, from, bytes] {
      std::byte* target = s.at(to, bytes);
      const std::byte* source = target == nullptr ? nullptr : s.at(from, bytes);
      if (source == nullptr) return s.note("a copy outside of all blocks", kIllegalAddress);
      std::memmove(target, source, bytes);
      return 0;
    });
  });
}

int load_module(void** out, const void* text, unsigned options, int* keys, void** values) {
  return call("cuModuleLoadDataEx", [&](StandInState& s) {
    if (!s.current()) return kInvalidContext;
    std::string problem;
    auto module = ptx::parse(static_cast<const char*>(text), problem);
    if (module == nullptr) {
      for (unsigned i = 0; i < options; ++i)
        if (keys[i] == 5) std::strncpy(static_cast<char*>(values[i]), problem.c_str(), 900);
      return s.note(problem, kInvalidPtx);
    }
    *out = module.get();
    s.modules[*out] = std::move(module);
    return 0;
  });
}

int unload_module(void* module) {
  return call("cuModuleUnload", [&](StandInState& s) {
    return s.modules.erase(module) == 1 ? 0 : s.note("unloads an unknown module", kInvalidValue);
  });
}

int find_function(void** out, void* module, const char* name) {
  return call("cuModuleGetFunction", [&](StandInState& s) {
    const auto m = s.modules.find(module);
    if (m == s.modules.end()) return kInvalidValue;
    const auto k = m->second->kernels.find(name);
    if (k == m->second->kernels.end()) return kNotFound;
    auto f = std::make_unique<Function>(Function{m->second.get(), &k->second});
    *out = f.get();
    s.functions[*out] = std::move(f);
    return 0;
  });
}

int launch(void* function, unsigned bx, unsigned by, unsigned bz, unsigned tx, unsigned ty,
           unsigned tz, unsigned shared, void* stream, void** arguments, void** extra) {
  return call("cuLaunchKernel", [&](StandInState& s) {
    const auto it = s.functions.find(function);
    if (it == s.functions.end() || extra != nullptr) return kInvalidValue;
    const Function f = *it->second;
    const bool fits = bx > 0 && by > 0 && bz > 0 && by <= 65535 && bz <= 65535 &&
                      tx * ty * tz > 0 && tx * ty * tz <= 1024 && tz <= 64;
    if (!fits) return s.note("a grid that no device takes: " + f.kernel->name, kInvalidValue);
    std::vector<std::byte> parameters(f.kernel->parameter_bytes);
    for (size_t i = 0; i < f.kernel->parameters.size(); ++i) {
      const auto& p = f.kernel->parameters[i];
      std::memcpy(parameters.data() + p.offset, arguments[i], p.bytes);
    }
    s.launched.push_back(f.kernel->name);
    const ptx::Grid grid = {{bx, by, bz}, {tx, ty, tz}, shared};
    return s.enqueue(stream, [&s, f, grid, parameters] { return s.launch(f, grid, parameters); });
  });
}

int begin_capture(void* stream, int mode) {
  return call("cuStreamBeginCapture_v2", [&](StandInState& s) {
    auto* which = static_cast<Stream*>(stream);
    if (s.streams.count(which) == 0 || which->recording) return kInvalidValue;
    if (const int code = s.drain(*which); code != 0) return code;
    constexpr int kGlobal = 0;  // CU_STREAM_CAPTURE_MODE_GLOBAL
    which->recording = true;
    which->forbidden = mode == kGlobal ? std::thread::id() : std::this_thread::get_id();
    return 0;
  });
}

int end_capture(void* stream, void** out) {
  return call("cuStreamEndCapture", [&](StandInState& s) {
    auto* which = static_cast<Stream*>(stream);
    if (s.streams.count(which) == 0 || !which->recording) return kInvalidValue;
    which->recording = false;
    auto* graph = new Graph{std::move(which->queued)};
    which->queued.clear();
    *out = *s.graphs.insert(graph).first;
    return 0;
  });
}

int instantiate(void** out, void* graph, unsigned long long) {
  return call("cuGraphInstantiateWithFlags", [&](StandInState& s) {
    if (s.graphs.count(static_cast<Graph*>(graph)) == 0) return kInvalidValue;
    *out = *s.executables.insert(new Graph(*static_cast<Graph*>(graph))).first;
    return 0;
  });
}

int launch_graph(void* graph, void* stream) {
  return call("cuGraphLaunch", [&](StandInState& s) {
    if (s.executables.count(static_cast<Graph*>(graph)) == 0) return kInvalidValue;
    for (const Work& w : static_cast<Graph*>(graph)->work)
      if (const int code = s.enqueue(stream, w); code != 0) return code;
    return 0;
  });
}

int release_graph(const char* name, std::set<Graph*> StandInState::* all, void* graph) {
  return call(name, [&](StandInState& s) {
    auto* g = static_cast<Graph*>(graph);
    if ((s.*all).erase(g) == 0) return s.note("destroys an unknown graph", kInvalidValue);
    delete g;
    return 0;
  });
}

int device_attribute(int* out, int attribute, int) {
  return call("cuDeviceGetAttribute", [&](StandInState& s) {
    *out = attribute == 75   ? s.settings.capability / 10
           : attribute == 76 ? s.settings.capability % 10
                             : 227 << 10;
    return 0;
  });
}

int error_name(int code, const char** out) {
  static const std::map<int, const char*> names = {{kInvalidValue, "CUDA_ERROR_INVALID_VALUE"},
                                                   {kOutOfMemory, "CUDA_ERROR_OUT_OF_MEMORY"},
                                                   {kInvalidContext, "CUDA_ERROR_INVALID_CONTEXT"},
                                                   {kInvalidPtx, "CUDA_ERROR_INVALID_PTX"},
                                                   {kNotFound, "CUDA_ERROR_NOT_FOUND"},
                                                   {kIllegalAddress, "CUDA_ERROR_ILLEGAL_ADDRESS"},
                                                   {999, "CUDA_ERROR_UNKNOWN"}};
  const auto it = names.find(code);
  *out = it == names.end() ? nullptr : it->second;
  return it == names.end() ? kInvalidValue : 0;
}

CudaDriver make_driver() {
  CudaDriver d;
  d.init = [](unsigned) { return call("cuInit", [](StandInState&) { return 0; }); };
  d.driver_version = [](int* v) {
    return call("cuDriverGetVersion", [&](StandInState&) { return *v = 13000, 0; });
  };
  d.device_count = [](int* n) {
    return call("cuDeviceGetCount", [&](StandInState& s) { return *n = s.settings.devices, 0; });
  };
  d.device_get = [](int* device, int n) {
    return call("cuDeviceGet", [&](StandInState&) { return *device = n, 0; });
  };
  d.device_name = [](char* name, int bytes, int) {
    return call("cuDeviceGetName", [&](StandInState&) {
      std::strncpy(name, "stand-in", static_cast<size_t>(bytes));
      return 0;
    });
  };
  d.device_attribute = device_attribute;
  d.context_retain = [](void** out, int) {
    return call("cuDevicePrimaryCtxRetain", [&](StandInState& s) {
      *out = s.context = &s;
      ++s.retained;
      return 0;
    });
  };
  d.context_release = [](int) {
    return call("cuDevicePrimaryCtxRelease_v2", [](StandInState& s) { return --s.retained, 0; });
  };
  d.context_set = [](void* context) {
    return call("cuCtxSetCurrent", [&](StandInState& s) {
      s.thread_context = context;
      return 0;
    });
  };
  d.module_load = load_module;
  d.module_unload = unload_module;
  d.module_function = find_function;
  d.function_attribute = [](void*, int, int) {
    return call("cuFuncSetAttribute", [](StandInState&) { return 0; });
  };
  d.allocate = allocate;
  d.release = release;
  d.host_allocate = host_allocate;
  d.host_release = host_release;
  d.store = store;
  d.fetch = fetch;
  d.copy_to_device = copy_to_device;
  d.copy_to_host = copy_to_host;
  d.copy_on_device = copy_on_device;
  d.stream_create = create_stream;
  d.stream_destroy = destroy_stream;
  d.stream_wait = wait;
  d.launch = launch;
  d.capture_begin = begin_capture;
  d.capture_end = end_capture;
  d.graph_instantiate = instantiate;
  d.graph_launch = launch_graph;
  d.graph_release = [](void* g) {
    return release_graph("cuGraphDestroy", &StandInState::graphs, g);
  };
  d.executable_graph_release = [](void* g) {
    return release_graph("cuGraphExecDestroy", &StandInState::executables, g);
  };
  d.error_name = error_name;
  d.error_text = [](int, const char** out) {
    *out = "said the stand-in";
    return 0;
  };
  return d;
}

const CudaDriver stand_in_driver = make_driver();

}  // namespace

namespace stand_in {

int enter(const char* function, int failure, const std::function<int()>& work) {
  const std::lock_guard lock(the->mutex);
  if (the->enter(function) != 0 || the->broken != 0) return failure;
  return work();
}

int enqueue(void* stream, std::function<int()> work) {
  return the->enqueue(stream, std::move(work)) == 0 ? 0 : -1;
}

std::byte* memory(const void* address, size_t bytes) {
  return the->at(reinterpret_cast<uint64_t>(address), bytes);
}

int note(const std::string& what, int code) { return the->note(what, code); }
size_t library_workspace() { return the->settings.library_workspace; }
bool interprets() { return the->settings.interpret; }
int& objects() { return the->library_objects; }

}  // namespace stand_in

CudaStandIn::CudaStandIn() : CudaStandIn(Settings()) {}

CudaStandIn::CudaStandIn(const Settings& settings)
    : state_(std::make_unique<StandInState>(settings)) {
  if (the != nullptr) throw std::logic_error("there is a stand-in for the CUDA driver already");
  the = state_.get();
  set_cuda_driver(&stand_in_driver);
  set_cuda_libraries(&stand_in::libraries(settings.libraries));
}

CudaStandIn::~CudaStandIn() {
  set_cuda_driver(nullptr);
  set_cuda_libraries(nullptr);
  the = nullptr;
}

const CudaDriver& CudaStandIn::driver() const { return stand_in_driver; }
const std::vector<std::string>& CudaStandIn::calls() const { return state_->calls; }
void CudaStandIn::forget_calls() { state_->calls.clear(); }
const std::vector<std::string>& CudaStandIn::launched() const { return state_->launched; }
const std::string& CudaStandIn::problem() const { return state_->trouble; }
size_t CudaStandIn::bytes_on_device() const { return state_->in_use; }

size_t CudaStandIn::count(const std::string& function) const {
  return static_cast<size_t>(std::count(state_->calls.begin(), state_->calls.end(), function));
}

void CudaStandIn::fail_call(size_t number, int code) {
  state_->failing = true;
  state_->countdown = number;
  state_->only.clear();
  state_->failure = code;
}

void CudaStandIn::fail_next(const std::string& function, int code) {
  state_->failing = true;
  state_->only = function;
  state_->failure = code;
}

void CudaStandIn::fail_nothing() { state_->failing = false; }

std::string CudaStandIn::leaks() const {
  std::string text;
  const auto add = [&](size_t n, const char* what) {
    if (n != 0) text += (text.empty() ? "" : ", ") + std::to_string(n) + " " + what;
  };
  add(state_->blocks.size(), "blocks of memory");
  add(state_->pinned.size(), "blocks of pinned memory");
  add(state_->streams.size(), "streams");
  add(state_->modules.size(), "modules");
  add(state_->graphs.size() + state_->executables.size(), "graphs");
  add(static_cast<size_t>(std::max(state_->retained, 0)), "contexts");
  add(static_cast<size_t>(state_->library_objects), "objects of libraries");
  return text;
}

}  // namespace tintype
