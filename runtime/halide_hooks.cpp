// Hooks of compiled kernels that do work, and the table of all of them. The first argument of each
// is the KernelContext of the execution, or null.
#include "runtime/halide_hooks.h"

#include "runtime/cuda/hooks.h"
#include "runtime/halide_errors.h"
#include "runtime/kernel.h"
#include "runtime/scratch.h"
#include "runtime/thread_pool.h"
#include "runtime/tile_product.h"

#include <HalideRuntime.h>
#include <array>
#include <cstdio>

extern "C" {

int halide_do_par_for(void* user_context, halide_task_t task, int min, int size, uint8_t* closure) {
  const auto* context = static_cast<const tintype::KernelContext*>(user_context);
  const int threads = context == nullptr ? 0 : context->max_threads;
  return tintype::ThreadPool::shared().run(task, user_context, min, size, closure, threads);
}

void* halide_malloc(void*, size_t bytes) { return tintype::scratch_allocate(bytes); }

void halide_free(void*, void* block) { tintype::scratch_free(block); }

void halide_print(void*, const char* text) { std::fputs(text, stderr); }

}  // extern "C"

namespace tintype {

namespace {

template <typename F>
void* address_of(F* function) {
  return reinterpret_cast<void*>(function);
}

#define TINTYPE_HOOK(name) \
  HookSymbol { #name, address_of((name)) }
// Order is part of the interface to compiled libraries; see halide_hook_symbols.
const std::array kHooks = {
    TINTYPE_HOOK(halide_do_par_for),
    TINTYPE_HOOK(halide_malloc),
    TINTYPE_HOOK(halide_free),
    TINTYPE_HOOK(halide_print),
    TINTYPE_HOOK(halide_error),
    TINTYPE_HOOK(halide_error_bounds_inference_call_failed),
    TINTYPE_HOOK(halide_error_extern_stage_failed),
    TINTYPE_HOOK(halide_error_explicit_bounds_too_small),
    TINTYPE_HOOK(halide_error_bad_type),
    TINTYPE_HOOK(halide_error_bad_dimensions),
    TINTYPE_HOOK(halide_error_access_out_of_bounds),
    TINTYPE_HOOK(halide_error_buffer_allocation_too_large),
    TINTYPE_HOOK(halide_error_buffer_extents_negative),
    TINTYPE_HOOK(halide_error_buffer_extents_too_large),
    TINTYPE_HOOK(halide_error_constraints_make_required_region_smaller),
    TINTYPE_HOOK(halide_error_constraint_violated),
    TINTYPE_HOOK(halide_error_param_too_small_i64),
    TINTYPE_HOOK(halide_error_param_too_small_u64),
    TINTYPE_HOOK(halide_error_param_too_small_f64),
    TINTYPE_HOOK(halide_error_param_too_large_i64),
    TINTYPE_HOOK(halide_error_param_too_large_u64),
    TINTYPE_HOOK(halide_error_param_too_large_f64),
    TINTYPE_HOOK(halide_error_out_of_memory),
    TINTYPE_HOOK(halide_error_buffer_argument_is_null),
    TINTYPE_HOOK(halide_error_debug_to_file_failed),
    TINTYPE_HOOK(halide_error_unaligned_host_ptr),
    TINTYPE_HOOK(halide_error_host_is_null),
    TINTYPE_HOOK(halide_error_bad_fold),
    TINTYPE_HOOK(halide_error_bad_extern_fold),
    TINTYPE_HOOK(halide_error_fold_factor_too_small),
    TINTYPE_HOOK(halide_error_requirement_failed),
    TINTYPE_HOOK(halide_error_specialize_fail),
    TINTYPE_HOOK(halide_error_no_device_interface),
    TINTYPE_HOOK(halide_error_device_interface_no_device),
    TINTYPE_HOOK(halide_error_host_and_device_dirty),
    TINTYPE_HOOK(halide_error_buffer_is_null),
    TINTYPE_HOOK(halide_error_device_dirty_with_no_device_support),
    TINTYPE_HOOK(halide_error_storage_bound_too_small),
    TINTYPE_HOOK(halide_error_device_crop_failed),
    TINTYPE_HOOK(halide_error_split_factor_not_positive),
    TINTYPE_HOOK(halide_error_vscale_invalid),
    TINTYPE_HOOK(halide_string_to_string),
    TINTYPE_HOOK(halide_double_to_string),
    TINTYPE_HOOK(halide_int64_to_string),
    TINTYPE_HOOK(halide_uint64_to_string),
    TINTYPE_HOOK(halide_pointer_to_string),
    TINTYPE_HOOK(halide_cuda_device_interface),
    TINTYPE_HOOK(halide_cuda_initialize_kernels),
    TINTYPE_HOOK(halide_cuda_finalize_kernels),
    TINTYPE_HOOK(halide_cuda_run),
    TINTYPE_HOOK(halide_copy_to_device),
    TINTYPE_HOOK(halide_copy_to_host),
    TINTYPE_HOOK(halide_device_malloc),
    TINTYPE_HOOK(halide_device_free),
    TINTYPE_HOOK(halide_device_free_as_destructor),
    TINTYPE_HOOK(tintype_tile_dot),
    TINTYPE_HOOK(tintype_tile_conv),
    TINTYPE_HOOK(tintype_tile_pack),
};
#undef TINTYPE_HOOK

}  // namespace

std::span<const HookSymbol> halide_hook_symbols() { return kHooks; }

namespace {

// Both use registers that are free at function entry by the calling conventions.
const char* jump_template(std::string_view architecture) {
  if (architecture == "x86_64")
    return "\tmovq tintype_hook_table@GOTPCREL(%%rip), %%r11\n"
           "\tjmpq *%d(%%r11)\n";
  if (architecture == "aarch64")
    return "\tadrp x16, :got:tintype_hook_table\n"
           "\tldr x16, [x16, :got_lo12:tintype_hook_table]\n"
           "\tldr x16, [x16, #%d]\n"
           "\tbr x16\n";
  return nullptr;
}

template <typename... Arguments>
std::string formatted(const char* format, const Arguments&... arguments) {
  char text[512];
  std::snprintf(text, sizeof text, format, arguments...);
  return text;
}

}  // namespace

std::string hook_trampolines(std::string_view architecture) {
  const char* jump = jump_template(architecture);
  if (jump == nullptr) return {};
  std::string s = "\t.text\n";
  int offset = 0;
  for (const HookSymbol& hook : kHooks) {
    s += formatted("\t.globl %1$s\n\t.hidden %1$s\n\t.type %1$s,@function\n\t.p2align 4\n%1$s:\n",
                   hook.name);
    s += formatted(jump, offset);
    s += formatted("\t.size %1$s,.-%1$s\n", hook.name);
    offset += static_cast<int>(sizeof(void*));
  }
  s += formatted("\t.bss\n\t.globl tintype_hook_table\n\t.type tintype_hook_table,@object\n"
                 "\t.p2align 3\ntintype_hook_table:\n\t.zero %1$d\n"
                 "\t.size tintype_hook_table,%1$d\n",
                 offset);
  s += formatted("\t.section .rodata\n\t.globl tintype_hook_version\n"
                 "\t.type tintype_hook_version,@object\n\t.p2align 2\ntintype_hook_version:\n"
                 "\t.long %d\n\t.size tintype_hook_version,4\n",
                 kHookVersion);
  return s + "\t.section .note.GNU-stack,\"\",@progbits\n";
}

}  // namespace tintype
