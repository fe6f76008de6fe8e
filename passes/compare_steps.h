// Are the steps of a recurrent network that were written out one by one all alike?
#pragma once

#include "ir/builder.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace tintype {

/// A value cut out of a tensor at one place of one axis.
struct Cut {
  Value* source;
  int axis;
  int64_t place;
};

/// v = source[.., place, ..], with or without the axis.
std::optional<Cut> cut_of(Value* v);

/// The one element that a value consists of, however many axes its users gave it.
std::optional<double> common_element(const Value& v);

/// Element k of each list stands for the same thing in every step. In the first step, which may
/// have been simplified, null in `computed` is something it does without, and null in `states` is
/// zeros; what stands for several things is in `computed` once for each.
struct RepeatedStep {
  std::vector<Value*> computed;    ///< results of the step's nodes, operands first
  std::vector<Value*> states;      ///< values of the step before
  std::vector<Value*> slices;      ///< differ from step to step by their place
  std::vector<Value*> invariants;  ///< the same in all steps
};

/// Slices that the steps read, one each: the first, and whether later ones lie before it.
struct ScannedSlices {
  Cut first;
  bool backwards;
  Value* initial = nullptr;  ///< what the first step reads instead, when `first` is of the second
};

/// The slices of all steps in their order, along a new axis in front, each without the axis it was
/// cut along.
Value* stack_of(Builder& b, const ScannedSlices& s, int64_t steps);

/// The concatenation of which a value, perhaps reshaped, is one of `count` operands, with extent 1
/// along the axis; null when there is none.
Node* concatenation_of(const Value& v, int operand, int count);
/// What takes the place of that concatenation, where `stack` has the values along an axis in front.
Value* concatenated(Builder& b, Value* stack, const Node& concatenation);

/// Products with the same weights, each depending on the one before, are the backbone: what lies
/// between two of them is a step. Steps are compared pair by pair, from what they hand on
/// backwards: both ends are the same value (an invariant), values of the step before (a state),
/// slices of one tensor at neighbouring places (scanned), or the same op on operands of which the
/// same holds. In the first step zeros may have been dropped: x where later steps have x + f(h).
class StepComparison {
 public:
  /// `chain` are the products of the backbone, in order.
  StepComparison(const Graph& graph, std::vector<Node*> chain)
      : graph_(graph), chain_(std::move(chain)), trips_(static_cast<int>(chain_.size())) {}
  /// Steps that hand nothing on: of each the result. What the second and later ones read of a
  /// stack, the first may read elsewhere.
  StepComparison(const Graph& graph, const std::vector<Value*>& results)
      : graph_(graph), trips_(static_cast<int>(results.size())), roots_{results} {}

  /// True when all steps are alike. Leaves the graph as it is.
  bool run();
  /// Why they are not.
  const std::string& reason() const { return reason_; }
  /// They may be without the first.
  bool first_differs() const { return first_differs_; }

  const std::vector<RepeatedStep>& steps() const { return steps_; }
  /// Where in RepeatedStep::computed the value lies that a step hands on as its k-th state.
  const std::vector<size_t>& next() const { return next_; }
  /// Of RepeatedStep::slices.
  const std::vector<ScannedSlices>& scanned() const { return scanned_; }

 private:
  /// Both steps of a pair as far as they have been compared.
  struct Pair {
    int t = 0;  ///< the earlier step
    RepeatedStep before, after;
    std::unordered_map<const Value*, const Value*> paired;  ///< by the value of the later step
    std::vector<const Value*> order;                        ///< keys of `paired`
  };
  struct Mark {
    size_t computed, states, slices, invariants, order;
  };

  bool fail(const std::string& reason);
  int level(const Value* v) const;
  void find_levels();

  bool compare();
  bool compare_pair(Pair& pair, std::optional<size_t>& missing);
  bool match_last(Pair& pair, size_t root);
  bool expand(size_t root);

  static Mark mark(const Pair& pair);
  static void rewind(Pair& pair, const Mark& to);
  static void join(Pair& pair, const Value* a, const Value* b);

  bool match(Pair& pair, Value* a, Value* b);
  bool match_paired(const Pair& pair, const Value* earlier, const Value& a) const;
  bool match_nodes(Pair& pair, Value* a, Value* b);
  bool match_operands(Pair& pair, Value* a, Value* b);
  bool match_moved_element(Pair& pair, Value* a, Value* b);
  bool match_without_zero(Pair& pair, Value* a, Value* b);
  bool is_zero_at_first(Pair& pair, Value* b);
  bool makes_zero(Pair& pair, Value* b);

  bool computed_before(size_t state) const;
  bool find_next_states();
  bool find_scanned();

  const Graph& graph_;
  std::vector<Node*> chain_;
  int trips_;
  std::string reason_;
  bool first_differs_ = false;
  std::unordered_map<const Node*, int> levels_;
  /// roots_[k][t]: what step t hands on; for the last step, that is looked for.
  std::vector<std::vector<Value*>> roots_;
  /// Computed by the step that reads them, although the one before has all that it takes.
  std::unordered_set<const Value*> own_;
  std::vector<RepeatedStep> steps_;
  std::vector<size_t> next_;
  std::vector<ScannedSlices> scanned_;
};

}  // namespace tintype
