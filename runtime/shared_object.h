// Kernels from the bytes of an ELF shared object.
#pragma once

#include "runtime/kernel.h"

#include <cstddef>
#include <memory>
#include <span>

namespace tintype {

/// Loads a shared object that exports `<symbol>_argv` per kernel, `tintype_hook_table` and
/// `tintype_hook_version` (see hook_trampolines). Nothing is written to disk, and nothing is
/// searched for by name. Failures: io_error when the system refuses, unsupported when the hooks are
/// of another version.
Result<std::shared_ptr<const KernelLibrary>> load_shared_object(std::span<const std::byte> elf);

}  // namespace tintype
