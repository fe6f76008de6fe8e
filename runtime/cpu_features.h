// Whether this machine can execute code that was compiled for a target.
#pragma once

#include "runtime/status.h"

#include <string_view>

namespace tintype {

/// Whether this CPU has Intel's AMX for bf16, which hypervisors may withhold, and the system lets
/// this process use its registers, which the first call asks for.
bool acquire_matrix_unit();

/// Whether this CPU, and the operating system with it, runs what Halide lets LLVM use under the
/// name of a target's feature, "avx2". True for names that are no instruction sets.
bool cpu_has(std::string_view feature);

/// `target` is a Halide target string, "x86-64-linux-avx-avx2-fma-...". Fails with unsupported,
/// naming the first missing feature, when the architecture differs or this CPU lacks an instruction
/// set that the target names. Parts that are not instruction sets are ignored; an empty target is
/// fine.
Status check_cpu(std::string_view target);

}  // namespace tintype
