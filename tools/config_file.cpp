// JSON and TOML to options, and back.
#include "tools/config_file.h"

#include "frontend/data/json.h"
#include "frontend/plot/history.h"
#include "ir/diagnostic.h"
#include "ir/open_text.h"

#include <algorithm>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <optional>
#include <toml++/toml.h>

namespace tintype::cli {

namespace {

/// One key of a file: its values are texts, as on the command line.
struct Entry {
  std::string key;
  std::string where;  ///< "c.toml:3"
  std::vector<std::string> values;
};

constexpr const char* kValues = "a text, a number, true, false, or a list of these";

std::vector<std::string> option_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* o : app.get_options())
    for (const std::string& name : o->get_lnames()) names.push_back(name);
  return names;
}

void apply(CLI::App& app, const Entry& entry) {
  const std::string& key = entry.key;
  // The model is the one argument without dashes.
  CLI::Option* option = app.get_option_no_throw(key == "model" ? key : "--" + key);
  if (option == nullptr || key == "help" || key == "config")
    throw Error(entry.where + ": there is no option '" + key + "'" +
                did_you_mean(key, option_names(app)));
  if (option->count() > 0) return;
  for (const std::string& v : entry.values) option->add_result(v);
  try {
    option->run_callback();
  } catch (const CLI::Error& e) {
    throw Error(entry.where + ": " + e.what());
  }
}

std::optional<std::string> text_of(const nlohmann::json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number() || value.is_boolean()) return value.dump();
  return std::nullopt;
}

std::optional<std::string> text_of(const toml::node& value) {
  if (const auto text = value.value_exact<std::string>()) return *text;
  if (const auto whole = value.value_exact<int64_t>()) return std::to_string(*whole);
  if (const auto number = value.value_exact<double>()) return fmt::format("{}", *number);
  if (const auto flag = value.value_exact<bool>()) return *flag ? "true" : "false";
  return std::nullopt;
}

/// The entry of a value of either language, or of a list of them.
template <typename Value, typename List>
Entry entry_of(std::string key, std::string where, const Value& value, const List* list) {
  Entry entry = {std::move(key), std::move(where), {}};
  const auto add = [&entry](const auto& one) {
    const std::optional<std::string> text = text_of(one);
    if (!text) throw Error(fmt::format("{}: '{}' expects {}", entry.where, entry.key, kValues));
    entry.values.push_back(*text);
  };
  if (list == nullptr) add(value);
  else
    for (const auto& one : *list) add(one);
  return entry;
}

std::vector<Entry> read_json(std::istream& file, const std::string& path) {
  std::vector<Entry> entries;
  try {
    const nlohmann::json config = parse_json(file);
    if (!config.is_object()) throw Error(path + ": expected a JSON object of options");
    for (const auto& [key, value] : config.items()) {
      const auto* list = value.get_ptr<const nlohmann::json::array_t*>();
      entries.push_back(entry_of(key, path, value, list));
    }
  } catch (const nlohmann::json::exception& e) {
    throw Error(path + ": " + fault_of(e));
  }
  return entries;
}

std::vector<Entry> read_toml(std::istream& file, const std::string& path) {
  const auto place = [&path](const toml::source_region& at) {
    return fmt::format("{}:{}", path, at.begin.line);
  };
  std::vector<Entry> entries;
  try {
    const toml::table config = toml::parse(file);
    for (const auto& [key, value] : config) {
      const std::string where = place(key.source()), name(key.str());
      if (value.is_table() || value.is_array_of_tables())
        throw Error(where + ": options stand at the top level; found the section '" + name + "'");
      entries.push_back(entry_of(name, where, value, value.as_array()));
    }
  } catch (const toml::parse_error& e) {
    std::string what(e.description());
    if (what.find("unescaped control characters") != std::string::npos)
      what += "; a string needs its closing quote on the same line";
    throw Error(place(e.source()) + ": " + what);
  }
  return entries;
}

}  // namespace

void apply_config(CLI::App& app, const std::string& path, const std::vector<std::string>& only) {
  std::ifstream file = open_text(path);
  const std::vector<Entry> entries =
      path.ends_with(".toml") ? read_toml(file, path) : read_json(file, path);
  for (const Entry& entry : entries)
    if (only.empty() || std::find(only.begin(), only.end(), entry.key) != only.end())
      apply(app, entry);
}

void save_config(const CLI::App& app, const std::vector<std::string>& except,
                 const std::string& path, const Rewrite& rewrite) {
  nlohmann::json config = nlohmann::json::object();
  for (const CLI::Option* o : app.get_options()) {
    const std::string name = o->get_single_name();
    if (o->count() == 0 || std::find(except.begin(), except.end(), name) != except.end()) continue;
    std::vector<std::string> results = o->results();
    if (rewrite)
      for (std::string& text : results) text = rewrite(name, text);
    if (o->get_items_expected_max() > 1) config[name] = results;
    else config[name] = results.back();
  }
  const Status saved = save_text(json_text(config), path);
  if (!saved.ok()) throw Error(saved.message());
}

}  // namespace tintype::cli
