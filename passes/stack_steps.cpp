// stack-steps: what is computed for every step of a sequence by itself is computed for all at once.
//
//   concat(f(x[0], h0), f(x[1], y[0]), f(x[2], y[1]) ...) = f(x, concat(h0, y))
//
// This is what is left of steps that were written out when roll-loops has taken out of them what
// depends on the step before: a layer that reads the outputs of a cell, say. One product of all
// steps takes the place of one for each.
#include "passes/all_steps.h"
#include "passes/compare_steps.h"
#include "passes/passes.h"
#include "passes/patterns.h"
#include "passes/recurrent_chains.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace tintype {

namespace {

/// Concatenates steps: operands with extent 1 along the axis.
bool is_sequence(const Node& n) {
  if (!n.is("concat") || n.operand_count() < static_cast<int>(kLeastSteps)) return false;
  const auto axis =
      static_cast<size_t>(normalize_axis(n.attrs().integer("axis"), n.result()->rank(), ""));
  const auto operands = n.operands();
  return std::all_of(operands.begin(), operands.end(),
                     [&](const Value* v) { return v->shape()[axis].is(1); });
}

class Stacker {
 public:
  Stacker(Graph& graph, Node& concat, PassContext& context)
      : graph_(graph), concat_(concat), context_(context) {}

  bool run() {
    StepComparison found(graph_, concat_.operands());
    if (!found.run()) return no("they are not alike: " + found.reason());
    const std::vector<RepeatedStep>& steps = found.steps();
    const auto has_product = [](const Value* v) { return is_plain_product(*v->def()); };
    if (std::none_of(steps[1].computed.begin(), steps[1].computed.end(), has_product)) return false;
    if (const std::string why = reason_against(found); !why.empty()) return no(why);
    if (context_.explaining())
      context_.matched(concat_, "what " + std::to_string(steps.size()) +
                                    " steps compute by themselves is computed at once");
    replace(found);
    return true;
  }

 private:
  bool no(const std::string& why) {
    context_.declined(concat_, "its steps stay apart: " + why);
    return false;
  }

  std::string reason_against(const StepComparison& found) {
    std::unordered_set<const Node*> inside = {&concat_};
    for (const RepeatedStep& s : found.steps())
      for (const Value* v : s.computed)
        if (v != nullptr) inside.insert(v->def());
    for (const RepeatedStep& s : found.steps())
      for (const Value* v : s.computed) {
        if (v == nullptr) continue;
        if (v->output_uses() != 0 ||
            std::any_of(v->uses().begin(), v->uses().end(),
                        [&](const Use& u) { return inside.count(u.node) == 0; }))
          return "something else reads " + described(*v);
      }
    const RepeatedStep& model = found.steps()[1];
    for (const Value* v : model.slices) by_step_.insert(v);
    for (const Value* v : model.computed) {
      const std::vector<bool> parts = by_step(*v->def());
      if (std::find(parts.begin(), parts.end(), true) == parts.end())
        return described(*v) + " is the same in all steps";
      if (!can_repeat_for_all(*v->def(), parts))
        return std::string(v->def()->name()) + " is not computed for several steps at once";
      by_step_.insert(v);
    }
    return "";
  }

  std::vector<bool> by_step(const Node& n) const {
    std::vector<bool> parts;
    for (const Value* o : n.operands()) parts.push_back(by_step_.count(o) != 0);
    return parts;
  }

  void replace(const StepComparison& found) {
    const auto count = static_cast<int64_t>(found.steps().size());
    const RepeatedStep& model = found.steps()[1];
    Builder b(graph_, &concat_);
    b.set_origins(concat_.origins());
    std::unordered_map<const Value*, Value*> map;
    for (size_t k = 0; k < model.slices.size(); ++k) {
      Shape shape = model.slices[k]->shape();
      shape.insert(shape.begin(), Dim(count));
      map[model.slices[k]] = b.reshape(stack_of(b, found.scanned()[k], count), shape);
    }
    for (Value* v : model.invariants) map[v] = v;
    for (const Value* v : model.computed) {
      std::vector<Value*> operands;
      for (const Value* o : v->def()->operands()) operands.push_back(map.at(o));
      map[v] = repeat_for_all(b, *v->def(), operands, by_step(*v->def()), Dim(count));
    }
    b.set_origins(concat_.origins());
    Value* all = concatenated(b, map.at(concat_.operand(1)), concat_);
    replace_node(graph_, concat_, all);
  }

  Graph& graph_;
  Node& concat_;
  PassContext& context_;
  std::unordered_set<const Value*> by_step_;  ///< differ from step to step
};

}  // namespace

bool stack_steps(Graph& graph, PassContext& context) {
  bool changed = false;
  for (Node* n : graph.node_list())
    if (is_sequence(*n)) changed = Stacker(graph, *n, context).run() || changed;
  PassContext silent;
  if (changed) dead_code(graph, silent);
  return changed;
}

}  // namespace tintype
