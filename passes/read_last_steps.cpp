// read-last-steps: what reads only the last step of a loop reads the state that holds it.
//
//   slice(y, last step)  =  h     where y stacks what every step hands on as its state h
//
// A classifier of sequences reads the last output alone. Without the slice nobody may be left who
// reads the stack, which then takes no memory, and its gradient is no stack of zeros.
#include "ir/builder.h"
#include "ir/ops/control.h"
#include "passes/passes.h"

#include <optional>
#include <vector>

namespace tintype {

namespace {

/// A value in which one axis counts the steps of a loop.
struct Stack {
  Value* value;
  size_t axis;
  Value* last;  ///< the same with the last step alone, an axis of extent 1
};

class Reader {
 public:
  Reader(Graph& graph, PassContext& context) : graph_(graph), context_(context) {}

  bool run() {
    std::vector<Node*> scans;  // a visit may erase other nodes behind it
    for (const auto& n : graph_.nodes())
      if (n->is("scan")) scans.push_back(n.get());
    bool changed = false;
    for (Node* n : scans) changed = visit(*n) || changed;
    return changed;
  }

 private:
  bool visit(Node& n) {
    const ScanView scan(n);
    bool changed = false;
    if (!scan.trips.lower_bound() || *scan.trips.lower_bound() < 1) return false;
    for (int k = scan.states; k < n.result_count(); ++k) {
      if (!selected(*n.result(k), 0, scan)) continue;
      const std::optional<int> state = state_like(scan, k);
      if (!state) {
        context_.declined(n, "output " + std::to_string(k) + " is none of the states");
        continue;
      }
      Shape one = n.result(k)->shape();
      one[0] = 1;
      Builder b(graph_, graph_.next(&n));
      b.set_origins(n.origins());
      replace({n.result(k), 0, b.reshape(n.result(*state), one)}, scan);
      context_.matched(n, "the last step is read from the state");
      changed = true;
    }
    return changed;
  }

  /// The state that takes the value of output k on every trip.
  static std::optional<int> state_like(const ScanView& scan, int k) {
    for (int i = 0; i < scan.states; ++i)
      if (scan.body().output(static_cast<size_t>(i)) == scan.body().output(static_cast<size_t>(k)))
        return i;
    return std::nullopt;
  }

  /// The axis of steps behind a view; nothing for what is no such view.
  static std::optional<size_t> axis_behind(const Node& n, size_t axis) {
    if (n.is("transpose")) {
      const auto perm = n.attrs().integers("perm");
      for (size_t i = 0; i < perm.size(); ++i)
        if (perm[i] == static_cast<int64_t>(axis)) return i;
    }
    if (!n.is("reshape")) return std::nullopt;
    // The axis survives when as many elements lie in front of it, and it is as long as before.
    const Shape& from = n.operand(0)->shape();
    const Shape& to = n.result()->shape();
    const Dim outer =
        product(Shape(from.begin(), from.begin() + static_cast<std::ptrdiff_t>(axis)));
    Dim before = 1;
    for (size_t i = 0; i < to.size(); ++i) {
      if (to[i] == from[axis] && before == outer) return i;
      before = before * to[i];
    }
    return std::nullopt;
  }

  /// The node reads the last step and no other.
  static bool reads_last(const Node& n, size_t axis, const ScanView& scan) {
    const Dim last = scan.reverse ? Dim(0) : scan.trips - Dim(1);
    if (n.is("slice"))
      return n.attrs().dims("sizes")[axis].is(1) && n.attrs().dims("starts")[axis] == last;
    if (!n.is("gather")) return false;
    const int64_t given = n.attrs().integer("axis");
    const int64_t along = given < 0 ? given + n.operand(0)->rank() : given;
    const Tensor* index = n.operand(1)->constant();
    if (along != static_cast<int64_t>(axis) || index == nullptr || index->size() != 1 ||
        !is_int(index->dtype()))
      return false;
    const int64_t i = index->dtype() == DType::i64   ? index->values<int64_t>()[0]
                      : index->dtype() == DType::i32 ? index->values<int32_t>()[0]
                                                     : INT64_MIN;
    return Dim(i) == last || (i < 0 && scan.trips + Dim(i) == last);
  }

  /// Somebody reads the last step of the value.
  static bool selected(const Value& v, size_t axis, const ScanView& scan) {
    for (const Use& u : v.uses()) {
      if (u.operand != 0) continue;
      if (reads_last(*u.node, axis, scan)) return true;
      if (const auto behind = axis_behind(*u.node, axis);
          behind && selected(*u.node->result(), *behind, scan))
        return true;
    }
    return false;
  }

  void replace(const Stack& s, const ScanView& scan) {
    const std::vector<Use> uses = s.value->uses();
    for (const Use& u : uses) {
      if (u.operand != 0) continue;
      Node& n = *u.node;
      Builder b(graph_, &n);
      b.set_origins(n.origins());
      if (reads_last(n, s.axis, scan)) {
        graph_.replace_all_uses(n.result(), selection(b, n, s));
      } else if (const auto behind = axis_behind(n, s.axis);
                 behind && selected(*n.result(), *behind, scan)) {
        Value* last = nullptr;
        if (n.is("transpose")) {
          last = b.transpose(s.last, n.attrs().integers("perm"));
        } else {
          Shape shape = n.result()->shape();
          shape[*behind] = 1;
          last = b.reshape(s.last, shape);
        }
        replace({n.result(), *behind, last}, scan);
      }
      if (n.result()->uses().empty() && n.result()->output_uses() == 0) graph_.erase(&n);
    }
  }

  /// What the node, which reads the last step, makes of the step alone.
  static Value* selection(Builder& b, const Node& n, const Stack& s) {
    if (n.is("gather")) return b.reshape(s.last, n.result()->shape());
    Shape starts = n.attrs().dims("starts");
    starts[s.axis] = 0;
    return b.slice(s.last, starts, n.attrs().dims("sizes"), n.attrs().integers("steps"));
  }

  Graph& graph_;
  PassContext& context_;
};

}  // namespace

bool read_last_steps(Graph& graph, PassContext& context) { return Reader(graph, context).run(); }

}  // namespace tintype
