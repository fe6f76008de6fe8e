// Probes in the graph, and their interpretation.
#include "frontend/train/diagnostics.h"

#include "frontend/train/graph_math.h"
#include "ir/diagnostic.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <limits>
#include <numeric>
#include <optional>
#include <set>
#include <string_view>

namespace tintype {

namespace {

constexpr double kEnd = 0.01;  // of an activation's range

Value* saturated_share(Builder& b, Value* y, double low, double high) {
  const double margin = kEnd * (high - low);
  Value* bottom = b.compare("lt", y, b.scalar(low + margin, y->dtype()));
  Value* top = b.compare("gt", y, b.scalar(high - margin, y->dtype()));
  return share_of(b, b.make("or", {bottom, top}), DType::f32);
}

/// Units are channels (axis 1); all other axes are samples and places.
Value* dead_share(Builder& b, Value* y) {
  std::vector<int64_t> axes;
  for (int64_t i = 0; i < y->rank(); ++i)
    if (i != 1 || y->rank() == 1) axes.push_back(i);
  if (y->rank() == 1) axes.clear();
  Value* largest = b.reduce("reduce_max", y, axes);
  return share_of(b, b.compare("le", largest, b.scalar(0, y->dtype())), DType::f32);
}

Value* any_non_finite(Builder& b, Value* y) {
  Value* bad = b.make("or", {b.unary("is_nan", y), b.unary("is_inf", y)});
  return max_all(b, b.cast(bad, DType::f32));
}

Value* norm(Builder& b, Value* x) { return b.unary("sqrt", b.cast(sum_squares(b, x), DType::f32)); }

Value* root_mean_square(Builder& b, Value* x) {
  return b.unary("sqrt",
                 b.div(b.cast(sum_squares(b, x), DType::f32), element_count(b, x, DType::f32)));
}

std::string percent(double share) {
  char text[16];
  std::snprintf(text, sizeof text, "%.0f %%", 100 * share);
  return text;
}

std::string brief(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2g", value);
  return text;
}

}  // namespace

void DiagnosticProbe::add(Builder& b, Diagnostic::Kind kind, const std::string& name,
                          Value* scalar) {
  meanings_.push_back({kind, name});
  values_.push_back(b.reshape(b.cast(scalar, DType::f32), {1}));
}

void DiagnosticProbe::watch_activations(Graph& graph) {
  using Kind = Diagnostic::Kind;
  for (Node* node : graph.node_list()) {
    if (node->op().is_core() || !is_float(node->result()->dtype())) continue;
    Builder b(graph, graph.next(node));
    b.set_origins(node->origins());
    Value* y = node->result();
    add(b, Kind::non_finite, node->where(), any_non_finite(b, y));
    add(b, Kind::activation_rms, node->where(), root_mean_square(b, y));
    if (node->is("Relu")) add(b, Kind::dead, node->where(), dead_share(b, y));
    if (node->is("Sigmoid")) add(b, Kind::saturated, node->where(), saturated_share(b, y, 0, 1));
    if (node->is("Tanh")) add(b, Kind::saturated, node->where(), saturated_share(b, y, -1, 1));
  }
}

void DiagnosticProbe::watch_update(Builder& b, const std::string& parameter, Value* gradient,
                                   Value* old, Value* next) {
  add(b, Diagnostic::Kind::gradient_norm, parameter, norm(b, gradient));
  if (old->rank() < 2) return;  // biases and scales may start at zero and change by any ratio
  // A weight that is zero as a whole has no ratio either.
  Value* size = b.with_scalar("max", norm(b, old), 1e-30);
  add(b, Diagnostic::Kind::update_ratio, parameter, b.div(norm(b, b.sub(next, old)), size));
}

std::vector<Diagnostic> DiagnosticProbe::finish(Graph& graph) {
  Builder b(graph);
  if (!values_.empty()) graph.add_output("diagnostics", b.concat(values_, 0));
  return std::move(meanings_);
}

namespace {

using Kind = Diagnostic::Kind;

/// What one value alone says.
std::optional<Warning> warning_of(const Diagnostic& about, double v) {
  const std::string& name = about.name;
  switch (about.kind) {
    case Kind::gradient_norm:
      if (v > 1e3)
        return Warning{"exploding " + name,
                       "the gradient of " + name + " has norm " + brief(v) +
                           ": it explodes; clip it or lower the learning rate"};
      break;
    case Kind::update_ratio:
      // Beyond that the weight was next to zero, as some are initialised on purpose.
      if (v > 0.1 && v < 10)
        return Warning{"update " + name,
                       "one step changes " + name + " by " + percent(v) +
                           " of its norm; a lower learning rate helps most often"};
      break;
    case Kind::saturated:
      if (v > 0.5)
        return Warning{"saturated " + name,
                       percent(v) + " of the outputs of " + name +
                           " are saturated; smaller initial weights or inputs help most often"};
      break;
    case Kind::dead:
      if (v > 0.3)
        return Warning{
            "dead " + name,
            percent(v) + " of the units of " + name +
                " are dead (ReLU output zero on every sample of a batch); a lower learning rate "
                "helps most often"};
      break;
    case Kind::activation_rms: break;  // for the history
    case Kind::non_finite: break;      // reported when the loss is not finite either
  }
  return std::nullopt;
}

/// Gradients that get lost on the way back: all of them, or those of some weights. Weights are what
/// has an update ratio; biases may have small gradients for other reasons.
std::optional<Warning> vanishing(const std::vector<Diagnostic>& meanings, const Tensor& values) {
  std::set<std::string> weights;
  for (const Diagnostic& d : meanings)
    if (d.kind == Kind::update_ratio) weights.insert(d.name);
  double largest = 0, largest_of_weights = 0, least = std::numeric_limits<double>::infinity();
  std::string least_name, largest_name;
  for (size_t i = 0; i < meanings.size(); ++i) {
    if (meanings[i].kind != Kind::gradient_norm) continue;
    const double v = static_cast<double>(values.values<float>()[i]);
    largest = std::max(largest, v);
    if (weights.count(meanings[i].name) == 0) continue;
    if (v < least) least = v, least_name = meanings[i].name;
    if (v > largest_of_weights) largest_of_weights = v, largest_name = meanings[i].name;
  }
  const bool any = std::any_of(meanings.begin(), meanings.end(),
                               [](const Diagnostic& d) { return d.kind == Kind::gradient_norm; });
  if (any && largest < 1e-7)
    return Warning{"vanishing",
                   "all gradients vanish (the largest norm is " + brief(largest) + ")"};
  if (least < 1e-5 * largest_of_weights)
    return Warning{"vanishing", "gradients vanish on the way back: that of " + least_name +
                                    " has norm " + brief(least) + ", that of " + largest_name +
                                    " " + brief(largest_of_weights) +
                                    "; rectified units, normalisation or residual connections "
                                    "help most often"};
  return std::nullopt;
}

const char* name_of(Kind kind) {
  switch (kind) {
    case Kind::activation_rms: return "activation_rms";
    case Kind::gradient_norm: return "gradient_norm";
    case Kind::update_ratio: return "update_ratio";
    case Kind::saturated: return "saturated";
    case Kind::dead: return "dead";
    case Kind::non_finite: return "non_finite";
  }
  return "";
}

}  // namespace

std::vector<Warning> warnings_of(const std::vector<Diagnostic>& meanings, const Tensor& values) {
  std::vector<Warning> warnings;
  for (size_t i = 0; i < meanings.size(); ++i)
    if (auto w = warning_of(meanings[i], static_cast<double>(values.values<float>()[i])))
      warnings.push_back(std::move(*w));
  if (auto w = vanishing(meanings, values)) warnings.push_back(std::move(*w));
  return warnings;
}

std::map<std::string, std::map<std::string, double>> statistics_of(
    const std::vector<Diagnostic>& meanings, const Tensor& values) {
  std::map<std::string, std::map<std::string, double>> statistics;
  for (size_t i = 0; i < meanings.size(); ++i)
    if (meanings[i].kind != Kind::non_finite)
      statistics[name_of(meanings[i].kind)][meanings[i].name] =
          static_cast<double>(values.values<float>()[i]);
  return statistics;
}

std::string first_non_finite(const std::vector<Diagnostic>& meanings, const Tensor& values) {
  for (size_t i = 0; i < meanings.size(); ++i)
    if (meanings[i].kind == Diagnostic::Kind::non_finite && values.values<float>()[i] != 0.0f)
      return meanings[i].name;
  return "";
}

double identical_units(const Tensor& weight, int unit_axis) {
  if (unit_axis < 0 || weight.rank() < 2) return 0;
  const auto axis = static_cast<size_t>(unit_axis);
  const auto units = static_cast<size_t>(weight.dims()[axis]);
  if (units < 2 || weight.size() == 0) return 0;
  size_t inner = size_of(weight.dtype());
  for (size_t i = axis + 1; i < weight.dims().size(); ++i)
    inner *= static_cast<size_t>(weight.dims()[i]);
  const size_t outer = weight.bytes() / (inner * units);
  const auto* data = static_cast<const std::byte*>(weight.data());
  const auto compare = [&](size_t a, size_t b) {
    for (size_t o = 0; o < outer; ++o) {
      const std::byte* row = data + o * units * inner;
      if (const int c = std::memcmp(row + a * inner, row + b * inner, inner); c != 0) return c;
    }
    return 0;
  };
  std::vector<size_t> order(units);
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return compare(a, b) < 0; });
  size_t repeated = 0;
  for (size_t i = 1; i < units; ++i) repeated += compare(order[i - 1], order[i]) == 0 ? 1 : 0;
  return repeated == 0 ? 0 : static_cast<double>(repeated + 1) / static_cast<double>(units);
}

}  // namespace tintype
