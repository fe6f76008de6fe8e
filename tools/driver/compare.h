// Comparison of results with expectations, and verification of test folders.
#pragma once

#include "runtime/tensor.h"
#include "tools/driver/driver.h"

#include <string>
#include <vector>

namespace tintype {

struct Comparison {
  bool ok = true;
  double max_error = 0;  ///< largest |got - want|
  double scale = 0;      ///< largest |want|
  std::string message;   ///< first difference: index, got, want
};

/// |got - want| <= atol + rtol * |want| for every element; NaN equals NaN, shapes and dtypes must
/// be the same.
Comparison compare_tensors(const Tensor& got, const Tensor& want, double rtol, double atol);

enum class CaseOutcome : uint8_t { passed, mismatch, refused, failed };

struct CaseResult {
  std::string folder;
  CaseOutcome outcome = CaseOutcome::passed;
  std::string message;
};

struct VerifyOptions {
  CompileOptions compile;
  double rtol = -1, atol = -1;  ///< negative: data.json of the case, else 1e-3 and 1e-7
  RunOptions run;
};

/// Runs model.onnx of a folder on each test_data_set_* and compares. Inputs whose values decide
/// shapes are compiled in. Never throws for a bad model: the result says why.
CaseResult verify_case(const std::string& folder, const VerifyOptions& options);

}  // namespace tintype
