// What ONNX's version converter leaves undone.
#pragma once

#include "ir/graph.h"

#include <string_view>
#include <vector>

namespace tintype {

class Builder;

/// Adapts the operands of a node stored in `opset` whose meaning has changed since.
void adapt_operands(Builder& b, std::string_view op_type, int opset, std::vector<Value*>& operands);

}  // namespace tintype
