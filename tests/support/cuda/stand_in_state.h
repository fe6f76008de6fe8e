// What the stand-in driver keeps, for the files that make it up.
#pragma once

#include "tests/support/cuda/ptx.h"
#include "tests/support/cuda/races.h"
#include "tests/support/cuda/stand_in.h"

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace tintype {

namespace stand_in {

// Values of CUresult.
constexpr int kInvalidValue = 1, kOutOfMemory = 2, kInvalidContext = 201, kInvalidPtx = 218,
              kNotFound = 500, kIllegalAddress = 700, kCaptureInvalid = 900, kCaptureUnjoined = 904,
              kCaptureIsolation = 905;

struct Block {
  size_t bytes;
  std::vector<std::byte> content;
  std::vector<uint32_t> writers;  ///< threads of the latest launch
};

/// Something that a stream does, with a name for messages.
struct Task {
  std::string name;
  std::function<int()> run;
};

/// A recording. Its lines are the streams that take part, in the order in which they joined.
struct Capture {
  struct Node {
    Task task;
    size_t line;
    uint32_t number;  ///< on its line
    Clock before;     ///< lines of the recording
  };
  std::thread::id forbidden;  ///< whose allocations it forbids: those of one thread, or of all
  std::vector<Node> nodes;
  std::vector<uint32_t> counts;  ///< per line
};

struct Stream {
  /// Work, or (with `other`) waiting for another stream to have done so much.
  struct Entry {
    Task task;
    uint32_t work = 0;
    Stream* other = nullptr;
    size_t done = 0;
  };
  size_t line = 0;
  uint32_t count = 0;  ///< of work asked for
  Clock clock;         ///< what its next work comes behind
  std::deque<Entry> queued;
  size_t asked = 0, done = 0;  ///< entries
  std::shared_ptr<Capture> capture;
  size_t capture_line = 0;
  Clock capture_clock;
};

struct Event {
  bool recorded = false;
  Stream* stream = nullptr;
  size_t asked = 0;
  Clock clock;
  std::weak_ptr<Capture> capture;
  bool captured = false;
};

/// Work in an order that its clocks allow. Lines are those of the recording.
struct Graph {
  std::vector<Capture::Node> nodes;
  std::vector<size_t> lines;     ///< of an executable one: lines of the driver
  std::vector<uint32_t> counts;  ///< of an executable one: work asked for, per line
};

struct Function {
  const ptx::Module* module;
  const ptx::Kernel* kernel;
};

}  // namespace stand_in

struct StandInState final : ptx::Memory {
  explicit StandInState(const CudaStandIn::Settings& s);
  ~StandInState() override;

  std::byte* at(uint64_t address, size_t bytes) override;
  uint32_t& writer(uint64_t address) override;
  const std::string* race(uint64_t address, size_t bytes, bool write) override;
  stand_in::Block* find(uint64_t address);

  int note(const std::string& what, int code) {
    if (trouble.empty()) trouble = what;
    return code;
  }
  /// Counts a call; the code it has to fail with, or 0.
  int enter(const char* function);
  bool current() const { return context != nullptr && thread_context == context; }

  // stand_in_streams.cpp
  int enqueue(void* stream, stand_in::Task task);
  /// Does what a stream was asked for first, until so much is done.
  int drain(stand_in::Stream& s, size_t until);
  int run(const stand_in::Task& task, uint32_t work);
  /// An access by the host, now.
  int host_touch(const char* name, uint64_t address, size_t bytes, bool write);
  bool forbids_allocation() const;

  int launch(const stand_in::Function& f, const ptx::Grid& grid,
             const std::vector<std::byte>& parameters);
  bool is_pinned(const void* p) const;

  const CudaStandIn::Settings settings;
  std::recursive_mutex mutex;
  std::vector<std::string> calls, launched;
  bool failing = false;
  size_t countdown = 0;
  std::string only;  ///< function that has to fail; empty: the call that the countdown ends at
  int failure = 0, broken = 0;
  std::string trouble;
  uint64_t base = 0, next = 0;
  std::map<uint64_t, stand_in::Block> blocks;
  stand_in::Block* last = nullptr;
  uint64_t last_begin = 0;
  std::vector<stand_in::Block*> written;
  size_t in_use = 0;
  std::map<void*, std::vector<std::byte>> pinned;
  Races races;
  size_t host_line = 0;
  Clock host_clock;  ///< what the host has waited for
  uint32_t host_count = 0;
  std::set<stand_in::Stream*> streams;
  stand_in::Stream default_stream;
  std::set<stand_in::Event*> events;
  std::set<stand_in::Graph*> graphs, executables;
  std::map<void*, std::unique_ptr<ptx::Module>> modules;
  std::map<void*, std::unique_ptr<stand_in::Function>> functions;
  int library_objects = 0;
  void* context = nullptr;  ///< the primary one
  int retained = 0;
  static thread_local void* thread_context;
};

namespace stand_in {

/// The one that there is, or null.
StandInState*& the();

/// Every function of the driver: count the call, let it fail if it has to, then do it.
template <typename F>
int call(const char* name, const F& work) {
  StandInState& s = *the();
  const std::lock_guard lock(s.mutex);
  if (const int code = s.enter(name); code != 0) return code;
  if (s.broken != 0) return s.broken;  // as a device does after a fault
  return work(s);
}

/// Puts the functions for streams, events and graphs into the table.
void add_stream_functions(CudaDriver& d);

}  // namespace stand_in

}  // namespace tintype
