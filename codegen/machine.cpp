// Detection of the host and of what a target string stands for.
#include "codegen/machine.h"

#include "ir/diagnostic.h"

#include <Halide.h>
#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <thread>

namespace tintype {

namespace {

/// Size of this computer's second-level cache, or 1 MiB when the system does not tell.
int64_t host_l2_bytes() {
  std::ifstream file("/sys/devices/system/cpu/cpu0/cache/index2/size");
  int64_t kib = 0;
  return file >> kib && kib > 0 ? kib * 1024 : int64_t{1} << 20;
}

}  // namespace

Machine machine_for(const std::string& target) {
  if (!Halide::Target::validate_target_string(target))
    throw Error("target '" + target +
                "' is not known; an example is x86-64-linux-avx-avx2-f16c-fma-sse41");
  Halide::Target t(target);
  for (auto f : {Halide::Target::NoRuntime, Halide::Target::NoAsserts,
                 Halide::Target::NoBoundsQuery, Halide::Target::UserContext})
    t.set_feature(f);
  Machine m;
  m.target = t.to_string();
  m.lanes = t.natural_vector_size<float>();
  m.registers = m.lanes == 16 ? 32 : 16;
  m.l2_bytes = host_l2_bytes();
  m.cores = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  // Zen 4 runs 512-bit multiply-adds at half rate: as many floats a cycle as with 256 bits.
  m.multiply_adds = m.lanes == 16 && t.processor_tune == Halide::Target::Processor::ZnVer4 ? 1 : 2;
  m.gflops = 6.6 * m.lanes * m.multiply_adds;
  return m;
}

Machine host_machine() {
  const char* override_target = std::getenv("TINTYPE_TARGET");
  return machine_for(override_target != nullptr ? override_target
                                                : Halide::get_host_target().to_string());
}

}  // namespace tintype
