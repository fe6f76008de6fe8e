// Loss functions: each is a per-element value, and what to divide its sum by.
#include "frontend/train/losses.h"

#include "frontend/train/graph_math.h"
#include "frontend/train/spec.h"

namespace tintype {

namespace {

/// What is summed, and the divisor of the mean.
struct Terms {
  Value* values;
  Value* count;
};

Terms over_elements(Builder& b, Value* values) { return {values, element_count(b, values)}; }

/// Labels with an axis of extent 1 where the prediction has its classes.
Value* with_class_axis(Builder& b, Value* prediction, Value* labels) {
  Shape shape = prediction->shape();
  shape[static_cast<size_t>(class_axis(prediction->type()))] = 1;
  return b.reshape(labels, std::move(shape));
}

/// 1 for labels that count, 0 for ignored ones, and their number; null and all of them without
/// an ignored index.
struct Counted {
  Value* weight;
  Value* number;
};

Counted counted_labels(Builder& b, Value* prediction, Value* labels,
                       const std::optional<int64_t>& ignored) {
  if (!ignored) return {nullptr, element_count(b, labels, prediction->dtype())};
  Value* label = with_class_axis(b, prediction, labels);
  Value* keep = b.compare("ne", label, b.scalar(static_cast<double>(*ignored), label->dtype()));
  Value* weight = b.cast(keep, prediction->dtype());
  return {weight, sum_all(b, weight)};
}

Value* weighted(Builder& b, Value* values, Value* weight) {
  return weight == nullptr ? values : b.mul(values, weight);
}

/// Sum over classes of x where the class is the label; keeps the axis.
Value* pick_label(Builder& b, Value* x, Value* labels) {
  Value* picked = b.select(label_mask(b, x, labels), x, b.scalar(0, x->dtype()));
  return b.reduce("reduce_sum", picked, {class_axis(x->type())});
}

// z = x - max(x), l = log sum exp z:  l - z[t], or l sum(t) - sum(t z) for distributions. The
// gradient of max cancels between the two terms, so none is asked for.
Terms terms(Builder& b, const CrossEntropy& o, Value* x, Value* t) {
  const int64_t axis = class_axis(x->type());
  Value* shifted = b.sub(x, stop_gradient(b, b.reduce("reduce_max", x, {axis})));
  Value* log_sum = b.log(b.reduce("reduce_sum", b.exp(shifted), {axis}));
  const Dim classes = x->shape()[static_cast<size_t>(axis)];
  const auto mean_of_classes = [&](Value* v) {
    return b.div(b.reduce("reduce_sum", v, {axis}), extent(b, classes, x->dtype()));
  };
  if (o.probabilities) {
    Value* target = t;
    if (o.label_smoothing != 0)
      target =
          b.add(b.with_scalar("mul", t, 1 - o.label_smoothing),
                b.div(b.scalar(o.label_smoothing, x->dtype()), extent(b, classes, x->dtype())));
    Value* values = b.reduce("reduce_sum", b.mul(target, b.sub(log_sum, shifted)), {axis});
    return over_elements(b, values);
  }
  Value* values = b.sub(log_sum, pick_label(b, shifted, t));
  if (o.label_smoothing != 0)
    values =
        b.add(b.with_scalar("mul", values, 1 - o.label_smoothing),
              b.with_scalar("mul", b.sub(log_sum, mean_of_classes(shifted)), o.label_smoothing));
  const Counted labels = counted_labels(b, x, t, o.ignore_index);
  return {weighted(b, values, labels.weight), labels.number};
}

// m = max(-x, 0):  (1 - t) x + (1 + (w - 1) t) (m + log(exp(-m) + exp(-x - m))). Its derivative by
// m is zero, so none is asked for.
Terms terms(Builder& b, const BinaryCrossEntropy& o, Value* x, Value* t) {
  Value* minus_x = b.neg(x);
  Value* m = stop_gradient(b, b.with_scalar("max", minus_x, 0));
  Value* softplus = b.add(m, b.log(b.add(b.exp(b.neg(m)), b.exp(b.sub(minus_x, m)))));
  if (o.pos_weight != 1)
    softplus = b.mul(softplus, b.with_scalar("add", b.with_scalar("mul", t, o.pos_weight - 1), 1));
  return over_elements(b, b.add(b.mul(b.sub(b.scalar(1, x->dtype()), t), x), softplus));
}

Terms terms(Builder& b, const MeanSquaredError&, Value* x, Value* t) {
  Value* d = b.sub(x, t);
  return over_elements(b, b.mul(d, d));
}

Terms terms(Builder& b, const MeanAbsoluteError&, Value* x, Value* t) {
  return over_elements(b, b.unary("abs", b.sub(x, t)));
}

Value* huber(Builder& b, Value* x, Value* t, double delta, double scale) {
  Value* d = b.sub(x, t);
  Value* a = b.unary("abs", d);
  Value* quadratic = b.with_scalar("mul", b.mul(d, d), 0.5 * scale);
  Value* linear = b.with_scalar("mul", b.with_scalar("sub", a, 0.5 * delta), delta * scale);
  return b.select(b.compare("le", a, b.scalar(delta, x->dtype())), quadratic, linear);
}

Terms terms(Builder& b, const Huber& o, Value* x, Value* t) {
  return over_elements(b, huber(b, x, t, o.delta, 1));
}

Terms terms(Builder& b, const SmoothL1& o, Value* x, Value* t) {
  if (o.beta == 0) return terms(b, MeanAbsoluteError{}, x, t);
  return over_elements(b, huber(b, x, t, o.beta, 1 / o.beta));
}

Terms terms(Builder& b, const MultiMargin& o, Value* x, Value* t) {
  Value* zero = b.scalar(0, x->dtype());
  Value* slack = b.with_scalar("add", b.sub(x, pick_label(b, x, t)), o.margin);
  slack = b.select(label_mask(b, x, t), zero, b.max(slack, zero));
  if (o.p == 2) slack = b.mul(slack, slack);
  Value* values = b.div(b.reduce("reduce_sum", slack, {1}), extent(b, x->shape()[1], x->dtype()));
  return over_elements(b, values);
}

Terms terms(Builder& b, const Hinge&, Value* x, Value* t) {
  Value* slack = b.sub(b.scalar(1, x->dtype()), b.mul(t, x));
  return over_elements(b, b.with_scalar("max", slack, 0));
}

// t log t is 0 at t = 0, where log would give minus infinity.
Terms terms(Builder& b, const KlDivergence& o, Value* x, Value* t) {
  Value* values = nullptr;
  if (o.log_target) {
    values = b.mul(b.exp(t), b.sub(t, x));
  } else {
    Value* positive = b.compare("gt", t, b.scalar(0, t->dtype()));
    Value* log_t = b.log(b.select(positive, t, b.scalar(1, t->dtype())));
    values = b.mul(t, b.sub(log_t, x));
  }
  if (!o.batch_mean) return over_elements(b, values);
  return {values, extent(b, x->shape()[0], x->dtype())};
}

Terms terms(Builder& b, const NegativeLogLikelihood& o, Value* x, Value* t) {
  const Counted labels = counted_labels(b, x, t, o.ignore_index);
  return {weighted(b, b.neg(pick_label(b, x, t)), labels.weight), labels.number};
}

void require_in(const Loss& loss, std::string_view key, double value, double low, double high) {
  if (!(value >= low && value <= high))
    throw Error("loss '" + text_of(loss) + "': " + std::string(key) + " is out of range");
}

void check(const Loss& loss) {
  constexpr double kHuge = 1e30;
  if (const auto* o = std::get_if<CrossEntropy>(&loss)) {
    require_in(loss, "label_smoothing", o->label_smoothing, 0, 1);
    if (o->probabilities && o->ignore_index)
      throw Error("loss '" + text_of(loss) + "': distributions have no label to ignore");
  }
  if (const auto* o = std::get_if<Huber>(&loss)) require_in(loss, "delta", o->delta, 1e-30, kHuge);
  if (const auto* o = std::get_if<SmoothL1>(&loss)) require_in(loss, "beta", o->beta, 0, kHuge);
  if (const auto* o = std::get_if<MultiMargin>(&loss))
    require_in(loss, "p", static_cast<double>(o->p), 1, 2);
  if (const auto* o = std::get_if<BinaryCrossEntropy>(&loss))
    require_in(loss, "pos_weight", o->pos_weight, 0, kHuge);
}

}  // namespace

Loss parse_loss(std::string_view text) {
  const Loss loss = read_spec<Loss>(text, "loss");
  check(loss);
  return loss;
}

std::string text_of(const Loss& loss) { return write_spec(loss); }

bool takes_labels(const Loss& loss) {
  if (const auto* o = std::get_if<CrossEntropy>(&loss)) return !o->probabilities;
  return std::holds_alternative<MultiMargin>(loss) ||
         std::holds_alternative<NegativeLogLikelihood>(loss);
}

int class_axis(const TensorType& prediction) { return prediction.rank() == 1 ? 0 : 1; }

Value* label_mask(Builder& b, Value* prediction, Value* labels) {
  const int axis = class_axis(prediction->type());
  Shape line(prediction->shape().size(), Dim(1));
  line[static_cast<size_t>(axis)] = prediction->shape()[static_cast<size_t>(axis)];
  Value* index =
      b.make("iota", {}, {{"shape", line}, {"axis", int64_t{axis}}, {"dtype", labels->dtype()}});
  return b.compare("eq", index, with_class_axis(b, prediction, labels));
}

TensorType target_type(const Loss& loss, const TensorType& prediction) {
  if (!is_float(prediction.dtype))
    throw Error("loss '" + text_of(loss) + "' expects a floating-point prediction, got " +
                prediction.text());
  if (!takes_labels(loss)) return prediction;
  const bool two = std::holds_alternative<MultiMargin>(loss);
  if (prediction.rank() < 1 || (two && prediction.rank() != 2))
    throw Error("loss '" + text_of(loss) + "' expects scores [N,C" + (two ? "]" : ",...]") +
                ", got " + prediction.text());
  Shape shape = prediction.shape;
  shape.erase(shape.begin() + class_axis(prediction));
  return {DType::i64, std::move(shape)};
}

Value* add_loss(Builder& b, const Loss& loss, Value* prediction, Value* target,
                LossReduction reduction) {
  check(loss);
  const TensorType want = target_type(loss, prediction->type());
  if (target->rank() != want.rank() || is_float(target->dtype()) != is_float(want.dtype))
    throw Error("loss '" + text_of(loss) + "': for a prediction " + prediction->type().text() +
                " the target is " + want.text() + ", got " + target->type().text());
  target = b.cast(target, want.dtype);
  const Terms t = std::visit([&](const auto& o) { return terms(b, o, prediction, target); }, loss);
  Value* total = sum_all(b, t.values);
  return reduction == LossReduction::sum ? total : b.div(total, t.count);
}

}  // namespace tintype
