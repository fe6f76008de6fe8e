// Canonical text of kernels, and driving Halide to an object file.
#include "codegen/kernel.h"

#include "codegen/compose.h"
#include "codegen/define/added.h"
#include "codegen/prefetch_level.h"
#include "codegen/schedule/prefetch.h"
#include "codegen/schedule/schedules.h"
#include "ir/added_call.h"
#include "ir/diagnostic.h"
#include "ir/print.h"

#include <Halide.h>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <unistd.h>
#include <unordered_map>

namespace tintype {

SignedAmount signed_amount(const Dim& d) {
  if (d.is_static() || d.lower_bound().value_or(-1) >= 0) return {d, Dim(0)};
  return {max(d, Dim(0)), max(Dim(0) - d, Dim(0))};
}

std::string_view name_of(ScheduleKind kind) {
  switch (kind) {
    case ScheduleKind::reference: return "reference";
    case ScheduleKind::elementwise: return "elementwise";
    case ScheduleKind::contraction: return "contraction";
    case ScheduleKind::amx: return "amx";
    case ScheduleKind::tiled: return "tiled";
    case ScheduleKind::attention: return "attention";
    case ScheduleKind::cell: return "cell";
    case ScheduleKind::depthwise: return "depthwise";
    case ScheduleKind::window: return "window";
    case ScheduleKind::rows: return "rows";
    case ScheduleKind::window_max_gradient: return "window_max_gradient";
    case ScheduleKind::scatter: return "scatter";
    case ScheduleKind::weight_gradient: return "weight_gradient";
    case ScheduleKind::pack: return "pack";
    case ScheduleKind::winograd_points: return "winograd_points";
    case ScheduleKind::winograd_output: return "winograd_output";
    case ScheduleKind::winograd_weight_adjoint: return "winograd_weight_adjoint";
    case ScheduleKind::winograd_conv: return "winograd_conv";
    case ScheduleKind::added: return "added";
  }
  return "?";
}

namespace {

std::string tile_text(const BlockTile& t) {
  std::string s = " block=";
  for (const int n : {t.positions, t.columns, t.depth, t.thread_positions, t.thread_columns,
                      t.splits, t.left_vector, t.right_vector, t.channels})
    s += std::to_string(n) + ",";
  if (t.left_across) s += "across,";
  return s + (t.store_vectors ? "vectors" : "elements");
}

std::string buffer_text(const BufferSpec& b) {
  std::string s(name_of(b.dtype));
  s += '[';
  for (const bool u : b.unit) s += u ? '1' : 'n';
  return s + (b.dense ? "]" : b.across ? "]across" : "]strided") + (b.aligned ? " aligned" : "");
}

/// Attributes that shape loops at run time only; their values are not part of the machine code.
bool is_extent_only(const Node& n, std::string_view attr) {
  if (is_added(n.op())) return false;  // a plugin's code may read them all
  if (attr == "sizes" || attr == "filters" || attr == "columns" || attr == "extents") return true;
  return attr == "shape" && (n.is("broadcast") || n.is("iota"));
}

AttrMap coded_attributes(const Node& n) {
  AttrMap coded;
  for (const auto& [name, value] : n.attrs().entries())
    if (!is_extent_only(n, name)) coded.set(name, value);
  return coded;
}

}  // namespace

std::string KernelSpec::text() const {
  std::unordered_map<const Value*, std::string> names;
  std::string s =
      "kernel " + name + " schedule=" + std::string(name_of(schedule)) +
      " rows=" + std::to_string(rows) + " vectors=" + std::to_string(vectors) +
      " tail=" + std::to_string(static_cast<int>(tail)) +
      " depth=" + std::to_string(depth_multiple) +
      (schedule == ScheduleKind::cell
           ? " tasks=" + std::to_string(tasks) + (split_rows ? " of rows" : "") +
                 (gates_apart ? " gate by gate" : "")
           : "") +
      (channels > 0 ? " run=" + std::to_string(run) + " channels=" + std::to_string(channels) +
                          " filters=" + std::to_string(filters)
                    : "") +
      (depth_block > 0 ? " depth_block=" + std::to_string(depth_block) : "") +
      (guarded_rows ? " guarded" : "") +
      (schedule == ScheduleKind::amx ? " form=" + std::to_string(static_cast<int>(tile_rows))
                                     : "") +
      (prefetch > 0 ? " prefetch=" + std::to_string(prefetch) : "") +
      (lanes > 0 ? " lanes=" + std::to_string(lanes) : "") + (cuda ? " cuda" : "") +
      (block.columns > 0 ? tile_text(block) : "") + "\n";
  for (size_t i = 0; i < inputs.size(); ++i) {
    names[body->inputs()[i].get()] = "a" + std::to_string(i);
    s += "a" + std::to_string(i) + ": " + buffer_text(inputs[i]) + "\n";
  }
  for (const Dim& d : scalars) s += "scalar " + d.text() + "\n";
  int next = 0;
  for (const auto& n : body->nodes()) {
    std::string line;
    for (int i = 0; i < n->result_count(); ++i) {
      names[n->result(i)] = "v" + std::to_string(next++);
      line += (i == 0 ? "" : ", ") + names[n->result(i)] + ":" +
              std::string(name_of(n->result(i)->dtype()));
      for (const Dim& d : n->result(i)->shape()) line += d.is(1) ? '1' : 'n';
    }
    line += " = " + std::string(n->name()) + "(";
    for (Value* v : n->operands()) line += (v == nullptr ? std::string("none") : names[v]) + " ";
    s += line + ") " + print(coded_attributes(*n), 64);
    if (const std::string id = definition_identity(n->name()); !id.empty()) s += " code " + id;
    s += "\n";
  }
  for (size_t i = 0; i < outputs.size(); ++i)
    s += "return " + names[body->output(i)] + ": " + buffer_text(outputs[i]) + "\n";
  return s;
}

namespace {

/// A file of our own in the temporary folder, removed on destruction. Halide writes objects to
/// paths only.
class ScratchFile {
 public:
  ScratchFile() {
    const char* dir = std::getenv("TMPDIR");
    path_ = std::string(dir == nullptr || *dir == '\0' ? "/tmp" : dir) + "/tintype-XXXXXX.o";
    const int fd = mkstemps(path_.data(), 2);
    if (fd < 0)
      throw Error("cannot create a temporary file in the folder of '" + path_ + "'; set TMPDIR");
    close(fd);
  }
  ~ScratchFile() { std::remove(path_.c_str()); }
  ScratchFile(const ScratchFile&) = delete;
  ScratchFile& operator=(const ScratchFile&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

/// Halide prints warnings to the terminal by default (that half precision is emulated, say). They
/// tell the user nothing that helps; errors become exceptions.
class QuietReporter : public Halide::CompileTimeErrorReporter {
 public:
  void warning(const char*) override {}
  [[noreturn]] void error(const char* message) override { throw Halide::CompileError(message); }
};

void silence_warnings() {
  static QuietReporter reporter;
  static const bool once = [] {
    Halide::set_custom_compile_time_error_reporter(&reporter);
    return true;
  }();
  (void)once;
}

}  // namespace

namespace {

/// The newest capability that Halide has a name for and the device understands: PTX for an older
/// one runs on newer ones.
Halide::Target::Feature capability_feature(int capability) {
  using T = Halide::Target;
  if (capability >= 86) return T::CUDACapability86;
  if (capability >= 80) return T::CUDACapability80;
  if (capability >= 75) return T::CUDACapability75;
  return T::CUDACapability70;
}

void set_features(Halide::Target& target, const KernelSpec& spec) {
  // Outside contractions, infinities and NaNs mean what IEEE says: masks are minus infinity, say.
  bool strict = spec.schedule == ScheduleKind::elementwise || spec.schedule == ScheduleKind::rows ||
                spec.schedule == ScheduleKind::reference;
  for (const auto& n : spec.body->nodes())
    if (const auto added = find_kernel_definition(n->name())) {
      strict = !added->fast_math;
      // Nobody has proved that a plugin's definition reads its operands only.
      target.set_feature(Halide::Target::NoAsserts, false);
    }
  target.set_feature(Halide::Target::StrictFloat, strict);
}

/// A node of a plugin's op in the kernel, or null.
const Node* added_node(const Graph& body) {
  for (const auto& n : body.nodes())
    if (is_added(n->op())) return n.get();
  return nullptr;
}

std::vector<char> compile_definition(const KernelSpec& spec, const Machine& machine,
                                     const std::string& symbol) {
  Halide::Target target(machine.target);
  set_features(target, spec);
  if (spec.cuda) {
    target.set_feature(Halide::Target::CUDA);
    target.set_feature(capability_feature(machine.cuda));
  }
  Machine vectors = machine;
  if (spec.lanes > 0) vectors.lanes = spec.lanes;
  Composition c = compose(spec, vectors);
  schedule(c, spec, vectors);
  Halide::Pipeline pipeline(c.outputs);
  prefetch_contraction(pipeline, c, spec);
  if (spec.cuda) add_cuda_passes(pipeline, c);
  const ScratchFile file;
  pipeline.compile_to_object(file.path(), c.arguments, symbol, target);
  std::ifstream in(file.path(), std::ios::binary);
  std::vector<char> object((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  if (object.empty())
    throw Error("writing the object of kernel " + spec.name + " to '" + file.path() + "' failed");
  if (spec.prefetch > 0 || spec.schedule == ScheduleKind::contraction)
    fetch_into_second_level(object);
  return object;
}

}  // namespace

std::vector<char> compile_kernel(const KernelSpec& spec, const Machine& machine,
                                 const std::string& symbol) {
  silence_warnings();
  const Node* added = added_node(*spec.body);
  const auto compiled = [&] {
    try {
      return compile_definition(spec, machine, symbol);
    } catch (const Halide::Error& e) {
      if (added != nullptr)
        throw Error(added->where() + " (" + std::string(added->name()) +
                    "): Halide refuses its definition or schedule: " + e.what());
      throw InternalError("kernel " + spec.name + " does not compile: " + e.what() + "\n" +
                          spec.text());
    }
  };
  if (added == nullptr) return compiled();
  return call_added(function_of_op(*added, "definition or schedule"), compiled);
}

}  // namespace tintype
