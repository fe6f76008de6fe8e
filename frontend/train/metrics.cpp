// Ranks by comparison instead of sorting: they fuse with what is around them.
#include "frontend/train/metrics.h"

#include "frontend/train/graph_math.h"

namespace tintype {

Value* count_top_k(Builder& b, Value* scores, Value* labels, int64_t k) {
  const int axis = class_axis(scores->type());
  Value* is_label = label_mask(b, scores, labels);
  Value* zero = b.scalar(0, scores->dtype());
  Value* own = b.reduce("reduce_sum", b.select(is_label, scores, zero), {axis});
  // A class stays behind the label when its score is lower, or equal at an index not below the
  // label.
  Shape line(scores->shape().size(), Dim(1));
  line[static_cast<size_t>(axis)] = scores->shape()[static_cast<size_t>(axis)];
  Value* index =
      b.make("iota", {}, {{"shape", line}, {"axis", int64_t{axis}}, {"dtype", labels->dtype()}});
  Shape label_shape = scores->shape();
  label_shape[static_cast<size_t>(axis)] = 1;
  Value* not_below = b.compare("ge", index, b.reshape(labels, label_shape));
  Value* tie = b.make("and", {b.compare("eq", scores, own), not_below});
  Value* behind = b.make("or", {b.compare("lt", scores, own), tie});
  Value* ahead = b.reduce("reduce_sum", b.cast(b.unary("not", behind), DType::f32), {axis});
  return sum_all(
      b, b.cast(b.compare("lt", ahead, b.scalar(static_cast<double>(k), DType::f32)), DType::f32));
}

namespace {

/// Both on the same side of their thresholds.
Value* count_same_side(Builder& b, Value* x, Value* t, double target_threshold) {
  Value* positive = b.compare("gt", x, b.scalar(0, x->dtype()));
  Value* wanted = b.compare("gt", t, b.scalar(target_threshold, t->dtype()));
  return sum_all(b, b.cast(b.unary("not", b.make("xor", {positive, wanted})), DType::f32));
}

}  // namespace

std::vector<Metric> add_metrics(Builder& b, const Loss& loss, Value* prediction, Value* target,
                                const std::vector<int64_t>& top_k) {
  if (takes_labels(loss)) {
    std::vector<Metric> metrics;
    for (int64_t k : top_k)
      metrics.push_back(
          {k == 1 ? "accuracy" : "top" + std::to_string(k), count_top_k(b, prediction, target, k)});
    return metrics;
  }
  if (std::holds_alternative<BinaryCrossEntropy>(loss))
    return {{"accuracy", count_same_side(b, prediction, target, 0.5)}};
  if (std::holds_alternative<Hinge>(loss))
    return {{"accuracy", count_same_side(b, prediction, target, 0)}};
  if (std::holds_alternative<CrossEntropy>(loss) || std::holds_alternative<KlDivergence>(loss))
    return {};
  Value* error = sum_all(b, b.unary("abs", b.sub(prediction, target)));
  return {{"mean_absolute_error", b.cast(error, DType::f32)}};
}

}  // namespace tintype
