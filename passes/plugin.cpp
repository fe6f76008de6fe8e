// dlopen, and the checks around it.
#include "passes/plugin.h"

#include <cerrno>
#include <cstring>
#include <dlfcn.h>
#include <mutex>
#include <set>
#include <unistd.h>

namespace tintype {

namespace {

struct Loaded {
  std::mutex mutex;
  std::set<void*> handles;
};

Loaded& loaded() {
  static Loaded all;
  return all;
}

/// The loader searches its own folders for names without a slash; a plugin is a file.
std::string as_path(const std::string& path) {
  return path.find('/') == std::string::npos ? "./" + path : path;
}

const PluginEntry& entry_of(void* handle, const std::string& path) {
  const auto* entry = static_cast<const PluginEntry*>(dlsym(handle, "tintype_plugin"));
  if (entry == nullptr)
    throw Error(path + ": is a shared library, but no plugin: it has no entry point; add "
                       "TINTYPE_PLUGIN(\"name\", function) of passes/plugin.h");
  if (std::strcmp(entry->version, TINTYPE_PLUGIN_VERSION) != 0 ||
      std::strcmp(entry->interface, TINTYPE_PLUGIN_INTERFACE) != 0)
    throw Error(path + ": was built for Tintype " + entry->version + " (interface " +
                entry->interface + "), this is " + TINTYPE_PLUGIN_VERSION + " (interface " +
                TINTYPE_PLUGIN_INTERFACE + "); build it again with this Tintype's headers");
  return *entry;
}

}  // namespace

std::string load_plugin(const std::string& path) {
  if (access(path.c_str(), R_OK) != 0) throw Error(path + ": " + std::strerror(errno));
  Loaded& all = loaded();
  const std::lock_guard lock(all.mutex);
  // Symbols are bound at once, so that a missing one is an error here and not in the middle of
  // work.
  void* handle = dlopen(as_path(path).c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    const char* why = dlerror();
    throw Error(path + ": cannot be loaded as a plugin: " + (why == nullptr ? "unknown" : why));
  }
  const PluginEntry& entry = entry_of(handle, path);
  if (!all.handles.insert(handle).second) return entry.name;
  const std::string start = path + ": plugin '" + entry.name + "': ";
  if (entry.add == nullptr)
    throw Error(start + "TINTYPE_PLUGIN names no function that registers what it brings");
  try {
    entry.add();
  } catch (const std::exception& e) {
    throw Error(start + e.what());
  } catch (...) {
    throw Error(start + "its function throws what is no std::exception");
  }
  return entry.name;
}

}  // namespace tintype
