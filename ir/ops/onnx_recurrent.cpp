// RNN, GRU and LSTM: one product for the inputs of all steps, then a scan over time whose body is
// the recurrent product and the pointwise gates.
//
// In the body, gates are an axis of their own in front: the recurrent weights are [gates, H, H],
// the state is [1, B, H], their product [gates, B, H]. Gate g is a slice of it, so one kernel can
// compute all gates of a block of hidden units and what follows them.
#include "ir/ops/control.h"
#include "ir/ops/gradients.h"
#include "ir/ops/recurrent_activation.h"

#include <algorithm>
#include <optional>

namespace tintype::ops {

using namespace std::string_literals;

namespace {

enum class Cell : uint8_t { rnn, gru, lstm };

/// A recurrent node, checked; shapes with time outermost.
struct Recurrence {
  const Node& node;
  Cell cell;
  int64_t gates;
  int64_t directions = 1;
  bool starts_reversed = false;  ///< the first direction runs from the last step to the first
  bool batch_first = false;
  Dim steps = {}, batch = {}, hidden = {};
  DType dtype = DType::undefined;
  std::vector<RecurrentActivation> activations = {};
  double clip = 0;  ///< 0: none
  // Operands, null when absent; x is [steps, batch, features], states [directions, batch, hidden].
  Value *x = nullptr, *w = nullptr, *r = nullptr, *bias = nullptr, *lengths = nullptr,
        *initial_h = nullptr, *initial_c = nullptr, *peepholes = nullptr;

  size_t functions_per_direction() const {
    return activations.size() / static_cast<size_t>(directions);
  }
  const RecurrentActivation& activation(int64_t direction, size_t i) const {
    return activations[static_cast<size_t>(direction) * functions_per_direction() + i];
  }
};

void require_shape(const Node& n, const Value* v, const char* what, const Shape& expected) {
  if (v == nullptr) return;
  bool fits = v->shape().size() == expected.size();
  for (size_t i = 0; fits && i < expected.size(); ++i) {
    const Dim difference = v->shape()[i] - expected[i];
    fits = !difference.is_static() || difference.is(0);
  }
  if (!fits)
    fail(n, std::string(what) + " must be " + text_of(expected) + ", got " + v->type().text());
  for (size_t i = 0; i < expected.size(); ++i)
    n.graph().require_equal(v->shape()[i], expected[i], n.where() + ": extents of " + what);
}

void read_direction(Recurrence& c) {
  const std::string direction = c.node.attrs().string("direction", "forward");
  if (direction != "forward" && direction != "reverse" && direction != "bidirectional")
    fail(c.node, "direction '" + direction + "' is not one of forward, reverse, bidirectional");
  c.directions = direction == "bidirectional" ? 2 : 1;
  c.starts_reversed = direction == "reverse";
}

/// The lengths, checked: now, or by the run that brings them.
Value* checked_lengths(Builder& b, const Recurrence& c, Value* lengths) {
  if (lengths == nullptr) return nullptr;
  require_shape(c.node, lengths, "sequence_lens", {c.batch});
  if (lengths->dtype() != DType::i32 && lengths->dtype() != DType::i64)
    fail(c.node, "sequence_lens must be i32, got " + lengths->type().text());
  const Tensor* t = lengths->constant();
  if (t == nullptr || t->dtype() != DType::i32 || !c.steps.is_static())
    return b.make("bounded", {lengths},
                  {{"low", Shape{0}}, {"high", Shape{c.steps}}, {"what", "sequence_lens"s}});
  const std::span<const int32_t> values = t->values<int32_t>();
  for (size_t i = 0; i < values.size(); ++i)
    if (values[i] < 0 || values[i] > c.steps.value())
      fail(c.node, "sequence_lens[" + std::to_string(i) + "] is " + std::to_string(values[i]) +
                       ", expected 0 to " + c.steps.text());
  return lengths;
}

/// Operands 0 to 5 are the same for all three ops; LSTM has two more.
Recurrence read(Builder& b, const Node& n, Cell cell, int64_t gates,
                const std::vector<std::string>& activations) {
  Recurrence c{n, cell, gates};
  read_direction(c);
  c.batch_first = n.attrs().integer("layout") != 0;
  c.clip = n.attrs().number("clip", 0);
  if (!(c.clip >= 0)) fail(n, "clip must not be negative, got " + std::to_string(c.clip));
  Value* operands[8] = {};
  for (int i = 0; i < n.operand_count(); ++i) operands[i] = n.operand(i);
  const auto outer = [&](Value* v, const char* what) {
    if (v != nullptr && v->rank() != 3)
      fail(n, std::string(what) + " must have 3 axes, got " + v->type().text());
    return v == nullptr || !c.batch_first ? v : b.transpose(v, {1, 0, 2});
  };
  c.x = outer(operands[0], "X");
  c.w = operands[1];
  c.r = operands[2];
  c.bias = operands[3];
  c.initial_h = outer(operands[5], "initial_h");
  c.initial_c = outer(operands[6], "initial_c");
  c.peepholes = operands[7];
  c.dtype = c.x->dtype();
  c.steps = c.x->shape()[0];
  c.batch = c.x->shape()[1];
  if (c.r->rank() != 3) fail(n, "R must have 3 axes, got " + c.r->type().text());
  c.hidden = c.r->shape()[2];
  if (n.attrs().has("hidden_size")) {
    const int64_t h = n.attrs().integer("hidden_size");
    if (h < 1 || (c.hidden.is_static() && h != c.hidden.value()))
      fail(n, "hidden_size is " + std::to_string(h) + ", the weights R are " + c.r->type().text());
    c.hidden = Dim(h);  // a symbol in the weights is compared with it by require_shape
  }
  const Dim rows = Dim(gates) * c.hidden;
  require_shape(n, c.w, "W", {c.directions, rows, c.x->shape()[2]});
  require_shape(n, c.r, "R", {c.directions, rows, c.hidden});
  require_shape(n, c.bias, "B", {c.directions, Dim(2) * rows});
  require_shape(n, c.initial_h, "initial_h", {c.directions, c.batch, c.hidden});
  require_shape(n, c.initial_c, "initial_c", {c.directions, c.batch, c.hidden});
  require_shape(n, c.peepholes, "P", {c.directions, Dim(3) * c.hidden});
  c.lengths = checked_lengths(b, c, operands[4]);
  c.activations = recurrent_activations(n, static_cast<int>(c.directions), activations);
  return c;
}

/// The body of a scan while it is built, and what the scan will be given.
class ScanBuilder {
 public:
  ScanBuilder(Builder& outer, const std::string& name, const Dim& trips)
      : outer_(outer), body_(std::make_unique<Graph>(name)), inner_(*body_), trips_(trips) {
    inner_.set_origins(outer.origins());
  }
  Builder& body() { return inner_; }

  // In this order: states, scanned values, invariants.
  Value* state(const std::string& name, Value* initial) {
    ++states_;
    return add(name, initial, initial->shape());
  }
  Value* scanned(const std::string& name, Value* v) {
    ++scanned_;
    return add(name, v, Shape(v->shape().begin() + 1, v->shape().end()));
  }
  Value* invariant(const std::string& name, Value* v) { return add(name, v, v->shape()); }
  void output(const std::string& name, Value* v) { body_->add_output(name, v); }

  Node* finish(bool reverse) {
    const auto results = static_cast<int>(body_->output_count());
    std::vector<std::unique_ptr<Graph>> bodies;
    bodies.push_back(std::move(body_));
    AttrMap attrs = {{"states", states_}, {"scanned", scanned_}, {"trips", Shape{trips_}}};
    if (reverse) attrs.set("reverse", int64_t{1});
    return outer_.create("scan", operands_, std::move(attrs), results, std::move(bodies));
  }

 private:
  Value* add(const std::string& name, Value* v, Shape shape) {
    operands_.push_back(v);
    Value* inner = body_->add_input(name, {v->dtype(), std::move(shape)});
    return inner;
  }

  Builder& outer_;
  std::unique_ptr<Graph> body_;
  Builder inner_;
  Dim trips_;
  std::vector<Value*> operands_;
  int64_t states_ = 0, scanned_ = 0;
};

Value* direction_of(Builder& b, Value* v, int64_t d) {
  Value* one = b.slice_axis(v, 0, d, 1);
  return b.reshape(one, Shape(v->shape().begin() + 1, v->shape().end()));
}

/// What is added to X W^T, and what GRU adds to the recurrent product of its candidate.
struct Bias {
  Value* input = nullptr;      ///< [gates * hidden]
  Value* candidate = nullptr;  ///< [1, 1, hidden]
};

Bias bias_of(Builder& b, const Recurrence& c, int64_t d, bool candidate_apart) {
  if (c.bias == nullptr) return {};
  const Dim rows = Dim(c.gates) * c.hidden;
  Value* both = direction_of(b, c.bias, d);
  Value* of_x = b.slice_axis(both, 0, 0, rows);
  Value* of_h = b.slice_axis(both, 0, rows, rows);
  if (!candidate_apart) return {b.add(of_x, of_h), nullptr};
  const Dim shared = Dim(c.gates - 1) * c.hidden;
  Value* gates = b.add(b.slice_axis(of_x, 0, 0, shared), b.slice_axis(of_h, 0, 0, shared));
  Value* apart = b.slice_axis(of_h, 0, shared, c.hidden);
  return {b.concat({gates, b.slice_axis(of_x, 0, shared, c.hidden)}, 0),
          b.reshape(apart, {1, 1, c.hidden})};
}

/// X W^T + bias of all steps, seen as [steps, gates, batch, hidden].
Value* input_projection(Builder& b, const Recurrence& c, int64_t d, Value* bias) {
  Value* y = b.make("dot", {c.x, b.transpose(direction_of(b, c.w, d), {1, 0})});
  if (bias != nullptr) y = b.add(y, bias);
  return b.transpose(b.reshape(y, {c.steps, c.batch, c.gates, c.hidden}), {0, 2, 1, 3});
}

/// [gates, hidden (reduced), hidden]
Value* recurrent_weights(Builder& b, const Recurrence& c, int64_t d) {
  Value* r = direction_of(b, c.r, d);
  return b.transpose(b.reshape(r, {c.gates, c.hidden, c.hidden}), {0, 2, 1});
}

Value* gate(Builder& b, Value* all, int64_t g) { return b.slice_axis(all, 0, g, 1); }

Value* clipped(Builder& b, const Recurrence& c, Value* x) {
  if (c.clip == 0) return x;
  return b.with_scalar("min", b.with_scalar("max", x, -c.clip), c.clip);
}

/// One step: values of the body by name, in and out.
struct Step {
  Value *h = nullptr, *c = nullptr;  ///< states, [1, batch, hidden]
  Value* x = nullptr;                ///< projected input, [gates, batch, hidden]
  Value* r = nullptr;                ///< recurrent weights
  Value* candidate_bias = nullptr;
  Value* peepholes = nullptr;  ///< [3, 1, hidden]
};

// h' = f(x + h R)
Step rnn_step(Builder& b, const Recurrence& c, int64_t d, const Step& s) {
  Value* sum = b.add(s.x, b.make("dot", {s.h, s.r}));
  return {apply(b, c.activation(d, 0), clipped(b, c, sum))};
}

// i, o, f, g are slices of x + h R:   c' = f c + i g,   h' = o h(c')
Step lstm_step(Builder& b, const Recurrence& c, int64_t d, const Step& s) {
  Value* sum = b.add(s.x, b.make("dot", {s.h, s.r}));
  const auto peep = [&](Value* v, int64_t g, Value* cell) {
    return s.peepholes == nullptr ? v : b.add(v, b.mul(cell, gate(b, s.peepholes, g)));
  };
  const auto f = [&](Value* v) { return apply(b, c.activation(d, 0), clipped(b, c, v)); };
  Value* input = f(peep(gate(b, sum, 0), 0, s.c));
  Value* forget = c.node.attrs().integer("input_forget") != 0 ? b.sub(b.scalar(1, c.dtype), input)
                                                              : f(peep(gate(b, sum, 2), 2, s.c));
  Value* candidate = apply(b, c.activation(d, 1), clipped(b, c, gate(b, sum, 3)));
  Value* cell = b.add(b.mul(forget, s.c), b.mul(input, candidate));
  Value* output = f(peep(gate(b, sum, 1), 1, cell));
  return {b.mul(output, apply(b, c.activation(d, 2), cell)), cell};
}

// z, r = f(x + h R);   n = g(x + (r h) R)   or   g(x + r (h R + bias));   h' = (1 - z) n + z h
Step gru_step(Builder& b, const Recurrence& c, int64_t d, const Step& s, bool reset_last) {
  const auto f = [&](Value* v) { return apply(b, c.activation(d, 0), clipped(b, c, v)); };
  Value* weights = reset_last ? s.r : b.slice_axis(s.r, 0, 0, 2);
  Value* product = b.make("dot", {s.h, weights});
  const auto sum = [&](int64_t g) { return b.add(gate(b, s.x, g), gate(b, product, g)); };
  Value* update = f(sum(0));
  Value* reset = f(sum(1));
  Value* candidate = nullptr;
  if (reset_last) {
    candidate = gate(b, product, 2);
    if (s.candidate_bias != nullptr) candidate = b.add(candidate, s.candidate_bias);
    candidate = b.mul(reset, candidate);
  } else {
    candidate = b.make("dot", {b.mul(reset, s.h), gate(b, s.r, 2)});
  }
  candidate = b.add(gate(b, s.x, 2), candidate);
  candidate = apply(b, c.activation(d, 1), clipped(b, c, candidate));
  Value* keep = b.sub(b.scalar(1, c.dtype), update);
  return {b.add(b.mul(keep, candidate), b.mul(update, s.h))};
}

/// Results of one direction: all outputs [steps, 1, batch, hidden], and the states at the end.
struct Direction {
  Value *y = nullptr, *h = nullptr, *c = nullptr;
};

Value* initial_state(Builder& b, const Recurrence& c, Value* given, int64_t d) {
  return given != nullptr ? b.slice_axis(given, 0, d, 1)
                          : zeros(b, c.dtype, {1, c.batch, c.hidden});
}

Direction run_direction(Builder& b, const Recurrence& c, int64_t d) {
  const bool reset_last = c.node.attrs().integer("linear_before_reset") != 0;
  const bool lstm = c.cell == Cell::lstm;
  const Bias bias = bias_of(b, c, d, c.cell == Cell::gru && reset_last);
  ScanBuilder scan(b, "step", c.steps);
  Step s;
  s.h = scan.state("h", initial_state(b, c, c.initial_h, d));
  if (lstm) s.c = scan.state("c", initial_state(b, c, c.initial_c, d));
  s.x = scan.scanned("x", input_projection(b, c, d, bias.input));
  Value* t = nullptr;
  if (c.lengths != nullptr)
    t = scan.scanned(
        "t",
        b.make("iota", {},
               {{"shape", Shape{c.steps}}, {"axis", int64_t{0}}, {"dtype", c.lengths->dtype()}}));
  s.r = scan.invariant("r", recurrent_weights(b, c, d));
  if (bias.candidate != nullptr) s.candidate_bias = scan.invariant("rb", bias.candidate);
  if (c.peepholes != nullptr)
    s.peepholes = scan.invariant("p", b.reshape(direction_of(b, c.peepholes, d), {3, 1, c.hidden}));
  Builder& in = scan.body();
  Step next = c.cell == Cell::rnn   ? rnn_step(in, c, d, s)
              : c.cell == Cell::gru ? gru_step(in, c, d, s, reset_last)
                                    : lstm_step(in, c, d, s);
  Value* y = next.h;
  if (t != nullptr) {
    // Past the end of its sequence a row keeps its states and puts out zero.
    Value* lengths = scan.invariant("lengths", b.reshape(c.lengths, {1, c.batch, 1}));
    Value* on = in.compare("lt", t, lengths);
    y = in.select(on, next.h, in.scalar(0, c.dtype));
    next.h = in.select(on, next.h, s.h);
    if (lstm) next.c = in.select(on, next.c, s.c);
  }
  scan.output("h", next.h);
  if (lstm) scan.output("c", next.c);
  scan.output("y", y);
  const Node* done = scan.finish(c.starts_reversed != (d == 1));
  return {done->result(lstm ? 2 : 1), done->result(0), lstm ? done->result(1) : nullptr};
}

std::vector<Value*> run(Builder& b, const Recurrence& c) {
  Direction first = run_direction(b, c, 0);
  if (c.directions == 2) {
    const Direction second = run_direction(b, c, 1);
    first.y = b.concat({first.y, second.y}, 1);
    first.h = b.concat({first.h, second.h}, 0);
    if (first.c != nullptr) first.c = b.concat({first.c, second.c}, 0);
  }
  if (c.batch_first) {
    first.y = b.transpose(first.y, {2, 0, 1, 3});
    first.h = b.transpose(first.h, {1, 0, 2});
    if (first.c != nullptr) first.c = b.transpose(first.c, {1, 0, 2});
  }
  return {first.y, first.h, first.c};
}

Values rnn(Builder& b, const Node& n) { return run(b, read(b, n, Cell::rnn, 1, {"Tanh"})); }
Values gru(Builder& b, const Node& n) {
  return run(b, read(b, n, Cell::gru, 3, {"Sigmoid", "Tanh"}));
}
Values lstm(Builder& b, const Node& n) {
  return run(b, read(b, n, Cell::lstm, 4, {"Sigmoid", "Tanh", "Tanh"}));
}

constexpr AttrDef kRnn[] = {{"activation_alpha", AttrKind::numbers},
                            {"activation_beta", AttrKind::numbers},
                            {"activations", AttrKind::strings},
                            {"clip", AttrKind::number},
                            {"direction", AttrKind::string},
                            {"hidden_size", AttrKind::integer},
                            {"layout", AttrKind::integer}};
constexpr AttrDef kGru[] = {
    {"activation_alpha", AttrKind::numbers}, {"activation_beta", AttrKind::numbers},
    {"activations", AttrKind::strings},      {"clip", AttrKind::number},
    {"direction", AttrKind::string},         {"hidden_size", AttrKind::integer},
    {"layout", AttrKind::integer},           {"linear_before_reset", AttrKind::integer}};
constexpr AttrDef kLstm[] = {
    {"activation_alpha", AttrKind::numbers}, {"activation_beta", AttrKind::numbers},
    {"activations", AttrKind::strings},      {"clip", AttrKind::number},
    {"direction", AttrKind::string},         {"hidden_size", AttrKind::integer},
    {"layout", AttrKind::integer},           {"input_forget", AttrKind::integer}};

constexpr OpDef kOps[] = {
    {.name = "RNN",
     .min_operands = 3,
     .max_operands = 6,
     .max_results = 2,
     .attrs = kRnn,
     .traits = kOnnx,
     .decompose = rnn,
     .doc = "h' = f(x W^T + h R^T + b) along a sequence"},
    {.name = "GRU",
     .min_operands = 3,
     .max_operands = 6,
     .max_results = 2,
     .attrs = kGru,
     .traits = kOnnx,
     .decompose = gru,
     .doc = "gated recurrent unit along a sequence (Cho et al. 2014)"},
    {.name = "LSTM",
     .min_operands = 3,
     .max_operands = 8,
     .max_results = 3,
     .attrs = kLstm,
     .traits = kOnnx,
     .decompose = lstm,
     .doc = "long short-term memory along a sequence (Hochreiter and Schmidhuber 1997)"},
};

}  // namespace

std::span<const OpDef> onnx_recurrent() { return kOps; }

}  // namespace tintype::ops
