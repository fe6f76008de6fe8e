// The functions that compiled kernels call back: parallel loops, scratch memory, errors, printing.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace tintype {

/// A hook by the name under which kernels refer to it.
struct HookSymbol {
  const char* name;
  void* address;
};

/// Every hook, in a fixed order that is part of the interface to compiled libraries, whose tables
/// have a place for each: kHookVersion grows with every change.
std::span<const HookSymbol> halide_hook_symbols();
inline constexpr int kHookVersion = 3;

/// A shared object of compiled kernels carries its own definitions of the hooks, each a jump
/// through an exported table, because the program that loads it need not export its own. This is
/// the source of those definitions, in GNU assembler syntax, for "x86_64" or "aarch64"; empty for
/// others. It exports `tintype_hook_table` (one pointer per hook, in order) and
/// `tintype_hook_version` (int), which KernelLibrary loading fills and checks; the hooks themselves
/// stay hidden.
std::string hook_trampolines(std::string_view architecture);

}  // namespace tintype
