// The choice between our kernels and NVIDIA's libraries.
#pragma once

#include <cstdint>

namespace tintype {

/// Whether products and convolutions on a CUDA device may be those of NVIDIA's libraries.
enum class Libraries : uint8_t {
  automatic,  ///< where they are reckoned to be faster
  never,
  always,  ///< wherever they have a function for it
};

}  // namespace tintype
