// normalize-cells: products of recurrent steps all become h w, a state times weights.
//
//   w v = (v^T w^T)^T                        v a vector, as textbooks write it
//   concat(x, h) w = x w[:n] + h w[n:]       where h comes from the step before, and x does not
//
// Then x w[:n] can leave the loop (fuse-gates), and steps that were written out compare with each
// other (roll-loops). Concatenations do not: the one with the last state is never made. Everywhere
// else one product is one kernel, and stays so.
#include "ir/builder.h"
#include "ir/ops/control.h"
#include "passes/passes.h"
#include "passes/patterns.h"
#include "passes/recurrent_chains.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace tintype {

namespace {

// ---- weights on the left ------------------------------------------------------------------------

/// dot(w, v) with a matrix w and a vector v.
bool is_matrix_times_vector(const Node& n) {
  return is_plain_product(n) && n.operand(0)->rank() == 2 && n.operand(1)->rank() == 2 &&
         n.operand(1)->shape()[1].is(1) && !n.operand(0)->shape()[0].is(1);
}

void turn(Graph& graph, Node& product, PassContext& context) {
  context.matched(product, "the vector is multiplied from the left: a row, for any number of which "
                           "the product is the same");
  Builder b(graph, &product);
  b.set_origins(product.origins());
  Value* weights = b.transpose(product.operand(0), {1, 0});
  Value* row = b.reshape(product.operand(1), {Dim(1), weights->shape()[0]});
  replace_node(graph, product, b.reshape(b.make("dot", {row, weights}), product.result()->shape()));
}

/// Of matrices that steps have in common.
bool turn_steps(Graph& graph, PassContext& context) {
  std::unordered_map<const Value*, size_t> steps;
  for (const auto& n : graph.nodes())
    if (is_matrix_times_vector(*n)) ++steps[n->operand(0)];
  bool changed = false;
  for (Node* n : graph.node_list()) {
    if (!is_matrix_times_vector(*n) || steps.at(n->operand(0)) < kLeastSteps) continue;
    turn(graph, *n, context);
    changed = true;
  }
  PassContext silent;
  if (changed) common_subexpressions(graph, silent);  // the same weights again, transposed
  return changed;
}

// ---- concatenations -----------------------------------------------------------------------------

/// What a product reads side by side along the axis that it sums over; nothing where it does not.
/// With it come the extents in front of that axis: a reshape may have added some.
struct SideBySide {
  std::vector<Value*> parts;
  Shape rows;

  explicit operator bool() const { return !parts.empty(); }
  std::vector<Dim> widths() const {
    std::vector<Dim> list;
    for (const Value* part : parts) list.push_back(part->shape().back());
    return list;
  }
};

SideBySide side_by_side(const Node& product) {
  if (!is_plain_product(product) || product.operand(1)->rank() != 2) return {};
  const Value* left = product.operand(0);
  const Node* made = left->def();
  if (made != nullptr && made->is("reshape") && made->operand(0)->rank() > 0 &&
      made->operand(0)->shape().back() == left->shape().back())
    made = made->operand(0)->def();
  if (made == nullptr || !made->is("concat") || made->operand_count() < 2) return {};
  const int rank = made->result()->rank();
  if (normalize_axis(made->attrs().integer("axis"), rank, "") != rank - 1) return {};
  return {made->operands(), Shape(left->shape().begin(), left->shape().end() - 1)};
}

/// The rows of the weights that belong to each part.
std::vector<Value*> rows_of(Builder& b, Value* weights, const std::vector<Dim>& widths) {
  if (const Node* made = weights->def();
      made != nullptr && made->is("concat") &&
      normalize_axis(made->attrs().integer("axis"), 2, "") == 0) {
    std::vector<Value*> pieces = made->operands();
    if (std::equal(pieces.begin(), pieces.end(), widths.begin(), widths.end(),
                   [](const Value* v, const Dim& d) { return v->shape()[0] == d; }))
      return pieces;
  }
  std::vector<Value*> rows;
  Dim start = 0;
  for (const Dim& width : widths) {
    rows.push_back(b.slice_axis(weights, 0, start, width));
    start = start + width;
  }
  return rows;
}

/// All products have the same weights, and parts of the same widths.
void split(Graph& graph, const std::vector<Node*>& products) {
  const std::vector<Dim> widths = side_by_side(*products[0]).widths();
  Builder b(graph, products[0]);
  b.set_origins(products[0]->origins());
  const std::vector<Value*> weights = rows_of(b, products[0]->operand(1), widths);
  for (Node* product : products) {
    const SideBySide left = side_by_side(*product);
    b.set_insertion_point(product);
    b.set_origins(product->origins());
    Value* sum = nullptr;
    for (size_t i = 0; i < widths.size(); ++i) {
      Shape shape = left.rows;
      shape.push_back(widths[i]);
      Value* term = b.make("dot", {b.reshape(left.parts[i], shape), weights[i]});
      sum = sum == nullptr ? term : b.add(sum, term);
    }
    replace_node(graph, *product, sum);
  }
}

/// Why the products of a chain stay as they are; empty when they do not.
std::string reason_against(const Graph& graph, const std::vector<Node*>& chain) {
  const SideBySide first = side_by_side(*chain[0]);
  for (const Node* product : chain) {
    const SideBySide left = side_by_side(*product);
    if (!left || left.widths() != first.widths())
      return "not all steps read the same parts side by side";
  }
  const auto behind = nodes_behind(graph, *chain[0]);
  for (size_t i = 0; i < first.parts.size(); ++i)
    if (std::none_of(chain.begin(), chain.end(), [&](const Node* product) {
          const Value* part = side_by_side(*product).parts[i];
          return part->def() != nullptr && behind.count(part->def()) != 0;
        }))
      return "";
  return "all that is read side by side comes from the step before";
}

bool split_steps(Graph& graph, PassContext& context) {
  bool changed = false;
  for (const std::vector<Node*>& chain : recurrent_chains(graph)) {
    if (std::none_of(chain.begin(), chain.end(),
                     [](const Node* n) { return static_cast<bool>(side_by_side(*n)); }))
      continue;
    if (const std::string why = reason_against(graph, chain); !why.empty()) {
      context.declined(*chain[0], why);
      continue;
    }
    if (context.explaining())
      context.matched(*chain[0], "in " + std::to_string(chain.size()) +
                                     " steps, what comes from the step before is multiplied apart");
    split(graph, chain);
    changed = true;
  }
  return changed;
}

// ---- loops ------------------------------------------------------------------------------------

/// What changes from trip to trip, and what of it the trip before has a part in.
class Trip {
 public:
  explicit Trip(const Node& scan) {
    const ScanView view(scan);
    const Graph& body = view.body();
    for (int i = 0; i < view.first_invariant(); ++i) {
      const Value* input = body.inputs()[static_cast<size_t>(i)].get();
      changes_.insert(input);
      if (i < view.states) follows_.insert(input);
    }
    for (const auto& n : body.nodes())
      for (const Value* v : n->operands()) {
        if (v == nullptr) continue;
        for (int i = 0; i < n->result_count(); ++i) {
          if (changes_.count(v) != 0) changes_.insert(n->result(i));
          if (follows_.count(v) != 0) follows_.insert(n->result(i));
        }
      }
  }
  bool changes(const Value* v) const { return changes_.count(v) != 0; }
  bool follows(const Value* v) const { return follows_.count(v) != 0; }

 private:
  std::unordered_set<const Value*> changes_, follows_;
};

bool normalize_body(const Node& scan, PassContext& context) {
  Graph& body = *scan.body();
  const PassContext::Inside inside(context, scan, 0);
  bool changed = false;
  const Trip before(scan);
  for (Node* n : body.node_list())
    if (is_matrix_times_vector(*n) && !before.changes(n->operand(0)) &&
        before.changes(n->operand(1))) {
      turn(body, *n, context);
      changed = true;
    }
  const Trip trip(scan);
  for (Node* n : body.node_list()) {
    const SideBySide left = side_by_side(*n);
    if (!left) continue;
    const auto followers = std::count_if(left.parts.begin(), left.parts.end(),
                                         [&](const Value* v) { return trip.follows(v); });
    if (trip.changes(n->operand(1))) {
      context.declined(*n, "its weights change from trip to trip");
    } else if (followers == 0) {
      context.declined(*n, "nothing that it reads side by side comes from the trip before");
    } else if (followers == static_cast<std::ptrdiff_t>(left.parts.size())) {
      context.declined(*n, "all that it reads side by side comes from the trip before");
    } else {
      context.matched(*n, "what comes from the trip before is multiplied apart");
      split(body, {n});
      changed = true;
    }
  }
  PassContext silent;
  if (changed) dead_code(body, silent);
  return changed;
}

}  // namespace

bool normalize_cells(Graph& graph, PassContext& context) {
  bool changed = turn_steps(graph, context);
  changed = split_steps(graph, context) || changed;
  PassContext silent;
  if (changed) dead_code(graph, silent);
  for (Node* n : graph.node_list())
    if (n->is("scan")) changed = normalize_body(*n, context) || changed;
  return changed;
}

}  // namespace tintype
