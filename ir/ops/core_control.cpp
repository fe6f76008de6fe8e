// Records of the ops that run the graphs inside them: scan, loop, if. ir/ops/control.h says what
// their operands and results mean.
#include "ir/ops/control.h"
#include "ir/ops/gradients.h"

namespace tintype::ops {

namespace {

std::string nth(const char* what, int i) { return std::string(what) + " " + std::to_string(i); }

/// Both types, or fails: extents that are not provably equal become constraints.
TensorType same_type(InferContext& c, const TensorType& a, const TensorType& b,
                     const std::string& what) {
  if (a.dtype != b.dtype || a.rank() != b.rank())
    c.fail(what + " must agree, got " + a.text() + " and " + b.text());
  TensorType type = a;
  for (size_t i = 0; i < a.shape.size(); ++i)
    type.shape[i] = c.unify(a.shape[i], b.shape[i], "extents of " + what);
  return type;
}

void check_body(InferContext& c, int index, int inputs, int outputs_at_least) {
  const Graph* body = c.node.body(index);
  if (body == nullptr) c.fail("has no body");
  if (static_cast<int>(body->inputs().size()) != inputs)
    c.fail("its body has " + std::to_string(body->inputs().size()) + " inputs, expected " +
           std::to_string(inputs));
  if (static_cast<int>(body->output_count()) < outputs_at_least)
    c.fail("its body has " + std::to_string(body->output_count()) + " outputs, expected " +
           std::to_string(outputs_at_least));
}

void check_scalar(InferContext& c, const TensorType& t, DType dtype, const std::string& what) {
  if (t.dtype != dtype || t.rank() != 0)
    c.fail(what + " must be " + TensorType{dtype, {}}.text() + ", got " + t.text());
}

int64_t count_of(InferContext& c, std::string_view name, int64_t most) {
  const int64_t n = c.attrs().integer(name);
  if (n < 0 || n > most)
    c.fail("attribute '" + std::string(name) + "' is " + std::to_string(n) + ", expected 0 to " +
           std::to_string(most));
  return n;
}

void infer_scan(InferContext& c) {
  const int operands = c.node.operand_count();
  const auto states = static_cast<int>(count_of(c, "states", operands));
  count_of(c, "scanned", operands - states);
  if (c.attrs().dims("trips").size() != 1) c.fail("attribute 'trips' needs one extent");
  const ScanView scan(c.node);
  check_body(c, 0, operands, states);
  const Graph& body = scan.body();
  if (c.node.result_count() != static_cast<int>(body.output_count()))
    c.fail("has " + std::to_string(c.node.result_count()) + " results, its body " +
           std::to_string(body.output_count()) + " outputs");
  for (int i = 0; i < operands; ++i) {
    TensorType outer = c.type(i);
    if (i >= states && i < scan.first_invariant()) {
      if (outer.rank() == 0) c.fail(nth("scanned operand", i) + " is a scalar");
      c.unify(outer.shape[0], scan.trips, nth("the trips and the first extent of operand", i));
      outer.shape.erase(outer.shape.begin());
    }
    same_type(c, body.inputs()[static_cast<size_t>(i)]->type(), outer,
              nth("operand and body input", i));
  }
  for (int i = 0; i < c.node.result_count(); ++i) {
    const TensorType& inner = body.output(static_cast<size_t>(i))->type();
    auto& result = c.results[static_cast<size_t>(i)];
    if (i < states) {
      result = same_type(c, c.type(i), inner, nth("state and next state", i));
    } else {
      result = inner;
      result.shape.insert(result.shape.begin(), scan.trips);
    }
  }
}

void infer_loop(InferContext& c) {
  const int operands = c.node.operand_count();
  if (operands < LoopView::kStates) c.fail("needs a trip count and a condition, or none for each");
  const auto states = static_cast<int>(count_of(c, "states", operands - LoopView::kStates));
  const LoopView loop(c.node);
  check_body(c, 0, operands - LoopView::kStates + 1, states + 1);
  if (c.has(LoopView::kTripCount))
    check_scalar(c, c.type(LoopView::kTripCount), DType::i64, "the trip count");
  if (c.has(LoopView::kCondition))
    check_scalar(c, c.type(LoopView::kCondition), DType::boolean, "the condition");
  const Graph& body = loop.body();
  check_scalar(c, body.inputs()[0]->type(), DType::i64, "the body's trip number");
  check_scalar(c, body.output(0)->type(), DType::boolean, "the body's condition");
  for (int i = LoopView::kStates; i < operands; ++i)
    same_type(c, body.inputs()[static_cast<size_t>(i - 1)]->type(), c.type(i),
              nth("operand and body input", i - 1));
  if (c.node.result_count() != states || static_cast<int>(body.output_count()) != states + 1)
    c.fail("needs one result and one body output per state, and the body's condition");
  for (int i = 0; i < states; ++i)
    c.results[static_cast<size_t>(i)] =
        same_type(c, c.type(LoopView::kStates + i), body.output(static_cast<size_t>(i) + 1)->type(),
                  nth("state and next state", i));
}

void infer_if(InferContext& c) {
  check_scalar(c, c.type(0), DType::boolean, "the condition");
  const int inputs = c.node.operand_count() - 1;
  for (int b = 0; b < 2; ++b) {
    check_body(c, b, inputs, c.node.result_count());
    for (int i = 0; i < inputs; ++i)
      same_type(c, c.node.body(b)->inputs()[static_cast<size_t>(i)]->type(), c.type(i + 1),
                nth("operand and branch input", i));
  }
  for (size_t i = 0; i < c.results.size(); ++i)
    c.results[i] =
        same_type(c, c.node.body(0)->output(i)->type(), c.node.body(1)->output(i)->type(),
                  nth("output of the two branches", static_cast<int>(i)));
}

constexpr AttrDef kScan[] = {{"states", AttrKind::integer, true},
                             {"scanned", AttrKind::integer, true},
                             {"trips", AttrKind::dims, true},
                             {"reverse", AttrKind::integer},
                             {"checkpoint", AttrKind::integer}};
constexpr AttrDef kLoop[] = {{"states", AttrKind::integer, true}};

constexpr OpDef kOps[] = {
    {.name = "scan",
     .min_operands = 0,
     .max_operands = -1,
     .min_results = 1,
     .max_results = -1,
     .attrs = kScan,
     .traits = kControl,
     .infer = infer_scan,
     .gradient = scan_gradient,
     .doc = "runs its body `trips` times, with states that go from trip to trip, a slice of each "
            "scanned operand per trip, and outputs that are stacked"},
    {.name = "loop",
     .min_operands = 0,
     .max_operands = -1,
     .min_results = 1,
     .max_results = -1,
     .attrs = kLoop,
     .traits = kControl,
     .infer = infer_loop,
     .not_differentiable = "the number of its trips depends on data",
     .doc = "runs its body while a condition holds, at most trip_count times"},
    {.name = "if",
     .min_operands = 1,
     .max_operands = -1,
     .min_results = 1,
     .max_results = -1,
     .traits = kControl,
     .infer = infer_if,
     .not_differentiable = "which branch is taken depends on data",
     .doc = "runs its first body when the condition holds, else its second"},
};

}  // namespace

std::span<const OpDef> core_control() { return kOps; }

}  // namespace tintype::ops
