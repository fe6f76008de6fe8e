// Type of a value: element type and extents.
#pragma once

#include "ir/dim.h"
#include "runtime/dtype.h"

#include <string>

namespace tintype {

struct TensorType {
  DType dtype = DType::undefined;
  Shape shape;  ///< outermost first

  int rank() const { return static_cast<int>(shape.size()); }
  bool is_static() const {
    for (const Dim& d : shape)
      if (!d.is_static()) return false;
    return true;
  }
  /// "f32[N,3,224,224]"
  std::string text() const { return std::string(name_of(dtype)) + text_of(shape); }
  friend bool operator==(const TensorType& a, const TensorType& b) = default;
};

}  // namespace tintype
