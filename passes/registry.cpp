// The table of built-in passes.
#include "ir/diagnostic.h"
#include "passes/added_pass.h"
#include "passes/passes.h"
#include "passes/recognize.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <mutex>
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

constexpr PassOption kFuse[] = {
    {"max-ops", "64", "ops of one region at most"},
    {"single-ops", "0", "every op its own region: the unfused program"},
    {"attention", "1", "0 leaves the two products of attention and the softmax to three kernels"},
};

constexpr PassOption kRecompute[] = {
    {"bytes", "0", "memory that buffers may take; 0: as little as possible"},
    {"segments", "0", "segments of the forward pass at most; 0: as many as are best"},
    {"extents", "", "likely values of symbols, as in N:8;H:224; others count as 1"},
};

constexpr PassOption kMerge[] = {
    {"rows", "8", "sequences from which on it pays; 0: never"},
    {"extents", "", "likely values of symbols, as in N:8;H:224; others count as 1"},
};

constexpr PassOption kSegment[] = {
    {"length", "0", "trips of a segment; 0: about the square root of all, 16 of an unknown number"},
    {"segments", "0",
     "segments of a loop whose trips are known, where length is 0; 0: as length says"},
    {"shortest", "32", "loops of fewer trips stay as they are"},
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
    {"fuse-gates",
     "joins the products of recurrent cells, and takes those with the inputs out of the loop",
     {},
     fuse_gates},
    {"fuse-regions", "groups ops into regions, each of which becomes one kernel", kFuse,
     fuse_regions},
    {"hoist-updates",
     "gives states their next values as early as nothing needs the current ones",
     {},
     hoist_updates},
    {"layout-states",
     "keeps states in the order of axes in which they are read",
     {},
     layout_states},
    {"normalize-cells",
     "gives products of recurrent steps the form that roll-loops and fuse-gates know",
     {},
     normalize_cells},
    {"read-last-steps",
     "reads the last step of a loop from the state that holds it",
     {},
     read_last_steps},
    {"recognize-attention",
     "finds attention that was written out as products and a softmax",
     {},
     recognize_attention},
    {"merge-projections",
     "with many sequences, recurrent cells multiply the input of a step in that step", kMerge,
     merge_projections},
    {"recompute", "computes activations again for the backward pass instead of keeping them",
     kRecompute, recompute},
    {"reshape-updates",
     "updates states in the shape of the product that makes their gradient",
     {},
     reshape_updates},
    {"simplify", "removes ops that do nothing and merges those that follow each other", kSimplify,
     simplify},
    {"roll-loops",
     "turns steps of a recurrent network that were written out into a loop",
     {},
     roll_loops},
    {"split-phases",
     "convolves inputs that are spread out with zeros without the zeros",
     {},
     split_phases},
    {"stack-steps",
     "computes at once what every step of a sequence computes by itself",
     {},
     stack_steps},
    {"segment-scans",
     "splits long loops into segments whose gradients compute them again instead of keeping "
     "everything",
     kSegment, segment_scans},
    {"simplify-control",
     "moves constants into loops and branches, what never changes out of loops, drops what is unused",
     {},
     simplify_control},
    {"sink-repeats", "lets pointwise kernels read repeated operands as they lie", {}, sink_repeats},
    {"sink-transposes",
     "moves transposes towards the outputs until they cancel",
     {},
     sink_transposes},
};

struct Registry {
  std::mutex mutex;
  std::map<std::string_view, const Pass*> passes;

  Registry() {
    for (const Pass& p : kPasses) passes[p.name] = &p;
  }
};

Registry& registry() {
  static Registry r;
  return r;
}

}  // namespace

std::vector<const Pass*> all_passes() {
  register_recognize_passes();
  Registry& r = registry();
  const std::lock_guard lock(r.mutex);
  std::vector<const Pass*> list;
  for (const auto& [name, pass] : r.passes) list.push_back(pass);
  return list;
}

void register_passes(std::span<const Pass> passes) {
  Registry& r = registry();
  const std::lock_guard lock(r.mutex);
  for (const Pass& p : passes)
    if (const auto [it, added] = r.passes.emplace(p.name, &p); !added && it->second != &p)
      throw Error("there are two passes named '" + std::string(p.name) + "'");
}

bool is_added(const Pass& pass) {
  return pass.pattern == nullptr &&
         std::none_of(std::begin(kPasses), std::end(kPasses),
                      [&pass](const Pass& known) { return &known == &pass; });
}

const Pass& find_pass(std::string_view name) {
  std::vector<std::string> names;
  for (const Pass* p : all_passes()) {
    if (p->name == name) return *p;
    names.emplace_back(p->name);
  }
  throw Error("there is no pass '" + std::string(name) + "'" + did_you_mean(name, names));
}

}  // namespace tintype
