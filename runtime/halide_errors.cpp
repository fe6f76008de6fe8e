// Error hooks of compiled kernels. Halide's own abort the process; these record and return.
#include "runtime/halide_errors.h"

#include "runtime/kernel.h"

#include <cstdarg>
#include <cstdio>
#include <mutex>

namespace tintype {

namespace {

std::mutex error_mutex;

[[gnu::format(printf, 3, 4)]] int fail(void* user_context, int code, const char* format, ...) {
  char text[512];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  return record_kernel_error(user_context, code, text);
}

[[gnu::format(printf, 3, 4)]] char* append(char* to, char* end, const char* format, ...) {
  if (to >= end) return end;
  va_list arguments;
  va_start(arguments, format);
  const int length = std::vsnprintf(to, static_cast<size_t>(end - to), format, arguments);
  va_end(arguments);
  return length < end - to ? to + (length < 0 ? 0 : length) : end - 1;
}

const char* type_name(uint32_t bits, char (&text)[24]) {
  static const char* const kCodes[] = {"int", "uint", "float", "handle", "bfloat"};
  const unsigned code = bits & 0xffu, width = (bits >> 8) & 0xffu, lanes = bits >> 16;
  std::snprintf(text, sizeof text, "%s%ux%u", code < 5 ? kCodes[code] : "?", width, lanes);
  return text;
}

}  // namespace

int record_kernel_error(void* user_context, int code, const char* message) {
  if (user_context == nullptr) return code;
  auto* context = static_cast<KernelContext*>(user_context);
  const std::lock_guard lock(error_mutex);
  try {
    if (context->error.empty()) context->error = message;
  } catch (...) {
    context->error.clear();  // without memory for the message the code alone has to do
  }
  return code;
}

}  // namespace tintype

using tintype::append;
using tintype::fail;
using tintype::type_name;
using I64 = long long;
using U64 = unsigned long long;

extern "C" {

void halide_error(void* uc, const char* message) {
  tintype::record_kernel_error(uc, halide_error_code_generic_error, message);
}

int halide_error_bounds_inference_call_failed(void* uc, const char* stage, int result) {
  return fail(uc, result, "bounds query of %s returned %d", stage, result);
}

int halide_error_extern_stage_failed(void* uc, const char* stage, int result) {
  return fail(uc, result, "extern stage %s returned %d", stage, result);
}

int halide_error_explicit_bounds_too_small(void* uc, const char* func, const char* var,
                                           int min_bound, int max_bound, int min_required,
                                           int max_required) {
  return fail(uc, halide_error_code_explicit_bounds_too_small,
              "bounds [%d, %d] of %s in %s do not cover the required [%d, %d]", min_bound,
              max_bound, var, func, min_required, max_required);
}

int halide_error_bad_type(void* uc, const char* func, uint32_t given, uint32_t correct) {
  char a[24], b[24];
  return fail(uc, halide_error_code_bad_type, "%s has type %s, expected %s", func,
              type_name(given, a), type_name(correct, b));
}

int halide_error_bad_dimensions(void* uc, const char* func, int32_t given, int32_t correct) {
  return fail(uc, halide_error_code_bad_dimensions, "%s has %d dimensions, expected %d", func,
              given, correct);
}

int halide_error_access_out_of_bounds(void* uc, const char* func, int dimension, int min_touched,
                                      int max_touched, int min_valid, int max_valid) {
  return fail(uc, halide_error_code_access_out_of_bounds,
              "%s is accessed at [%d, %d] in dimension %d, valid is [%d, %d]", func, min_touched,
              max_touched, dimension, min_valid, max_valid);
}

int halide_error_buffer_allocation_too_large(void* uc, const char* buffer, uint64_t size,
                                             uint64_t max_size) {
  return fail(uc, halide_error_code_buffer_allocation_too_large,
              "buffer %s needs %llu bytes, at most %llu are possible", buffer,
              static_cast<U64>(size), static_cast<U64>(max_size));
}

int halide_error_buffer_extents_negative(void* uc, const char* buffer, int dimension, int extent) {
  return fail(uc, halide_error_code_buffer_extents_negative,
              "buffer %s has negative extent %d in dimension %d", buffer, extent, dimension);
}

int halide_error_buffer_extents_too_large(void* uc, const char* buffer, int64_t size,
                                          int64_t max_size) {
  return fail(uc, halide_error_code_buffer_extents_too_large,
              "buffer %s has %lld elements, at most %lld are possible", buffer,
              static_cast<I64>(size), static_cast<I64>(max_size));
}

int halide_error_constraints_make_required_region_smaller(void* uc, const char* buffer,
                                                          int dimension, int constrained_min,
                                                          int constrained_extent, int required_min,
                                                          int required_extent) {
  return fail(uc, halide_error_code_constraints_make_required_region_smaller,
              "constraints of buffer %s in dimension %d give %d+%d, required is %d+%d", buffer,
              dimension, constrained_min, constrained_extent, required_min, required_extent);
}

int halide_error_constraint_violated(void* uc, const char* var, int value,
                                     const char* constrained_var, int constrained_value) {
  return fail(uc, halide_error_code_constraint_violated, "%s is %d but must equal %s, which is %d",
              var, value, constrained_var, constrained_value);
}

int halide_error_param_too_small_i64(void* uc, const char* name, int64_t value, int64_t least) {
  return fail(uc, halide_error_code_param_too_small,
              "parameter %s is %lld, at least %lld is needed", name, static_cast<I64>(value),
              static_cast<I64>(least));
}

int halide_error_param_too_small_u64(void* uc, const char* name, uint64_t value, uint64_t least) {
  return fail(uc, halide_error_code_param_too_small,
              "parameter %s is %llu, at least %llu is needed", name, static_cast<U64>(value),
              static_cast<U64>(least));
}

int halide_error_param_too_small_f64(void* uc, const char* name, double value, double least) {
  return fail(uc, halide_error_code_param_too_small, "parameter %s is %g, at least %g is needed",
              name, value, least);
}

int halide_error_param_too_large_i64(void* uc, const char* name, int64_t value, int64_t most) {
  return fail(uc, halide_error_code_param_too_large,
              "parameter %s is %lld, at most %lld is allowed", name, static_cast<I64>(value),
              static_cast<I64>(most));
}

int halide_error_param_too_large_u64(void* uc, const char* name, uint64_t value, uint64_t most) {
  return fail(uc, halide_error_code_param_too_large,
              "parameter %s is %llu, at most %llu is allowed", name, static_cast<U64>(value),
              static_cast<U64>(most));
}

int halide_error_param_too_large_f64(void* uc, const char* name, double value, double most) {
  return fail(uc, halide_error_code_param_too_large, "parameter %s is %g, at most %g is allowed",
              name, value, most);
}

int halide_error_out_of_memory(void* uc) {
  return fail(uc, halide_error_code_out_of_memory, "no memory for the kernel's scratch");
}

int halide_error_buffer_argument_is_null(void* uc, const char* buffer) {
  return fail(uc, halide_error_code_buffer_argument_is_null, "buffer argument %s is null", buffer);
}

int halide_error_debug_to_file_failed(void* uc, const char* func, const char* file, int code) {
  return fail(uc, halide_error_code_debug_to_file_failed, "cannot write %s to %s (error %d)", func,
              file, code);
}

int halide_error_unaligned_host_ptr(void* uc, const char* func, int alignment) {
  return fail(uc, halide_error_code_unaligned_host_ptr, "memory of %s is not aligned to %d bytes",
              func, alignment);
}

int halide_error_host_is_null(void* uc, const char* func) {
  return fail(uc, halide_error_code_host_is_null, "memory of %s is null", func);
}

int halide_error_bad_fold(void* uc, const char* func, const char* var, const char* loop) {
  return fail(uc, halide_error_code_bad_fold,
              "%s folded over %s is not accessed monotonically in loop %s", func, var, loop);
}

int halide_error_bad_extern_fold(void* uc, const char* func, int dim, int min, int extent,
                                 int valid_min, int fold_factor) {
  return fail(uc, halide_error_code_bad_extern_fold,
              "%s is read at %d+%d in dimension %d, outside the fold %d+%d", func, min, extent, dim,
              valid_min, fold_factor);
}

int halide_error_fold_factor_too_small(void* uc, const char* func, const char* var, int fold_factor,
                                       const char* loop, int required) {
  return fail(uc, halide_error_code_fold_factor_too_small,
              "fold factor %d of %s in %s is too small for loop %s, required is %d", fold_factor,
              var, func, loop, required);
}

int halide_error_requirement_failed(void* uc, const char* condition, const char* message) {
  return fail(uc, halide_error_code_requirement_failed, "requirement %s failed: %s", condition,
              message);
}

int halide_error_specialize_fail(void* uc, const char* message) {
  return fail(uc, halide_error_code_specialize_fail, "no specialisation applies: %s", message);
}

int halide_error_no_device_interface(void* uc) {
  return fail(uc, halide_error_code_no_device_interface, "buffer has no device interface");
}

int halide_error_device_interface_no_device(void* uc) {
  return fail(uc, halide_error_code_device_interface_no_device,
              "buffer has a device interface but no device memory");
}

int halide_error_host_and_device_dirty(void* uc) {
  return fail(uc, halide_error_code_host_and_device_dirty,
              "buffer was changed on the host and on the device");
}

int halide_error_buffer_is_null(void* uc, const char* routine) {
  return fail(uc, halide_error_code_buffer_is_null, "null buffer passed to %s", routine);
}

int halide_error_device_dirty_with_no_device_support(void* uc, const char* buffer) {
  return fail(uc, halide_error_code_device_dirty_with_no_device_support,
              "buffer %s is newer on the device, but the kernel was compiled without one", buffer);
}

int halide_error_storage_bound_too_small(void* uc, const char* func, const char* var, int provided,
                                         int required) {
  return fail(uc, halide_error_code_storage_bound_too_small,
              "storage bound %d of %s in %s is too small, required is %d", provided, var, func,
              required);
}

int halide_error_device_crop_failed(void* uc) {
  return fail(uc, halide_error_code_device_crop_failed, "buffer cannot be cropped on the device");
}

int halide_error_split_factor_not_positive(void* uc, const char* func, const char* orig,
                                           const char* outer, const char* inner,
                                           const char* factor_text, int factor) {
  return fail(uc, halide_error_code_split_factor_not_positive,
              "splitting %s of %s into %s and %s by %s = %d", orig, func, outer, inner, factor_text,
              factor);
}

int halide_error_vscale_invalid(void* uc, const char* func, int runtime_vscale,
                                int compiletime_vscale) {
  return fail(uc, halide_error_code_vscale_invalid,
              "%s was compiled for vector scale %d, the machine has %d", func, compiletime_vscale,
              runtime_vscale);
}

char* halide_string_to_string(char* to, char* end, const char* text) {
  return append(to, end, "%s", text == nullptr ? "<null>" : text);
}

char* halide_double_to_string(char* to, char* end, double value, int scientific) {
  return append(to, end, scientific != 0 ? "%e" : "%f", value);
}

char* halide_int64_to_string(char* to, char* end, int64_t value, int digits) {
  return append(to, end, "%0*lld", digits, static_cast<I64>(value));
}

char* halide_uint64_to_string(char* to, char* end, uint64_t value, int digits) {
  return append(to, end, "%0*llu", digits, static_cast<U64>(value));
}

char* halide_pointer_to_string(char* to, char* end, const void* value) {
  return append(to, end, "%p", value);
}

}  // extern "C"
