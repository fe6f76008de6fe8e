// NumPy's files: .npy and .npz.
#pragma once

#include "runtime/status.h"
#include "runtime/tensor.h"

#include <map>
#include <string>

namespace tintype {

/// Reads format versions 1 to 3, little endian, numbers and bool; Fortran order is transposed.
/// Messages begin with the path.
Result<Tensor> load_npy(const std::string& path);
/// Version 1.0, little endian, C order. Written whole or not at all. bf16 is unsupported.
Status save_npy(const Tensor& tensor, const std::string& path);

/// The arrays of an .npz file (stored or deflated) by name, without ".npy".
Result<std::map<std::string, Tensor>> load_npz(const std::string& path);

}  // namespace tintype
