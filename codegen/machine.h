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
  double gflops = 100.0;   ///< f32 multiply-adds, counted as two
  double dram_gbs = 25.0;  ///< read bandwidth of main memory
};

/// This computer. TINTYPE_TARGET overrides the Halide target string ("x86-64-linux-avx2-fma-...").
Machine host_machine();
/// A machine for a Halide target string; Error when Halide does not know it.
Machine machine_for(const std::string& target);

}  // namespace tintype
