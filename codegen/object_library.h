// Machine code in memory: objects linked by LLVM's ORC, resolved against the runtime's hooks.
#pragma once

#include "runtime/kernel.h"

#include <memory>
#include <string>
#include <vector>

namespace tintype {

/// An ELF object that exports `symbol_argv`.
struct KernelObject {
  std::string symbol;
  std::vector<char> bytes;
};

/// Links the objects and returns a library of their entries. Throws Error when an object does not
/// link (a damaged cache entry, another processor).
std::shared_ptr<const KernelLibrary> link_objects(const std::vector<KernelObject>& objects);

}  // namespace tintype
