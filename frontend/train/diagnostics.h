// What a training program reports about itself, and what to make of it.
#pragma once

#include "frontend/train/training_graph.h"

#include <map>
#include <string>
#include <vector>

namespace tintype {

/// Collects scalars while the graph is built; they become one vector at the end.
class DiagnosticProbe {
 public:
  /// Statistics of the activations of ONNX-level nodes: to be called before they decompose.
  void watch_activations(Graph& graph);
  /// Norms of a gradient and of the update it led to.
  void watch_update(Builder& b, const std::string& parameter, Value* gradient, Value* old,
                    Value* next);
  /// Adds the output "diagnostics" and returns what its elements mean.
  std::vector<Diagnostic> finish(Graph& graph);

  /// What has been watched so far, for passes that put other values in their place.
  std::vector<Value*>& values() { return values_; }

 private:
  void add(Builder& b, Diagnostic::Kind kind, const std::string& name, Value* scalar);
  std::vector<Diagnostic> meanings_;
  std::vector<Value*> values_;
};

struct Warning {
  std::string about;  ///< what repeated warnings have in common, as "dead relu1"
  std::string text;
};

/// Sentences about values that mostly mean trouble: gradients that vanish (largest norm below 1e-7,
/// or that of one weight below 1e-5 times that of another) or explode (a norm above 1e3), layers
/// with more than 30 % dead units or 50 % saturated outputs, updates between a tenth and ten times
/// the weight, results that are not finite.
std::vector<Warning> warnings_of(const std::vector<Diagnostic>& meanings, const Tensor& values);

/// The values by kind ("activation_rms", "gradient_norm", "update_ratio", "saturated", "dead") and
/// name, for the history.
std::map<std::string, std::map<std::string, double>> statistics_of(
    const std::vector<Diagnostic>& meanings, const Tensor& values);

/// The first node, in order of execution, whose result was not finite; empty when there is none.
std::string first_non_finite(const std::vector<Diagnostic>& meanings, const Tensor& values);

/// Share of a weight's units (slices of `unit_axis`) that equal an earlier one bit for bit: what
/// remains of a constant initialisation, whose units all get the same gradient. 0 for a single
/// unit.
double identical_units(const Tensor& weight, int unit_axis);

}  // namespace tintype
