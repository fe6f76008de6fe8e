// The model around the nodes: interface, versions, weights, files.
#include "frontend/onnx/export.h"

#include "frontend/onnx/export_body.h"
#include "frontend/onnx/import.h"
#include "frontend/onnx/model_proto.h"
#include "frontend/onnx/node_import.h"
#include "frontend/onnx/skeleton.h"
#include "frontend/onnx/tensor_decode.h"
#include "frontend/onnx/wire.h"
#include "ir/diagnostic.h"
#include "runtime/atomic_file.h"

#include <onnx/checker.h>
#include <onnx/defs/schema.h>
#include <onnx/version_converter/convert.h>

#include <filesystem>
#include <set>

namespace tintype {

namespace {

constexpr int kOldestOpset = 17;
// Memory-mapped weights are used in place when they are aligned.
constexpr size_t kExternalAlignment = 4096;
// Field numbers of ModelProto, GraphProto and TensorProto.
constexpr uint32_t kModelGraph = 7, kGraphInitializer = 5, kTensorRawData = 9;

int ir_version_for(int opset) {
  if (opset <= 18) return 8;
  if (opset <= 20) return 9;
  if (opset <= 22) return 10;
  if (opset == 23) return 11;
  if (opset == 24) return 12;
  return opset <= 27 ? 13 : 14;
}

void set_opset(onnx::ModelProto& model, const std::string& domain, int version) {
  auto* import = model.add_opset_import();
  import->set_domain(domain);
  import->set_version(version);
}

void write_interface(const Graph& graph, const BodyExporter& body, onnx::GraphProto& proto) {
  proto.set_name(graph.name().empty() ? "graph" : graph.name());
  for (size_t i = 0; i < graph.inputs().size(); ++i) {
    auto* input = proto.add_input();
    input->set_name(body.input_name(i));
    *input->mutable_type() = type_proto(graph.inputs()[i]->type());
  }
  for (size_t i = 0; i < graph.output_count(); ++i) {
    auto* output = proto.add_output();
    output->set_name(body.output_name(i));
    *output->mutable_type() = type_proto(graph.output(i)->type());
  }
}

/// Small constants go into the message: the converter wants to see axes and shapes.
std::vector<NamedTensor> keep_small_weights(ExportedModel& model) {
  std::vector<NamedTensor> large;
  for (NamedTensor& w : model.weights) {
    if (w.tensor.bytes() <= kSkeletonTensorBytes)
      *model.proto.mutable_graph()->add_initializer() = tensor_proto(w.tensor, w.name);
    else large.push_back(std::move(w));
  }
  return large;
}

/// Large weights stand in as inputs while ONNX's library works on the model.
void add_stand_ins(const std::vector<NamedTensor>& weights, onnx::GraphProto& graph) {
  for (const NamedTensor& w : weights) {
    auto* input = graph.add_input();
    input->set_name(w.name);
    *input->mutable_type() =
        type_proto({w.tensor.dtype(), Shape(w.tensor.dims().begin(), w.tensor.dims().end())});
  }
}

void remove_stand_ins(const std::vector<NamedTensor>& weights, onnx::GraphProto& graph) {
  std::set<std::string> names;
  for (const NamedTensor& w : weights) names.insert(w.name);
  auto& inputs = *graph.mutable_input();
  for (auto it = inputs.begin(); it != inputs.end();)
    it = names.count(it->name()) != 0 ? inputs.erase(it) : it + 1;
}

/// Attributes that say what holds anyway, and that older versions of an operator do not know.
void drop_default_attributes(onnx::GraphProto& graph) {
  for (onnx::NodeProto& n : *graph.mutable_node()) {
    const auto* schema = onnx::OpSchemaRegistry::Schema(n.op_type(), kNewestOpset, n.domain());
    if (schema == nullptr) continue;
    auto& attributes = *n.mutable_attribute();
    for (auto it = attributes.begin(); it != attributes.end();) {
      const auto known = schema->attributes().find(it->name());
      const bool redundant =
          known != schema->attributes().end() &&
          it->SerializeAsString() == known->second.default_value.SerializeAsString();
      it = redundant ? attributes.erase(it) : it + 1;
    }
  }
}

/// Operators whose older versions mean the same wherever they are valid, but which the converter
/// has no adapter for. They sit out the conversion in a domain it does not touch.
class SitOut {
 public:
  explicit SitOut(onnx::ModelProto& model) {
    for (onnx::NodeProto& n : *model.mutable_graph()->mutable_node())
      if (n.domain().empty() && kOps.count(n.op_type()) != 0) n.set_domain(kDomain);
    set_opset(model, kDomain, 1);
  }
  static void restore(onnx::ModelProto& model) {
    for (onnx::NodeProto& n : *model.mutable_graph()->mutable_node())
      if (n.domain() == kDomain) n.clear_domain();
    auto& imports = *model.mutable_opset_import();
    for (auto it = imports.begin(); it != imports.end();)
      it = it->domain() == kDomain ? imports.erase(it) : it + 1;
  }

 private:
  static constexpr const char* kDomain = "tintype.unconverted";
  inline static const std::set<std::string> kOps = {"ConstantOfShape", "GlobalMaxPool", "Pad",
                                                    "Split"};
};

void convert(onnx::ModelProto& model, int opset) {
  const onnx::GraphProto before = model.graph();
  try {
    drop_default_attributes(*model.mutable_graph());
    const SitOut unconverted(model);
    model = onnx::version_conversion::ConvertVersion(model, opset);
    SitOut::restore(model);
  } catch (const std::exception& e) {
    throw Error("cannot export in opset " + std::to_string(opset) + ": " + one_line(e.what()) +
                "; opset " + std::to_string(kNewestOpset) + " has everything");
  }
  // The converter forgets symbolic extents.
  *model.mutable_graph()->mutable_input() = before.input();
  *model.mutable_graph()->mutable_output() = before.output();
  *model.mutable_graph()->mutable_value_info() = before.value_info();
  model.set_ir_version(ir_version_for(opset));
}

void check(const onnx::ModelProto& model, int opset) {
  try {
    onnx::checker::check_model(model);
  } catch (const std::exception& e) {
    throw Error("cannot export in opset " + std::to_string(opset) +
                ": the result would not be valid: " + one_line(e.what()));
  }
}

/// An AtomicFile that throws and knows where it is.
class OutputFile {
 public:
  explicit OutputFile(const std::string& path) : file_(open(path)) {}
  void write(const void* data, size_t bytes) {
    require(file_.write({static_cast<const std::byte*>(data), bytes}));
    size_ += bytes;
  }
  void write(std::string_view bytes) { write(bytes.data(), bytes.size()); }
  void align(size_t alignment) {
    write(std::string((alignment - size_ % alignment) % alignment, '\0'));
  }
  size_t size() const { return size_; }
  void commit() { require(file_.commit()); }

 private:
  static void require(const Status& status) {
    if (!status.ok()) throw Error(status.message());
  }
  static AtomicFile open(const std::string& path) {
    Result<AtomicFile> file = AtomicFile::create(path);
    require(file.status());
    return std::move(file).value();
  }

  AtomicFile file_;
  size_t size_ = 0;
};

/// Bytes of an initializer in front of its elements, which end the message.
std::string initializer_header(const NamedTensor& w) {
  onnx::TensorProto proto;
  proto.set_name(w.name);
  for (int64_t d : w.tensor.dims()) proto.add_dims(d);
  proto.set_data_type(dtype_to_onnx(w.tensor.dtype()));
  std::string header = proto.SerializeAsString();
  wire::append_varint(header, (kTensorRawData << 3) | 2u);
  wire::append_varint(header, w.tensor.bytes());
  std::string field;
  wire::append_varint(field, (kGraphInitializer << 3) | 2u);
  wire::append_varint(field, header.size() + w.tensor.bytes());
  return field + header;
}

/// Weights are streamed from where they are: the message is never in memory as a whole.
void write_with_weights(const onnx::ModelProto& model, const std::vector<NamedTensor>& weights,
                        const std::string& path) {
  const std::string graph = model.graph().SerializeAsString();
  onnx::ModelProto rest = model;
  rest.clear_graph();
  std::vector<std::string> headers;
  size_t graph_bytes = graph.size();
  for (const NamedTensor& w : weights) {
    headers.push_back(initializer_header(w));
    graph_bytes += headers.back().size() + w.tensor.bytes();
  }
  std::string start = rest.SerializeAsString();
  wire::append_varint(start, (kModelGraph << 3) | 2u);
  wire::append_varint(start, graph_bytes);
  OutputFile file(path);
  file.write(start);
  file.write(graph);
  for (size_t i = 0; i < weights.size(); ++i) {
    file.write(headers[i]);
    file.write(weights[i].tensor.data(), weights[i].tensor.bytes());
  }
  file.commit();
}

void write_external(onnx::ModelProto& model, const std::vector<NamedTensor>& weights,
                    const std::string& path) {
  const std::string data_path = path + ".data";
  const std::string location = std::filesystem::path(data_path).filename().string();
  OutputFile data(data_path);
  for (const NamedTensor& w : weights) {
    data.align(kExternalAlignment);
    onnx::TensorProto& t = *model.mutable_graph()->add_initializer();
    t.set_name(w.name);
    for (int64_t d : w.tensor.dims()) t.add_dims(d);
    t.set_data_type(dtype_to_onnx(w.tensor.dtype()));
    t.set_data_location(onnx::TensorProto::EXTERNAL);
    for (const auto& [key, value] : {std::pair<std::string, std::string>{"location", location},
                                     {"offset", std::to_string(data.size())},
                                     {"length", std::to_string(w.tensor.bytes())}}) {
      auto* entry = t.add_external_data();
      entry->set_key(key);
      entry->set_value(value);
    }
    data.write(w.tensor.data(), w.tensor.bytes());
  }
  data.commit();
  OutputFile file(path);
  file.write(model.SerializeAsString());
  file.commit();
}

}  // namespace

void export_onnx(const Graph& graph, const std::string& path, const ExportOptions& options) {
  if (options.opset < kOldestOpset || options.opset > kNewestOpset)
    throw Error("opset " + std::to_string(options.opset) + " cannot be exported; choose " +
                std::to_string(kOldestOpset) + " to " + std::to_string(kNewestOpset));
  ExportedModel exported;
  onnx::ModelProto& model = exported.proto;
  onnx::GraphProto& proto = *model.mutable_graph();
  BodyExporter body(graph, exported, *proto.mutable_node(), *proto.mutable_value_info(),
                    /*is_main=*/true);
  body.run();
  write_interface(graph, body, proto);
  model.set_producer_name("tintype");
  model.set_ir_version(ir_version_for(kNewestOpset));
  set_opset(model, "", kNewestOpset);
  std::set<std::string> domains = exported.domains;
  for (const auto& n : proto.node()) domains.insert(n.domain());
  std::erase_if(domains, is_default_domain);
  for (const std::string& domain : domains) set_opset(model, domain, 1);

  const std::vector<NamedTensor> weights = keep_small_weights(exported);
  add_stand_ins(weights, proto);
  const int opset = exported.has_own_ops ? kNewestOpset : options.opset;
  if (opset != kNewestOpset) convert(model, opset);
  check(model, opset);
  remove_stand_ins(weights, *model.mutable_graph());
  size_t bytes = 0;
  for (const NamedTensor& w : weights) bytes += w.tensor.bytes();
  if (bytes > options.external_above) write_external(model, weights, path);
  else write_with_weights(model, weights, path);
}

}  // namespace tintype
