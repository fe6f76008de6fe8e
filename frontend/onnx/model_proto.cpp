// Parsing, checking and conversion by ONNX's own library, with the guards it does not have.
#include "frontend/onnx/model_proto.h"

#include "frontend/onnx/functions.h"
#include "frontend/onnx/legacy.h"
#include "ir/diagnostic.h"
#include "ir/op_def.h"

#include <onnx/checker.h>
#include <onnx/defs/schema.h>
#include <onnx/version_converter/convert.h>

#include <limits>
#include <map>
#include <optional>
#include <stdexcept>

namespace tintype {

bool is_default_domain(std::string_view domain) { return domain.empty() || domain == "ai.onnx"; }

std::string printable(std::string_view name) {
  constexpr size_t kLongest = 200;
  std::string out(name.substr(0, kLongest));
  for (char& c : out)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  return name.size() > kLongest ? out + "..." : out;
}

std::string one_line(std::string message) {
  const std::string marker = "` failed: ";
  if (const size_t at = message.find(marker); at != std::string::npos)
    message.erase(0, at + marker.size());
  std::string out;
  for (char c : message) {
    const bool blank = static_cast<unsigned char>(c) <= 0x20;
    if (blank && (out.empty() || out.back() == ' ')) continue;
    out.push_back(blank ? ' ' : c);
  }
  while (!out.empty() && (out.back() == ' ' || out.back() == '.')) out.pop_back();
  constexpr size_t kLongest = 600;
  return out.size() > kLongest ? out.substr(0, kLongest) + "..." : out;
}

namespace {

void write_dim(const Dim& d, onnx::TensorShapeProto::Dimension& proto) {
  if (d.is_static()) proto.set_dim_value(d.value());
  else proto.set_dim_param(d.text());
}

}  // namespace

void write_shape(const Shape& shape, onnx::TensorShapeProto& proto) {
  proto.clear_dim();
  for (const Dim& d : shape) write_dim(d, *proto.add_dim());
}

namespace {

onnx::ModelProto parse(const std::string& bytes) {
  if (bytes.size() > static_cast<size_t>(std::numeric_limits<int>::max()))
    throw Error("model without its weights is larger than 2 GiB");
  onnx::ModelProto model;
  if (!model.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())))
    throw Error("not an ONNX model: the protobuf message is malformed or nested too deeply");
  if (!model.has_graph()) throw Error("not an ONNX model: it has no graph");
  return model;
}

int default_opset(const onnx::ModelProto& model) {
  int64_t version = 0;
  for (const auto& import : model.opset_import()) {
    if (!is_default_domain(import.domain())) continue;
    if (version != 0 && version != import.version())
      throw Error("model imports two versions of the default operator set, " +
                  std::to_string(version) + " and " + std::to_string(import.version()));
    version = import.version();
  }
  // Models from before operator sets had versions use the first.
  if (version == 0 && model.opset_import_size() == 0 && model.ir_version() < 3) version = 1;
  if (version > kNewestOpset)
    throw Error("opset " + std::to_string(version) + " is newer than " +
                std::to_string(kNewestOpset) + ", the newest supported; export with opset " +
                std::to_string(kNewestOpset) + " or older");
  if (version < 1 && model.opset_import_size() != 0) {
    for (const auto& import : model.opset_import())
      if (is_default_domain(import.domain()))
        throw Error("opset " + std::to_string(import.version()) + " does not exist");
    return kNewestOpset;  // only other domains are used
  }
  if (version < 1) throw Error("model does not say which opset it uses (opset_import is empty)");
  return static_cast<int>(version);
}

/// ONNX's checker would open files named by tensors inside nodes and functions; those of the main
/// graph are already outside the skeleton.
class ExternalDataBan {
 public:
  void model(const onnx::ModelProto& m) {
    graph(m.graph());
    for (const auto& f : m.functions()) {
      nodes(f.node());
      for (const auto& a : f.attribute_proto()) attribute(a, f.name());
    }
  }

 private:
  static void tensor(const onnx::TensorProto& t, const std::string& where) {
    if (t.has_data_location() && t.data_location() != onnx::TensorProto::DEFAULT)
      throw Error(printable(where) + ": external data is supported for initializers and constants "
                                     "of the main graph only");
  }
  static void sparse(const onnx::SparseTensorProto& t, const std::string& where) {
    tensor(t.values(), where);
    tensor(t.indices(), where);
  }
  // Recursion is bounded by the nesting limit of the protobuf parser.
  void attribute(const onnx::AttributeProto& a, const std::string& where) {
    if (a.has_t()) tensor(a.t(), where);
    if (a.has_sparse_tensor()) sparse(a.sparse_tensor(), where);
    for (const auto& t : a.tensors()) tensor(t, where);
    for (const auto& t : a.sparse_tensors()) sparse(t, where);
    if (a.has_g()) graph(a.g());
    for (const auto& g : a.graphs()) graph(g);
  }
  template <typename Nodes>
  void nodes(const Nodes& list) {
    for (const auto& n : list)
      for (const auto& a : n.attribute()) attribute(a, n.name());
  }
  void graph(const onnx::GraphProto& g) {
    for (const auto& t : g.initializer()) tensor(t, t.name());
    if (g.sparse_initializer_size() != 0)
      throw Error("sparse initializers are not supported; store them as dense tensors");
    nodes(g.node());
  }
};

/// Nodes without a name get one that tells where they are: "Conv_12".
template <typename Nodes>
void name_nodes(Nodes& nodes) {
  int index = 0;
  for (auto& n : nodes) {
    if (n.name().empty()) n.set_name(n.op_type() + "_" + std::to_string(index));
    ++index;
  }
}

using Opsets = std::unordered_map<std::string, int>;

const onnx::OpSchema* schema_of(const onnx::NodeProto& node, const Opsets& opsets) {
  const std::string domain = is_default_domain(node.domain()) ? "" : node.domain();
  const auto it = opsets.find(domain);
  if (it == opsets.end()) return nullptr;
  return onnx::OpSchemaRegistry::Schema(node.op_type(), it->second, domain);
}

std::string label_of(const onnx::NodeProto& node, const Opsets& opsets) {
  const onnx::OpSchema* schema = schema_of(node, opsets);
  std::string op = is_default_domain(node.domain()) ? "" : node.domain() + "::";
  op += node.op_type();
  if (schema != nullptr) {
    op += "-" + std::to_string(schema->SinceVersion());
  } else if (const auto it = opsets.find(node.domain()); it != opsets.end()) {
    op += "-" + std::to_string(it->second);
  }
  return printable(node.name()) + " (" + printable(op) + ")";
}

std::string unknown_operator(const onnx::NodeProto& node, int opset) {
  // ONNX Runtime saves what it made of a model with operators that it alone has.
  if (node.domain().starts_with("com.microsoft"))
    return "operator of ONNX Runtime, which its optimizer or quantizer wrote; give the model that "
           "they read, optimize with level basic, quantize in the format QDQ, or load a plugin "
           "that has the operator with --plugin";
  if (!is_default_domain(node.domain()))
    return "unknown operator; inline it as a model-local function of the same domain and name, or "
           "load a plugin that has it with --plugin";
  std::vector<std::string> names;
  for (const auto& schema : onnx::OpSchemaRegistry::get_all_schemas_with_history())
    if (schema.domain().empty()) {
      if (schema.Name() == node.op_type())
        return "operator does not exist in opset " + std::to_string(opset) +
               "; it came with opset " + std::to_string(schema.SinceVersion());
      names.push_back(schema.Name());
    }
  return "unknown operator" + did_you_mean(node.op_type(), names);
}

/// Names of nodes for messages, and operators that nobody knows set apart, so that one of them does
/// not hide the problems of all others.
void examine_nodes(PreparedModel& prepared, const Opsets& opsets, const FunctionTable& functions) {
  onnx::GraphProto& graph = *prepared.model.mutable_graph();
  for (onnx::NodeProto& node : *graph.mutable_node()) {
    const std::string label = label_of(node, opsets);
    for (const std::string& output : node.output()) {
      prepared.labels.emplace(output, label);
      prepared.node_names.emplace(output, node.name());
    }
    if (schema_of(node, opsets) != nullptr || functions.find(node) != nullptr) continue;
    if (!is_default_domain(node.domain()) && opsets.count(node.domain()) != 0 &&
        find_op(node.domain() + "::" + node.op_type()) != nullptr)
      continue;
    prepared.unknown[node.name()] = label + ": " + unknown_operator(node, prepared.info.opset);
    node.set_domain(kUnknownDomain);
  }
  if (prepared.unknown.empty()) return;
  auto* import = prepared.model.add_opset_import();
  import->set_domain(kUnknownDomain);
  import->set_version(1);
}

/// A function whose name is that of an op, which a plugin has added, is kept as a call of the op;
/// all others are inlined.
void keep_functions_that_are_ops(onnx::ModelProto& model) {
  auto& functions = *model.mutable_functions();
  for (auto it = functions.begin(); it != functions.end();)
    it = find_op(it->domain() + "::" + it->name()) != nullptr ? functions.erase(it) : it + 1;
}

/// What the given shapes say of the model's symbols, by symbol; nothing where they disagree.
std::map<std::string, std::optional<Dim>> bound_symbols(const onnx::GraphProto& graph,
                                                        const ImportOptions& options) {
  std::map<std::string, std::optional<Dim>> bound;
  for (const onnx::ValueInfoProto& input : graph.input()) {
    const auto given = options.input_shapes.find(input.name());
    if (given == options.input_shapes.end() || !input.type().has_tensor_type()) continue;
    const auto& declared = input.type().tensor_type().shape();
    if (static_cast<size_t>(declared.dim_size()) != given->second.size()) continue;
    for (int i = 0; i < declared.dim_size(); ++i) {
      const Dim& d = given->second[static_cast<size_t>(i)];
      if (declared.dim(i).dim_param().empty() || !(d.is_static() || d.symbol_name())) continue;
      const auto [entry, is_new] = bound.emplace(declared.dim(i).dim_param(), d);
      if (!is_new && entry->second && !(*entry->second == d)) entry->second.reset();
    }
  }
  return bound;
}

/// The checker insists on shapes, and the converter shall see those that count. What a given shape
/// says of a symbol holds for all inputs that have it.
void settle_inputs(onnx::ModelProto& model, const ImportOptions& options) {
  auto& initializers = *model.mutable_graph()->mutable_initializer();
  for (auto it = initializers.begin(); it != initializers.end();) {
    const bool overridden =
        options.input_shapes.count(it->name()) != 0 || options.known_inputs.count(it->name()) != 0;
    it = overridden ? initializers.erase(it) : it + 1;
  }
  const auto bound = bound_symbols(model.graph(), options);
  for (onnx::ValueInfoProto& input : *model.mutable_graph()->mutable_input()) {
    if (!input.type().has_tensor_type()) continue;
    auto& type = *input.mutable_type()->mutable_tensor_type();
    for (int i = 0; i < type.shape().dim_size(); ++i) {
      auto& d = *type.mutable_shape()->mutable_dim(i);
      if (const auto it = bound.find(d.dim_param()); it != bound.end() && it->second)
        write_dim(*it->second, d);
    }
    if (const auto it = options.input_shapes.find(input.name()); it != options.input_shapes.end())
      write_shape(it->second, *type.mutable_shape());
    else if (const auto known = options.known_inputs.find(input.name());
             known != options.known_inputs.end() && !type.has_shape())
      write_shape(Shape(known->second.dims().begin(), known->second.dims().end()),
                  *type.mutable_shape());
    if (!type.has_shape())
      throw Error("input '" + printable(input.name()) + "' has no shape; give one for it");
  }
}

/// Shapes of outputs follow from the nodes, and some who write models leave them out; ONNX's
/// checker wants every tensor to have one. drop_hints takes it away again.
void settle_outputs(onnx::ModelProto& model) {
  for (auto& output : *model.mutable_graph()->mutable_output())
    if (output.type().has_tensor_type())
      output.mutable_type()->mutable_tensor_type()->mutable_shape();
}

/// Whether a Python list of names, "['norm.weight', 'val_16']", has one of a tensor of the model:
/// the others are the exporter's, of what it computed and of numbers in the code.
bool names_a_tensor(std::string_view list) {
  constexpr std::string_view kDigits = "0123456789";
  for (size_t open = list.find('\''); open != std::string_view::npos;) {
    const size_t close = list.find('\'', open + 1);
    if (close == std::string_view::npos) return false;
    const std::string_view name = list.substr(open + 1, close - open - 1);
    const std::string_view stem = name.substr(0, name.find_last_not_of(kDigits) + 1);
    if (stem != "val_" && stem != "lifted_tensor_") return true;
    open = list.find('\'', close + 1);
  }
  return false;
}

/// PyTorch's newer exporter says of each tensor of the model whether it was a parameter, and of
/// what it computed while exporting, from what. Everything else in such a file was in the code.
void read_sources(PreparedModel& prepared) {
  constexpr std::string_view kKind = "pkg.torch.export.graph_signature.InputSpec.kind";
  constexpr std::string_view kFolded = "pkg.onnxscript.optimizer.folded_from";
  for (const onnx::ValueInfoProto& info : prepared.model.graph().value_info())
    for (const auto& p : info.metadata_props()) {
      if (p.key() == kKind) {
        prepared.other_sources = ConstantSource::literal;
        prepared.sources[info.name()] =
            p.value() == "PARAMETER" ? ConstantSource::initializer : ConstantSource::buffer;
      } else if (p.key() == kFolded && names_a_tensor(p.value())) {
        prepared.sources.emplace(info.name(), ConstantSource::initializer);
      } else if (const auto own = parse_constant_source(p.value()); p.key() == kSourceKey && own) {
        prepared.sources[info.name()] = *own;
      }
    }
}

/// What the model says about types of computed values is not needed, and when it is wrong or meant
/// for other input shapes, the converter would stumble over it.
void drop_hints(onnx::ModelProto& model) {
  model.mutable_graph()->clear_value_info();
  for (auto& f : *model.mutable_functions()) f.clear_value_info();
  for (auto& output : *model.mutable_graph()->mutable_output())
    if (output.type().has_tensor_type())
      output.mutable_type()->mutable_tensor_type()->clear_shape();
}

template <typename Work>
void with_context(const std::string& context, Work&& work) {
  try {
    work();
  } catch (const Error&) {
    throw;
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& e) {
    throw Error(context + one_line(e.what()));
  }
}

}  // namespace

PreparedModel prepare_model(const std::string& skeleton, const ImportOptions& options) {
  const Limits& limits = options.limits;
  PreparedModel prepared;
  onnx::ModelProto& model = prepared.model;
  model = parse(skeleton);
  if (model.ir_version() > onnx::IR_VERSION)
    throw Error("IR version " + std::to_string(model.ir_version()) + " is newer than " +
                std::to_string(onnx::IR_VERSION) + ", the newest supported");
  ModelInfo& info = prepared.info;
  info.ir_version = model.ir_version();
  info.opset = default_opset(model);
  info.producer = printable(model.producer_name());
  info.node_count = static_cast<size_t>(model.graph().node_size());
  if (static_cast<int64_t>(info.node_count) > limits.nodes)
    throw Error("model has " + std::to_string(info.node_count) + " nodes, at most " +
                std::to_string(limits.nodes) + " are allowed");
  ExternalDataBan().model(model);
  model.clear_training_info();
  settle_inputs(model, options);
  *prepared.interface.mutable_input() = model.graph().input();
  *prepared.interface.mutable_output() = model.graph().output();
  settle_outputs(model);

  // From version 4 on, initializers need not be inputs. Moved weights rely on that, and so do many
  // models that claim to be older.
  if (model.ir_version() < 4) model.set_ir_version(4);
  Opsets opsets;
  for (const auto& import : model.opset_import())
    opsets[is_default_domain(import.domain()) ? "" : import.domain()] =
        static_cast<int>(import.version());
  if (opsets.find("") == opsets.end()) {
    auto* import = model.add_opset_import();
    import->set_domain("");
    import->set_version(info.opset);
    opsets[""] = info.opset;
  }
  name_nodes(*model.mutable_graph()->mutable_node());
  for (auto& f : *model.mutable_functions()) name_nodes(*f.mutable_node());
  keep_functions_that_are_ops(model);
  const FunctionTable functions(model);
  check_functions(model, functions, limits);
  examine_nodes(prepared, opsets, functions);
  with_context("invalid model: ", [&] {
    // Functions may speak another opset than the model: inlining converts them.
    onnx::checker::check_model(model, /*full_check=*/false,
                               /*skip_opset_compatibility_check=*/true);
  });
  read_sources(prepared);
  drop_hints(model);
  with_context("cannot inline the model's functions: ", [&] { inline_functions(model); });
  if (info.opset != kNewestOpset)
    with_context("cannot convert the model from opset " + std::to_string(info.opset) + " to " +
                     std::to_string(kNewestOpset) + ": ",
                 [&] { model = onnx::version_conversion::ConvertVersion(model, kNewestOpset); });
  if (info.opset < 9) separate_batches(*model.mutable_graph());
  return prepared;
}

}  // namespace tintype
