// From a file to a Graph: mapping, skeleton, preparation, interface, nodes.
#include "frontend/onnx/import.h"

#include "frontend/onnx/model_proto.h"
#include "frontend/onnx/node_import.h"
#include "frontend/onnx/skeleton.h"
#include "ir/builder.h"
#include "ir/diagnostic.h"

#include <algorithm>
#include <filesystem>
#include <limits>
#include <new>
#include <set>
#include <stdexcept>

namespace tintype {

namespace {

std::string base_name(const std::string& path) {
  return printable(std::filesystem::path(path).filename().string());
}

ModelBytes open_model(const std::string& path) {
  MappedFile file;
  try {
    file = map_file(path);
  } catch (const Error& e) {
    throw Error(printable(path) + ": " + e.what());
  }
  std::string directory = std::filesystem::path(path).parent_path().string();
  return {file.bytes, file.owner, base_name(path), directory.empty() ? "." : directory};
}

/// Weights may point into the bytes, so somebody has to keep them.
ModelBytes owned(const ModelBytes& model) {
  if (model.owner != nullptr) return model;
  ModelBytes copy = model;
  const Tensor bytes =
      Tensor::from<uint8_t>({static_cast<int64_t>(model.bytes.size())}, model.bytes);
  copy.bytes = bytes.values<uint8_t>();
  copy.owner = bytes.owner();
  return copy;
}

class ModelImporter {
 public:
  ModelImporter(const ModelBytes& model, const ImportOptions& options, ProblemHandler problem)
      : model_(model), options_(options), problem_(std::move(problem)), external_(model.directory) {
  }

  std::unique_ptr<Graph> run(ModelInfo& info) {
    if (model_.bytes.empty()) throw Error("not an ONNX model: the file is empty");
    skeleton_ = make_skeleton(model_.bytes);
    prepared_ = prepare_model(skeleton_.model, options_);
    const onnx::GraphProto& graph = prepared_.model.graph();
    graph_ = std::make_unique<Graph>(graph.name().empty() ? model_.name : printable(graph.name()));
    for (const auto& [input, shape] : options_.input_shapes)
      for (const Dim& d : shape)
        d.symbols([this](const std::string& name) {
          graph_->reserve_symbol(name);
          symbols_.emplace(name, name);
        });
    for (const onnx::TensorProto& t : graph.initializer()) scope_.initializers[t.name()] = &t;
    describe(graph);
    info = prepared_.info;
    for (const onnx::ValueInfoProto& input : prepared_.interface.input())
      guarded([&] { add_input(input); });
    check_option_names();
    NodeImporter nodes(*graph_, prepared_, skeleton_, model_.owner, external_, options_.limits,
                       problem_);
    nodes.import_nodes(graph.node(), scope_, 0);
    for (int i = 0; i < graph.output_size(); ++i) guarded([&] { add_output(i, nodes); });
    if (graph.output_size() == 0) whole_problem("the graph has no outputs");
    return std::move(graph_);
  }

 private:
  template <typename Work>
  void guarded(Work&& work) {
    try {
      work();
    } catch (const NeedsInputValue& e) {
      throw NeedsInputValue(e.input(), std::string(" ") + e.what());
    } catch (const Error& e) {
      whole_problem(e.what());
    }
  }

  /// A problem of the model itself: problems of nodes begin with the node, right behind the file.
  void whole_problem(const std::string& message) { problem_(" " + message); }

  void describe(const onnx::GraphProto& graph) {
    for (const auto& input : prepared_.interface.input())
      if (!has_initializer(input.name())) prepared_.info.inputs.push_back(input.name());
    for (const auto& output : prepared_.interface.output())
      prepared_.info.outputs.push_back(output.name());
    const auto count = [this](std::span<const int64_t> dims, int32_t data_type) {
      int64_t elements = 1;
      for (int64_t d : dims)
        if (d < 0 || __builtin_mul_overflow(elements, d, &elements)) return;
      // Weights that nobody reads may claim any size.
      int64_t& total = prepared_.info.parameter_count;
      if (elements > std::numeric_limits<int64_t>::max() - total) return;
      total += elements;
      prepared_.info.parameter_bytes +=
          static_cast<size_t>(elements) * size_of(dtype_from_onnx(data_type));
    };
    for (const auto& [name, record] : skeleton_.weights) count(record.dims, record.data_type);
    for (const auto& t : graph.initializer())
      count({t.dims().data(), static_cast<size_t>(t.dims_size())}, t.data_type());
  }

  bool has_initializer(const std::string& name) const {
    return skeleton_.weights.count(name) != 0 || scope_.initializers.count(name) != 0;
  }

  /// The symbol of a dim_param: the same name always gives the same symbol, different names give
  /// different ones even when only characters differ that symbols can not have.
  Dim symbol(const std::string& parameter) {
    if (const auto it = symbols_.find(parameter); it != symbols_.end())
      return Dim::symbol(it->second);
    std::string name;
    for (char c : parameter.substr(0, 64)) {
      const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
      const bool digit = c >= '0' && c <= '9';
      if (digit && name.empty()) name = "_";
      name.push_back(letter || digit ? c : '_');
    }
    return Dim::symbol(symbols_[parameter] = graph_->fresh_symbol(name));
  }

  Shape declared_shape(const std::string& input, const onnx::TypeProto::Tensor& type) {
    if (!type.has_shape())
      throw Error("input '" + printable(input) + "' has no shape; give one for it");
    if (type.shape().dim_size() > options_.limits.rank)
      throw Error("input '" + printable(input) + "' has " +
                  std::to_string(type.shape().dim_size()) + " extents, at most " +
                  std::to_string(options_.limits.rank) + " are allowed");
    Shape shape;
    for (const auto& d : type.shape().dim()) {
      if (d.has_dim_param() && !d.dim_param().empty()) shape.push_back(symbol(d.dim_param()));
      else if (d.has_dim_value() && d.dim_value() >= 0) shape.emplace_back(d.dim_value());
      else if (d.has_dim_value() && d.dim_value() < -1)
        throw Error("input '" + printable(input) + "' has extent " + std::to_string(d.dim_value()));
      else shape.push_back(Dim::symbol(graph_->fresh_symbol("d")));
    }
    return shape;
  }

  void add_input(const onnx::ValueInfoProto& input) {
    const std::string& name = input.name();
    if (has_initializer(name) && options_.input_shapes.count(name) == 0 &&
        options_.known_inputs.count(name) == 0)
      return;
    if (scope_.values.count(name) != 0)
      throw Error("two inputs are called '" + printable(name) + "'");
    scope_.poisoned.insert(name);  // until it is known to be sound
    scope_.values[name] = input_value(name, input.type());
    scope_.poisoned.erase(name);
  }

  /// A tensor is an input of the graph; so is each element of a sequence.
  ModelValue input_value(const std::string& name, const onnx::TypeProto& type) {
    const bool optional = type.has_optional_type();
    const onnx::TypeProto& held = optional ? type.optional_type().elem_type() : type;
    const bool sequence = held.has_sequence_type();
    const onnx::TypeProto& element = sequence ? held.sequence_type().elem_type() : held;
    if (!element.has_tensor_type())
      throw Error("input '" + printable(name) + "' is neither a tensor nor a sequence of tensors");
    if (!optional && !sequence) return tensor_input(name, element.tensor_type());
    const auto length = options_.input_lengths.find(name);
    if (length == options_.input_lengths.end())
      throw NeedsInputValue(
          name, "input '" + printable(name) + "' is " +
                    (sequence ? "a sequence, whose length" : "an optional, whose presence") +
                    " must be known when compiling: give it with --input-length " +
                    printable(name) + (sequence ? "=NUMBER" : "=1") +
                    (optional ? ", or =none without a value" : ""));
    if (length->second == ImportOptions::kAbsent && optional) return ModelValue::absent();
    constexpr int64_t kMostElements = 65536;
    if (length->second < 0 || length->second > (sequence ? kMostElements : 1) ||
        (!sequence && length->second == 0))
      throw Error("input '" + printable(name) + "' cannot have " + std::to_string(length->second) +
                  " elements");
    if (!sequence) return tensor_input(name, element.tensor_type());
    std::vector<Value*> elements;
    for (size_t i = 0; i < static_cast<size_t>(length->second); ++i)
      elements.push_back(tensor_input(element_name(name, i), element.tensor_type()));
    return ModelValue::sequence(input_dtype(name, element.tensor_type()), elements);
  }

  static DType input_dtype(const std::string& name, const onnx::TypeProto::Tensor& type) {
    const DType dtype = dtype_from_onnx(type.elem_type());
    if (dtype != DType::undefined) return dtype;
    throw Error("input '" + printable(name) + "': element type " +
                onnx_type_name(type.elem_type()) + " is not supported");
  }

  Value* tensor_input(const std::string& name, const onnx::TypeProto::Tensor& type) {
    tensor_inputs_.insert(name);
    const DType dtype = input_dtype(name, type);
    if (const auto known = options_.known_inputs.find(name); known != options_.known_inputs.end())
      return known_input(name, known->second, dtype, type);
    const auto shape = options_.input_shapes.find(name);
    const bool overridden = shape != options_.input_shapes.end();
    return graph_->add_input(name,
                             {dtype, overridden ? shape->second : declared_shape(name, type)});
  }

  Value* known_input(const std::string& name, const Tensor& value, DType dtype,
                     const onnx::TypeProto::Tensor& type) {
    if (value.dtype() != dtype)
      throw Error("input '" + printable(name) + "' has element type " +
                  std::string(name_of(dtype)) + ", the given value is " + value.type_string());
    const auto& shape = type.shape();
    bool fits = !type.has_shape() || shape.dim_size() == value.rank();
    for (int i = 0; fits && i < shape.dim_size(); ++i)
      fits = !shape.dim(i).has_dim_value() || shape.dim(i).dim_value() < 0 ||
             shape.dim(i).dim_value() == value.dims()[static_cast<size_t>(i)];
    if (!fits)
      throw Error("the given value " + value.type_string() + " does not fit the shape of input '" +
                  printable(name) + "'");
    Builder b(*graph_);
    Value* v = b.constant(value);
    v->set_name(name);
    return v;
  }

  void check_option_names() {
    std::vector<std::string> tensors(tensor_inputs_.begin(), tensor_inputs_.end()), lists;
    for (const auto& input : prepared_.interface.input()) {
      const std::string& name = input.name();
      if (!input.type().has_tensor_type()) lists.push_back(name);
      else if (skeleton_.weights.count(name) == 0 && tensor_inputs_.count(name) == 0)
        tensors.push_back(name);
    }
    const auto check = [&](const std::string& name, const std::vector<std::string>& names,
                           const char* kind) {
      if (std::find(names.begin(), names.end(), name) == names.end())
        whole_problem(std::string("the model has no ") + kind + " '" + printable(name) + "'" +
                      did_you_mean(name, names));
    };
    for (const auto& [name, value] : options_.known_inputs) check(name, tensors, "input");
    for (const auto& [name, shape] : options_.input_shapes) check(name, tensors, "input");
    for (const auto& [name, length] : options_.input_lengths)
      check(name, lists, "sequence or optional as input");
  }

  void add_output(int index, NodeImporter& nodes) {
    const std::string& stored = prepared_.interface.output(index).name();
    const std::string& name = prepared_.model.graph().output(index).name();
    if (name.empty()) throw Error("output " + std::to_string(index) + " has no name");
    if (scope_.is_poisoned(name)) return;
    try {
      const ModelValue v = nodes.find(scope_, name);
      for (size_t i = 0; i < v.size(); ++i)
        graph_->add_output(v.is_sequence() ? element_name(stored, i) : stored, v.values()[i]);
    } catch (const Error& e) {
      throw Error("output '" + printable(stored) + "': " + e.what());
    }
  }

  const ModelBytes& model_;
  const ImportOptions& options_;
  ProblemHandler problem_;
  ExternalData external_;
  Skeleton skeleton_;
  PreparedModel prepared_;
  std::unique_ptr<Graph> graph_;
  Scope scope_;
  std::set<std::string> tensor_inputs_;  ///< of the graph, elements of sequences included
  std::map<std::string, std::string> symbols_;
};

/// An Error whose message begins with the place inside the model.
class Located : public Error {
 public:
  using Error::Error;
};

/// Runs the import with everything that can go wrong turned into Error, prefixed with the file.
std::unique_ptr<Graph> import_model(const ModelBytes& model, const ImportOptions& options,
                                    ModelInfo& info, const ProblemHandler& problem) {
  const std::string prefix = printable(model.name) + ":";
  try {
    return ModelImporter(model, options, problem).run(info);
  } catch (const NeedsInputValue& e) {
    throw NeedsInputValue(e.input(), prefix + e.what());
  } catch (const Located& e) {
    throw Error(prefix + e.what());
  } catch (const Error& e) {
    throw Error(prefix + " " + e.what());
  } catch (const wire::Malformed& e) {
    throw Error(prefix + " not an ONNX model: " + e.what());
  } catch (const std::length_error& e) {
    throw Error(prefix + " " + e.what());
  } catch (const std::bad_alloc&) {
    throw Error(prefix + " not enough memory");
  }
}

}  // namespace

std::unique_ptr<Graph> import_onnx(const ModelBytes& model, const ImportOptions& options) {
  ModelInfo info;
  return import_model(owned(model), options, info,
                      [](const std::string& message) { throw Located(message); });
}

std::unique_ptr<Graph> import_onnx(const std::string& path, const ImportOptions& options) {
  return import_onnx(open_model(path), options);
}

ImportReport import_onnx_collect(const ModelBytes& model, const ImportOptions& options) {
  ImportReport report;
  const std::string prefix = printable(model.name) + ":";
  try {
    report.graph =
        import_model(owned(model), options, report.info, [&](const std::string& message) {
          report.problems.push_back(prefix + message);
        });
  } catch (const Error& e) {
    report.problems.emplace_back(e.what());
  }
  if (!report.problems.empty()) report.graph.reset();
  return report;
}

ImportReport import_onnx_collect(const std::string& path, const ImportOptions& options) {
  ImportReport report;
  ModelBytes model;
  try {
    model = open_model(path);
  } catch (const Error& e) {
    report.problems.emplace_back(e.what());
    return report;
  }
  return import_onnx_collect(model, options);
}

std::string element_name(const std::string& name, size_t i) {
  return name + "[" + std::to_string(i) + "]";
}

namespace {

ModelPort port_of(const onnx::ValueInfoProto& info) {
  const bool optional = info.type().has_optional_type();
  const auto& held = optional ? info.type().optional_type().elem_type() : info.type();
  return {info.name(), held.has_sequence_type(), optional};
}

}  // namespace

ModelInterface onnx_interface(const std::string& path) {
  const ModelBytes bytes = open_model(path);
  try {
    const Skeleton skeleton = make_skeleton(bytes.bytes);
    onnx::ModelProto model;
    if (!model.ParseFromString(skeleton.model)) throw Error("not an ONNX model");
    ModelInterface result;
    for (const onnx::ValueInfoProto& input : model.graph().input()) {
      const auto& initializers = model.graph().initializer();
      const bool constant =
          skeleton.weights.count(input.name()) != 0 ||
          std::any_of(initializers.begin(), initializers.end(),
                      [&](const onnx::TensorProto& t) { return t.name() == input.name(); });
      if (!constant) result.inputs.push_back(port_of(input));
    }
    for (const onnx::ValueInfoProto& output : model.graph().output())
      result.outputs.push_back(port_of(output));
    return result;
  } catch (const std::exception& e) {
    throw Error(bytes.name + ": " + one_line(e.what()));
  }
}

}  // namespace tintype
