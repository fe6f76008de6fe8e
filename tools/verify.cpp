// tintype verify: folders of model.onnx and test_data_set_*, many at once.
#include "frontend/data/json.h"
#include "ir/diagnostic.h"
#include "ir/open_text.h"
#include "tools/command.h"
#include "tools/driver/compare.h"

#include <atomic>
#include <fmt/format.h>
#include <mutex>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

namespace tintype::cli {

namespace {

struct VerifyArguments {
  std::vector<std::string> folders;
  std::string math = "default", cache = "default", json, expectations, target, libraries = "auto";
  bool reference = false, no_cache = false, verbose = false;
  double rtol = -1, atol = -1;
  int jobs = 0;
};

std::string_view name_of(CaseOutcome o) {
  switch (o) {
    case CaseOutcome::passed: return "passed";
    case CaseOutcome::mismatch: return "mismatch";
    case CaseOutcome::refused: return "refused";
    case CaseOutcome::failed: return "failed";
  }
  return "?";
}

std::string case_name(const std::string& folder) {
  const size_t end = folder.find_last_not_of('/');
  const size_t slash = folder.find_last_of('/', end);
  return folder.substr(slash == std::string::npos ? 0 : slash + 1,
                       end - (slash == std::string::npos ? 0 : slash + 1) + 1);
}

std::vector<CaseResult> verify_all(const VerifyArguments& a) {
  VerifyOptions options;
  set_math(a.math, options.compile);
  options.compile.reference = a.reference;
  set_target(a.target, options.compile);
  set_libraries(a.libraries, options.compile);
  options.compile.cache_directory = a.no_cache ? "" : a.cache;
  options.compile.compile_threads = 1;  // the cases themselves run side by side
  options.rtol = a.rtol;
  options.atol = a.atol;
  std::vector<CaseResult> results(a.folders.size());
  std::atomic<size_t> next{0};
  auto work = [&] {
    for (size_t i = next++; i < a.folders.size(); i = next++)
      results[i] = verify_case(a.folders[i], options);
  };
  const auto jobs = a.jobs > 0 ? static_cast<unsigned>(a.jobs)
                               : std::max(1u, std::thread::hardware_concurrency());
  std::vector<std::thread> threads;
  for (unsigned t = 1; t < jobs; ++t) threads.emplace_back(work);
  work();
  for (std::thread& t : threads) t.join();
  return results;
}

void write_json(const std::string& path, const std::vector<CaseResult>& results) {
  nlohmann::json rows = nlohmann::json::array();
  for (const CaseResult& r : results)
    rows.push_back(
        {{"case", case_name(r.folder)}, {"outcome", name_of(r.outcome)}, {"message", r.message}});
  write_report(json_text(rows), path);
}

/// Names of cases expected to fail; lines starting with '#' are comments.
std::set<std::string> read_expectations(const std::string& path) {
  std::ifstream file = open_text(path);
  std::set<std::string> names;
  for (std::string line; std::getline(file, line);) {
    const size_t end = line.find_first_of(" \t#");
    if (end != 0 && !line.empty()) names.insert(line.substr(0, end));
  }
  return names;
}

int verify(const VerifyArguments& a) {
  require_writable(a.json);
  const std::set<std::string> expected =
      a.expectations.empty() ? std::set<std::string>{} : read_expectations(a.expectations);
  const std::vector<CaseResult> results = verify_all(a);
  std::FILE* const out = a.json == "-" ? stderr : stdout;  // which the JSON then has for itself
  size_t passed = 0;
  size_t surprises = 0;
  for (const CaseResult& r : results) {
    const bool ok = r.outcome == CaseOutcome::passed;
    passed += ok ? 1 : 0;
    const bool listed = expected.count(case_name(r.folder)) != 0;
    if (!a.expectations.empty() && ok == listed) {
      ++surprises;
      fmt::print(out, "{}: {}\n", case_name(r.folder),
                 ok ? "passes, but is listed as failing; take it off the list"
                    : "fails unexpectedly: " + r.message);
    } else if (!ok && (a.expectations.empty() || a.verbose)) {
      fmt::print(out, "{}: {}: {}\n", case_name(r.folder), name_of(r.outcome), r.message);
    }
  }
  if (!a.json.empty()) write_json(a.json, results);
  fmt::print(out, "{} passed, {} failed\n", passed, results.size() - passed);
  if (!a.expectations.empty()) return surprises == 0 ? kOk : kFailed;
  return passed == results.size() ? kOk : kFailed;
}

}  // namespace

Runner add_verify(CLI::App& parent) {
  auto args = std::make_shared<VerifyArguments>();
  CLI::App* app = parent.add_subcommand(
      "verify", "compare results with recorded ones, as ONNX's test suite stores them");
  app->add_option("folders", args->folders, "folders with model.onnx and test_data_set_*")
      ->required();
  app->add_option("--math", args->math, "default, strict, fast or fast,f16")
      ->check(CLI::IsMember(math_modes()));
  app->add_option("--rtol", args->rtol,
                  "relative tolerance (default: the case's data.json, else 1e-3)")
      ->check(not_negative());
  app->add_option("--atol", args->atol,
                  "absolute tolerance (default: the case's data.json, else 1e-7)")
      ->check(not_negative());
  app->add_option("--json", args->json,
                  "write one row per case to a file, or - for standard output");
  app->add_option("--expect-failures", args->expectations,
                  "file of cases that fail today; a surprise either way is an error");
  app->add_option("--jobs", args->jobs, "cases at once (default: one per processor)")
      ->check(positive());
  app->add_option("--target", args->target, kTargetHelp);
  app->add_option("--libraries", args->libraries, kLibrariesHelp);
  app->add_option("--cache", args->cache, "folder of compiled kernels");
  app->add_flag("--no-cache", args->no_cache, "compile every kernel anew");
  app->add_flag("--reference", args->reference, "run the unfused, unscheduled program");
  app->add_flag("-v,--verbose", args->verbose, "print expected failures, too");
  app->footer(
      "Examples:\n  tintype verify suite/node/test_conv_*\n  tintype verify --rtol 1e-5 --json report.json suite/node/*");
  return [args] { return verify(*args); };
}

}  // namespace tintype::cli
