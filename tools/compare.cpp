// tintype compare: whether two .npy files hold the same numbers, within tolerances.
#include "tools/driver/compare.h"
#include "tools/command.h"
#include "tools/driver/data_files.h"

#include <fmt/format.h>

namespace tintype::cli {

namespace {

struct CompareArguments {
  std::string got, want;
  double rtol = 1e-4, atol = 1e-6;
};

int compare(const CompareArguments& a) {
  const Comparison c = compare_tensors(load_tensor(a.got), load_tensor(a.want), a.rtol, a.atol);
  if (!c.ok) {
    fmt::print("{} differs from {}: {}\n", a.got, a.want, c.message);
    return kFailed;
  }
  fmt::print("same within rtol {:g} and atol {:g}: largest error {:.2g}, largest value {:.2g}\n",
             a.rtol, a.atol, c.max_error, c.scale);
  return kOk;
}

}  // namespace

Runner add_compare(CLI::App& parent) {
  auto args = std::make_shared<CompareArguments>();
  CLI::App* app = parent.add_subcommand("compare", "compare two .npy files element by element");
  app->add_option("got", args->got, "a .npy file")->required();
  app->add_option("want", args->want, "the .npy file it should equal")->required();
  app->add_option("--rtol", args->rtol, "relative tolerance");
  app->add_option("--atol", args->atol, "absolute tolerance");
  app->footer(
      "Examples:\n  tintype compare y.npy reference.npy\n  tintype compare --rtol 1e-5 y.npy reference.npy");
  return [args] { return compare(*args); };
}

}  // namespace tintype::cli
