/* Uses the C interface the way a C program does, and misuses it. */
#include "runtime/tintype.h"

#include <stdio.h>
#include <string.h>

static int failures;

static void check(int holds, const char* what) {
  if (holds) return;
  ++failures;
  fprintf(stderr, "failed: %s (last error: %s)\n", what, tintype_last_error());
}

static void run(const tintype_model* model) {
  const int64_t dims[2] = {2, 2};
  const float values[4] = {1, 2, 3, 4};
  tintype_tensor input = {TINTYPE_F32, 2, dims, values};
  tintype_result* result = NULL;
  check(tintype_run(model, &input, 1, 0, &result) == TINTYPE_OK, "run");
  tintype_tensor output;
  check(tintype_result_tensor(result, 0, &output) == TINTYPE_OK, "result");
  check(output.dtype == TINTYPE_F32 && output.rank == 2 && output.dims[0] == 2, "type of result");
  check(((const float*)output.data)[3] == 24, "value of result");
  check(tintype_result_tensor(result, 1, &output) == TINTYPE_INVALID_ARGUMENT, "no output 1");
  check(strcmp(tintype_last_error(), "no output 1, there are 1") == 0, "message");
  tintype_free_result(result);
}

static void misuse(const tintype_model* model) {
  const int64_t dims[2] = {2, 3}, negative[2] = {-1, 2};
  const float values[6] = {0};
  tintype_result* result = NULL;
  tintype_tensor t = {TINTYPE_F32, 2, dims, values};
  check(tintype_run(model, &t, 1, 0, &result) == TINTYPE_INVALID_ARGUMENT, "wrong extent");
  check(strcmp(tintype_last_error(), "input 'x': expected f32[N,2], got f32[2,3]") == 0, "message");
  check(result == NULL, "no result after a failure");
  check(tintype_run(model, &t, 0, 0, &result) == TINTYPE_INVALID_ARGUMENT, "too few inputs");
  t.dims = negative;
  check(tintype_run(model, &t, 1, 0, &result) == TINTYPE_INVALID_ARGUMENT, "negative extent");
  check(strcmp(tintype_last_error(), "input 0: negative extent in [-1,2]") == 0, "message");
  t.dims = NULL;
  check(tintype_run(model, &t, 1, 0, &result) == TINTYPE_INVALID_ARGUMENT, "null dims");
  t.dims = dims;
  t.rank = 1000;
  check(tintype_run(model, &t, 1, 0, &result) == TINTYPE_INVALID_ARGUMENT, "absurd rank");
  t.rank = 2;
  t.dtype = 99;
  check(tintype_run(model, &t, 1, 0, &result) == TINTYPE_INVALID_ARGUMENT, "unknown type");
  t.dtype = TINTYPE_F32;
  t.data = NULL;
  check(tintype_run(model, &t, 1, 0, &result) == TINTYPE_INVALID_ARGUMENT, "null data");
  check(tintype_run(NULL, &t, 1, 0, &result) == TINTYPE_INVALID_ARGUMENT, "null model");
  check(tintype_run(model, NULL, 1, 0, &result) == TINTYPE_INVALID_ARGUMENT, "null inputs");
  check(tintype_run(model, &t, 1, 0, NULL) == TINTYPE_INVALID_ARGUMENT, "null result");
  check(tintype_load(NULL, NULL) == TINTYPE_INVALID_ARGUMENT, "null path");
  tintype_free_model(NULL);
  tintype_free_result(NULL);
}

/* Runs the model at `path` by the C interface alone; returns the number of failed checks. */
int use_from_c(const char* path, const char* missing_path);

int use_from_c(const char* path, const char* missing_path) {
  tintype_model* model = NULL;
  check(tintype_load(missing_path, &model) == TINTYPE_IO_ERROR, "missing file");
  check(model == NULL && strstr(tintype_last_error(), "No such file") != NULL, "message");
  check(tintype_load(path, &model) == TINTYPE_OK, "load");
  check(tintype_input_count(model) == 1 && tintype_output_count(model) == 1, "counts");
  tintype_port port;
  check(tintype_input(model, 0, &port) == TINTYPE_OK, "input port");
  check(strcmp(port.name, "x") == 0 && strcmp(port.type, "f32[N,2]") == 0, "type of port");
  check(tintype_output(model, 1, &port) == TINTYPE_INVALID_ARGUMENT, "no output port 1");
  check(tintype_dtype_size(TINTYPE_BF16) == 2 && tintype_dtype_size(0) == 0, "sizes");
  run(model);
  misuse(model);
  tintype_free_model(model);
  return failures;
}
