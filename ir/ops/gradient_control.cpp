// The gradient of scan: a scan the other way round.
//
// With s' = f(s, x, w), y = g(s, x, w) on every trip, the gradients gs of the states go backwards:
//   gs, gx_t = J_t^T (gs', gy_t),   gw = sum over t of its share
// where J_t is the Jacobian of the body at trip t. What its transpose needs of the forward trip is
// stacked by the forward scan, which gets more outputs; values that are the same on every trip are
// computed again. Where the share of w is a matrix product, as it is for recurrent weights, all
// trips are one product behind the scan; other shares are added up in states of the backward scan.
#include "ir/accumulate_gradients.h"
#include "ir/ops/control.h"
#include "ir/ops/gradients.h"

#include <algorithm>
#include <map>
#include <unordered_map>
#include <unordered_set>

namespace tintype::ops {

namespace {

class ScanGradient {
 public:
  ScanGradient(Builder& b, const Node& n, const Values& result_gradients)
      : b_(b), forward_(*n.result()->def()), scan_(n), given_(result_gradients),
        work_(n.body()->clone()), body_(std::make_unique<Graph>(n.body()->name() + "_gradient")),
        in_(*body_) {
    in_.set_origins(b.origins());
  }

  Values run() {
    differentiate();
    find_needed();
    add_inputs();
    copy_nodes();
    return finish();
  }

 private:
  Value* work_input(int i) const { return work_->inputs()[static_cast<size_t>(i)].get(); }
  bool is_slice(int operand) const {
    return operand >= scan_.states && operand < scan_.first_invariant();
  }

  /// Appends the transposed Jacobian to a copy of the body.
  void differentiate() {
    for (const auto& n : work_->nodes()) forward_nodes_.push_back(n.get());
    std::vector<Value*> results;
    std::vector<GradientSeed> seeds;
    for (size_t i = 0; i < work_->output_count(); ++i) {
      Value* v = work_->output(i);
      const bool state = static_cast<int>(i) < scan_.states;
      if (!is_float(v->dtype()) || (!state && given_[i] == nullptr)) continue;
      seed_of_output_[i] = work_->add_input("", v->type());
      results.push_back(v);
      seeds.push_back({v, seed_of_output_[i]});
    }
    for (int i = 0; i < forward_.operand_count(); ++i)
      if (is_float(work_input(i)->dtype())) wrt_.push_back(work_input(i));
    const GradientPath path = gradient_path(*work_, results, wrt_);
    for (const Node* n : path.nodes)
      if (n->op().gradient == nullptr)
        throw Error("cannot train through the body of " + forward_.where() + ": " + n->where() +
                    " (" + std::string(n->name()) + "): " + reason_against_gradient(*n));
    const std::vector<Value*> found = accumulate_gradients(*work_, path, seeds, wrt_);
    for (size_t i = 0; i < wrt_.size(); ++i) gradient_of_[wrt_[i]] = found[i];
  }

  /// The nodes that make the gradients, and the forward values they want.
  void find_needed() {
    const std::unordered_set<const Node*> forward(forward_nodes_.begin(), forward_nodes_.end());
    std::vector<Value*> open;
    for (Value* v : wrt_)
      if (gradient_of_[v] != nullptr) open.push_back(gradient_of_[v]);
    std::unordered_set<const Value*> seen;
    while (!open.empty()) {
      Value* v = open.back();
      open.pop_back();
      if (v == nullptr || !seen.insert(v).second) continue;
      const Node* n = v->def();
      if (!scan_.checkpoint && n != nullptr && forward.count(n) != 0 && !same_on_every_trip(v))
        saved_.insert(v);
      if (n == nullptr || saved_.count(v) != 0) continue;
      needed_.insert(n);
      for (Value* o : n->operands()) open.push_back(o);
    }
    for (const Value* v : seen)
      if (v->def() == nullptr) wanted_inputs_.insert(v);
  }

  bool same_on_every_trip(const Value* v) {
    if (const auto it = steady_.find(v); it != steady_.end()) return it->second;
    bool steady = false;
    if (v->def() == nullptr) {
      steady = v->index() >= scan_.first_invariant() && v->index() < forward_.operand_count();
    } else if (!v->def()->op().has(kImpure) && v->def()->body_count() == 0) {
      const std::vector<Value*> operands = v->def()->operands();
      steady = std::all_of(operands.begin(), operands.end(),
                           [this](Value* o) { return o == nullptr || same_on_every_trip(o); });
    }
    return steady_[v] = steady;
  }

  // ---- the backward scan ----------------------------------------------------------------------

  /// The stack of a forward value over all trips: a scanned operand, a result that is there
  /// already, or one more output of the forward scan.
  Value* stacked(const Value* work_value) {
    const Value* v = original(work_value);
    if (v->def() == nullptr && is_slice(v->index())) return forward_.operand(v->index());
    Graph& body = *forward_.body();
    for (size_t i = static_cast<size_t>(scan_.states); i < body.output_count(); ++i)
      if (body.output(i) == v) return forward_.result(static_cast<int>(i));
    body.add_output("saved", const_cast<Value*>(v));
    TensorType type = v->type();
    type.shape.insert(type.shape.begin(), scan_.trips);
    return forward_.add_result(std::move(type));
  }

  /// The value of the forward body that a value of its copy stands for.
  const Value* original(const Value* work_value) {
    if (originals_.empty()) {
      for (size_t i = 0; i < forward_.body()->inputs().size(); ++i)
        originals_[work_->inputs()[i].get()] = forward_.body()->inputs()[i].get();
      size_t at = 0;
      for (const auto& n : forward_.body()->nodes()) {
        for (int i = 0; i < n->result_count(); ++i)
          originals_[forward_nodes_[at]->result(i)] = n->result(i);
        ++at;
      }
    }
    return originals_.at(work_value);
  }

  void add_inputs() {
    // States: the gradients of the forward states, then sums for invariants.
    for (int i = 0; i < scan_.states; ++i) {
      const auto at = static_cast<size_t>(i);
      if (seed_of_output_.count(at) == 0) continue;
      const Value* s = work_input(i);
      Value* last = given_[at] != nullptr ? b_.reshape(given_[at], s->shape())
                                          : zeros(b_, s->dtype(), s->shape());
      map_[seed_of_output_[at]] = add_input(last, s->type());
      ++states_;
    }
    for (int i = scan_.first_invariant(); i < forward_.operand_count(); ++i) {
      Value* w = work_input(i);
      Value* share = gradient_or_null(w);
      if (share == nullptr || becomes_product(share)) continue;
      sums_[w] = add_input(zeros(b_, w->dtype(), w->shape()), w->type());
      ++states_;
    }
    for (const auto& [output, seed] : seed_of_output_)
      if (static_cast<int>(output) >= scan_.states) scan_over(seed, given_[output]);
    for (const auto& n : forward_nodes_)
      for (int i = 0; i < n->result_count(); ++i)
        if (saved_.count(n->result(i)) != 0) scan_over(n->result(i), stacked(n->result(i)));
    for (int i = 0; i < scan_.first_invariant(); ++i)
      if (wanted_inputs_.count(work_input(i)) != 0)
        scan_over(work_input(i), stacked(work_input(i)));
    for (int i = scan_.first_invariant(); i < forward_.operand_count(); ++i)
      if (wanted_inputs_.count(work_input(i)) != 0)
        map_[work_input(i)] = add_input(forward_.operand(i), work_input(i)->type());
  }

  Value* add_input(Value* outer, TensorType type) {
    operands_.push_back(outer);
    return body_->add_input("", std::move(type));
  }

  void scan_over(const Value* work_value, Value* outer) {
    Value* inner = add_input(outer, work_value->type());
    map_[work_value] = inner;
    stacks_[inner] = outer;
    ++scanned_;
  }

  void copy_nodes() {
    for (const auto& n : work_->nodes()) {
      if (needed_.count(n.get()) == 0) continue;
      std::vector<Value*> operands;
      for (Value* v : n->operands()) operands.push_back(v == nullptr ? nullptr : map_.at(v));
      Node* copy = body_->create(n->op(), std::move(operands), n->attrs(), n->result_count());
      copy->set_origins(n->origins());
      for (int i = 0; i < n->body_count(); ++i) copy->add_body(n->body(i)->clone());
      for (int i = 0; i < n->result_count(); ++i) {
        copy->result(i)->set_type(n->result(i)->type());
        copy->result(i)->set_content(n->result(i)->content());
        map_[n->result(i)] = copy->result(i);
      }
    }
  }

  Value* gradient_or_null(const Value* work_value) const {
    const auto it = gradient_of_.find(work_value);
    return it == gradient_of_.end() ? nullptr : it->second;
  }

  // ---- products over all trips ----------------------------------------------------------------

  /// Its factors would have to be kept for all trips.
  bool becomes_product(const Value* share) const { return !scan_.checkpoint && is_product(share); }

  /// dot(a, b) of single matrices a, shape [1..., M, K], so that sum over t = one product over K
  /// of all trips.
  static bool is_product(const Value* share) {
    const Node* n = share->def();
    if (n == nullptr || !n->is("dot")) return false;
    const Shape& a = n->operand(0)->shape();
    return std::all_of(a.begin(), a.end() - 2, [](const Dim& d) { return d.is(1); });
  }

  /// What a value of the backward body is over all trips; where it is a transposed slice, the whole
  /// is transposed instead.
  Value* over_all_trips(Value* inner) {
    if (const auto it = stacks_.find(inner); it != stacks_.end()) return it->second;
    TINTYPE_CHECK(inner->def() != nullptr && inner->def()->is("transpose"),
                  "an operand of a product is not stacked");
    Value* all = over_all_trips(inner->def()->operand(0));
    std::vector<int64_t> perm = {0};
    for (int64_t p : inner->def()->attrs().integers("perm")) perm.push_back(p + 1);
    return b_.transpose(all, perm);
  }

  int output_of(Value* inner) {
    for (size_t i = static_cast<size_t>(states_); i < body_->output_count(); ++i)
      if (body_->output(i) == inner) return static_cast<int>(i);
    body_->add_output("", inner);
    return static_cast<int>(body_->output_count()) - 1;
  }

  static Value* source(Value* inner) {
    while (inner->def() != nullptr && inner->def()->is("transpose"))
      inner = inner->def()->operand(0);
    return inner;
  }

  // sum_t a_t b_t with a [1..., M, K], b [..., K, N]: [M, trips K] x [trips K, ... N]
  Value* product_over_trips(const Node& dot, const Shape& shape) {
    Value* a = over_all_trips(dot.operand(0));
    Value* c = over_all_trips(dot.operand(1));
    const int ra = a->rank(), rc = c->rank();
    const Dim rows = a->shape()[static_cast<size_t>(ra - 2)];
    const Dim depth = a->shape().back() * scan_.trips;
    std::vector<int64_t> perm = {ra - 2, 0};
    for (int64_t i = 1; i < ra; ++i)
      if (i != ra - 2) perm.push_back(i);
    a = b_.reshape(b_.transpose(a, perm), {rows, depth});
    perm = {0, rc - 2};
    Shape columns;
    for (int64_t i = 1; i < rc; ++i) {
      if (i == rc - 2) continue;
      perm.push_back(i);
      columns.push_back(c->shape()[static_cast<size_t>(i)]);
    }
    c = b_.reshape(b_.transpose(c, perm), {depth, product(columns)});
    Shape split = {rows};
    split.insert(split.end(), columns.begin(), columns.end());
    Value* y = b_.reshape(b_.make("dot", {a, c}), split);
    perm.clear();
    for (int64_t i = 1; i + 1 < y->rank(); ++i) perm.push_back(i);
    perm.insert(perm.end(), {0, y->rank() - 1});
    return b_.reshape(b_.transpose(y, perm), shape);
  }

  // ---- results --------------------------------------------------------------------------------

  Value* mapped_gradient(const Value* work_value) {
    Value* g = gradient_or_null(work_value);
    return g == nullptr ? nullptr : map_.at(g);
  }

  Value* zero(const Value* like) { return zeros(in_, like->dtype(), like->shape()); }

  Values finish() {
    for (int i = 0; i < scan_.states; ++i) {
      if (seed_of_output_.count(static_cast<size_t>(i)) == 0) continue;
      Value* g = mapped_gradient(work_input(i));
      state_result_[i] = static_cast<int>(body_->output_count());
      body_->add_output("", g != nullptr ? g : zero(work_input(i)));
    }
    for (int i = scan_.first_invariant(); i < forward_.operand_count(); ++i) {
      const auto sum = sums_.find(work_input(i));
      if (sum == sums_.end()) continue;
      state_result_[i] = static_cast<int>(body_->output_count());
      body_->add_output("", in_.add(sum->second, mapped_gradient(work_input(i))));
    }
    std::unordered_map<int, int> slice_result;
    for (int i = scan_.states; i < scan_.first_invariant(); ++i)
      if (Value* g = mapped_gradient(work_input(i)); g != nullptr) slice_result[i] = output_of(g);
    std::vector<const Node*> products;
    for (int i = scan_.first_invariant(); i < forward_.operand_count(); ++i) {
      Value* share = gradient_or_null(work_input(i));
      const bool product = share != nullptr && becomes_product(share);
      products.push_back(product ? map_.at(share)->def() : nullptr);
      if (!product) continue;
      for (int k = 0; k < 2; ++k)
        if (Value* v = source(products.back()->operand(k)); stacks_.count(v) == 0) output_of(v);
    }
    if (body_->output_count() == 0) return Values(static_cast<size_t>(forward_.operand_count()));
    create_scan();
    Values gradients(static_cast<size_t>(forward_.operand_count()));
    for (const auto& [operand, result] : state_result_)
      gradients[static_cast<size_t>(operand)] = results_[static_cast<size_t>(result)];
    for (const auto& [operand, result] : slice_result)
      gradients[static_cast<size_t>(operand)] = results_[static_cast<size_t>(result)];
    for (size_t i = 0; i < products.size(); ++i) {
      const size_t operand = i + static_cast<size_t>(scan_.first_invariant());
      if (products[i] != nullptr)
        gradients[operand] =
            product_over_trips(*products[i], forward_.operand(static_cast<int>(operand))->shape());
    }
    return gradients;
  }

  void create_scan() {
    const auto count = static_cast<int>(body_->output_count());
    std::vector<std::unique_ptr<Graph>> bodies;
    Graph* body = body_.get();
    bodies.push_back(std::move(body_));
    AttrMap attrs = {{"states", static_cast<int64_t>(states_)},
                     {"scanned", static_cast<int64_t>(scanned_)},
                     {"trips", Shape{scan_.trips}}};
    if (!scan_.reverse) attrs.set("reverse", int64_t{1});
    if (scan_.checkpoint) attrs.set("checkpoint", int64_t{1});
    const Node* backward = b_.create("scan", operands_, std::move(attrs), count, std::move(bodies));
    for (int i = 0; i < count; ++i) results_.push_back(backward->result(i));
    for (int i = states_; i < count; ++i)
      stacks_[body->output(static_cast<size_t>(i))] = backward->result(i);
  }

  Builder& b_;
  Node& forward_;
  const ScanView scan_;
  const Values& given_;
  std::unique_ptr<Graph> work_;  ///< the forward body with the transposed Jacobian behind it
  std::unique_ptr<Graph> body_;  ///< of the backward scan
  Builder in_;
  std::vector<const Node*> forward_nodes_;  ///< of work_
  std::vector<Value*> wrt_;
  std::map<size_t, Value*> seed_of_output_;
  std::unordered_map<const Value*, Value*> gradient_of_;
  std::unordered_set<const Value*> saved_, wanted_inputs_;
  std::unordered_set<const Node*> needed_;
  std::unordered_map<const Value*, bool> steady_;
  std::unordered_map<const Value*, const Value*> originals_;
  std::unordered_map<const Value*, Value*> map_;     ///< work_ -> body_
  std::unordered_map<const Value*, Value*> sums_;    ///< invariants -> states of body_
  std::unordered_map<const Value*, Value*> stacks_;  ///< slices of body_ -> what they are slices of
  std::map<int, int> state_result_;
  std::vector<Value*> operands_, results_;
  int states_ = 0, scanned_ = 0;
};

}  // namespace

Values scan_gradient(Builder& b, const Node& n, const Values& dy) {
  return ScanGradient(b, n, dy).run();
}

}  // namespace tintype::ops
