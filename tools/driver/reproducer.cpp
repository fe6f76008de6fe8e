// Reading and writing of reproducer folders.
#include "tools/driver/reproducer.h"

#include "frontend/data/json.h"
#include "frontend/data/npy.h"
#include "frontend/plot/history.h"
#include "ir/diagnostic.h"
#include "ir/open_text.h"
#include "ir/parse.h"

#include <filesystem>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace tintype {

namespace fs = std::filesystem;

namespace {

void write_text(const fs::path& path, const std::string& text) {
  if (const Status s = save_text(text, path.string()); !s.ok()) throw Error(s.message());
}

/// Paths inside stay right wherever the folder is used from.
std::vector<std::string> absolute(const std::vector<std::string>& paths) {
  std::vector<std::string> out;
  for (const std::string& p : paths) out.push_back(fs::absolute(p).string());
  return out;
}

std::string shell_quoted(const std::string& s) {
  std::string out = "'";
  for (char c : s) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

/// File names by input.
std::map<std::string, std::string> save_inputs(const std::map<std::string, Tensor>& inputs,
                                               const fs::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& [name, value] : inputs) {
    if (value.dtype() == DType::bf16) continue;
    const std::string file = fmt::format("input_{}.npy", files.size());
    if (Status s = save_npy(value, (folder / file).string()); !s.ok()) throw Error(s.message());
    files[name] = file;
  }
  return files;
}

}  // namespace

void save_reproducer(const Reproducer& r, const std::string& folder) {
  std::error_code problem;
  fs::create_directories(folder, problem);
  if (problem) throw Error(folder + ": cannot be created: " + problem.message());
  const fs::path base(folder);
  save_text(*r.graph, (base / "model.ir").string());
  const auto files = save_inputs(r.inputs, base);
  const nlohmann::json json = {{"passes", r.passes},
                               {"tolerance", r.tolerance},
                               {"seed", r.seed},
                               {"inputs", files},
                               {"message", r.message},
                               {"plugins", absolute(r.plugins)},
                               {"patterns", absolute(r.patterns)}};
  write_text(base / "reproducer.json", json_text(json));
  std::string command =
      "tintype opt model.ir --passes " + shell_quoted(r.passes) +
      fmt::format(" --verify-passes --tolerance {:g} --seed {}", r.tolerance, r.seed);
  for (const std::string& p : absolute(r.plugins)) command += " --plugin " + shell_quoted(p);
  for (const std::string& p : absolute(r.patterns)) command += " --patterns " + shell_quoted(p);
  for (const auto& [name, file] : files) command += " --input " + shell_quoted(name + "=" + file);
  write_text(base / "command.txt", command + " -o /dev/null\n");
}

Reproducer load_reproducer(const std::string& folder,
                           const std::function<void(const Reproducer&)>& before_graph) {
  const fs::path base(folder);
  const std::string path = (base / "reproducer.json").string();
  if (!fs::exists(path))
    throw Error(path + ": is not there; --reproducer of tintype opt writes such folders");
  std::ifstream file = open_text(path);
  Reproducer r;
  try {
    const auto json = parse_json(file);
    r.passes = json.at("passes").get<std::string>();
    r.tolerance = json.at("tolerance").get<double>();
    r.seed = json.at("seed").get<uint64_t>();
    r.message = json.at("message").get<std::string>();
    r.plugins = json.at("plugins").get<std::vector<std::string>>();
    r.patterns = json.at("patterns").get<std::vector<std::string>>();
    before_graph(r);
    for (const auto& [name, input] : json.at("inputs").items()) {
      Result<Tensor> value = load_npy((base / input.get<std::string>()).string());
      if (!value.ok()) throw Error(value.status().message());
      r.inputs[name] = std::move(value).value();
    }
  } catch (const nlohmann::json::exception& e) {
    throw Error(path + ": " + fault_of(e));
  }
  r.graph = load_text((base / "model.ir").string());
  return r;
}

}  // namespace tintype
