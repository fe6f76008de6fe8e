/* C interface of the runtime: load a compiled model and run it.
 *
 * Every function that can fail returns a tintype_status; tintype_last_error() then gives the
 * message. No function throws, aborts on bad arguments, or keeps pointers to what the caller
 * passed, unless it says so. Models may be used from many threads at once. */
#ifndef TINTYPE_H
#define TINTYPE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum tintype_status {
  TINTYPE_OK = 0,
  TINTYPE_INVALID_ARGUMENT = 1, /* wrong name, element type, shape, or a null pointer */
  TINTYPE_OUT_OF_MEMORY = 2,
  TINTYPE_CORRUPT_FILE = 3, /* the model file fails its checks */
  TINTYPE_IO_ERROR = 4,
  TINTYPE_UNSUPPORTED = 5, /* made for another CPU or by another version */
  TINTYPE_INTERNAL = 6     /* a defect of Tintype */
} tintype_status;

typedef enum tintype_dtype {
  TINTYPE_BOOL = 1, /* one byte, 0 or 1 */
  TINTYPE_I8 = 2,
  TINTYPE_I16 = 3,
  TINTYPE_I32 = 4,
  TINTYPE_I64 = 5,
  TINTYPE_U8 = 6,
  TINTYPE_U16 = 7,
  TINTYPE_U32 = 8,
  TINTYPE_U64 = 9,
  TINTYPE_F16 = 10,
  TINTYPE_BF16 = 11,
  TINTYPE_F32 = 12,
  TINTYPE_F64 = 13
} tintype_dtype;

/* A view of row-major elements without gaps, owned by somebody else. */
typedef struct tintype_tensor {
  int32_t dtype; /* a tintype_dtype */
  int32_t rank;
  const int64_t* dims; /* `rank` extents; may be null when rank is 0 */
  const void* data;
} tintype_tensor;

/* An input or output of a model. */
typedef struct tintype_port {
  const char* name; /* these pointers live as long as the model */
  const char* type; /* "f32[N,3,224,224]" */
  int32_t dtype;    /* a tintype_dtype */
  int32_t rank;
} tintype_port;

typedef struct tintype_model tintype_model;
typedef struct tintype_result tintype_result;

/* Message of the last failure in the calling thread; empty when there was none. Valid until the
 * next call in this thread. */
const char* tintype_last_error(void);

/* Maps a .tt file. The model is to be freed. */
tintype_status tintype_load(const char* path, tintype_model** model);
void tintype_free_model(tintype_model* model); /* null is allowed */

size_t tintype_input_count(const tintype_model* model);
size_t tintype_output_count(const tintype_model* model);
tintype_status tintype_input(const tintype_model* model, size_t index, tintype_port* port);
tintype_status tintype_output(const tintype_model* model, size_t index, tintype_port* port);

/* Runs once. `inputs` are in the order of the ports; `threads` bounds the threads used, 0 for the
 * default. The result is to be freed; it owns its tensors. */
tintype_status tintype_run(const tintype_model* model, const tintype_tensor* inputs,
                           size_t input_count, int threads, tintype_result** result);
/* An output by index; valid until the result is freed. */
tintype_status tintype_result_tensor(const tintype_result* result, size_t index,
                                     tintype_tensor* tensor);
void tintype_free_result(tintype_result* result); /* null is allowed */

/* Bytes of an element, 0 for an unknown type. */
size_t tintype_dtype_size(int32_t dtype);

#ifdef __cplusplus
}
#endif

#endif
