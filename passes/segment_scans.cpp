// segment-scans: long scans in two levels, so that their gradients need memory for the square root
// of the trips instead of all of them (Chen et al. 2016, Training deep nets with sublinear memory
// cost).
//
//   scan(T trips) = scan(T / L segments of scan(L trips)), then scan(T mod L trips)
//
// The outer scan is marked `checkpoint`: its gradient keeps the states with which segments begin,
// and computes what happens inside once more. What is computed for all trips before the loop, the
// products with the inputs above all, moves into the segments, where it is needed.
#include "ir/builder.h"
#include "ir/ops/control.h"
#include "passes/passes.h"

#include <algorithm>
#include <cmath>
#include <unordered_map>

namespace tintype {

namespace {

constexpr int64_t kDefaultLength = 16;

/// Steps of a segment: about the square root of all, a divisor of them where there is one near.
int64_t segment_length(const Dim& trips, int64_t asked, int64_t segments) {
  if (asked > 0) return asked;
  if (!trips.is_static()) return kDefaultLength;
  if (segments > 0) return (trips.value() + segments - 1) / segments;
  const double root = std::sqrt(static_cast<double>(trips.value()));
  int64_t best = std::llround(root);
  for (auto d = static_cast<int64_t>(root); d > 0 && static_cast<double>(d) > root / 2; --d)
    if (trips.value() % d == 0) return d;
  return best;
}

/// What has to be computed for some trips: leaves are values with an axis of trips, the nodes on
/// top of them are repeated for the trips that are wanted.
class Feed {
 public:
  Feed(const Node& scan, const Dim& trips) : trips_(trips) {
    const ScanView view(scan);
    for (int i = view.states; i < view.first_invariant(); ++i) collect(scan.operand(i));
    for (int i = view.first_invariant(); i < scan.operand_count(); ++i)
      add(invariants_, scan.operand(i));
  }
  const std::vector<Value*>& leaves() const { return leaves_; }
  const std::vector<Value*>& invariants() const { return invariants_; }

  /// The value of some trips, where `known` has that of leaves, and invariants.
  Value* of(Builder& b, Value* v, const Dim& count,
            std::unordered_map<const Value*, Value*>& known) const {
    if (const auto it = known.find(v); it != known.end()) return it->second;
    const Node& n = *v->def();
    std::vector<Value*> operands;
    for (Value* o : n.operands()) operands.push_back(of(b, o, count, known));
    AttrMap attrs = n.attrs();
    if (n.is("reshape")) {
      Shape shape = attrs.dims("shape");
      shape[0] = count;
      attrs.set("shape", shape);
    }
    b.set_origins(n.origins());
    return known[v] = b.make(n.name(), operands, attrs);
  }

 private:
  static void add(std::vector<Value*>& list, Value* v) {
    if (std::find(list.begin(), list.end(), v) == list.end()) list.push_back(v);
  }

  bool by_trip(const Value* v, int rank) const {
    return v->rank() == rank && rank > 0 && v->shape()[0] == trips_ && !trips_.is(1);
  }

  /// Operands that have the axis of trips, in a node whose trips do not mix; none for other nodes.
  std::vector<bool> separable(const Node& n) const {
    const Value* y = n.result();
    if (n.result_count() != 1 || !by_trip(y, y->rank()) || n.op().has(kImpure)) return {};
    std::vector<bool> parts;
    if (n.op().has(kPointwise)) {
      for (const Value* o : n.operands()) parts.push_back(by_trip(o, y->rank()));
    } else if (n.is("dot") && n.attrs().integer("block") == 0 && n.operand(1)->rank() == 2) {
      parts = {by_trip(n.operand(0), y->rank()), false};
    } else if (n.is("transpose") && n.attrs().integers("perm")[0] == 0) {
      parts = {true};
    } else if (n.is("reshape") && by_trip(n.operand(0), n.operand(0)->rank())) {
      parts = {true};
    }
    const bool any = std::find(parts.begin(), parts.end(), true) != parts.end();
    return any ? parts : std::vector<bool>();
  }

  void collect(Value* v) {
    const Node* n = v->def();
    const std::vector<bool> parts =
        n != nullptr && v->has_one_use() ? separable(*n) : std::vector<bool>();
    if (parts.empty()) return add(leaves_, v);
    for (size_t i = 0; i < parts.size(); ++i) {
      Value* o = n->operand(static_cast<int>(i));
      if (parts[i]) collect(o);
      else add(invariants_, o);
    }
  }

  Dim trips_;
  std::vector<Value*> leaves_, invariants_;
};

class Segmenter {
 public:
  Segmenter(Graph& graph, Node& scan, int64_t length)
      : graph_(graph), old_(scan), view_(scan), feed_(scan, view_.trips), length_(length),
        segments_(floor_div(view_.trips, Dim(length))), rest_(view_.trips - segments_ * length_),
        b_(graph, &scan) {
    b_.set_origins(scan.origins());
  }

  void run() {
    for (int i = 0; i < view_.states; ++i) states_.push_back(old_.operand(i));
    const bool has_rest = !rest_.is(0);
    std::vector<Value*> tail;
    if (has_rest && view_.reverse) tail = run_rest();
    std::vector<Value*> outputs = run_segments();
    if (has_rest && !view_.reverse) tail = run_rest();
    b_.set_origins(old_.origins());
    for (size_t i = 0; i < tail.size(); ++i) outputs[i] = b_.concat({outputs[i], tail[i]}, 0);
    for (int i = 0; i < old_.result_count(); ++i) {
      const auto at = static_cast<size_t>(i);
      graph_.replace_all_uses(old_.result(i),
                              i < view_.states ? states_[at] : outputs[at - states_.size()]);
    }
    const std::vector<Value*> operands = old_.operands();
    graph_.erase(&old_);
    for (Value* v : operands) erase_unused(v);
  }

 private:
  /// What only the old loop read is in the segments now. Nothing else may go: values without uses
  /// may be results that have yet to be returned.
  void erase_unused(Value* v) {
    Node* n = v->def();
    if (n == nullptr) return;
    for (int i = 0; i < n->result_count(); ++i)
      if (!n->result(i)->uses().empty() || n->result(i)->output_uses() != 0) return;
    const std::vector<Value*> operands = n->operands();
    graph_.erase(n);
    for (Value* o : operands)
      if (o != nullptr) erase_unused(o);
  }

  AttrMap attributes(int scanned, const Dim& trips) const {
    AttrMap attrs = {{"states", static_cast<int64_t>(view_.states)},
                     {"scanned", static_cast<int64_t>(scanned)},
                     {"trips", Shape{trips}}};
    if (view_.reverse) attrs.set("reverse", int64_t{1});
    return attrs;
  }

  static std::vector<std::unique_ptr<Graph>> one(std::unique_ptr<Graph> body) {
    std::vector<std::unique_ptr<Graph>> list;
    list.push_back(std::move(body));
    return list;
  }

  /// The old loop over `count` trips, at the builder's place.
  Node* short_scan(Builder& b, const std::vector<Value*>& states, const Dim& count,
                   std::unordered_map<const Value*, Value*>& known) {
    std::vector<Value*> operands = states;
    for (int i = view_.states; i < old_.operand_count(); ++i)
      operands.push_back(feed_.of(b, old_.operand(i), count, known));
    b.set_origins(old_.origins());
    AttrMap attrs = attributes(view_.scanned, count);
    attrs.set("checkpoint", int64_t{-1});
    return b.create("scan", operands, std::move(attrs), old_.result_count(),
                    one(old_.body()->clone()));
  }

  /// Continues from states_; returns the outputs for all trips of all segments.
  std::vector<Value*> run_segments() {
    auto body = std::make_unique<Graph>("segment");
    Builder in(*body);
    in.set_origins(old_.origins());
    std::unordered_map<const Value*, Value*> known;
    std::vector<Value*> operands = states_, states;
    for (const Value* s : states_) states.push_back(body->add_input("", s->type()));
    for (Value* leaf : feed_.leaves()) {
      Shape shape = leaf->shape();
      shape[0] = length_;
      known[leaf] = body->add_input("", {leaf->dtype(), shape});
      shape.insert(shape.begin(), segments_);
      operands.push_back(b_.reshape(b_.slice_axis(leaf, 0, 0, segments_ * Dim(length_)), shape));
    }
    for (Value* v : feed_.invariants()) {
      known[v] = body->add_input("", v->type());
      operands.push_back(v);
    }
    const Node* inner = short_scan(in, states, length_, known);
    for (int i = 0; i < inner->result_count(); ++i) body->add_output("", inner->result(i));
    AttrMap attrs = attributes(static_cast<int>(feed_.leaves().size()), segments_);
    attrs.set("checkpoint", int64_t{1});
    const Node* outer =
        b_.create("scan", operands, std::move(attrs), old_.result_count(), one(std::move(body)));
    std::vector<Value*> outputs;
    for (int i = 0; i < outer->result_count(); ++i) {
      if (i < view_.states) {
        states_[static_cast<size_t>(i)] = outer->result(i);
        continue;
      }
      Shape shape = old_.result(i)->shape();
      shape[0] = segments_ * Dim(length_);
      outputs.push_back(b_.reshape(outer->result(i), shape));
    }
    return outputs;
  }

  std::vector<Value*> run_rest() {
    std::unordered_map<const Value*, Value*> known;
    for (Value* leaf : feed_.leaves())
      known[leaf] = b_.slice_axis(leaf, 0, segments_ * Dim(length_), rest_);
    for (Value* v : feed_.invariants()) known[v] = v;
    const Node* n = short_scan(b_, states_, rest_, known);
    std::vector<Value*> outputs;
    for (int i = 0; i < n->result_count(); ++i) {
      if (i < view_.states) states_[static_cast<size_t>(i)] = n->result(i);
      else outputs.push_back(n->result(i));
    }
    return outputs;
  }

  Graph& graph_;
  Node& old_;
  const ScanView view_;
  const Feed feed_;
  const int64_t length_;
  const Dim segments_, rest_;
  Builder b_;
  std::vector<Value*> states_;  ///< as far as the loop has come
};

/// Why a scan stays as it is; empty when it does not.
std::string reason_against(const Node& n, int64_t length, int64_t shortest) {
  const ScanView scan(n);
  if (n.attrs().integer("checkpoint") != 0) return "it is segmented already";
  bool carries = false;
  for (int i = 0; i < scan.states; ++i) carries = carries || is_float(n.operand(i)->dtype());
  if (!carries) return "it carries nothing that has a gradient";
  if (scan.trips.is_static() && scan.trips.value() < std::max(shortest, 2 * length))
    return "its " + scan.trips.text() + " trips are few";
  return "";
}

}  // namespace

bool segment_scans(Graph& graph, PassContext& context) {
  const int64_t asked = context.integer("length", 0), segments = context.integer("segments", 0);
  const int64_t shortest = context.integer("shortest", 32);
  bool changed = false;
  for (Node* n : graph.node_list()) {
    if (!n->is("scan")) continue;
    const int64_t length = segment_length(ScanView(*n).trips, asked, segments);
    if (const std::string why = reason_against(*n, length, shortest); !why.empty()) {
      context.declined(*n, why);
      continue;
    }
    if (context.explaining())
      context.matched(*n, "segments of " + std::to_string(length) + " trips");
    Segmenter(graph, *n, length).run();
    changed = true;
  }
  return changed;
}

}  // namespace tintype
