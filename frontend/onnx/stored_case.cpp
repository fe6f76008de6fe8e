// TensorProto, SequenceProto or OptionalProto, as the model's declared type says.
#include "frontend/onnx/stored_case.h"

#include "frontend/onnx/mapped_file.h"
#include "frontend/onnx/model_proto.h"
#include "frontend/onnx/tensor_decode.h"
#include "ir/diagnostic.h"

#include <filesystem>

namespace tintype {

namespace {

// Field numbers from onnx-data.proto.
constexpr uint32_t kSequenceTensor = 3;
constexpr uint32_t kOptionalTensor = 3, kOptionalSequence = 5;

/// The tensors of one input or output, and whether there is a value at all.
struct Stored {
  std::vector<Tensor> tensors;
  bool present = true;
};

Tensor tensor_in(wire::Bytes message, const MappedFile& file) {
  ExternalData none("");
  return decode_tensor(scan_tensor(message), file.owner, none, Limits());
}

void read_sequence(wire::Bytes message, const MappedFile& file, Stored& stored) {
  wire::Reader reader(message);
  for (wire::Field f; reader.next(f);)
    if (f.is(kSequenceTensor, wire::Type::bytes))
      stored.tensors.push_back(tensor_in(f.bytes, file));
}

Stored read_value(const ModelPort& port, const MappedFile& file) {
  Stored stored;
  if (port.optional) {
    stored.present = false;
    wire::Reader reader(file.bytes);
    for (wire::Field f; reader.next(f);) {
      if (!f.is(port.sequence ? kOptionalSequence : kOptionalTensor, wire::Type::bytes)) continue;
      stored.present = true;
      if (port.sequence) read_sequence(f.bytes, file, stored);
      else stored.tensors.push_back(tensor_in(f.bytes, file));
    }
  } else if (port.sequence) {
    read_sequence(file.bytes, file, stored);
  } else {
    stored.tensors.push_back(tensor_in(file.bytes, file));
  }
  return stored;
}

Stored load_value(const ModelPort& port, const std::string& path) {
  try {
    return read_value(port, map_file(path));
  } catch (const Error& e) {
    throw Error(printable(path) + ": " + e.what());
  } catch (const wire::Malformed& e) {
    throw Error(printable(path) + ": not a value of '" + printable(port.name) + "': " + e.what());
  }
}

/// Calls `use` for every stored file of a kind and the port it belongs to.
template <typename Use>
void for_each_file(const std::vector<ModelPort>& ports, const std::string& folder,
                   const std::string& kind, const Use& use) {
  for (size_t i = 0; i < ports.size(); ++i) {
    const std::string path = folder + "/" + kind + "_" + std::to_string(i) + ".pb";
    if (std::filesystem::exists(path)) use(ports[i], load_value(ports[i], path));
  }
}

std::string tensor_name(const ModelPort& port, size_t i) {
  return port.sequence ? element_name(port.name, i) : port.name;
}

}  // namespace

bool StoredCase::supply(const std::string& input, ImportOptions& options) const {
  if (const auto length = lengths.find(input); length != lengths.end()) {
    if (!options.input_lengths.emplace(*length).second) return false;
    for (int64_t i = 0; i < length->second; ++i) {
      const auto element = inputs.find(element_name(input, static_cast<size_t>(i)));
      if (element == inputs.end()) continue;  // an optional tensor
      const auto& dims = element->second.dims();
      options.input_shapes.emplace(element->first, Shape(dims.begin(), dims.end()));
    }
    return true;
  }
  const auto value = inputs.find(input);
  return value != inputs.end() && options.known_inputs.emplace(*value).second;
}

StoredCase load_stored_case(const ModelInterface& model, const std::string& folder) {
  StoredCase c;
  for_each_file(model.inputs, folder, "input", [&](const ModelPort& port, const Stored& stored) {
    for (size_t i = 0; i < stored.tensors.size(); ++i)
      c.inputs.emplace(tensor_name(port, i), stored.tensors[i]);
    if (port.sequence || port.optional)
      c.lengths[port.name] =
          stored.present ? static_cast<int64_t>(stored.tensors.size()) : ImportOptions::kAbsent;
  });
  for_each_file(model.outputs, folder, "output", [&](const ModelPort& port, const Stored& stored) {
    for (size_t i = 0; i < stored.tensors.size(); ++i)
      c.outputs.emplace_back(tensor_name(port, i), stored.tensors[i]);
  });
  return c;
}

}  // namespace tintype
