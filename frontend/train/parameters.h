// Which constants of an inference graph are what training would change.
#pragma once

#include "ir/graph.h"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace tintype {

/// A constant that feeds a trainable operand of some node.
struct Parameter {
  Value* value;
  /// Axis that counts the units (filters, outputs) of a weight; -1 for vectors and where several
  /// users disagree.
  int unit_axis = -1;
  int users = 0;  ///< trainable operands that it feeds
};

/// The floating-point constants with a name, of rank 1 or more, that ONNX-level nodes use as
/// weights, biases, scales or tables, directly or through nodes that only move elements; in graph
/// order. Rank-0 constants are taken for parts of formulas, and so are, by what the model's file
/// says of them (ir/constant_source.h):
///   initializer  those that hold infinity where they are added or multiplied: masks
///   literal      all but weights and biases of convolutions, products, recurrent nodes and batch
///                normalisations, whose operands decide
///   buffer       all
/// A literal scale of ones or bias of zeros stands for none.
std::vector<Parameter> find_parameters(const Graph& graph);

/// A constant that one might expect to be trained.
struct UntrainedConstant {
  enum class Why : uint8_t {
    formula,   ///< an operand as above reads it, but it is no parameter
    quantized  ///< integers of a byte, of rank 2 or more, that stand for weights
  };
  std::string name;
  std::vector<int64_t> dims;
  Why why;
};

std::string text_of(UntrainedConstant::Why why);
/// In graph order.
std::vector<UntrainedConstant> find_untrained(const Graph& graph);

/// What training changes in a model: parameters and running statistics, by name.
std::map<std::string, Tensor> weights_of(const Graph& graph);
/// Gives the model these values, and returns the names of what keeps its own. Throws Error for
/// names that the model lacks, and for other types and shapes than it has.
std::vector<std::string> set_weights(Graph& graph, const std::map<std::string, Tensor>& weights);

/// The batch normalisations whose running mean and variance are constants.
std::vector<Node*> find_running_norms(const Graph& graph);

}  // namespace tintype
