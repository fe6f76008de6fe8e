// JSON, with every field checked: users edit and copy these files.
#include "tools/driver/tuning_file.h"

#include "codegen/compile.h"
#include "codegen/kernel_cache.h"
#include "frontend/data/json.h"
#include "frontend/plot/history.h"
#include "ir/diagnostic.h"
#include "ir/open_text.h"
#include "runtime/cpu_count.h"
#include "runtime/cuda/driver.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

namespace tintype {

namespace {

using Json = nlohmann::json;

constexpr std::string_view kFormat = "tintype tuning";
constexpr int kVersion = 1;
constexpr uintmax_t kMostBytes = 64 << 20;

std::string cpu_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const size_t at = line.find(": ");
    if (line.starts_with("model name") && at != std::string::npos) return line.substr(at + 2);
  }
  return "unknown";
}

/// The name of the device that programs run on, or "unknown" where there is no driver.
std::string device_name() {
  const Result<const CudaDriver*> driver = cuda_driver();
  const char* number = std::getenv("TINTYPE_CUDA_DEVICE");
  int device = 0;
  std::array<char, 256> name{};
  if (!driver.ok() || driver.value()->init(0) != 0 ||
      driver.value()->device_get(&device, number != nullptr ? std::atoi(number) : 0) != 0 ||
      driver.value()->device_name(name.data(), static_cast<int>(name.size() - 1), device) != 0)
    return "unknown";
  return name.data();
}

std::string math_of(const SelectAlgorithmsOptions& o) {
  std::string s = o.strict ? "strict" : "default";
  if (o.machine.cuda == 0) return s;
  s += o.libraries == Libraries::never    ? ", no libraries"
       : o.libraries == Libraries::always ? ", libraries always"
                                          : ", libraries";
  return s + (o.libraries != Libraries::never && o.tf32 ? " in TF32" : "");
}

/// Reads fields, and says where in the file one is not as it should be.
class Reader {
 public:
  explicit Reader(std::string path) : path_(std::move(path)) {}

  [[noreturn]] void fail(const std::string& what) const {
    throw Error(path_ + ": " + what + "; delete the file, or name another with --tuning");
  }

  const Json& field(const Json& object, const char* name, const std::string& where) const {
    if (!object.is_object() || !object.contains(name))
      fail("is damaged: " + where + " has no '" + name + "'");
    return object.at(name);
  }
  std::string text(const Json& object, const char* name, const std::string& where) const {
    const Json& j = field(object, name, where);
    if (!j.is_string()) fail("is damaged: '" + std::string(name) + "' of " + where + " is no text");
    return j.get<std::string>();
  }
  double time(const Json& object, const char* name, const std::string& where) const {
    const Json& j = field(object, name, where);
    const double ms = j.is_number() ? j.get<double>() : -1;
    if (!std::isfinite(ms) || ms < 0)
      fail("is damaged: '" + std::string(name) + "' of " + where + " is no time in milliseconds");
    return ms;
  }
  const Json& list(const Json& object, const char* name, const std::string& where) const {
    const Json& j = field(object, name, where);
    if (!j.is_array()) fail("is damaged: '" + std::string(name) + "' of " + where + " is no list");
    return j;
  }
  Algorithm algorithm(const Json& object, const char* name, const std::string& where) const {
    const std::string s = text(object, name, where);
    const auto a = parse_algorithm(s);
    if (!a)
      fail("is damaged: '" + std::string(name) + "' of " + where + " is '" + s + "', no algorithm");
    return *a;
  }

 private:
  std::string path_;
};

std::string ordinal(const char* what, size_t i) { return what + std::to_string(i + 1); }

TuningSetting read_setting(const Reader& r, const Json& j, const std::string& where) {
  TuningSetting s;
  s.processor = r.text(j, "processor", where);
  s.target = r.text(j, "target", where);
  s.math = r.text(j, "math", where);
  s.kernels = r.text(j, "kernels", where);
  const Json& threads = r.field(j, "threads", where);
  if (!threads.is_number_integer() || threads.get<int64_t>() < 1 || threads.get<int64_t>() > 4096)
    r.fail("is damaged: 'threads' of " + where + " is no number of threads");
  s.threads = threads.get<int>();
  return s;
}

Tuning read_choices(const Reader& r, const Json& list, const std::string& setting) {
  Tuning choices;
  for (size_t i = 0; i < list.size(); ++i) {
    const std::string where = ordinal("choice ", i) + " of " + setting;
    TunedAlgorithm t;
    t.choice = r.algorithm(list[i], "choice", where);
    t.milliseconds = r.time(list[i], "ms", where);
    t.reckoned = r.algorithm(list[i], "untuned", where);
    t.reckoned_milliseconds = r.time(list[i], "untuned_ms", where);
    choices.insert_or_assign(r.text(list[i], "node", where), t);
  }
  return choices;
}

double rounded(double ms) { return std::round(ms * 1e5) / 1e5; }

}  // namespace

TuningSetting tuning_setting(const SelectAlgorithmsOptions& options, int threads) {
  const bool on_device = options.machine.cuda != 0;
  const int most = default_thread_count();
  return {.processor = on_device ? device_name() : cpu_name(),
          .target = program_target(options.machine),
          .math = math_of(options),
          .kernels = std::string(kernel_version()),
          .threads = threads > 0 ? std::min(threads, most) : most};
}

Tuning TuningFile::choices_for(const TuningSetting& setting, bool any_processor) const {
  const auto exact = std::find_if(groups.begin(), groups.end(),
                                  [&](const Group& g) { return g.setting == setting; });
  if (exact != groups.end()) return exact->choices;
  if (!any_processor) return {};
  const auto near = std::find_if(groups.begin(), groups.end(), [&](const Group& g) {
    TuningSetting s = g.setting;
    s.processor = setting.processor;
    return s == setting;
  });
  return near == groups.end() ? Tuning() : near->choices;
}

void TuningFile::merge(const TuningSetting& setting, const Tuning& choices) {
  auto group = std::find_if(groups.begin(), groups.end(),
                            [&](const Group& g) { return g.setting == setting; });
  if (group == groups.end()) group = groups.insert(groups.end(), {setting, {}});
  for (const auto& [key, choice] : choices) group->choices.insert_or_assign(key, choice);
}

TuningFile load_tuning(const std::string& path) {
  std::ifstream file = open_text(path);
  std::error_code no_size;
  const Reader r(path);
  if (const auto bytes = std::filesystem::file_size(path, no_size); no_size || bytes > kMostBytes)
    r.fail("is no record of tintype tune");
  const Json j = parse_json_or_discard(file);
  if (!j.is_object() || j.value("format", Json()) != kFormat)
    r.fail(j.is_discarded() ? "is no record of tintype tune, or a damaged one: it is not JSON"
                            : "is no record of tintype tune");
  const Json& version = r.field(j, "version", "the record");
  if (version != kVersion)
    r.fail("is of version " + version.dump() + ", this tintype reads version " +
           std::to_string(kVersion));
  TuningFile tuning;
  const Json& settings = r.list(j, "settings", "the record");
  for (size_t i = 0; i < settings.size(); ++i) {
    const std::string where = ordinal("setting ", i);
    tuning.merge(read_setting(r, settings[i], where),
                 read_choices(r, r.list(settings[i], "choices", where), where));
  }
  return tuning;
}

void save_tuning(const TuningFile& file, const std::string& path) {
  std::vector<const TuningFile::Group*> groups;
  for (const TuningFile::Group& g : file.groups) groups.push_back(&g);
  const auto order = [](const TuningFile::Group* g) {
    const TuningSetting& s = g->setting;
    return std::tie(s.processor, s.target, s.threads, s.math, s.kernels);
  };
  std::sort(groups.begin(), groups.end(),
            [&](const auto* a, const auto* b) { return order(a) < order(b); });
  nlohmann::ordered_json settings = nlohmann::ordered_json::array();
  for (const TuningFile::Group* g : groups) {
    nlohmann::ordered_json choices = nlohmann::ordered_json::array();
    for (const auto& [key, t] : g->choices)
      choices.push_back({{"node", key},
                         {"choice", t.choice.text()},
                         {"ms", rounded(t.milliseconds)},
                         {"untuned", t.reckoned.text()},
                         {"untuned_ms", rounded(t.reckoned_milliseconds)}});
    settings.push_back({{"processor", g->setting.processor},
                        {"target", g->setting.target},
                        {"threads", g->setting.threads},
                        {"math", g->setting.math},
                        {"kernels", g->setting.kernels},
                        {"choices", std::move(choices)}});
  }
  const nlohmann::ordered_json j = {
      {"format", kFormat}, {"version", kVersion}, {"settings", std::move(settings)}};
  if (const Status s = save_text(json_text(j), path); !s.ok()) throw Error(s.message());
}

std::string default_tuning_path(const std::string& cache_directory) {
  const std::string folder =
      cache_directory == "default" ? KernelCache::default_directory() : cache_directory;
  return folder.empty() ? "" : folder + "/tuning.json";
}

}  // namespace tintype
