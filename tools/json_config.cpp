// JSON to options.
#include "tools/json_config.h"

#include "frontend/plot/history.h"
#include "ir/diagnostic.h"

#include <algorithm>
#include <fstream>
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

void apply(CLI::Option& option, const nlohmann::json& value) {
  if (option.count() > 0) return;
  if (value.is_array())
    for (const nlohmann::json& v : value) option.add_result(text_of(v));
  else option.add_result(text_of(value));
  option.run_callback();
}

}  // namespace

void apply_json_config(CLI::App& app, const std::string& path) {
  std::ifstream file(path);
  if (!file) throw Error(path + ": cannot be opened");
  try {
    const nlohmann::json config = nlohmann::json::parse(file);
    if (!config.is_object()) throw Error(path + ": expected a JSON object of options");
    for (const auto& [key, value] : config.items()) {
      // The model is the one argument without dashes.
      CLI::Option* option = app.get_option_no_throw(key == "model" ? key : "--" + key);
      if (option == nullptr || key == "help" || key == "config")
        throw Error(path + ": there is no option '" + key + "'" +
                    did_you_mean(key, option_names(app)));
      apply(*option, value);
    }
  } catch (const nlohmann::json::exception& e) {
    throw Error(path + ": " + e.what());
  } catch (const CLI::ParseError& e) {
    throw Error(path + ": " + e.what());
  }
}

void save_json_config(const CLI::App& app, const std::vector<std::string>& except,
                      const std::string& path) {
  nlohmann::json config = nlohmann::json::object();
  for (const CLI::Option* o : app.get_options()) {
    const std::string name = o->get_lnames().empty() ? o->get_name() : o->get_lnames()[0];
    if (o->count() == 0 || std::find(except.begin(), except.end(), name) != except.end()) continue;
    const std::vector<std::string>& results = o->results();
    if (o->get_items_expected_max() > 1) config[name] = results;
    else config[name] = results.back();
  }
  const Status saved = save_text(config.dump(1) + "\n", path);
  if (!saved.ok()) throw Error(saved.message());
}

}  // namespace tintype::cli
