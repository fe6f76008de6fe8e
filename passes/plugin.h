// Plugins: shared libraries that bring passes and ops. docs/writing-a-pass.md shows how to make
// one.
//
//   #include <tintype/passes/plugin.h>
//   void add() { tintype::register_passes(kPasses); }
//   TINTYPE_PLUGIN("mine", add)
#pragma once

#include "ir/builder.h"
#include "ir/custom_ops.h"
#include "ir/diagnostic.h"
#include "passes/pass.h"
#include "passes/plugin_version.h"
#include "runtime/host_ops.h"

#include <string>

namespace tintype {

/// What a plugin's entry point says. The first two fields never change their meaning, so that any
/// Tintype can tell whether it understands the rest.
struct PluginEntry {
  const char* version;    ///< of Tintype, "0.1.0"
  const char* interface;  ///< hash of the headers that the plugin was built with
  const char* name;
  /// Called once when the plugin is loaded: registers passes (register_passes), ops (register_ops,
  /// register_host_ops, register_definition). What it throws becomes the error of load_plugin.
  void (*add)();
};

/// Loads a shared library by its path and lets it register what it brings; the library stays loaded
/// until the program ends. Returns the plugin's name. Loading the same file again does nothing.
/// Throws Error, beginning with the path: no such file, not a shared library, no entry point, built
/// for another version of Tintype. Thread-safe.
std::string load_plugin(const std::string& path);

}  // namespace tintype

/// The entry point; once per library. `add` is a function without arguments and result.
#define TINTYPE_PLUGIN(name, add)                                                                \
  extern "C" __attribute__((visibility("default"))) const ::tintype::PluginEntry tintype_plugin; \
  extern "C" const ::tintype::PluginEntry tintype_plugin = {TINTYPE_PLUGIN_VERSION,              \
                                                            TINTYPE_PLUGIN_INTERFACE, name, add};
