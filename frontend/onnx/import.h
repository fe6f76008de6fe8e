// Reads ONNX models into the IR.
#pragma once

#include "ir/dim.h"
#include "ir/graph.h"
#include "ir/limits.h"
#include "runtime/tensor.h"

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace tintype {

/// The newest version of the default operator set that is understood; older models are converted.
inline constexpr int kNewestOpset = 28;

struct ImportOptions {
  /// Values for graph inputs, which then become constants.
  std::map<std::string, Tensor> known_inputs;
  /// Shapes of graph inputs, instead of those in the model. An input that has an initializer (a
  /// default value) and is named here stays an input.
  std::map<std::string, Shape> input_shapes;
  /// How many tensors an input holds that is a sequence or an optional; kAbsent for an optional
  /// without a value. Each of them is an input of the graph (element_name), which the maps above
  /// may name; an optional tensor keeps its name.
  std::map<std::string, int64_t> input_lengths;
  static constexpr int64_t kAbsent = -1;
  Limits limits;
};

/// What element `i` of a sequence is called among the inputs or outputs of a graph: "name[2]".
std::string element_name(const std::string& name, size_t i);

/// A serialized ModelProto in memory.
struct ModelBytes {
  std::span<const uint8_t> bytes;
  /// Keeps the bytes alive for the weights that point into them; null makes the importer copy.
  std::shared_ptr<const void> owner;
  std::string name = "model";  ///< what messages call it
  std::string directory;       ///< where external data may lie; empty refuses external data
};

struct ModelInfo {
  int64_t ir_version = 0;
  int opset = 0;  ///< of the default domain, before conversion
  std::string producer;
  /// Names in the model's order; inputs that have an initializer are left out.
  std::vector<std::string> inputs, outputs;
  size_t node_count = 0;  ///< as stored, before functions are inlined
  int64_t parameter_count = 0;
  size_t parameter_bytes = 0;
};

/// A model with all its problems, instead of the first.
struct ImportReport {
  std::unique_ptr<Graph> graph;  ///< null when there are problems
  ModelInfo info;
  std::vector<std::string> problems;  ///< one line each, as Error would say it
};

/// The model as ONNX-level nodes of opset 28, with types and shapes inferred. Model-local functions
/// are inlined, unless a plugin has an op of their domain and name. Weights stay where
/// they are: in the mapped file, which the tensors keep open. Symbolic extents keep their names as
/// far as those are identifiers.
///
/// Throws Error, "file:node (Op-version): what is wrong". Thread-safe.
std::unique_ptr<Graph> import_onnx(const std::string& path, const ImportOptions& options = {});
std::unique_ptr<Graph> import_onnx(const ModelBytes& model, const ImportOptions& options = {});

/// What a model takes or returns, as it declares it.
struct ModelPort {
  std::string name;
  bool sequence = false, optional = false;
};
struct ModelInterface {
  std::vector<ModelPort> inputs;  ///< those that a caller supplies: without initializer
  std::vector<ModelPort> outputs;
};
/// In the model's order. Reads the interface only; throws Error when the file is not a model.
ModelInterface onnx_interface(const std::string& path);

/// The same without throwing for mistakes in the model: nodes behind a faulty one are skipped, all
/// others are checked.
ImportReport import_onnx_collect(const std::string& path, const ImportOptions& options = {});
ImportReport import_onnx_collect(const ModelBytes& model, const ImportOptions& options = {});

}  // namespace tintype
