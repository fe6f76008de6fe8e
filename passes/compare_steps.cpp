#include "passes/compare_steps.h"

#include "ir/builder.h"
#include "ir/print.h"
#include "passes/patterns.h"
#include "passes/recurrent_chains.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace tintype {

namespace {

Shape without_ones(Shape s) {
  s.erase(std::remove_if(s.begin(), s.end(), [](const Dim& d) { return d.is(1); }), s.end());
  return s;
}

/// What the first step reads may be smaller than what the others do: a state of equal elements
/// was left with one of them.
bool broadcasts_to(const Value& a, const Value& b) {
  if (a.dtype() != b.dtype()) return false;
  if (common_element(a)) return true;
  if (a.rank() > b.rank()) return false;
  const auto skip = static_cast<size_t>(b.rank() - a.rank());
  for (size_t d = 0; d < a.shape().size(); ++d)
    if (!a.shape()[d].is(1) && !(a.shape()[d] == b.shape()[d + skip])) return false;
  return true;
}

bool same_constant(const Value* a, const Value* b) {
  const Tensor *x = a->constant(), *y = b->constant();
  return x != nullptr && y != nullptr && x->dtype() == y->dtype() && x->dims() == y->dims() &&
         (x->data() == y->data() || std::memcmp(x->data(), y->data(), x->bytes()) == 0);
}

bool neighbours(Value* a, Value* b) {
  const std::optional<Cut> x = cut_of(a), y = cut_of(b);
  return x && y && x->source == y->source && x->axis == y->axis &&
         std::abs(x->place - y->place) == 1;
}

/// b is cut out at an end of a tensor, and a may be what steps read before it.
bool may_begin(const Value& a, Value* b) {
  const std::optional<Cut> cut = cut_of(b);
  if (!cut || !broadcasts_to(a, *b)) return false;
  const Dim& extent = cut->source->shape()[static_cast<size_t>(cut->axis)];
  return cut->place == 0 || extent.is(cut->place + 1);
}

bool same(const RepeatedStep& a, const RepeatedStep& b) {
  return a.computed == b.computed && a.states == b.states && a.slices == b.slices &&
         a.invariants == b.invariants;
}

/// Zeros of either sign: products with zeros that were computed when compiling have both.
bool is_all_zero(const Value& v) {
  const Node* n = v.def();
  if (n != nullptr && n->is("broadcast")) return is_all_zero(*n->operand(0));
  const Tensor* t = v.constant();
  if (t == nullptr || !is_float(t->dtype())) return false;
  const size_t size = size_of(t->dtype());
  const auto* bytes = static_cast<const uint8_t*>(t->data());
  for (size_t i = 0; i < t->bytes(); ++i)
    if ((bytes[i] & (i % size == size - 1 ? 0x7f : 0xff)) != 0) return false;
  return true;
}

bool moves_one_value(const Node* n) {
  return n != nullptr && n->operand_count() == 1 && n->op().has(kMovement | kView);
}

}  // namespace

std::optional<double> common_element(const Value& v) {
  const Node* n = v.def();
  return n != nullptr && n->is("broadcast") ? common_element(*n->operand(0)) : constant_splat(&v);
}

std::optional<Cut> cut_of(Value* v) {
  Node* n = v->def();
  if (n != nullptr && n->is("reshape")) n = n->operand(0)->def();
  if (n == nullptr) return std::nullopt;
  Value* x = n->operand(0);
  if (n->is("gather")) {
    const Tensor* at = n->operand(1)->constant();
    if (at == nullptr || at->size() != 1 || v->def() != n) return std::nullopt;
    const auto place = constant_splat(n->operand(1));
    if (!place || *place < 0 || at->rank() > 1) return std::nullopt;
    return Cut{x, normalize_axis(n->attrs().integer("axis"), x->rank(), ""),
               static_cast<int64_t>(*place)};
  }
  if (!n->is("slice")) return std::nullopt;
  const Shape starts = n->attrs().dims("starts");
  std::optional<int> axis;
  for (size_t i = 0; i < starts.size(); ++i) {
    if (n->result()->shape()[i] == x->shape()[i] && starts[i].is(0)) continue;
    if (axis || !n->result()->shape()[i].is(1) || !starts[i].is_static()) return std::nullopt;
    axis = static_cast<int>(i);
  }
  if (!axis) return std::nullopt;
  if (v->def() != n) {  // a reshape behind it may only touch axes of extent 1
    Shape squeezed = x->shape();
    squeezed.erase(squeezed.begin() + *axis);
    if (without_ones(v->shape()) != without_ones(squeezed)) return std::nullopt;
  }
  return Cut{x, *axis, starts[static_cast<size_t>(*axis)].value()};
}

Value* stack_of(Builder& b, const ScannedSlices& s, int64_t steps) {
  const int64_t count = s.initial == nullptr ? steps : steps - 1;
  const int64_t start = s.backwards ? s.first.place - (count - 1) : s.first.place;
  Value* v = b.slice_axis(s.first.source, s.first.axis, start, count);
  std::vector<int64_t> perm = {s.first.axis};
  for (int64_t i = 0; i < v->rank(); ++i)
    if (i != s.first.axis) perm.push_back(i);
  v = b.transpose(v, perm);
  if (s.backwards) v = b.make("reverse", {v}, {{"axes", std::vector<int64_t>{0}}});
  if (s.initial == nullptr) return v;
  Value* first = s.initial;
  Shape shape(v->shape().begin() + 1, v->shape().end());
  if (const auto element = common_element(*first)) {
    first = b.broadcast(b.scalar(*element, first->dtype()), shape);
  }
  shape.insert(shape.begin(), Dim(1));
  return b.concat({b.reshape(first, shape), v}, 0);
}

Node* concatenation_of(const Value& v, int operand, int count) {
  const auto is_step = [&](const Use& use) {
    const Node& concat = *use.node;
    if (!concat.is("concat") || use.operand != operand || concat.operand_count() != count)
      return false;
    Shape shape = concat.operand(operand)->shape();
    const int axis = normalize_axis(concat.attrs().integer("axis"), concat.result()->rank(), "");
    if (!shape[static_cast<size_t>(axis)].is(1)) return false;
    if (v.shape() == shape) return true;
    shape.erase(shape.begin() + axis);
    return v.shape() == shape;
  };
  for (const Use& u : v.uses()) {
    if (is_step(u)) return u.node;
    const Value* moved = u.node->is("reshape") ? u.node->result() : nullptr;
    if (moved != nullptr && moved->has_one_use() && !moved->uses().empty() &&
        is_step(moved->uses()[0]))
      return moved->uses()[0].node;
  }
  return nullptr;
}

Value* concatenated(Builder& b, Value* stack, const Node& concatenation) {
  const int rank = concatenation.result()->rank();
  const int64_t axis = normalize_axis(concatenation.attrs().integer("axis"), rank, "");
  // The axis in front takes the place of the one that was made for it.
  if (stack->rank() > rank) {
    Shape shape = stack->shape();
    shape.erase(shape.begin() + axis + 1);
    stack = b.reshape(stack, shape);
  }
  std::vector<int64_t> perm;
  for (int64_t i = 1; i < rank; ++i) perm.push_back(i);
  perm.insert(perm.begin() + axis, 0);
  return b.transpose(stack, perm);
}

bool StepComparison::fail(const std::string& reason) {
  reason_ = reason;
  return false;
}

/// The last product of the chain whose state a value depends on; -1 when there is none.
int StepComparison::level(const Value* v) const {
  if (v->def() == nullptr) return -1;
  const auto it = levels_.find(v->def());
  return it == levels_.end() ? -1 : it->second;
}

void StepComparison::find_levels() {
  std::unordered_map<const Node*, int> place;
  for (int t = 0; t < trips_; ++t) place[chain_[static_cast<size_t>(t)]] = t;
  for (const auto& n : graph_.nodes()) {
    int most = -1;
    for (const Value* v : n->operands())
      if (v != nullptr) most = std::max(most, level(v));
    if (const auto it = place.find(n.get()); it != place.end()) most = it->second;
    if (most >= 0) levels_[n.get()] = most;
  }
}

// ---- steps --------------------------------------------------------------------------------------

bool StepComparison::run() {
  if (roots_.empty()) {
    find_levels();
    roots_.emplace_back();
    for (size_t t = 1; t < chain_.size(); ++t) roots_[0].push_back(chain_[t]->operand(0));
  }
  return compare() && find_next_states() && find_scanned();
}

/// What a step reads of the one before is a state if that one computes it, too. Otherwise it is
/// computed here, from states: another product with the last output, a peephole on the cell.
bool StepComparison::compare() {
  for (;;) {
    steps_.assign(static_cast<size_t>(trips_), {});
    std::optional<size_t> missing;
    for (int t = 0; t + 1 < trips_ && !missing; ++t) {
      Pair pair;
      pair.t = t;
      first_differs_ = t == 0;
      if (!compare_pair(pair, missing)) return false;
      const auto at = static_cast<size_t>(t);
      if (!missing && t > 0 && !same(steps_[at], pair.before))
        return fail("a step reads values of several others");
      if (t == 0) steps_[0] = std::move(pair.before);
      steps_[at + 1] = std::move(pair.after);
    }
    if (missing) {
      if (!expand(*missing)) return fail("the last step differs from those before");
      continue;
    }
    bool complete = true;
    for (size_t k = 0; k < steps_[0].states.size(); ++k) {
      if (computed_before(k)) continue;
      complete = false;
      for (size_t t = 1; t < steps_.size(); ++t)
        if (!own_.insert(steps_[t].states[k]).second)
          return fail("a state is not computed by the step before");
    }
    if (complete) return true;
  }
}

/// False when the steps differ; `missing` receives a root that the last step does not have.
bool StepComparison::compare_pair(Pair& pair, std::optional<size_t>& missing) {
  const auto t = static_cast<size_t>(pair.t);
  for (size_t k = 0; k < roots_.size(); ++k) {
    if (roots_[k].size() == t + 1) {
      if (match_last(pair, k)) continue;
      missing = k;
      return true;
    }
    if (!match(pair, roots_[k][t], roots_[k][t + 1]))
      return fail("step " + std::to_string(t + 1) + " differs from step " + std::to_string(t));
  }
  return true;
}

/// The value that the last step would hand on is the one that is made as those before are.
bool StepComparison::match_last(Pair& pair, size_t root) {
  Value* model = roots_[root].back();
  if (model->def() == nullptr) return false;
  const Mark start = mark(pair);
  for (const auto& n : graph_.nodes()) {
    if (n->op().name != model->def()->name() || level(n->result()) != pair.t + 1) continue;
    if (match(pair, model, n->result(model->index()))) return true;
    rewind(pair, start);
  }
  return false;
}

/// Lets steps hand on what a root is made of instead: the step that reads it makes it then.
bool StepComparison::expand(size_t root) {
  const std::vector<Value*> old = std::move(roots_[root]);
  roots_.erase(roots_.begin() + static_cast<std::ptrdiff_t>(root));
  const Node* model = old.back()->def();
  for (const Value* v : old) {
    if (v->def() == nullptr || v->def()->name() != model->name() ||
        v->def()->operand_count() != model->operand_count() || !own_.insert(v).second)
      return false;
  }
  const int last = level(old.back());
  for (int i = 0; i < model->operand_count(); ++i) {
    if (model->operand(i) == nullptr || level(model->operand(i)) != last) continue;
    std::vector<Value*> values;
    for (const Value* v : old) values.push_back(v->def()->operand(i));
    if (std::find(roots_.begin(), roots_.end(), values) == roots_.end()) roots_.push_back(values);
  }
  return !roots_.empty();
}

// ---- values -------------------------------------------------------------------------------------

StepComparison::Mark StepComparison::mark(const Pair& pair) {
  const RepeatedStep& s = pair.before;
  return {s.computed.size(), s.states.size(), s.slices.size(), s.invariants.size(),
          pair.order.size()};
}

void StepComparison::rewind(Pair& pair, const Mark& to) {
  for (RepeatedStep* s : {&pair.before, &pair.after}) {
    s->computed.resize(to.computed);
    s->states.resize(to.states);
    s->slices.resize(to.slices);
    s->invariants.resize(to.invariants);
  }
  while (pair.order.size() > to.order) {
    pair.paired.erase(pair.order.back());
    pair.order.pop_back();
  }
}

void StepComparison::join(Pair& pair, const Value* a, const Value* b) {
  if (pair.paired.emplace(b, a).second) pair.order.push_back(b);
}

bool StepComparison::match(Pair& pair, Value* a, Value* b) {
  if (a == nullptr || b == nullptr) return a == b;
  if (const auto it = pair.paired.find(b); it != pair.paired.end())
    return match_paired(pair, it->second, *a);
  const auto add = [&](std::vector<Value*> RepeatedStep::* list) {
    (pair.before.*list).push_back(a);
    (pair.after.*list).push_back(b);
    return true;
  };
  const int t = pair.t, la = level(a), lb = level(b);
  if (!(a->type() == b->type()) &&
      !(t == 0 && (lb == 0 || chain_.empty()) && broadcasts_to(*a, *b)))
    return false;
  if (a == b && la >= 0) return false;
  join(pair, a, b);
  if (a == b) return add(&RepeatedStep::invariants);
  const bool own = own_.count(b) != 0;
  if (!own && lb == t && (la == t - 1 || (t == 0 && la == -1))) return add(&RepeatedStep::states);
  if (la == -1 && lb == -1) {
    if (same_constant(a, b)) return add(&RepeatedStep::invariants);
    if (neighbours(a, b) || (t == 0 && chain_.empty() && may_begin(*a, b)))
      return add(&RepeatedStep::slices);
  } else if (!own && (la != t || lb != t + 1)) {
    return false;
  }
  return match_nodes(pair, a, b);
}

/// `earlier` is what b was found to be in the earlier step; null: zero.
bool StepComparison::match_paired(const Pair& pair, const Value* earlier, const Value& a) const {
  if (earlier == &a) return true;
  if (pair.t != 0) return false;
  if (earlier == nullptr) return is_all_zero(a);
  const auto x = common_element(a), y = common_element(*earlier);
  return x && y && *x == *y && earlier->dtype() == a.dtype();
}

bool StepComparison::match_nodes(Pair& pair, Value* a, Value* b) {
  if (pair.t != 0) return match_operands(pair, a, b);
  const Mark start = mark(pair);
  if (match_operands(pair, a, b)) return true;
  rewind(pair, start);
  if (match_moved_element(pair, a, b)) return true;
  rewind(pair, start);
  if (is_all_zero(*a) && makes_zero(pair, b)) return true;
  rewind(pair, start);
  return match_without_zero(pair, a, b);
}

bool StepComparison::match_operands(Pair& pair, Value* a, Value* b) {
  const Node *x = a->def(), *y = b->def();
  if (x == nullptr || y == nullptr || x->name() != y->name() || a->index() != b->index() ||
      x->operand_count() != y->operand_count() || x->result_count() != 1 || x->body_count() != 0 ||
      y->body_count() != 0 || x->op().has(kImpure) || x->is("constant") ||
      print(x->attrs()) != print(y->attrs()))
    return false;
  for (int i = 0; i < x->operand_count(); ++i)
    if (!match(pair, x->operand(i), y->operand(i))) return false;
  pair.before.computed.push_back(a);
  pair.after.computed.push_back(b);
  return true;
}

/// c = reshape(c), transpose(c) ... where all elements are the same.
bool StepComparison::match_moved_element(Pair& pair, Value* a, Value* b) {
  if (!moves_one_value(b->def()) || !common_element(*a) || !match(pair, a, b->def()->operand(0)))
    return false;
  pair.before.computed.push_back(nullptr);
  pair.after.computed.push_back(b);
  return true;
}

/// x = x + 0, x = x - 0, where later steps have the product of something with a state for the 0.
bool StepComparison::match_without_zero(Pair& pair, Value* a, Value* b) {
  Node* y = b->def();
  if (y == nullptr || (!y->is("add") && !y->is("sub"))) return false;
  const Mark start = mark(pair);
  for (const int zero : {1, 0}) {
    if (zero == 0 && y->is("sub")) break;
    const auto compare_operand = [&](int i) {
      return i == zero ? is_zero_at_first(pair, y->operand(i)) : match(pair, a, y->operand(i));
    };
    if (compare_operand(0) && compare_operand(1)) {
      pair.before.computed.push_back(a);
      pair.after.computed.push_back(b);
      return true;
    }
    rewind(pair, start);
  }
  return false;
}

/// b, of the second step, would be zero in the first: a state that begins with zeros, or such a
/// state times what is the same in all steps.
bool StepComparison::is_zero_at_first(Pair& pair, Value* b) {
  if (const auto it = pair.paired.find(b); it != pair.paired.end())
    return it->second == nullptr || is_all_zero(*it->second);
  if (level(b) != 0) return false;
  if (own_.count(b) == 0) {
    join(pair, nullptr, b);
    pair.before.states.push_back(nullptr);
    pair.after.states.push_back(b);
    return true;
  }
  if (!makes_zero(pair, b)) return false;
  join(pair, nullptr, b);
  return true;
}

bool StepComparison::makes_zero(Pair& pair, Value* b) {
  const Node* y = b->def();
  if (y == nullptr || (!y->is("mul") && !is_plain_product(*y) && !moves_one_value(y))) return false;
  bool any = false;
  for (Value* o : y->operands()) {
    if (level(o) >= 0) {
      if (!is_zero_at_first(pair, o)) return false;
      any = true;
    } else if (pair.paired.count(o) == 0) {
      join(pair, o, o);
      pair.before.invariants.push_back(o);
      pair.after.invariants.push_back(o);
    }
  }
  pair.before.computed.push_back(nullptr);
  pair.after.computed.push_back(b);
  return any;
}

// ---- states and slices --------------------------------------------------------------------------

bool StepComparison::computed_before(size_t state) const {
  for (size_t t = 0; t + 1 < chain_.size(); ++t) {
    const auto& computed = steps_[t].computed;
    if (std::find(computed.begin(), computed.end(), steps_[t + 1].states[state]) == computed.end())
      return false;
  }
  return true;
}

bool StepComparison::find_next_states() {
  for (size_t k = 0; k < steps_[0].states.size(); ++k) {
    // A value of the first step may stand for several: the one that holds for all steps counts.
    std::optional<size_t> found;
    for (size_t place = 0; place < steps_[0].computed.size() && !found; ++place) {
      size_t t = 0;
      while (t + 1 < chain_.size() && steps_[t].computed[place] == steps_[t + 1].states[k]) ++t;
      if (t + 1 == chain_.size()) found = place;
    }
    if (!found) return fail("a state is not computed the same way in every step");
    next_.push_back(*found);
  }
  return true;
}

bool StepComparison::find_scanned() {
  for (size_t k = 0; k < steps_[0].slices.size(); ++k) {
    const Cut second = *cut_of(steps_[1].slices[k]), third = *cut_of(steps_[2].slices[k]);
    const int64_t stride = third.place - second.place;
    const std::optional<Cut> begin = cut_of(steps_[0].slices[k]);
    const bool whole = begin && begin->source == second.source && begin->axis == second.axis;
    for (size_t t = whole ? 0 : 1; t < steps_.size(); ++t)
      if (cut_of(steps_[t].slices[k])->place !=
          second.place + (static_cast<int64_t>(t) - 1) * stride)
        return fail("the steps do not read neighbouring slices");
    if (whole) scanned_.push_back({*begin, stride < 0});
    else scanned_.push_back({second, stride < 0, steps_[0].slices[k]});
  }
  return true;
}

}  // namespace tintype
