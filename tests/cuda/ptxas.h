// NVIDIA's assembler as a judge of our PTX.
#pragma once

#include "codegen/object_library.h"

#include <string>
#include <vector>

namespace tintype::cuda_test {

/// Path of ptxas: TINTYPE_PTXAS, what tools/setup/ptxas.sh installed, or CUDA's in /usr/local; ""
/// when there is none.
std::string find_ptxas();

/// What a function of a kernel needs.
struct Needs {
  std::string function;
  int registers = 0, spills = 0, stack = 0;
};

struct Verdict {
  bool accepted = false;
  std::string messages;
  std::vector<Needs> functions;
};

/// Assembles for "sm_80" and the like.
Verdict assemble(const std::string& ptxas, const std::string& ptx, const std::string& architecture);

/// The PTX text inside a kernel's object; "" when it is one for the CPU.
std::string ptx_of(const KernelObject& object);

}  // namespace tintype::cuda_test
