// AttributeProto -> Attr.
#include "frontend/onnx/node_import.h"
#include "ir/diagnostic.h"

namespace tintype {

namespace {

std::string kind_name(const onnx::AttributeProto& a) {
  return onnx::AttributeProto::AttributeType_IsValid(a.type())
             ? onnx::AttributeProto::AttributeType_Name(a.type())
             : std::to_string(a.type());
}

Attr tensor_attribute(const onnx::AttributeProto& a, const Limits& limits) {
  // The bytes belong to the copy made here, so the tensor must not borrow them: a null owner.
  const std::string bytes = a.t().SerializeAsString();
  ExternalData none("");
  return decode_tensor(scan_tensor({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}),
                       nullptr, none, limits);
}

Attr import_attribute(const onnx::AttributeProto& a, const Limits& limits) {
  switch (a.type()) {
    case onnx::AttributeProto::INT: return a.i();
    case onnx::AttributeProto::FLOAT: return static_cast<double>(a.f());
    case onnx::AttributeProto::STRING: return a.s();
    case onnx::AttributeProto::INTS: return std::vector<int64_t>(a.ints().begin(), a.ints().end());
    case onnx::AttributeProto::FLOATS:
      return std::vector<double>(a.floats().begin(), a.floats().end());
    case onnx::AttributeProto::STRINGS:
      return std::vector<std::string>(a.strings().begin(), a.strings().end());
    case onnx::AttributeProto::TENSOR: return tensor_attribute(a, limits);
    default:
      throw Error("attribute '" + printable(a.name()) + "' of kind " + kind_name(a) +
                  " is not supported");
  }
}

}  // namespace

AttrMap import_attributes(const onnx::NodeProto& node, const Limits& limits) {
  AttrMap attrs;
  for (const onnx::AttributeProto& a : node.attribute()) {
    if (attrs.has(a.name())) throw Error("attribute '" + printable(a.name()) + "' is given twice");
    try {
      attrs.set(a.name(), import_attribute(a, limits));
    } catch (const wire::Malformed& e) {
      throw Error("attribute '" + printable(a.name()) + "': " + e.what());
    }
  }
  return attrs;
}

}  // namespace tintype
