// A case of a bundle: a compiled program, what to run it on, and what has to come out. Written
// where the compiler is, read where only the runtime is.
//
// A case is a folder with program.tt, data.bin and case.txt, which has one fact per line, fields
// apart by spaces:
//   runs COUNT                                   of one session, one after the other
//   input NAME DTYPE DIMS seed SEED              elements of random_elements()
//   input NAME DTYPE DIMS data OFFSET            elements in data.bin
//   expect WHAT DTYPE DIMS SCALE OFFSET          WHAT: RUN/OUTPUT, or state/NAME after the last run
// DIMS are 4x3x224x224, or - for a scalar. data.bin has those elements of an expected tensor that
// sampled() names; SCALE is the largest magnitude of all.
#pragma once

#include "runtime/status.h"
#include "runtime/tensor.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace tintype::check {

struct Input {
  std::string name;
  DType dtype = DType::undefined;
  std::vector<int64_t> dims;
  std::optional<uint64_t> seed;  ///< or, without one,
  uint64_t offset = 0;           ///< in data.bin
};

struct Expectation {
  std::string what;
  DType dtype = DType::undefined;
  std::vector<int64_t> dims;
  double scale = 0;
  uint64_t offset = 0;
};

struct Case {
  std::string folder;
  int64_t runs = 1;
  std::vector<Input> inputs;
  std::vector<Expectation> expectations;
};

Result<Case> read_case(const std::string& folder);
/// The text of case.txt.
std::string text_of(const Case& c);

/// Elements that depend on the seed alone: floats in [-1, 1), integers in [0, 10), as values of
/// Philox's words.
Tensor random_elements(DType dtype, const std::vector<int64_t>& dims, uint64_t seed);
/// Row-major positions of the elements that are compared: all of a small tensor, spread ones of a
/// large one.
std::vector<int64_t> sampled(int64_t size);
/// Those elements, one behind the other.
std::vector<std::byte> sample_of(const Tensor& t);
/// The largest magnitude, of finite elements.
double scale_of(const Tensor& t);

}  // namespace tintype::check
