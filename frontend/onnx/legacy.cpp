// Broadcasting rules from before opset 7.
#include "frontend/onnx/legacy.h"

#include "ir/builder.h"

namespace tintype {

namespace {

/// Until opset 7, a vector of slopes belonged to the channels (axis 1); now it would belong to the
/// innermost axis.
Value* slopes_of_channels(Builder& b, Value* slopes, int rank) {
  std::vector<int64_t> dims(static_cast<size_t>(rank) - 1, 1);
  dims[0] = -1;
  const auto count = static_cast<int64_t>(dims.size());
  return b.make("Reshape", {slopes, b.constant(Tensor::from<int64_t>({count}, dims))});
}

}  // namespace

void adapt_operands(Builder& b, std::string_view op_type, int opset,
                    std::vector<Value*>& operands) {
  if (op_type != "PRelu" || opset >= 7 || operands.size() != 2) return;
  if (operands[0] == nullptr || operands[1] == nullptr) return;
  if (operands[1]->rank() == 1 && operands[0]->rank() > 2 && !operands[1]->shape()[0].is(1))
    operands[1] = slopes_of_channels(b, operands[1], operands[0]->rank());
}

}  // namespace tintype
