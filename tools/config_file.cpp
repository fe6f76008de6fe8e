// JSON and TOML to options, and back.
#include "tools/config_file.h"

#include "frontend/data/json.h"
#include "frontend/plot/history.h"
#include "ir/diagnostic.h"
#include "ir/open_text.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace tintype::cli {

namespace {

std::string text_of(const nlohmann::json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

std::vector<std::string> option_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* o : app.get_options())
    for (const std::string& name : o->get_lnames()) names.push_back(name);
  return names;
}

void apply(CLI::App& app, const std::string& key, const std::vector<std::string>& values,
           const std::string& path) {
  // The model is the one argument without dashes.
  CLI::Option* option = app.get_option_no_throw(key == "model" ? key : "--" + key);
  if (option == nullptr || key == "help" || key == "config")
    throw Error(path + ": there is no option '" + key + "'" + did_you_mean(key, option_names(app)));
  if (option->count() > 0) return;
  for (const std::string& v : values) option->add_result(v);
  option->run_callback();
}

bool is_wanted(const std::string& key, const std::vector<std::string>& only) {
  return only.empty() || std::find(only.begin(), only.end(), key) != only.end();
}

void apply_json(CLI::App& app, std::istream& file, const std::string& path,
                const std::vector<std::string>& only) {
  const nlohmann::json config = parse_json(file);
  if (!config.is_object()) throw Error(path + ": expected a JSON object of options");
  for (const auto& [key, value] : config.items()) {
    if (!is_wanted(key, only)) continue;
    std::vector<std::string> values;
    if (value.is_array())
      for (const nlohmann::json& v : value) values.push_back(text_of(v));
    else values.push_back(text_of(value));
    apply(app, key, values, path);
  }
}

void apply_toml(CLI::App& app, std::istream& file, const std::string& path,
                const std::vector<std::string>& only) {
  for (const CLI::ConfigItem& item : CLI::ConfigTOML().from_config(file)) {
    if (item.name == "++" || item.name == "--" || !item.parents.empty())
      throw Error(path + ": options stand at the top level; found the section '" +
                  (item.parents.empty() ? item.name : item.parents[0]) + "'");
    if (is_wanted(item.name, only)) apply(app, item.name, item.inputs, path);
  }
}

}  // namespace

void apply_config(CLI::App& app, const std::string& path, const std::vector<std::string>& only) {
  std::ifstream file = open_text(path);
  try {
    if (path.ends_with(".toml")) apply_toml(app, file, path, only);
    else apply_json(app, file, path, only);
  } catch (const nlohmann::json::exception& e) {
    throw Error(path + ": " + e.what());
  } catch (const CLI::Error& e) {
    throw Error(path + ": " + e.what());
  }
}

void save_config(const CLI::App& app, const std::vector<std::string>& except,
                 const std::string& path) {
  nlohmann::json config = nlohmann::json::object();
  for (const CLI::Option* o : app.get_options()) {
    const std::string name = o->get_single_name();
    if (o->count() == 0 || std::find(except.begin(), except.end(), name) != except.end()) continue;
    const std::vector<std::string>& results = o->results();
    if (o->get_items_expected_max() > 1) config[name] = results;
    else config[name] = results.back();
  }
  const Status saved = save_text(json_text(config), path);
  if (!saved.ok()) throw Error(saved.message());
}

}  // namespace tintype::cli
