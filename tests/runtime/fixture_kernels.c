// Kernels of a shared object as the compiler emits them, for tests that load one.
#include <stddef.h>
#include <stdint.h>
#include <string.h>

int halide_do_par_for(void*, int (*)(void*, int, uint8_t*), int, int, uint8_t*);
void* halide_malloc(void*, size_t);
void halide_free(void*, void*);
int halide_error_out_of_memory(void*);
int halide_error_bad_dimensions(void*, const char*, int32_t, int32_t);

// The part of halide_buffer_t that is used here.
struct dimension { int32_t min, extent, stride, flags; };
struct buffer {
  uint64_t device;
  void* device_interface;
  float* host;
  uint64_t flags;
  uint32_t type;
  int32_t dimensions;
  struct dimension* dim;
  void* padding;
};

struct closure { const struct buffer *in, *out; float* scratch; };

static int row(void* context, int y, uint8_t* bytes) {
  struct closure* c = (struct closure*)bytes;
  (void)context;
  for (int x = 0; x < c->in->dim[0].extent; ++x) {
    const int i = y * c->in->dim[1].stride + x;
    c->scratch[i] = c->in->host[i] * 2;
    c->out->host[i] = c->scratch[i] + 1;
  }
  return 0;
}

// out = 2 * in + 1, by way of scratch memory and a parallel loop.
int scale_argv(void** argv) {
  void* context = *(void**)argv[0];
  const struct buffer *in = argv[1], *out = argv[2];
  if (in->dimensions != 2) return halide_error_bad_dimensions(context, "in", in->dimensions, 2);
  const int rows = in->dim[1].extent;
  float* scratch = halide_malloc(context, sizeof(float) * (size_t)(rows * in->dim[0].extent));
  if (scratch == NULL) return halide_error_out_of_memory(context);
  struct closure c = {in, out, scratch};
  const int result = halide_do_par_for(context, row, 0, rows, (uint8_t*)&c);
  halide_free(context, scratch);
  return result;
}
