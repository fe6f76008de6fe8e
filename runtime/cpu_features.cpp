// Halide's names of instruction sets against what the CPU reports.
#include "runtime/cpu_features.h"

#include <cstdint>
#include <string>

#if defined(__x86_64__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace tintype {

#if defined(__x86_64__)
namespace {
constexpr std::string_view kArchitecture = "x86";

}  // namespace

// AMX's registers have eight kilobytes, which the system saves for a thread only where a process
// has asked for that. Numbers are those of Linux's asm/prctl.h, and of the state in Intel's XCR0.
bool acquire_matrix_unit() {
#if defined(__linux__)
  constexpr long kSupportedStates = 0x1021, kRequestState = 0x1023, kTileData = 18;
  if (!__builtin_cpu_supports("amx-tile") || !__builtin_cpu_supports("amx-bf16")) return false;
  unsigned long states = 0;
  if (syscall(SYS_arch_prctl, kSupportedStates, &states) != 0 || (states >> kTileData & 1) == 0)
    return false;
  static const bool granted = syscall(SYS_arch_prctl, kRequestState, kTileData) == 0;
  return granted;
#else
  return false;
#endif
}

bool cpu_has(std::string_view name) {
  const auto avx512 = [] {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512cd");
  };
  const auto skylake = [&] {
    return avx512() && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq");
  };
  const auto cannonlake = [&] {
    return skylake() && __builtin_cpu_supports("avx512ifma") &&
           __builtin_cpu_supports("avx512vbmi");
  };
  const auto zen4 = [&] {
    return cannonlake() && __builtin_cpu_supports("avx512vnni") &&
           __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512vbmi2") &&
           __builtin_cpu_supports("avx512bitalg") && __builtin_cpu_supports("avx512vpopcntdq");
  };
  if (name == "sse41") return __builtin_cpu_supports("sse4.1");
  if (name == "avx") return __builtin_cpu_supports("avx");
  if (name == "avx2") return __builtin_cpu_supports("avx2");
  if (name == "fma") return __builtin_cpu_supports("fma");
  if (name == "fma4") return __builtin_cpu_supports("fma4");
  if (name == "f16c") return __builtin_cpu_supports("f16c");
  if (name == "avx512") return avx512();
  if (name == "avx512_skylake") return skylake();
  if (name == "avx512_cannonlake") return cannonlake();
  if (name == "avx512_zen4") return zen4();
  if (name == "avx512_sapphirerapids" || name == "avx512_zen5")
    return zen4() && __builtin_cpu_supports("avxvnni");
  if (name == "avxvnni") return __builtin_cpu_supports("avxvnni");
  return true;
}
#else
namespace {
#if defined(__aarch64__)
constexpr std::string_view kArchitecture = "arm";
#else
constexpr std::string_view kArchitecture = "unknown";
#endif
}  // namespace

bool cpu_has(std::string_view) { return true; }
bool acquire_matrix_unit() { return false; }
#endif

Status check_cpu(std::string_view target) {
  const auto missing = [&](const std::string& what) {
    return Status(StatusCode::unsupported,
                  "compiled for " + std::string(target) + ", " + what +
                      ": run it on such a computer, or compile it for this one");
  };
  bool first = true;
  for (std::string_view rest = target; !rest.empty();) {
    const size_t dash = rest.find('-');
    const std::string_view part = rest.substr(0, dash);
    rest = dash == std::string_view::npos ? std::string_view() : rest.substr(dash + 1);
    if (first && part != kArchitecture && part != "host")
      return missing("but this machine is " + std::string(kArchitecture));
    if (!first && !cpu_has(part)) return missing("but this CPU lacks " + std::string(part));
    first = false;
  }
  return {};
}

}  // namespace tintype
