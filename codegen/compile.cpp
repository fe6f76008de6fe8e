// Drives lowering, kernel compilation on all processors, and linking.
#include "codegen/compile.h"

#include "codegen/kernel_cache.h"
#include "ir/diagnostic.h"
#include "runtime/halide_hooks.h"
#include "runtime/plan.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <mutex>
#include <thread>
#include <xxhash.h>

namespace tintype {

namespace {

using Clock = std::chrono::steady_clock;

double milliseconds_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

/// Changes whenever the same kernel text would give other machine code.
constexpr std::string_view kCodegenVersion = "tintype-kernels-103 halide-21";

std::string symbol_for(std::string_view key) {
  const XXH128_hash_t h = XXH3_128bits(key.data(), key.size());
  char text[48];
  std::snprintf(text, sizeof text, "tintype_%016llx%016llx",
                static_cast<unsigned long long>(h.high64),
                static_cast<unsigned long long>(h.low64));
  return text;
}

std::string key_of(const KernelSpec& spec, const Machine& machine) {
  // Kernels call hooks of the runtime as that version declares them.
  std::string key(kCodegenVersion);
  key.append(" hooks-").append(std::to_string(kHookVersion));
  key.append("\n").append(spec.cuda ? program_target(machine) : machine.target);
  key.append("\n").append(spec.text());
  return key;
}

/// Runs work(i) for i below count on several threads; the first exception is thrown again here.
void parallel_for(int count, int threads, const std::function<void(int)>& work) {
  std::atomic<int> next{0};
  std::exception_ptr failure;
  std::mutex mutex;
  auto loop = [&] {
    for (int i = next++; i < count; i = next++) {
      try {
        work(i);
      } catch (...) {
        const std::lock_guard lock(mutex);
        if (!failure) failure = std::current_exception();
        next = count;
      }
    }
  };
  std::vector<std::thread> helpers;
  for (int t = 1; t < std::min(threads, count); ++t) helpers.emplace_back(loop);
  loop();
  for (std::thread& t : helpers) t.join();
  if (failure) std::rethrow_exception(failure);
}

Lowered lowered_for(const Graph& graph, const CodegenOptions& options) {
  LowerOptions lowering;
  lowering.machine = options.machine;
  lowering.reference = options.reference;
  lowering.hints = options.hints;
  return lower(graph, lowering);
}

}  // namespace

std::string_view kernel_version() { return kCodegenVersion; }

std::optional<size_t> planned_arena(const Graph& graph, const CodegenOptions& options) {
  const Program program = lowered_for(graph, options).program;
  std::vector<int64_t> symbols;
  for (const Symbol& s : program.symbols) {
    const auto hint = options.hints.find(s.name);
    symbols.push_back(hint == options.hints.end() ? 1 : hint->second);
  }
  const Result<std::shared_ptr<const Plan>> plan = make_plan(program, symbols);
  return plan.ok() ? std::optional(plan.value()->arena_bytes) : std::nullopt;
}

Compiled compile(const Graph& graph, const CodegenOptions& options) {
  Lowered lowered = lowered_for(graph, options);
  Compiled result;
  const int count = static_cast<int>(lowered.kernels.size());
  result.report.kernels = count;
  result.report.on_host = std::move(lowered.on_host);
  result.objects.resize(static_cast<size_t>(count));
  KernelCache cache(options.cache_directory);
  const auto start = Clock::now();
  std::mutex mutex;
  int done = 0;
  const int threads = options.compile_threads > 0
                          ? options.compile_threads
                          : static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  std::vector<int> missing;
  for (int i = 0; i < count; ++i) {
    const auto at = static_cast<size_t>(i);
    const std::string key = key_of(lowered.kernels[at], options.machine);
    lowered.program.kernels[at].symbol = symbol_for(key);
    result.objects[at].symbol = lowered.program.kernels[at].symbol;
    if (auto object = cache.load(key)) {
      result.objects[at].bytes = std::move(*object);
      ++result.report.from_cache;
      ++done;
    } else {
      missing.push_back(i);
    }
  }
  parallel_for(static_cast<int>(missing.size()), threads, [&](int m) {
    const auto at = static_cast<size_t>(missing[static_cast<size_t>(m)]);
    result.objects[at].bytes =
        compile_kernel(lowered.kernels[at], options.machine, result.objects[at].symbol);
    const std::lock_guard lock(mutex);
    cache.store(key_of(lowered.kernels[at], options.machine), result.objects[at].bytes);
    ++done;
    if (options.progress) options.progress(done, count);
  });
  result.report.compile_ms = missing.empty() ? 0.0 : milliseconds_since(start);
  result.report.cache_problem = cache.problem();
  const auto linking = Clock::now();
  result.library = link_objects(result.objects);
  result.report.link_ms = milliseconds_since(linking);
  result.program = std::make_shared<const Program>(std::move(lowered.program));
  return result;
}

}  // namespace tintype
