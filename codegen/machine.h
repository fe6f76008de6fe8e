// What kernels are compiled for: the instruction set and the figures the cost model needs.
#pragma once

#include <cstdint>
#include <string>

namespace tintype {

/// A CPU as the schedules see it. Rates are per core and only need to be right in proportion.
struct Machine {
  std::string target;  ///< Halide target string, part of every cache key
  int lanes = 8;       ///< f32 elements per vector
  int registers = 16;  ///< vector registers
  int64_t l2_bytes = 1 << 20;
  int cores = 2;           ///< that share the work of a kernel
  int multiply_adds = 2;   ///< vectors of multiply-adds started per cycle
  double loads = 2;        ///< vectors and broadcasts read from the first-level cache per cycle
  bool broadcasts = true;  ///< a multiply-add can read a broadcast from memory, without a register
  bool amx = false;        ///< multiplies tiles of bf16, see runtime/tile_product.h
  bool reads_f16 = false;  ///< has an instruction that widens a vector of f16
  double gflops = 100.0;   ///< f32 multiply-adds, counted as two
  double dram_gbs = 25.0;  ///< read bandwidth of main memory
  int cuda = 0;            ///< compute capability of the CUDA device, 80 for sm_80; 0: none
  bool split = false;      ///< with a CUDA device: what has no kernel for it may run on the CPU
};

/// This computer. TINTYPE_AMX=0 leaves its AMX alone, TINTYPE_AMX=1 compiles for AMX whether it has
/// it or not: without it, the runtime computes the same, slowly. TINTYPE_TARGET overrides the
/// Halide target string ("x86-64-linux-avx2-fma-...").
Machine host_machine();
/// A machine for a list such as "cuda", "cuda,sm_90", "host,cuda" or a Halide target string, alone
/// or in front of "cuda"; an Error says what is not known. "cuda" alone runs everything on the
/// device, "host,cuda" what has a kernel for it.
Machine machine_for(const std::string& target);
/// What Program::target says: the instruction set, and the device if there is one.
std::string program_target(const Machine& machine);

}  // namespace tintype
