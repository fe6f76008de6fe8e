// Training data given on the command line.
#pragma once

#include "ir/type.h"
#include "runtime/tensor.h"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace tintype::cli {

/// Tensors whose first extent counts examples, by the program input they are for.
using Examples = std::map<std::string, Tensor>;

/// Reads NAME=FILE or FILE; files without a name are for the `names` in order. Throws Error.
Examples load_examples(const std::vector<std::string>& files,
                       const std::vector<std::string>& names);

/// The examples in the element type that the program wants: u8 images become f32 in [0, 1], other
/// numbers are converted. Throws Error when the extents do not fit `type`.
Tensor converted(const Tensor& examples, const TensorType& type, const std::string& name);

/// Takes a share of the examples, chosen by the seed, out of `examples`.
Examples split_off(Examples& examples, double share, uint64_t seed);

/// Largest label plus one; 0 when the tensor holds no integers.
int64_t class_count(const Tensor& labels);

}  // namespace tintype::cli
