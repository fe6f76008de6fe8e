// Recurrent layers as stacks of ONNX's operators, and the other layers for sequences.
#include "frontend/graph/recurrent.h"
#include "ir/diagnostic.h"

#include <cmath>

namespace tintype {

namespace {

[[noreturn]] void wrong(const std::string& layer, const std::string& message) {
  throw Error(layer + ": " + message);
}

int64_t last_extent(const std::string& layer, const Variable& x, int rank) {
  if (x.value()->rank() != rank || !x.shape().back().is_static())
    wrong(layer, "expected an input of rank " + std::to_string(rank) +
                     " with a known number of features, got " + x.value()->type().text());
  return x.shape().back().value();
}

Variable integers(GraphBuilder& g, std::vector<int64_t> v) {
  return g.constant(Tensor::from<int64_t>({static_cast<int64_t>(v.size())}, v));
}

struct Kind {
  const char *op, *stem;
  int64_t gates;
};

/// One recurrent network of several layers.
class Stack {
 public:
  Stack(GraphBuilder& g, const Kind& kind, const Recurrent& o)
      : g_(g), kind_(kind), o_(o), layer_(g.begin(kind.stem, o.name)),
        directions_(o.bidirectional ? 2 : 1) {
    if (o.units < 1)
      wrong(layer_, "expected a positive number of units, got " + std::to_string(o.units));
    if (o.layers < 1) wrong(layer_, "expected at least one layer, got " + std::to_string(o.layers));
    if (o.bidirectional && o.reverse) wrong(layer_, "bidirectional and reverse exclude each other");
    if (!(o.dropout >= 0 && o.dropout < 1))
      wrong(layer_, "the dropout ratio must be in [0, 1), got " + std::to_string(o.dropout));
    if (o.c && !lstm()) wrong(layer_, "only lstm has a cell state");
  }

  RecurrentResult run(const Variable& input) {
    last_extent(layer_, input, 3);
    Variable y = node("Transpose", {input}, {{"perm", std::vector<int64_t>{1, 0, 2}}});
    std::vector<Variable> h, c;
    int64_t multiply_adds = 0;
    for (int64_t i = 0; i < o_.layers; ++i) {
      if (i > 0 && o_.dropout > 0)
        y = node("Dropout", {y, g_.constant(Tensor::scalar(static_cast<float>(o_.dropout)))});
      const int64_t features = y.shape().back().value();
      multiply_adds += kind_.gates * (features + o_.units);
      const std::vector<Variable> results = one_layer(y, i);
      h.push_back(results[1]);
      if (lstm()) c.push_back(results[2]);
      y = joined(results[0]);
    }
    y = node("Transpose", {y}, {{"perm", std::vector<int64_t>{1, 0, 2}}});
    RecurrentResult result{g_.finish(layer_, kind_.stem, y, multiply_adds), stacked(h), {}};
    if (lstm()) result.c = stacked(c);
    return result;
  }

 private:
  bool lstm() const { return kind_.gates == 4; }

  Variable node(const char* op, const std::vector<Variable>& operands, AttrMap attrs = {}) {
    return g_.node(layer_, op, operands, std::move(attrs));
  }

  std::vector<Variable> one_layer(const Variable& x, int64_t i) {
    const int64_t features = x.shape().back().value();
    const int64_t rows = kind_.gates * o_.units;
    const double bound = 1 / std::sqrt(static_cast<double>(o_.units));
    const auto parameter = [&](const char* which, std::vector<int64_t> dims) {
      return g_.parameter(layer_, which + std::to_string(i), std::move(dims),
                          init::uniform(-bound, bound), features, o_.units);
    };
    const Variable w = parameter("weight_ih_l", {directions_, rows, features});
    const Variable r = parameter("weight_hh_l", {directions_, rows, o_.units});
    Variable b = parameter("bias_l", {directions_, 2 * rows});
    // Gates of lstm are in the order i, o, f, c, those of gru z, r, h.
    if (lstm()) raise_bias(b, 0, o_.input_bias);
    if (kind_.gates > 1) raise_bias(b, lstm() ? 2 : 0, o_.forget_bias);
    std::vector<Value*> operands = {x.value(), w.value(), r.value(), b.value(),
                                    o_.lengths ? o_.lengths->value() : nullptr};
    if (o_.h) operands.push_back(initial(*o_.h, i));
    if (o_.c) {
      operands.resize(6, nullptr);
      operands.push_back(initial(*o_.c, i));
    }
    while (operands.back() == nullptr) operands.pop_back();
    AttrMap attrs = {{"hidden_size", o_.units}};
    if (o_.bidirectional) attrs.set("direction", std::string("bidirectional"));
    else if (o_.reverse) attrs.set("direction", std::string("reverse"));
    if (kind_.gates == 1)
      attrs.set("activations",
                std::vector<std::string>(static_cast<size_t>(directions_), o_.activation));
    if (kind_.gates == 3 && o_.reset_after) attrs.set("linear_before_reset", int64_t{1});
    return g_.nodes(layer_, kind_.op, operands, std::move(attrs), lstm() ? 3 : 2);
  }

  /// The bias of a gate is twice there; it is the input's half, which is first, that is raised.
  void raise_bias(Variable& b, int64_t gate, double by) {
    const Tensor* t = b.value()->constant();
    if (by == 0 || t->data() == nullptr) return;  // without data only shapes are wanted
    const auto values = const_cast<Tensor*>(t)->mutable_values<float>();
    for (int64_t d = 0; d < directions_; ++d)
      for (int64_t u = 0; u < o_.units; ++u)
        values[static_cast<size_t>((d * 2 * kind_.gates + gate) * o_.units + u)] +=
            static_cast<float>(by);
  }

  Value* initial(const Variable& all, int64_t i) {
    if (o_.layers == 1) return all.value();
    return node("Slice", {all, integers(g_, {i * directions_}),
                          integers(g_, {(i + 1) * directions_}), integers(g_, {0})})
        .value();
  }

  /// [T, directions, N, units] as [T, N, directions * units].
  Variable joined(const Variable& y) {
    const Variable rows = node("Transpose", {y}, {{"perm", std::vector<int64_t>{0, 2, 1, 3}}});
    return node("Reshape", {rows, integers(g_, {0, 0, directions_ * o_.units})});
  }

  Variable stacked(const std::vector<Variable>& states) {
    return states.size() == 1 ? states[0] : node("Concat", states, {{"axis", int64_t{0}}});
  }

  GraphBuilder& g_;
  const Kind& kind_;
  const Recurrent& o_;
  const std::string layer_;
  const int64_t directions_;
};

constexpr Kind kRnn = {"RNN", "rnn", 1}, kGru = {"GRU", "gru", 3}, kLstm = {"LSTM", "lstm", 4};

}  // namespace

RecurrentResult Variable::rnn(const Recurrent& o) const {
  return Stack(*builder_, kRnn, o).run(*this);
}
RecurrentResult Variable::gru(const Recurrent& o) const {
  return Stack(*builder_, kGru, o).run(*this);
}
RecurrentResult Variable::lstm(const Recurrent& o) const {
  return Stack(*builder_, kLstm, o).run(*this);
}

Variable Variable::embedding(const Embedding& o) const {
  GraphBuilder& g = *builder_;
  const std::string layer = g.begin("embedding", o.name);
  if (o.count < 1 || o.width < 1)
    wrong(layer, "expected a positive count and width, got " + std::to_string(o.count) + " and " +
                     std::to_string(o.width));
  if (value_->dtype() != DType::i64 && value_->dtype() != DType::i32)
    wrong(layer, "expected ids (i64 or i32), got " + value_->type().text());
  const Variable table =
      g.parameter(layer, "weight", {o.count, o.width}, o.weight_init, o.count, o.width);
  return g.finish(layer, "embedding", g.node(layer, "Gather", {table, *this}));
}

Variable Variable::conv1d(const Conv1d& o) const {
  GraphBuilder& g = *builder_;
  const std::string layer = g.begin("conv", o.name);
  const int64_t features = last_extent(layer, *this, 3);
  if (o.filters < 1 || o.kernel < 1 || o.stride < 1 || o.dilation < 1 || o.padding < 0)
    wrong(layer, "filters, kernel, stride and dilation must be positive, padding not negative");
  const int64_t fan_in = features * o.kernel;
  const std::vector<int64_t> order = {0, 2, 1};  // ONNX wants N,C,T
  std::vector<Variable> operands = {g.node(layer, "Transpose", {*this}, {{"perm", order}}),
                                    g.parameter(layer, "weight", {o.filters, features, o.kernel},
                                                o.weight_init, fan_in, o.filters * o.kernel)};
  if (o.bias) operands.push_back(g.parameter(layer, "bias", {o.filters}, o.bias_init, fan_in, 1));
  const Variable y = g.node(layer, "Conv", operands,
                            {{"dilations", std::vector<int64_t>{o.dilation}},
                             {"kernel_shape", std::vector<int64_t>{o.kernel}},
                             {"pads", std::vector<int64_t>{o.padding, o.padding}},
                             {"strides", std::vector<int64_t>{o.stride}}});
  return g.finish(layer, "conv", g.node(layer, "Transpose", {y}, {{"perm", order}}), fan_in);
}

Variable Variable::pool1d(std::string_view op, std::string_view stem, const Pool1d& o) const {
  GraphBuilder& g = *builder_;
  const std::string layer = g.begin(stem, o.name);
  last_extent(layer, *this, 3);
  if (o.kernel < 1 || o.stride < 0 || o.padding < 0)
    wrong(layer, "the kernel must be positive, stride and padding not negative");
  if (o.padding >= o.kernel)
    wrong(layer, "padding must be smaller than the kernel: some windows would see nothing else");
  const std::vector<int64_t> order = {0, 2, 1};
  Variable y = g.node(layer, "Transpose", {*this}, {{"perm", order}});
  y = g.node(layer, op, {y},
             {{"kernel_shape", std::vector<int64_t>{o.kernel}},
              {"pads", std::vector<int64_t>{o.padding, o.padding}},
              {"strides", std::vector<int64_t>{o.stride == 0 ? o.kernel : o.stride}}});
  return g.finish(layer, stem, g.node(layer, "Transpose", {y}, {{"perm", order}}));
}

Variable Variable::max_pool1d(const Pool1d& o) const { return pool1d("MaxPool", "max_pool", o); }
Variable Variable::avg_pool1d(const Pool1d& o) const {
  return pool1d("AveragePool", "avg_pool", o);
}

namespace {

Variable one_step(Variable y, int64_t t, const char* stem, const std::string& name) {
  GraphBuilder& g = y.builder();
  const std::string layer = g.begin(stem, name);
  last_extent(layer, y, 3);
  if (const Dim& steps = y.shape()[1];
      steps.is_static() && (t >= steps.value() || t < -steps.value()))
    wrong(layer, "there is no step " + std::to_string(t) + " in " + y.value()->type().text());
  const Variable step =
      g.node(layer, "Slice",
             {y, integers(g, {t}), integers(g, {t == -1 ? INT64_MAX : t + 1}), integers(g, {1})});
  return g.finish(layer, stem, g.node(layer, "Squeeze", {step, integers(g, {1})}));
}

}  // namespace

Variable at_step(Variable y, int64_t t, const std::string& name) {
  return one_step(y, t, "step", name);
}
Variable last_step(Variable y, const std::string& name) {
  return one_step(y, -1, "last_step", name);
}

Variable zero_state(Variable y, int64_t units, const std::string& name) {
  GraphBuilder& g = y.builder();
  const std::string layer = g.begin("zero_state", name);
  last_extent(layer, y, 3);
  if (units < 1) wrong(layer, "expected a positive number of units, got " + std::to_string(units));
  const Variable rows = g.node(layer, "Shape", {y}, {{"start", int64_t{0}}, {"end", int64_t{1}}});
  const Variable shape =
      g.node(layer, "Concat", {rows, integers(g, {units})}, {{"axis", int64_t{0}}});
  return g.finish(layer, "zero_state", g.node(layer, "ConstantOfShape", {shape}));
}

Variable from_steps(const std::vector<Variable>& steps, const std::string& name) {
  if (steps.empty()) throw Error("from_steps: expected at least one step, got none");
  GraphBuilder& g = steps[0].builder();
  const std::string layer = g.begin("steps", name);
  std::vector<Variable> slices;
  for (const Variable& step : steps) {
    last_extent(layer, step, 2);
    slices.push_back(g.node(layer, "Unsqueeze", {step, integers(g, {1})}));
  }
  return g.finish(layer, "steps", g.node(layer, "Concat", slices, {{"axis", int64_t{1}}}));
}

namespace {

Variable over_time(Variable y, const char* op, const char* stem, const std::string& name) {
  GraphBuilder& g = y.builder();
  const std::string layer = g.begin(stem, name);
  last_extent(layer, y, 3);
  return g.finish(layer, stem,
                  g.node(layer, op, {y, integers(g, {1})}, {{"keepdims", int64_t{0}}}));
}

}  // namespace

Variable mean_over_time(Variable y, const std::string& name) {
  return over_time(y, "ReduceMean", "mean_over_time", name);
}
Variable max_over_time(Variable y, const std::string& name) {
  return over_time(y, "ReduceMax", "max_over_time", name);
}

Variable attend(Variable query, Variable states, const std::string& name) {
  GraphBuilder& g = states.builder();
  const std::string layer = g.begin("attend", name);
  const int64_t features = last_extent(layer, states, 3);
  if (last_extent(layer, query, 2) != features)
    wrong(layer, "expected a query of " + std::to_string(features) + " features, got " +
                     query.value()->type().text());
  const auto scale = static_cast<float>(1 / std::sqrt(static_cast<double>(features)));
  const Variable column = g.node(layer, "Unsqueeze", {query, integers(g, {2})});
  Variable scores = g.node(layer, "MatMul", {states, column});  // [N, T, 1]
  scores = g.node(layer, "Mul", {scores, g.constant(Tensor::scalar(scale))});
  scores = g.node(layer, "Softmax", {scores}, {{"axis", int64_t{1}}});
  const Variable weighted = g.node(
      layer, "MatMul",
      {g.node(layer, "Transpose", {scores}, {{"perm", std::vector<int64_t>{0, 2, 1}}}), states});
  return g.finish(layer, "attend", g.node(layer, "Squeeze", {weighted, integers(g, {1})}),
                  features);
}

}  // namespace tintype
