// What became of a step that is written for one of NVIDIA's libraries.
#pragma once

#include <cstdint>
#include <string>

namespace tintype {

struct LibraryUse {
  int32_t step = 0;     ///< index into Program::steps
  std::string library;  ///< "cuBLASLt" or "cuDNN"
  std::string problem;  ///< why kernels do it instead; empty: the library does it
};

}  // namespace tintype
