// Error hooks of compiled kernels: each records a message in the KernelContext and returns its
// code.
#pragma once

#include <HalideRuntime.h>

// Kernels format numbers into messages with these; HalideRuntime.h does not declare them. Each
// writes to [to, end), ends the text with a zero byte when there is room, and returns where the
// zero is.
extern "C" {
char* halide_string_to_string(char* to, char* end, const char* text);
char* halide_double_to_string(char* to, char* end, double value, int scientific);
char* halide_int64_to_string(char* to, char* end, int64_t value, int digits);
char* halide_uint64_to_string(char* to, char* end, uint64_t value, int digits);
char* halide_pointer_to_string(char* to, char* end, const void* value);
}

namespace tintype {

/// Notes `message` in the context unless an earlier one is there; null contexts are ignored.
/// Thread-safe. Returns `code`.
int record_kernel_error(void* user_context, int code, const char* message);

}  // namespace tintype
