// The table of definitions that plugins add.
#include "codegen/define/added.h"

#include "codegen/compose.h"
#include "ir/diagnostic.h"

#include <cstdio>
#include <dlfcn.h>
#include <fstream>
#include <iterator>
#include <map>
#include <mutex>
#include <shared_mutex>
#include <xxhash.h>

namespace tintype {

namespace {

struct Added {
  PointwiseDefinition pointwise = nullptr;
  KernelDefinition kernel = {nullptr};
  std::string identity;

  bool is_same_as(const Added& other) const {
    return pointwise == other.pointwise && kernel.define == other.kernel.define &&
           kernel.schedule == other.kernel.schedule && kernel.fast_math == other.kernel.fast_math;
  }
};

struct Table {
  std::shared_mutex mutex;
  std::map<std::string, Added, std::less<>> by_name;
};

Table& table() {
  static Table instance;
  return instance;
}

std::optional<Added> find(std::string_view op_name) {
  if (op_name.find("::") == std::string_view::npos) return std::nullopt;
  Table& added = table();
  const std::shared_lock lock(added.mutex);
  const auto it = added.by_name.find(op_name);
  return it == added.by_name.end() ? std::nullopt : std::optional(it->second);
}

void add(std::string_view op_name, Added entry) {
  if (op_name.find("::") == std::string_view::npos)
    throw Error("definition of '" + std::string(op_name) +
                "' cannot be added: the name must be domain::Name");
  Table& added = table();
  const std::unique_lock lock(added.mutex);
  const auto [it, fresh] = added.by_name.emplace(op_name, entry);
  if (!fresh && !it->second.is_same_as(entry))
    throw Error("there are two definitions of op '" + std::string(op_name) + "'");
}

std::string hash_of_file(const char* path) {
  std::ifstream file(path, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (bytes.empty()) throw Error(std::string(path) + ": cannot be read");
  const XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
  char text[40];
  std::snprintf(text, sizeof text, "%016llx%016llx", static_cast<unsigned long long>(hash.high64),
                static_cast<unsigned long long>(hash.low64));
  return text;
}

/// The content of the library or program that holds a function, as a number: two builds of a plugin
/// must not share kernels in the cache.
std::string identity_of_code(void* function) {
  Dl_info info = {};
  if (dladdr(function, &info) == 0 || info.dli_fname == nullptr)
    throw Error("a definition must be a function of the program or of a library");
  // Loaded libraries do not change, and one may bring many ops.
  static std::mutex mutex;
  static std::map<std::string, std::string> known;
  const std::lock_guard lock(mutex);
  std::string& identity = known[info.dli_fname];
  if (identity.empty()) identity = hash_of_file(info.dli_fname);
  return identity;
}

std::string text_of(const Halide::Type& t) {
  std::string text;
  switch (t.code()) {
    case halide_type_int: text = "int"; break;
    case halide_type_uint: text = "uint"; break;
    case halide_type_float: text = "float"; break;
    case halide_type_bfloat: text = "bfloat"; break;
    default: text = "handle"; break;
  }
  return text + std::to_string(t.bits());
}

void check_results(const Node& n, const KernelFuncs& funcs) {
  const auto fail = [&n](const std::string& what) {
    throw Error(n.where() + " (" + std::string(n.name()) + "): its definition " + what);
  };
  if (static_cast<int>(funcs.results.size()) != n.result_count())
    fail("returns " + std::to_string(funcs.results.size()) + " results, the op has " +
         std::to_string(n.result_count()));
  for (int i = 0; i < n.result_count(); ++i) {
    const Halide::Func& f = funcs.results[static_cast<size_t>(i)];
    const TensorType& type = n.result(i)->type();
    const std::string which = "of result " + std::to_string(i);
    if (!f.defined()) fail("leaves the Func " + which + " without a definition");
    if (f.dimensions() != type.rank())
      fail("gives the Func " + which + " " + std::to_string(f.dimensions()) +
           " arguments, the result is " + type.text());
    if (f.types().size() != 1 || f.types()[0] != halide_type(type.dtype))
      fail("computes " + text_of(f.types()[0]) + " as elements " + which + ", the result is " +
           type.text());
  }
}

}  // namespace

void register_definition(std::string_view op_name, PointwiseDefinition define) {
  Added entry;
  entry.pointwise = define;
  entry.identity = identity_of_code(reinterpret_cast<void*>(define));
  add(op_name, std::move(entry));
}

void register_kernel(std::string_view op_name, const KernelDefinition& definition) {
  Added entry;
  entry.kernel = definition;
  entry.identity = identity_of_code(reinterpret_cast<void*>(definition.define));
  add(op_name, std::move(entry));
}

PointwiseDefinition find_pointwise_definition(std::string_view op_name) {
  const auto added = find(op_name);
  return added ? added->pointwise : nullptr;
}

std::optional<KernelDefinition> find_kernel_definition(std::string_view op_name) {
  const auto added = find(op_name);
  return added && added->kernel.define != nullptr ? std::optional(added->kernel) : std::nullopt;
}

std::string definition_identity(std::string_view op_name) {
  const auto added = find(op_name);
  return added ? added->identity : "";
}

KernelFuncs define_kernel(const KernelOperands& operands) {
  const Node& n = operands.node;
  const auto definition = find_kernel_definition(n.name());
  if (!definition)
    throw Error(n.where() + " (" + std::string(n.name()) +
                "): the op has no definition; its plugin must call register_kernel for it");
  try {
    KernelFuncs funcs = definition->define(operands);
    check_results(n, funcs);
    return funcs;
  } catch (const Halide::Error& e) {
    throw Error(n.where() + " (" + std::string(n.name()) +
                "): Halide refuses its definition: " + e.what());
  }
}

}  // namespace tintype
