// The stand-in driver: memory, modules, launches. Streams and graphs: stand_in_streams.cpp.
#include "tests/support/cuda/stand_in.h"

#include "tests/support/cuda/stand_in_state.h"
#include "tests/support/cuda/traffic.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <sys/mman.h>

namespace tintype {

namespace {

constexpr size_t kReserved = size_t{64} << 30;  // addresses, not memory

}  // namespace

StandInState::StandInState(const CudaStandIn::Settings& s) : settings(s) {
  void* p = mmap(nullptr, kReserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) throw std::runtime_error("no addresses for the stand-in");
  base = next = reinterpret_cast<uint64_t>(p);
  host_line = races.add_line();
  default_stream.line = races.add_line();
}

StandInState::~StandInState() { munmap(reinterpret_cast<void*>(base), kReserved); }

// Where blocks are left out, bytes are read that nobody wrote, and readers are not told apart.
const std::string* StandInState::race(uint64_t address, size_t bytes, bool write) {
  const bool partial = settings.traffic != nullptr && settings.traffic->leaves_out();
  return partial ? nullptr : races.touch(address, bytes, write);
}

std::byte* StandInState::at(uint64_t address, size_t bytes) {
  stand_in::Block* b = find(address);
  const size_t offset = b == nullptr ? 0 : address - last_begin;
  return b == nullptr || bytes > b->bytes - offset ? nullptr : b->content.data() + offset;
}

uint32_t& StandInState::writer(uint64_t address) {
  stand_in::Block* b = find(address);
  const size_t offset = address - last_begin;
  if (b->writers.empty()) {
    b->writers.resize(b->bytes);
    written.push_back(b);
  }
  return b->writers[offset];
}

stand_in::Block* StandInState::find(uint64_t address) {
  if (last != nullptr && address >= last_begin && address - last_begin < last->bytes) return last;
  auto it = blocks.upper_bound(address);
  if (it == blocks.begin()) return nullptr;
  --it;
  if (address - it->first >= it->second.bytes) return nullptr;
  last_begin = it->first;
  return last = &it->second;
}

int StandInState::enter(const char* function) {
  calls.emplace_back(function);
  if (failing && (only.empty() ? countdown-- == 0 : only == function)) {
    failing = false;
    return failure;
  }
  return 0;
}

int StandInState::launch(const stand_in::Function& f, const ptx::Grid& grid,
                         const std::vector<std::byte>& parameters) {
  if (!settings.interpret) return 0;
  const std::string what =
      ptx::run(*f.module, *f.kernel, grid, parameters, *this, settings.traffic);
  for (stand_in::Block* b : written) b->writers.clear();
  written.clear();
  return what.empty() ? 0 : note(what, stand_in::kIllegalAddress);
}

bool StandInState::is_pinned(const void* p) const {
  auto it = pinned.upper_bound(const_cast<void*>(p));
  if (it == pinned.begin()) return false;
  --it;
  return static_cast<const std::byte*>(p) < it->second.data() + it->second.size();
}

thread_local void* StandInState::thread_context = nullptr;

StandInState*& stand_in::the() {
  static StandInState* the = nullptr;
  return the;
}

namespace {

using namespace stand_in;

int allocate(uint64_t* out, size_t bytes) {
  return call("cuMemAlloc_v2", [&](StandInState& s) {
    if (!s.current()) return kInvalidContext;
    if (s.forbids_allocation()) return s.note("allocates while a stream records", kInvalidValue);
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
    s.races.forget(address, it->second.bytes);
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
    const auto it = s.pinned.find(p);
    if (it == s.pinned.end()) return s.note("frees what is not pinned", kInvalidValue);
    s.races.forget(reinterpret_cast<uint64_t>(p), it->second.size());
    s.pinned.erase(it);
    return 0;
  });
}

int store(uint64_t to, const void* from, size_t bytes) {
  return call("cuMemcpyHtoD_v2", [&](StandInState& s) {
    if (!s.current()) return s.note("a call without a current context", kInvalidContext);
    std::byte* p = s.at(to, bytes);
    if (p == nullptr) return s.note("a copy to outside of all blocks", kIllegalAddress);
    std::memcpy(p, from, bytes);
    return s.host_touch("cuMemcpyHtoD_v2", to, bytes, true);
  });
}

int fetch(void* to, uint64_t from, size_t bytes) {
  return call("cuMemcpyDtoH_v2", [&](StandInState& s) {
    if (!s.current()) return s.note("a call without a current context", kInvalidContext);
    const std::byte* p = s.at(from, bytes);
    if (p == nullptr) return s.note("a copy from outside of all blocks", kIllegalAddress);
    std::memcpy(to, p, bytes);
    return s.host_touch("cuMemcpyDtoH_v2", from, bytes, false);
  });
}

/// What a copy touches, host memory included.
int touch_both(StandInState& s, uint64_t to, uint64_t from, size_t bytes) {
  const std::string* race = s.race(from, bytes, false);
  if (race == nullptr) race = s.race(to, bytes, true);
  return race == nullptr ? 0 : s.note(*race, kIllegalAddress);
}

uint64_t address_of(const void* p) { return reinterpret_cast<uint64_t>(p); }

int copy_to_device(uint64_t to, const void* from, size_t bytes, void* stream) {
  return call("cuMemcpyHtoDAsync_v2", [&](StandInState& s) {
    const auto* source = static_cast<const std::byte*>(from);
    std::vector<std::byte> now;
    if (!s.is_pinned(from)) now.assign(source, source + bytes);
    return s.enqueue(stream, {"a copy to the device", [&s, to, source, bytes, now] {
                                std::byte* p = s.at(to, bytes);
                                if (p == nullptr)
                                  return s.note("a copy to outside of all blocks", kIllegalAddress);
                                std::memcpy(p, now.empty() ? source : now.data(), bytes);
                                if (now.empty())
                                  return touch_both(s, to, address_of(source), bytes);
                                const std::string* race = s.race(to, bytes, true);
                                return race == nullptr ? 0 : s.note(*race, kIllegalAddress);
                              }});
  });
}

int copy_to_host(void* to, uint64_t from, size_t bytes, void* stream) {
  return call("cuMemcpyDtoHAsync_v2", [&](StandInState& s) {
    return s.enqueue(stream, {"a copy to the host", [&s, to, from, bytes] {
                                const std::byte* p = s.at(from, bytes);
                                if (p == nullptr)
                                  return s.note("a copy from outside of all blocks",
                                                kIllegalAddress);
                                std::memcpy(to, p, bytes);
                                return touch_both(s, address_of(to), from, bytes);
                              }});
  });
}

int copy_on_device(uint64_t to, uint64_t from, size_t bytes, void* stream) {
  return call("cuMemcpyDtoDAsync_v2", [&](StandInState& s) {
    return s.enqueue(stream, {"a copy on the device", [&s, to, from, bytes] {
                                std::byte* target = s.at(to, bytes);
                                const std::byte* source =
                                    target == nullptr ? nullptr : s.at(from, bytes);
                                if (source == nullptr)
                                  return s.note("a copy outside of all blocks", kIllegalAddress);
                                std::memmove(target, source, bytes);
                                return touch_both(s, to, from, bytes);
                              }});
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
    return s.enqueue(stream, {f.kernel->name,
                              [&s, f, grid, parameters] { return s.launch(f, grid, parameters); }});
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
  static const std::map<int, const char*> names = {
      {kInvalidValue, "CUDA_ERROR_INVALID_VALUE"},
      {kOutOfMemory, "CUDA_ERROR_OUT_OF_MEMORY"},
      {kInvalidContext, "CUDA_ERROR_INVALID_CONTEXT"},
      {kInvalidPtx, "CUDA_ERROR_INVALID_PTX"},
      {kNotFound, "CUDA_ERROR_NOT_FOUND"},
      {kIllegalAddress, "CUDA_ERROR_ILLEGAL_ADDRESS"},
      {kCaptureInvalid, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"},
      {kCaptureUnjoined, "CUDA_ERROR_STREAM_CAPTURE_UNJOINED"},
      {kCaptureIsolation, "CUDA_ERROR_STREAM_CAPTURE_ISOLATION"},
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
  d.launch = launch;
  add_stream_functions(d);
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
  StandInState& s = *the();
  const std::lock_guard lock(s.mutex);
  if (s.enter(function) != 0 || s.broken != 0) return failure;
  return work();
}

int enqueue(const char* name, void* stream, std::function<int()> work) {
  return the()->enqueue(stream, {name, std::move(work)}) == 0 ? 0 : -1;
}

std::byte* memory(const void* address, size_t bytes) {
  return the()->at(reinterpret_cast<uint64_t>(address), bytes);
}

int touch(const void* address, size_t bytes, bool write) {
  const std::string* race = the()->race(reinterpret_cast<uint64_t>(address), bytes, write);
  return race == nullptr ? 0 : note(*race, kIllegalAddress);
}

int note(const std::string& what, int code) { return the()->note(what, code); }
size_t library_workspace() { return the()->settings.library_workspace; }
bool interprets() { return the()->settings.interpret; }
int& objects() { return the()->library_objects; }

}  // namespace stand_in

CudaStandIn::CudaStandIn() : CudaStandIn(Settings()) {}

CudaStandIn::CudaStandIn(const Settings& settings)
    : state_(std::make_unique<StandInState>(settings)) {
  if (stand_in::the() != nullptr)
    throw std::logic_error("there is a stand-in for the CUDA driver already");
  stand_in::the() = state_.get();
  set_cuda_driver(&stand_in_driver);
  set_cuda_libraries(&stand_in::libraries(settings.libraries));
}

CudaStandIn::~CudaStandIn() {
  set_cuda_driver(nullptr);
  set_cuda_libraries(nullptr);
  stand_in::the() = nullptr;
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
  add(state_->events.size(), "events");
  add(state_->modules.size(), "modules");
  add(state_->graphs.size() + state_->executables.size(), "graphs");
  add(static_cast<size_t>(std::max(state_->retained, 0)), "contexts");
  add(static_cast<size_t>(state_->library_objects), "objects of libraries");
  return text;
}

}  // namespace tintype
