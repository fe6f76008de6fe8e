// Detection of the host and of what a target string stands for.
#include "codegen/machine.h"

#include "ir/diagnostic.h"
#include "runtime/cpu_features.h"
#include "runtime/tile_product.h"

#include <Halide.h>
#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string_view>
#include <thread>
#include <vector>

namespace tintype {

namespace {

/// Size of this computer's second-level cache, or 1 MiB when the system does not tell.
int64_t host_l2_bytes() {
  std::ifstream file("/sys/devices/system/cpu/cpu0/cache/index2/size");
  int64_t kib = 0;
  return file >> kib && kib > 0 ? kib * 1024 : int64_t{1} << 20;
}

/// Halide takes a processor's model for what it can run, but a hypervisor may withhold
/// instructions: a Zen 4 without AVX-512, say.
std::string host_target() {
  const std::string all = Halide::get_host_target().to_string();
  std::string target;
  std::istringstream parts(all);
  for (std::string part; std::getline(parts, part, '-');)
    if (cpu_has(part)) target += (target.empty() ? "" : "-") + part;
  return target;
}

/// The list's items, without spaces.
std::vector<std::string> items_of(const std::string& list) {
  std::vector<std::string> items(1);
  for (const char c : list) {
    if (c == ',') items.emplace_back();
    else if (c != ' ') items.back() += c;
  }
  return items;
}

constexpr int kDefaultCapability = 80, kOldestCapability = 70, kNewestCapability = 129;

int capability_of(const std::string& item, const std::string& list) {
  const std::string digits = item.substr(3);
  const bool number = !digits.empty() && digits.size() <= 3 &&
                      digits.find_first_not_of("0123456789") == std::string::npos;
  const int capability = number ? std::stoi(digits) : 0;
  if (capability >= kOldestCapability && capability <= kNewestCapability) return capability;
  throw Error("target '" + list + "': '" + item + "' is no compute capability from sm_" +
              std::to_string(kOldestCapability) + " on; examples are sm_80 (A100), sm_90 (H100)");
}

/// TINTYPE_AMX overrides what the CPU has: 0 leaves it alone, 1 has f32 taken apart for it anyway.
void apply_amx_wish(Machine& m) {
  const char* wish = std::getenv("TINTYPE_AMX");
  if (wish == nullptr || *wish == '\0') return;
  m.amx = std::string_view(wish) != "0";
}

/// What kernels can be made for and linked. AVX-512 is taken as processors have it, with the parts
/// for bytes, words and short vectors: LLVM has no code for some of our kernels without them.
void check_instruction_set(const Halide::Target& t, const std::string& target) {
  using Halide::Target;
  if (t.arch != Target::X86 || t.bits != 64 || t.os != Target::Linux)
    throw Error("target '" + target +
                "': this build makes kernels for x86-64-linux, cuda, or both");
  const bool whole = t.has_feature(Target::AVX512_Skylake) ||
                     t.has_feature(Target::AVX512_Cannonlake) ||
                     t.has_feature(Target::AVX512_Zen4) || t.has_feature(Target::AVX512_Zen5) ||
                     t.has_feature(Target::AVX512_SapphireRapids);
  if ((t.has_feature(Target::AVX512) || t.has_feature(Target::AVX512_KNL)) && !whole)
    throw Error("target '" + target +
                "': AVX-512 is supported as avx512_skylake, avx512_cannonlake, avx512_zen4, "
                "avx512_zen5 or avx512_sapphirerapids, not without its parts for bytes and words");
}

Machine cpu_machine(const std::string& target) {
  if (!Halide::Target::validate_target_string(target))
    throw Error("target '" + target +
                "' is not known; examples are x86-64-linux-avx-avx2-f16c-fma-sse41, cuda, "
                "cuda,sm_90 and host,cuda");
  Halide::Target t(target);
  if (t.has_gpu_feature())
    throw Error("target '" + target + "': devices are named apart, as in host,cuda,sm_90");
  check_instruction_set(t, target);
  for (auto f : {Halide::Target::NoRuntime, Halide::Target::NoAsserts,
                 Halide::Target::NoBoundsQuery, Halide::Target::UserContext})
    t.set_feature(f);
  Machine m;
  m.target = t.to_string();
  m.lanes = t.natural_vector_size<float>();
  m.registers = m.lanes == 16 ? 32 : 16;
  m.broadcasts = m.lanes == 16;
  m.loads = m.lanes == 16 ? 2 : 1.5;
  m.l2_bytes = host_l2_bytes();
  m.cores = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  // Zen 4 runs 512-bit multiply-adds at half rate: as many floats a cycle as with 256 bits.
  m.multiply_adds = m.lanes == 16 && t.processor_tune == Halide::Target::Processor::ZnVer4 ? 1 : 2;
  m.gflops = 6.6 * m.lanes * m.multiply_adds;
  m.amx = t.has_feature(Halide::Target::AVX512_SapphireRapids) && has_tile_unit();
  m.reads_f16 = m.lanes == 16 || t.has_feature(Halide::Target::F16C);
  apply_amx_wish(m);
  return m;
}

}  // namespace

Machine machine_for(const std::string& target) {
  std::string cpu;
  bool host = false;
  int capability = 0, cuda = 0;
  for (const std::string& item : items_of(target)) {
    if (item == "cuda") ++cuda;
    else if (item == "host") host = true;
    else if (item.starts_with("sm_")) capability = capability_of(item, target);
    else if (!cpu.empty()) throw Error("target '" + target + "' names two processors");
    else cpu = item;
  }
  if (cuda > 1) throw Error("target '" + target + "' names cuda twice");
  if (host && !cpu.empty()) throw Error("target '" + target + "' names two processors");
  if (capability > 0 && cuda == 0)
    throw Error("target '" + target + "': a compute capability needs cuda in front of it");
  if (cpu.empty() && cuda == 0 && !host) return cpu_machine(target);
  Machine m = cpu.empty() ? host_machine() : cpu_machine(cpu);
  if (cuda == 0) return m;
  m.cuda = capability > 0 ? capability : kDefaultCapability;
  m.split = host || !cpu.empty();
  return m;
}

std::string program_target(const Machine& machine) {
  if (machine.cuda == 0) return machine.target;
  return machine.target + "-cuda-sm_" + std::to_string(machine.cuda);
}

Machine host_machine() {
  const char* override_target = std::getenv("TINTYPE_TARGET");
  if (override_target != nullptr) return cpu_machine(override_target);
  return cpu_machine(host_target());
}

}  // namespace tintype
