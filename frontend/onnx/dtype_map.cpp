// Which ONNX element types correspond to ours.
#include "frontend/onnx/tensor_decode.h"

#include <onnx/onnx_pb.h>

#include <array>
#include <utility>

namespace tintype {

namespace {

constexpr std::array<std::pair<int32_t, DType>, 13> kTypes = {{
    {onnx::TensorProto::BOOL, DType::boolean},
    {onnx::TensorProto::INT8, DType::i8},
    {onnx::TensorProto::INT16, DType::i16},
    {onnx::TensorProto::INT32, DType::i32},
    {onnx::TensorProto::INT64, DType::i64},
    {onnx::TensorProto::UINT8, DType::u8},
    {onnx::TensorProto::UINT16, DType::u16},
    {onnx::TensorProto::UINT32, DType::u32},
    {onnx::TensorProto::UINT64, DType::u64},
    {onnx::TensorProto::FLOAT16, DType::f16},
    {onnx::TensorProto::BFLOAT16, DType::bf16},
    {onnx::TensorProto::FLOAT, DType::f32},
    {onnx::TensorProto::DOUBLE, DType::f64},
}};

}  // namespace

DType dtype_from_onnx(int32_t data_type) {
  for (const auto& [number, dtype] : kTypes)
    if (number == data_type) return dtype;
  return DType::undefined;
}

int32_t dtype_to_onnx(DType dtype) {
  for (const auto& [number, ours] : kTypes)
    if (ours == dtype) return number;
  return onnx::TensorProto::UNDEFINED;
}

std::string onnx_type_name(int32_t data_type) {
  if (!onnx::TensorProto::DataType_IsValid(data_type)) return std::to_string(data_type);
  return onnx::TensorProto::DataType_Name(static_cast<onnx::TensorProto::DataType>(data_type));
}

}  // namespace tintype
