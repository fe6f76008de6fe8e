// Makes a skeleton ready for import: parsed, checked, free of model-local functions, in the newest
// opset.
#pragma once

#include "frontend/onnx/import.h"
#include "ir/constant_source.h"

#include <onnx/onnx_pb.h>

#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace tintype {

struct PreparedModel {
  onnx::ModelProto model;      ///< in opset kNewestOpset
  onnx::GraphProto interface;  ///< inputs and outputs as stored
  ModelInfo info;
  /// "name (Op-version)" of the node that computes a value in the stored model.
  std::unordered_map<std::string, std::string> labels;
  /// Node names by the value they compute in the stored model.
  std::unordered_map<std::string, std::string> node_names;
  /// Messages for nodes whose operator nobody knows, by node name. Such nodes are in the domain
  /// kUnknownDomain.
  std::map<std::string, std::string> unknown;
  /// What the file says of constants, by name.
  std::unordered_map<std::string, ConstantSource> sources;
  /// Of the initializers that it says nothing about.
  ConstantSource other_sources = ConstantSource::initializer;

  ConstantSource source_of(const std::string& initializer) const {
    const auto it = sources.find(initializer);
    return it == sources.end() ? other_sources : it->second;
  }
};

/// Key of the metadata of a value_info: the name of a ConstantSource.
inline constexpr const char* kSourceKey = "tintype.source";

inline constexpr const char* kUnknownDomain = "tintype.unknown";

/// Throws Error without the file name. Shapes in the options replace those of the model's inputs.
PreparedModel prepare_model(const std::string& skeleton, const ImportOptions& options);

void write_shape(const Shape& shape, onnx::TensorShapeProto& proto);

/// "ai.onnx" and "" are the same domain.
bool is_default_domain(std::string_view domain);
/// A name fit for a one-line message: control characters become '?', long names are cut.
std::string printable(std::string_view name);
/// The text of an exception of ONNX's library in one line, without its source locations.
std::string one_line(std::string message);

}  // namespace tintype
