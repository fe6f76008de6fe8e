#include "examples/sequences/common/example.h"

#include "frontend/plot/history.h"
#include "ir/diagnostic.h"
#include "tools/train_report.h"

#include <cstdio>
#include <filesystem>
#include <fmt/format.h>

namespace tintype::examples {

Example::Example(const std::string& about, std::string name)
    : app_(about), name_(std::move(name)), folder_("build/" + name_) {
  app_.add_option("--seed", seed_, "of weights, data and choices")->capture_default_str();
  app_.add_option("-o,--output", folder_, "folder for pictures")->capture_default_str();
}

int Example::run(int argc, char** argv, const std::function<void()>& work) {
  CLI11_PARSE(app_, argc, argv);
  try {
    std::filesystem::create_directories(folder_);
    work();
  } catch (const std::exception& e) {
    fmt::print(stderr, "error: {}\n", e.what());
    return 1;
  }
  return 0;
}

FitOptions Example::watched(int64_t epochs) const {
  const auto report = std::make_shared<cli::TrainReport>(epochs, /*verbose=*/true);
  return {.epochs = epochs,
          .on_step =
              [report](const StepReport& r) {
                report->step(r);
                return true;
              },
          .on_epoch =
              [report](const HistoryRow& row) {
                report->epoch(row);
                return true;
              }};
}

void Example::picture(const std::string& svg, const std::string& file) const {
  const std::string path = folder_ + "/" + file;
  if (const Status saved = save_text(svg, path); !saved.ok()) throw Error(saved.message());
  fmt::print("picture: {}\n", path);
}

void Example::result(const std::vector<std::pair<std::string, double>>& values) const {
  std::string line = "result: " + name_;
  for (const auto& [key, value] : values) line += fmt::format(" {}={:.6g}", key, value);
  fmt::print("{}\n", line);
  std::fflush(stdout);
}

}  // namespace tintype::examples
