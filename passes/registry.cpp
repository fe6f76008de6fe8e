// The table of built-in passes.
#include "ir/diagnostic.h"
#include "passes/passes.h"

#include <vector>

namespace tintype {

namespace {

constexpr PassOption kFold[] = {
    {"max-bytes", "16777216", "do not fold when the result outgrows the operands by more"},
    {"weights", "1", "0 leaves movement of contraction weights for packing to take over"},
    {"small-only", "0", "fold only up to max-elements elements"},
    {"max-elements", "1024", "what small-only means"},
};

constexpr PassOption kSimplify[] = {
    {"layout", "1", "also rewrite transposes, which sink-transposes wants to see as they are"},
};

constexpr Pass kPasses[] = {
    {"common-subexpressions", "merges nodes that compute the same", {}, common_subexpressions},
    {"dead-code", "removes nodes whose results nobody uses", {}, dead_code},
    {"decompose", "rewrites ONNX-level ops to core ops", {}, decompose},
    {"fold-batch-norm",
     "folds batch normalisation into the convolution or product before it",
     {},
     fold_batch_norm},
    {"fold-constants", "evaluates what depends on constants alone", kFold, fold_constants},
    {"simplify", "removes ops that do nothing and merges those that follow each other", kSimplify,
     simplify},
    {"sink-transposes",
     "moves transposes towards the outputs until they cancel",
     {},
     sink_transposes},
};

}  // namespace

std::span<const Pass> all_passes() { return kPasses; }

const Pass& find_pass(std::string_view name) {
  std::vector<std::string> names;
  for (const Pass& p : kPasses) {
    if (p.name == name) return p;
    names.emplace_back(p.name);
  }
  throw Error("there is no pass '" + std::string(name) + "'" + did_you_mean(name, names));
}

}  // namespace tintype
