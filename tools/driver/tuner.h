// Measures the algorithms that a model's convolutions and products can take, in the model itself,
// and keeps what is faster than the cost model's choice.
//
// A program with another algorithm in every node at once runs by turns with the untuned one; the
// steps that came from a node are compared round by round. First the algorithms, then the widths of
// panels of the best one, then all winners together: what does not win there again, by more than
// the noise, is dropped. In the end whole runs decide whether anything is kept.
#pragma once

#include "tools/driver/driver.h"
#include "tools/driver/tuning_file.h"

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace tintype {

struct TuneProgress {
  double share = 0;         ///< of the work that is known by now, 0 to 1
  double seconds_left = 0;  ///< at most, by the budget
  int programs = 0;         ///< measured so far
};

struct TuneOptions {
  CompileOptions compile;  ///< `threads`, target and math say for what; `tuning` is not looked at
  double seconds = 60;     ///< budget; the last check of the winners may exceed it a little
  /// Inputs for the model, of the extents to tune for.
  std::function<std::vector<Tensor>(const Model&)> inputs;
  std::function<bool()> stop;  ///< true: check what was found so far, and return
  std::function<void(const TuneProgress&)> progress;
  /// Choices of a setting that were measured before: their nodes are not measured anew, but checked
  /// with the others.
  std::function<Tuning(const TuningSetting&)> known;
};

/// Nodes of the model with the same key.
struct TunedNode {
  std::string key;
  std::vector<std::string> names;  ///< of the model
  int candidates = 0;
  Algorithm untuned, choice;
  double untuned_ms = 0, ms = 0;  ///< of one of them, all its steps
  bool measured = false;          ///< all candidates, now or before
};

struct TuneReport {
  TuningSetting setting;
  Tuning choices;  ///< of all measured nodes, those that keep their algorithm included
  std::vector<TunedNode> nodes;         ///< with more than one candidate, heaviest first
  int too_short = 0;                    ///< nodes that take too little of a run to be measured
  int programs = 0;                     ///< compiled and measured
  double untuned_ms = 0, tuned_ms = 0;  ///< medians of whole runs, by turns
  double seconds = 0;
  bool rejected = false;     ///< winners there were, but whole runs were not faster with them
  bool interrupted = false;  ///< by `stop`
};

/// `graph` of ONNX-level or core ops. Throws Error as compiling and running it do. Not to be run
/// beside anything else: it takes times.
TuneReport tune(std::unique_ptr<Graph> graph, const TuneOptions& options);

}  // namespace tintype
