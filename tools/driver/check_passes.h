// Numeric checks of passes: does a graph still compute what it did before?
#pragma once

#include "passes/pass_manager.h"
#include "tools/driver/driver.h"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace tintype {

/// What a pass broke.
struct PassFault {
  std::string pass;
  size_t step = 0;      ///< its position in the pipeline
  std::string node;     ///< the first one whose result differs, "conv1 (Conv)"; "" when not known
  std::string message;  ///< output, element, value before and after; or what the pass threw
  bool threw = false;   ///< the pass or the compilation of what it left threw
};

struct CheckPassesOptions {
  double tolerance = 1e-4;  ///< share of an output's largest element by which elements may differ
  uint64_t seed = 1;        ///< of inputs that are not given
  std::map<std::string, Tensor> inputs;
  /// Undo a faulty pass and go on without it, instead of stopping there.
  bool disable_faulty = false;
  /// Called with each fault, the graph that the pass got, and the values of its inputs.
  std::function<void(const PassFault&, const Graph& before,
                     const std::map<std::string, Tensor>& inputs)>
      on_fault;
};

struct PassCheck {
  std::vector<PassFault> faults;
  double max_error = 0;  ///< largest share of an output's scale by which a pass without fault moved
};

/// Runs the pipeline and, around each pass that changes the graph, the graph itself (ReferenceRun).
/// A pass is faulty when it throws, or when after it an element of an output or state differs by
/// more than the tolerance. Without `disable_faulty` the graph is left as the first faulty pass
/// made it.
PassCheck check_passes(std::unique_ptr<Graph>& graph, const PassPipeline& pipeline,
                       const CompileOptions& compile, const PipelineOptions& passes,
                       const CheckPassesOptions& options = {});

/// Gives every result of the graph that has no name one of its own, "%12", so that it can be found
/// again behind a pass; forget_names takes these away.
void name_values(Graph& graph);
void forget_names(Graph& graph);

/// A copy in which the values of these names are outputs behind the others. Unknown names are left
/// out of `names`.
std::unique_ptr<Graph> exposing(const Graph& graph, std::vector<std::string>& names);

}  // namespace tintype
