// Layers for sequences: recurrent networks, embeddings, attention, convolution and pooling over
// time.
//
//   auto x = g.input("tokens", {DType::i64, {Dim::symbol("N"), Dim::symbol("T")}});
//   auto s = x.embedding({.count = 96, .width = 32}).lstm({.units = 128, .layers = 2});
//   g.output("logits", last_step(s.y).linear({.units = 96}));
//
// Sequences are N,T,features. A model that goes on where it stopped reads its states from states of
// the graph: pass them as Recurrent::h and c, and hand the results to GraphBuilder::set_next.
#pragma once

#include "frontend/graph/graph_builder.h"

#include <optional>

namespace tintype {

/// Weights and biases are drawn from [-1/sqrt(units), 1/sqrt(units)], as PyTorch does.
struct Recurrent {
  std::string name = {};
  int64_t units = 0;
  int64_t layers = 1;  ///< each reads the outputs of the one before
  bool bidirectional = false;
  bool reverse = false;             ///< from the last step to the first; not with bidirectional
  double dropout = 0;               ///< between layers
  std::string activation = "Tanh";  ///< of rnn
  /// Of gru: the reset gate multiplies the recurrent product (as PyTorch, Keras and cuDNN do), not
  /// the state before it (Cho et al. 2014).
  bool reset_after = true;
  /// Added to the bias of the gate that keeps the state, lstm's forget gate (Jozefowicz et al. 2015
  /// advise 1) and gru's update gate: log(T) for what shall last T steps.
  double forget_bias = 0;
  /// Added to the bias of lstm's input gate: -log(T) keeps T steps of noise out of the cell, as
  /// gru's update gate does by itself (Tallec & Ollivier 2018).
  double input_bias = 0;
  /// Steps of each sequence, i32[N]; later ones do not count and put out zeros.
  std::optional<Variable> lengths = {};
  /// States before the first step, [layers * directions, N, units]; zeros when absent.
  std::optional<Variable> h = {}, c = {};
};

/// Outputs of the last layer [N, T, units * directions], and the states after the last step of all
/// layers, [layers * directions, N, units].
struct RecurrentResult {
  Variable y, h;
  std::optional<Variable> c;  ///< lstm only
};

/// Rows of a table, one per id.
struct Embedding {
  std::string name = {};
  int64_t count = 0;  ///< ids are in [0, count)
  int64_t width = 0;
  Initializer weight_init = init::normal(1);
};

struct Conv1d {
  std::string name = {};
  int64_t filters = 0;
  int64_t kernel = 1;
  int64_t stride = 1;
  int64_t padding = 0;
  int64_t dilation = 1;
  bool bias = true;
  Initializer weight_init = init::he_normal();
  Initializer bias_init = init::zeros();
};

struct Pool1d {
  std::string name = {};
  int64_t kernel = 2;
  int64_t stride = 0;  ///< 0: the kernel's extent
  int64_t padding = 0;
};

/// Step t of N,T,features, as [N, features]; -1 is the last.
Variable at_step(Variable y, int64_t t, const std::string& name = "");
/// Zeros [N, units], for as many sequences as N,T,features has: the state before the first step.
Variable zero_state(Variable y, int64_t units, const std::string& name = "");
/// Steps [N, features] one after the other, as N,T,features.
Variable from_steps(const std::vector<Variable>& steps, const std::string& name = "");
/// The outputs of the last step of N,T,features: [N, features].
Variable last_step(Variable y, const std::string& name = "");
/// The mean and the largest of all steps of N,T,features: [N, features].
Variable mean_over_time(Variable y, const std::string& name = "");
Variable max_over_time(Variable y, const std::string& name = "");
/// sum_t softmax_t(query . states_t / sqrt(features)) states_t: query [N, features], states
/// [N, T, features] give [N, features]. Luong et al. 2015, "dot" score, scaled.
Variable attend(Variable query, Variable states, const std::string& name = "");

}  // namespace tintype
