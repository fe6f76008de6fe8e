// Kernels as one ELF shared object, for `.tt` files that the runtime loads without LLVM.
#pragma once

#include "codegen/object_library.h"

#include <string>
#include <vector>

namespace tintype {

/// Links kernel objects and jumps to the runtime's hooks into a shared object. `target` is a Halide
/// target string. Thread-safe; throws Error when linking fails.
std::vector<char> link_shared_object(const std::vector<KernelObject>& objects,
                                     const std::string& target);

}  // namespace tintype
