// What starts with neither a graph's keyword nor like protobuf is described, not only refused.
#include "tools/driver/graph_file.h"

#include "frontend/onnx/export.h"
#include "ir/diagnostic.h"
#include "ir/parse.h"
#include "runtime/program_file.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <optional>

namespace tintype {

namespace {

/// As much of a file as tells its kind; what cannot be read is for the reader to say.
std::string start_of(const std::string& path) {
  std::string start(512, '\0');
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) return "";
  std::ifstream file(path, std::ios::binary);
  file.read(start.data(), static_cast<std::streamsize>(start.size()));
  start.resize(static_cast<size_t>(std::max<std::streamsize>(file.gcount(), 0)));
  return start;
}

bool starts_graph(std::string_view start) {
  const size_t first = std::min(start.find_first_not_of(" \t\r\n"), start.size());
  return start.substr(first).starts_with("graph ");
}

/// No control characters but those of texts.
bool is_text(std::string_view start) {
  return !start.empty() && std::all_of(start.begin(), start.end(), [](char c) {
    return static_cast<unsigned char>(c) >= ' ' || c == '\n' || c == '\r' || c == '\t';
  });
}

struct Kind {
  std::string_view magic, name;
};
constexpr Kind kKinds[] = {
    {"\xff\xd8\xff", "a JPEG image"},
    {"\x89PNG", "a PNG image"},
    {"GIF8", "a GIF image"},
    {"BM", "a BMP image"},
    {"PK\x03\x04", "a zip archive, as those of PyTorch and NumPy's .npz; export the model to ONNX"},
    {"\x93NUMPY", "a NumPy array"},
    {"\x89HDF", "an HDF5 file, as Keras writes them; export the model to ONNX"},
    {"\x7f"
     "ELF",
     "a program or library"},
    {"\x1f\x8b", "compressed with gzip; unpack it"},
    {"%PDF", "a PDF document"},
    {"version https://git-lfs", "a pointer of Git LFS; get the file itself with git lfs pull"},
};

/// What a file that is no model is, or nothing where it may be a damaged one.
std::optional<std::string> foreign_kind(std::string_view start) {
  if (start.starts_with(std::string_view(kProgramMagic.data(), kProgramMagic.size())))
    return "a compiled program, which holds no graph any more; give the model that it was compiled "
           "from";
  for (const Kind& k : kKinds)
    if (start.starts_with(k.magic) && (k.magic.size() > 2 || !is_text(start)))
      return std::string(k.name);
  if (!is_text(start)) return std::nullopt;
  const std::string line(start.substr(0, std::min<size_t>(start.find_first_of("\r\n"), 40)));
  return "a text that starts with '" + line + "'; that of a graph starts with 'graph \"NAME\"('";
}

std::string looks_like(const std::string& kind) {
  return "not an ONNX model or the text of a graph: it is " + kind;
}

/// Runs an import; when it fails on something that is no model at all, says what that is.
template <typename Import>
auto described(std::string_view start, const std::string& name, Import&& import) {
  try {
    return import();
  } catch (const NeedsInputValue&) {
    throw;
  } catch (const Error&) {
    if (const auto kind = foreign_kind(start)) throw Error(name + ": " + looks_like(*kind));
    throw;
  }
}

/// A text states what an importer would ask for.
void refuse_import_options(const std::string& name, const ImportOptions& options) {
  if (!options.input_shapes.empty() || !options.known_inputs.empty() ||
      !options.input_lengths.empty())
    throw Error(name + ": the text of a graph says itself what its inputs are; shapes, values and "
                       "lengths of inputs can be given for ONNX models");
}

/// What ONNX's importer counts, of a text.
ModelInfo info_of(const Graph& graph) {
  ModelInfo info;
  for (const auto& input : graph.inputs()) info.inputs.push_back(input->name());
  for (size_t i = 0; i < graph.output_count(); ++i) info.outputs.push_back(graph.output_name(i));
  for (const auto& n : graph.nodes()) {
    const Tensor* t = n->is("constant") ? n->result()->constant() : nullptr;
    if (t == nullptr) {
      ++info.node_count;
      continue;
    }
    info.parameter_count += t->size();
    info.parameter_bytes += t->bytes();
  }
  for (const State& s : graph.states()) {
    info.parameter_count += s.initial.size();
    info.parameter_bytes += s.initial.bytes();
  }
  return info;
}

}  // namespace

bool is_graph_text(const std::string& path) { return starts_graph(start_of(path)); }

std::unique_ptr<Graph> load_graph(const std::string& path, const ImportOptions& options) {
  const std::string start = start_of(path);
  if (!starts_graph(start))
    return described(start, path, [&] { return import_onnx(path, options); });
  refuse_import_options(path, options);
  return load_text(path);
}

std::unique_ptr<Graph> read_graph(std::string_view bytes, const std::string& name,
                                  const ImportOptions& options) {
  if (!starts_graph(bytes.substr(0, 512))) {
    ModelBytes model;
    model.bytes = {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()};
    model.name = name;
    return described(bytes.substr(0, 512), name, [&] { return import_onnx(model, options); });
  }
  refuse_import_options(name, options);
  try {
    return parse_graph(bytes);
  } catch (const Error& e) {
    throw Error(name + ": " + e.what());
  }
}

ImportReport load_graph_collect(const std::string& path) {
  const std::string start = start_of(path);
  if (!starts_graph(start)) {
    ImportReport report = import_onnx_collect(path);
    if (const auto kind = foreign_kind(start); kind && !report.problems.empty())
      report.problems = {path + ": " + looks_like(*kind)};
    return report;
  }
  ImportReport report;
  try {
    report.graph = load_text(path);
    report.info = info_of(*report.graph);
  } catch (const Error& e) {
    report.problems.emplace_back(e.what());
  }
  return report;
}

void save_graph(const Graph& graph, const std::string& path) {
  if (!path.ends_with(".onnx")) return save_text(graph, path);
  try {
    export_onnx(graph, path);
  } catch (const Error&) {
    // A pass may have made ops that the usual version of the operator set does not have.
    ExportOptions newest;
    newest.opset = kNewestOpset;
    export_onnx(graph, path, newest);
  }
}

}  // namespace tintype
