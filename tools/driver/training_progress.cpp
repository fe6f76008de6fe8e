// Progress as JSON. Doubles are written so that they read back exactly; those that JSON has no
// number for become null and read back as NaN.
#include "tools/driver/training_progress.h"

#include "frontend/data/json.h"
#include "ir/diagnostic.h"

#include <limits>
#include <nlohmann/json.hpp>

namespace tintype {

namespace {

using Json = nlohmann::json;

double number(const Json& j) {
  return j.is_null() ? std::numeric_limits<double>::quiet_NaN() : j.get<double>();
}

std::vector<double> numbers(const Json& list) {
  std::vector<double> out;
  for (const Json& j : list) out.push_back(number(j));
  return out;
}

Scores scores_from(const Json& object) {
  Scores scores;
  for (const auto& [name, value] : object.items()) scores[name] = number(value);
  return scores;
}

/// Infinities of the schedule's memory as text, which JSON's null would lose.
Json memory_json(const std::vector<double>& memory) {
  Json list = Json::array();
  for (double v : memory)
    list.push_back(v == std::numeric_limits<double>::infinity()    ? Json("inf")
                   : v == -std::numeric_limits<double>::infinity() ? Json("-inf")
                                                                   : Json(v));
  return list;
}

std::vector<double> memory_from(const Json& list) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  std::vector<double> memory;
  for (const Json& j : list)
    memory.push_back(j.is_string() ? (j == "inf" ? kInfinity : -kInfinity) : number(j));
  return memory;
}

Json row_json(const HistoryRow& e) {
  return {{"epoch", e.epoch},
          {"learning_rate", e.learning_rate},
          {"training", e.training},
          {"validation", e.validation},
          {"seconds", e.seconds},
          {"warnings", e.warnings},
          {"diagnostics", e.diagnostics}};
}

/// Checkpoints may be older than this.
std::map<std::string, std::map<std::string, double>> diagnostics_from(const Json& j) {
  std::map<std::string, std::map<std::string, double>> diagnostics;
  if (j.contains("diagnostics"))
    for (const auto& [kind, values] : j["diagnostics"].items())
      diagnostics[kind] = scores_from(values);
  return diagnostics;
}

HistoryRow row_from(const Json& j) {
  return {j.at("epoch").get<int64_t>(),
          number(j.at("learning_rate")),
          scores_from(j.at("training")),
          scores_from(j.at("validation")),
          number(j.at("seconds")),
          j.at("warnings").get<std::vector<std::string>>(),
          diagnostics_from(j)};
}

}  // namespace

std::string TrainingProgress::to_json() const {
  Json rows = Json::array();
  for (const HistoryRow& e : history) rows.push_back(row_json(e));
  const Json j = {{"fingerprint", fingerprint},
                  {"epoch", epoch},
                  {"batch", batch},
                  {"steps", steps},
                  {"loss_sum", sums.loss},
                  {"examples", sums.examples},
                  {"targets", sums.targets},
                  {"metric_sums", sums.metrics},
                  {"seconds", seconds},
                  {"warnings", warnings},
                  {"diagnostics", diagnostics},
                  {"warned", warned},
                  {"rate_memory", memory_json(rate_memory)},
                  {"averaged", averaged},
                  {"best", best ? Json(*best) : Json()},
                  {"best_epoch", best_epoch},
                  {"bad_epochs", bad_epochs},
                  {"finished", finished},
                  {"history", rows}};
  return json_text(j, -1);
}

TrainingProgress TrainingProgress::from_json(const std::string& text) {
  try {
    const Json j = parse_json(text);
    TrainingProgress p;
    p.fingerprint = j.at("fingerprint").get<std::string>();
    p.epoch = j.at("epoch").get<int64_t>();
    p.batch = j.at("batch").get<int64_t>();
    p.steps = j.at("steps").get<int64_t>();
    p.sums.loss = number(j.at("loss_sum"));
    p.sums.examples = number(j.at("examples"));
    p.sums.targets = number(j.at("targets"));
    p.sums.metrics = numbers(j.at("metric_sums"));
    p.seconds = number(j.at("seconds"));
    p.warnings = j.at("warnings").get<std::vector<std::string>>();
    p.diagnostics = diagnostics_from(j);
    p.warned = j.at("warned").get<std::set<std::string>>();
    p.rate_memory = memory_from(j.at("rate_memory"));
    p.averaged = j.at("averaged").get<int64_t>();
    if (!j.at("best").is_null()) p.best = j.at("best").get<double>();
    p.best_epoch = j.at("best_epoch").get<int64_t>();
    p.bad_epochs = j.at("bad_epochs").get<int64_t>();
    p.finished = j.at("finished").get<bool>();
    for (const Json& row : j.at("history")) p.history.push_back(row_from(row));
    return p;
  } catch (const Json::exception& e) {
    throw Error(std::string("the checkpoint's progress can not be read: ") + fault_of(e));
  }
}

}  // namespace tintype
