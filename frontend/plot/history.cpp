// Shortest digits that read back as the same number.
#include "frontend/plot/history.h"

#include "runtime/atomic_file.h"

#include <cmath>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <set>

namespace tintype {

namespace {

using Scores = std::map<std::string, double>;
using Json = nlohmann::ordered_json;

/// Names of all scores of a part of the rows; the loss first.
std::vector<std::string> score_names(const std::vector<HistoryRow>& history,
                                     Scores HistoryRow::* part) {
  std::set<std::string> names;
  for (const HistoryRow& row : history)
    for (const auto& [name, value] : row.*part) names.insert(name);
  std::vector<std::string> list;
  if (names.erase("loss") > 0) list.emplace_back("loss");
  list.insert(list.end(), names.begin(), names.end());
  return list;
}

/// A cell; in quotes where the text needs them.
std::string cell(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? "\"\"" : std::string(1, c);
  return quoted + "\"";
}

std::string cells(const Scores& scores, const std::vector<std::string>& names) {
  std::string line;
  for (const std::string& name : names) {
    const auto found = scores.find(name);
    line += found == scores.end() ? "," : fmt::format(",{}", found->second);
  }
  return line;
}

Json json_of(const Scores& scores) {
  Json object = Json::object();
  for (const auto& [name, value] : scores) object[name] = value;
  return object;
}

}  // namespace

std::string history_csv(const std::vector<HistoryRow>& history) {
  const std::vector<std::string> training = score_names(history, &HistoryRow::training);
  const std::vector<std::string> validation = score_names(history, &HistoryRow::validation);
  std::string text = "epoch,learning_rate,seconds";
  for (const std::string& name : training) text += "," + cell(name);
  for (const std::string& name : validation) text += "," + cell("validation_" + name);
  text += "\n";
  for (const HistoryRow& row : history)
    text += fmt::format("{},{},{}", row.epoch + 1, row.learning_rate, row.seconds) +
            cells(row.training, training) + cells(row.validation, validation) + "\n";
  return text;
}

std::string history_json(const std::vector<HistoryRow>& history) {
  Json rows = Json::array();
  for (const HistoryRow& row : history) {
    rows.push_back({{"epoch", row.epoch + 1},
                    {"learning_rate", row.learning_rate},
                    {"training", json_of(row.training)},
                    {"validation", json_of(row.validation)},
                    {"seconds", row.seconds},
                    {"warnings", row.warnings}});
    for (const auto& [kind, values] : row.diagnostics)
      rows.back()["diagnostics"][kind] = json_of(values);
  }
  return rows.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

Status save_text(const std::string& text, const std::string& path) {
  Result<AtomicFile> file = AtomicFile::create(path);
  if (!file.ok()) return file.status();
  if (Status s = file.value().write(std::as_bytes(std::span(text))); !s.ok()) return s;
  return file.value().commit();
}

}  // namespace tintype
