// A C++ graph API that reads like a paper: layers with named parameters, chained on variables.
//
//   GraphBuilder g("lenet5");
//   auto x = g.input("image", f32("N", 1, 28, 28));
//   auto y = x.conv2d({.filters = 6, .kernel = 5, .padding = 2}).tanh().avg_pool2d({.kernel = 2});
//   g.output("scores", y.flatten().linear({.units = 10}));
//
// Images are N,C,H,W. Layers become ONNX-level nodes, parameters become constants named
// "<scope>/<layer>.<parameter>", and a node's origin is its layer's name. Not thread-safe; distinct
// builders are independent: a Variable belongs to the builder that made it, and must not outlive
// it. Every layer throws Error naming the layer when its arguments are wrong, variables of another
// builder included, and everything throws Error once take() has given the graph away.
#pragma once

#include "frontend/graph/initializer.h"
#include "ir/graph.h"

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace tintype {

/// Type f32 with the given extents: integers, or names of symbols.
template <typename... D>
TensorType f32(D... extents) {
  const auto dim = [](auto d) {
    if constexpr (std::is_integral_v<decltype(d)>) return Dim(static_cast<int64_t>(d));
    else return Dim::symbol(std::string(d));
  };
  return {DType::f32, {dim(extents)...}};
}

/// Height and width; one number means both.
struct Extent2 {
  int64_t h = 0, w = 0;
  Extent2(int64_t both) : h(both), w(both) {}  // NOLINT(google-explicit-constructor)
  Extent2(int both) : h(both), w(both) {}      // NOLINT(google-explicit-constructor)
  Extent2(int64_t height, int64_t width) : h(height), w(width) {}
};

// Options of layers. An empty name becomes the op and a running number, as in "conv2".

struct Conv2d {
  std::string name = {};
  int64_t filters = 0;
  Extent2 kernel = 1;
  Extent2 stride = 1;
  Extent2 padding = 0;
  Extent2 dilation = 1;
  int64_t groups = 1;
  bool bias = true;
  Initializer weight_init = init::he_normal();
  Initializer bias_init = init::zeros();
};

struct ConvTranspose2d {
  std::string name = {};
  int64_t filters = 0;
  Extent2 kernel = 1;
  Extent2 stride = 1;
  Extent2 padding = 0;
  Extent2 output_padding = 0;
  int64_t groups = 1;
  bool bias = true;
  Initializer weight_init = init::he_normal();
  Initializer bias_init = init::zeros();
};

/// Filters that differ from place to place; needs a static height and width.
struct LocallyConnected2d {
  std::string name = {};
  int64_t filters = 0;
  Extent2 kernel = 1;
  Extent2 stride = 1;
  bool bias = true;
  Initializer weight_init = init::he_normal();
  Initializer bias_init = init::zeros();
};

struct Linear {
  std::string name = {};
  int64_t units = 0;
  bool bias = true;
  Initializer weight_init = init::xavier_uniform();
  Initializer bias_init = init::zeros();
};

struct BatchNorm {
  std::string name = {};
  double epsilon = 1e-5;
  Initializer scale_init = init::ones();
  Initializer bias_init = init::zeros();
  Initializer mean_init = init::zeros();
  Initializer variance_init = init::ones();
};

/// Over the last axis.
struct LayerNorm {
  std::string name = {};
  double epsilon = 1e-5;
};

struct Pool2d {
  std::string name = {};
  Extent2 kernel = 2;
  Extent2 stride = 0;  ///< 0: the kernel's extent
  Extent2 padding = 0;
  bool ceil = false;       ///< round output extents up
  bool count_pad = false;  ///< averages count padding as zeros
  int64_t p = 2;           ///< order of the norm, for lp_pool2d
};

/// x / (bias + alpha / size * sum of squares over `size` neighbouring channels)^beta. Krizhevsky et
/// al. 2012 (section 3.3) write alpha where this has alpha / size.
struct Lrn {
  std::string name = {};
  int64_t size = 5;
  double alpha = 1e-4, beta = 0.75, bias = 1;
};

class GraphBuilder;
// Layers for sequences: frontend/graph/recurrent.h.
struct Recurrent;
struct RecurrentResult;
struct Embedding;
struct Conv1d;
struct Pool1d;

/// A value in a GraphBuilder, cheap to copy; every method adds a layer and returns its result.
class Variable {
 public:
  Variable(GraphBuilder& builder, Value* value) : builder_(&builder), value_(value) {}
  Value* value() const { return value_; }
  GraphBuilder& builder() const { return *builder_; }
  const Shape& shape() const { return value_->shape(); }

  Variable conv2d(const Conv2d& options) const;
  Variable conv_transpose2d(const ConvTranspose2d& options) const;
  Variable locally_connected2d(const LocallyConnected2d& options) const;
  /// x W^T + b over the last axis; x is [N, features], or N,T,features where each step is mapped.
  Variable linear(const Linear& options) const;
  Variable batch_norm(const BatchNorm& options = {}) const;
  Variable layer_norm(const LayerNorm& options = {}) const;
  Variable lrn(const Lrn& options = {}) const;

  // Over N,T,features.
  RecurrentResult rnn(const Recurrent& options) const;
  RecurrentResult gru(const Recurrent& options) const;
  RecurrentResult lstm(const Recurrent& options) const;
  Variable conv1d(const Conv1d& options) const;
  Variable max_pool1d(const Pool1d& options) const;
  Variable avg_pool1d(const Pool1d& options) const;
  /// A row per id.
  Variable embedding(const Embedding& options) const;

  Variable max_pool2d(const Pool2d& options) const;
  Variable avg_pool2d(const Pool2d& options) const;
  Variable lp_pool2d(const Pool2d& options) const;
  Variable global_avg_pool(const std::string& name = "") const;

  Variable relu(const std::string& name = "") const;
  Variable leaky_relu(double slope = 0.01, const std::string& name = "") const;
  /// max(0, x) + slope min(0, x) with a trained slope, 0.25 at first, for all channels (axis 1) or,
  /// `per_channel`, for each (He et al. 2015, Delving Deep into Rectifiers).
  Variable prelu(bool per_channel = false, const std::string& name = "") const;
  Variable elu(double alpha = 1, const std::string& name = "") const;
  Variable selu(const std::string& name = "") const;
  Variable gelu(const std::string& name = "") const;
  Variable sigmoid(const std::string& name = "") const;
  Variable hard_sigmoid(const std::string& name = "") const;
  Variable hard_swish(const std::string& name = "") const;
  /// x sigmoid(x)
  Variable silu(const std::string& name = "") const;
  Variable tanh(const std::string& name = "") const;
  Variable softplus(const std::string& name = "") const;
  Variable softsign(const std::string& name = "") const;
  Variable softmax(int64_t axis = -1, const std::string& name = "") const;
  /// Largest of each `pieces` successive channels (axis 1): Goodfellow et al. 2013.
  Variable maxout(int64_t pieces, const std::string& name = "") const;
  /// Identity in inference; the ratio is kept for training.
  Variable dropout(double ratio = 0.5, const std::string& name = "") const;

  Variable exp(const std::string& name = "") const;
  Variable log(const std::string& name = "") const;
  Variable sqrt(const std::string& name = "") const;
  /// Over these axes, or over all where none is named; they go away, or stay with extent 1.
  Variable sum(const std::vector<int64_t>& axes = {}, bool keep = false,
               const std::string& name = "") const;
  Variable mean(const std::vector<int64_t>& axes = {}, bool keep = false,
                const std::string& name = "") const;
  /// The elements in another type, as ONNX's Cast converts them.
  Variable cast(DType to, const std::string& name = "") const;

  // Element by element; extents of 1 are repeated. There are operators, too: 1 - z, x * y + b.
  Variable add(Variable other, const std::string& name = "") const;
  Variable sub(Variable other, const std::string& name = "") const;
  Variable mul(Variable other, const std::string& name = "") const;
  Variable div(Variable other, const std::string& name = "") const;
  Variable matmul(Variable other, const std::string& name = "") const;
  /// All axes from `axis` on become one.
  Variable flatten(int64_t axis = 1, const std::string& name = "") const;
  /// 0 keeps an extent, -1 takes what is left.
  Variable reshape(const std::vector<int64_t>& shape, const std::string& name = "") const;
  Variable transpose(const std::vector<int64_t>& perm, const std::string& name = "") const;
  /// Positions [begin, end) of an axis; negative ones count from its end, and an end beyond it is
  /// its end.
  Variable slice(int64_t axis, int64_t begin, int64_t end, const std::string& name = "") const;

 private:
  Variable pool(std::string_view op, std::string_view stem, const Pool2d& options) const;
  Variable reduce(std::string_view op, std::string_view stem, const std::vector<int64_t>& axes,
                  bool keep, const std::string& name) const;
  Variable pool1d(std::string_view op, std::string_view stem, const Pool1d& options) const;
  Variable unary(std::string_view op, std::string_view stem, const std::string& name,
                 AttrMap attrs = {}) const;
  Variable binary(std::string_view op, std::string_view stem, Variable other,
                  const std::string& name) const;
  GraphBuilder* builder_;
  Value* value_;
};

// A number takes the type of the variable beside it.
Variable operator+(const Variable& a, const Variable& b);
Variable operator-(const Variable& a, const Variable& b);
Variable operator*(const Variable& a, const Variable& b);
Variable operator/(const Variable& a, const Variable& b);
Variable operator+(const Variable& a, double b);
Variable operator-(const Variable& a, double b);
Variable operator*(const Variable& a, double b);
Variable operator/(const Variable& a, double b);
Variable operator+(double a, const Variable& b);
Variable operator-(double a, const Variable& b);
Variable operator*(double a, const Variable& b);
Variable operator/(double a, const Variable& b);

/// What a layer computes and costs, for one image where the batch extent is a symbol.
struct Layer {
  std::string name, op;
  Shape output;
  int64_t parameters = 0;     ///< trainable; running statistics are not counted
  int64_t multiply_adds = 0;  ///< of convolutions and matrix products
};

struct GraphBuilderOptions {
  uint64_t seed = 1;
  /// Parameters get shapes but no elements: for layer tables of large models.
  bool shapes_only = false;
};

class GraphBuilder {
 public:
  explicit GraphBuilder(const std::string& name, const GraphBuilderOptions& options = {});
  GraphBuilder(const GraphBuilder&) = delete;
  GraphBuilder& operator=(const GraphBuilder&) = delete;

  /// Throws Error for a name that is empty or taken, and for a type that no tensor has.
  Variable input(const std::string& name, TensorType type);
  /// Outputs keep the order of the calls. Throws Error for a name that is empty or taken by another
  /// output or input.
  void output(const std::string& name, Variable value);
  /// A tensor that outlives a run (Graph::add_state): what a stream carries from call to call.
  Variable state(const std::string& name, Tensor initial);
  /// The value that a state has after a run.
  void set_next(const Variable& state, Variable next);
  Variable concat(const std::vector<Variable>& values, int64_t axis = 1,
                  const std::string& name = "");
  /// A constant without a name of its own.
  Variable constant(Tensor value);
  Variable scalar(double value, DType dtype = DType::f32);

  /// Names of layers made until the Scope ends start with "<name>/"; scopes nest.
  class Scope {
   public:
    Scope(GraphBuilder& builder, const std::string& name);
    ~Scope() { builder_.prefix_.resize(length_); }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    GraphBuilder& builder_;
    size_t length_;
  };

  const std::vector<Layer>& layers() const { return layers_; }
  const Graph& graph() const { return live(); }
  /// The finished graph; the builder is spent. Error when it has no output or was shapes_only.
  std::unique_ptr<Graph> take();

  // What layers are made of; for layers that this file does not have.

  /// A parameter by itself, with a row of its own in layers(): a weight [from, to], a bias, or
  /// whatever a hand-written layer shares among its steps.
  Variable parameter(const std::string& name, std::vector<int64_t> dims, const Initializer& how);

  /// Starts a layer: its full name, unique in the graph.
  std::string begin(std::string_view stem, const std::string& name);
  Variable parameter(const std::string& layer, std::string_view which, std::vector<int64_t> dims,
                     const Initializer& how, int64_t fan_in, int64_t fan_out,
                     bool trainable = true);
  /// A node that belongs to the layer.
  Variable node(const std::string& layer, std::string_view op,
                const std::vector<Variable>& operands, AttrMap attrs = {});
  /// The same with several results and with operands that may be absent.
  std::vector<Variable> nodes(const std::string& layer, std::string_view op,
                              std::vector<Value*> operands, AttrMap attrs, int results);
  /// Ends a layer: adds its row to layers().
  Variable finish(const std::string& layer, std::string_view op, Variable result,
                  int64_t multiply_adds_per_element = 0);

 private:
  /// The graph; Error when it was taken.
  Graph& live() const;
  /// Error unless the variable is one of this builder.
  void require_own(const std::string& where, const Variable& v) const;

  std::unique_ptr<Graph> graph_;
  GraphBuilderOptions options_;
  std::string prefix_;
  std::map<std::string, int> counts_;
  std::set<std::string> names_;
  int64_t pending_parameters_ = 0;
  std::vector<Layer> layers_;
};

}  // namespace tintype
