/* A compiled model in a program in C.
 *   deployed_c MODEL.tt */
#include <tintype/runtime/tintype.h>

#include <stdio.h>

int main(int argc, char** argv) {
  const float values[4] = {-2, -1, 0, 1};
  const int64_t dims[2] = {1, 4};
  const tintype_tensor x = {TINTYPE_F32, 2, dims, values};
  tintype_model* model = NULL;
  tintype_result* result = NULL;
  tintype_tensor y = {0};
  if (argc != 2) {
    fprintf(stderr, "usage: deployed_c MODEL.tt\n");
    return 2;
  }
  const int failed = tintype_load(argv[1], &model) != TINTYPE_OK ||
                     tintype_run(model, &x, 1, 0, &result) != TINTYPE_OK ||
                     tintype_result_tensor(result, 0, &y) != TINTYPE_OK;
  if (failed) fprintf(stderr, "%s\n", tintype_last_error());
  for (int64_t i = 0; !failed && i < y.dims[1]; ++i) printf("%g ", ((const float*)y.data)[i]);
  if (!failed) printf("\n");
  tintype_free_result(result);
  tintype_free_model(model);
  return failed;
}
