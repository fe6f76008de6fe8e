// Loading of pattern files, and the passes that their patterns become.
#include "passes/pattern_file.h"

#include "ir/diagnostic.h"
#include "ir/open_text.h"
#include "passes/pass.h"
#include "passes/pattern/rewrite.h"
#include "passes/recognize.h"

#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>

namespace tintype {

namespace {

constexpr PassOption kOptions[] = {
    {"max-rewrites", "16 per node + 1000", "rewrites after which the pattern counts as endless"},
};

bool run(Graph& graph, PassContext& context) {
  return pattern::apply_pattern(graph, context, *context.pass().pattern);
}

/// Passes refer to the text of their pattern, so both stay until the program ends.
struct LoadedPattern {
  std::unique_ptr<pattern::Pattern> pattern;
  Pass pass;
};

struct Loaded {
  std::mutex mutex;
  std::map<std::string, std::unique_ptr<LoadedPattern>> by_name;
};

Loaded& loaded() {
  static Loaded all;
  return all;
}

void add(std::unique_ptr<pattern::Pattern> p) {
  Loaded& all = loaded();
  const std::lock_guard lock(all.mutex);
  const auto it = all.by_name.find(p->name);
  if (it != all.by_name.end()) {
    if (it->second->pattern->source == p->source) return;
    pattern::fail_at(p->file, p->at,
                     "there is another pattern named '" + p->name + "', from " +
                         it->second->pattern->file);
  }
  auto entry = std::make_unique<LoadedPattern>();
  entry->pattern = std::move(p);
  const pattern::Pattern& kept = *entry->pattern;
  entry->pass = {kept.name, kept.summary, kOptions, run, &kept};
  try {
    register_passes(std::span<const Pass>(&entry->pass, 1));
  } catch (const Error&) {
    pattern::fail_at(kept.file, kept.at, "'" + kept.name + "' is the name of another pass");
  }
  all.by_name.emplace(kept.name, std::move(entry));
}

std::vector<std::string> add_all(std::string_view text, const std::string& name) {
  std::vector<std::string> names;
  for (auto& p : pattern::parse_patterns(text, name)) {
    names.push_back(p->name);
    add(std::move(p));
  }
  return names;
}

}  // namespace

std::vector<std::string> load_patterns(std::string_view text, const std::string& name) {
  register_recognize_passes();  // so that their names are taken
  return add_all(text, name);
}

void register_recognize_passes() {
  static const bool once = [] {
    add_all(recognize_patterns(), "passes/recognize.cpp");
    return true;
  }();
  static_cast<void>(once);
}

std::vector<std::string> load_patterns(const std::string& path) {
  std::ifstream file = open_text(path);
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  return load_patterns(text, path);
}

}  // namespace tintype
