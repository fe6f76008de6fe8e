// In-place concatenation and padding; views of views.
#include "codegen/placement.h"

#include "ir/builder.h"

#include "ir/diagnostic.h"

#include <algorithm>

namespace tintype {

bool is_view(const Node& n) { return n.op().has(kView) || n.is("reverse"); }

namespace {

std::optional<double> constant_fill(const Node& pad) {
  Value* fill = pad.operand(1);
  if (fill == nullptr) return 0.0;
  const Tensor* t = fill->constant();
  if (t == nullptr || t->size() != 1) return std::nullopt;
  switch (t->dtype()) {
    case DType::f32: return static_cast<double>(t->values<float>()[0]);
    case DType::f64: return t->values<double>()[0];
    default: return std::nullopt;  // other types take the copying path
  }
}

bool never_negative(const Shape& shape) {
  return std::all_of(shape.begin(), shape.end(), [](const Dim& d) {
    const auto low = d.lower_bound();
    return low && *low >= 0;
  });
}

/// A pad whose operand can sit inside the padded buffer.
bool is_margin(const Node& n) {
  return n.is("pad") && n.attrs().string("mode", "constant") == "constant" &&
         constant_fill(n).has_value() && never_negative(n.attrs().dims("before")) &&
         never_negative(n.attrs().dims("after"));
}

}  // namespace

namespace {

Shape without_ones(const Shape& shape) {
  Shape rest;
  for (const Dim& d : shape)
    if (!d.is(1)) rest.push_back(d);
  return rest;
}

/// The value that a reshape gave axes of extent 1, or took them from; others are themselves.
const Value* behind_axes_of_one(const Value* v) {
  const Node* n = v->def();
  const bool same = n != nullptr && n->is("reshape") &&
                    without_ones(v->shape()) == without_ones(n->operand(0)->shape());
  return same ? n->operand(0) : v;
}

/// Strides for a shape that differs in axes of extent 1.
Shape strides_of_other_ones(const Shape& from, const Shape& strides, const Shape& to) {
  Shape result;
  size_t at = 0;
  for (const Dim& d : to) {
    while (!d.is(1) && from[at].is(1)) ++at;
    result.push_back(d.is(1) ? Dim(1) : strides[at++]);
  }
  return result;
}

}  // namespace

Shape PlacementPlan::Frame::shape() const {
  Shape s = inner->shape();
  for (size_t i = 0; i < s.size(); ++i) s[i] = s[i] + before[i] + after[i];
  return s;
}

PlacementPlan::PlacementPlan(const Graph& graph, ProgramBuilder& builder,
                             const std::function<bool(const Value*)>& writable,
                             const std::function<bool(const Value*)>& apart)
    : builder_(builder) {
  for (const auto& n : graph.nodes())
    if (n->is("concat")) plan_concat(*n, writable);
  for (const auto& n : graph.nodes())
    for (int i = 0; i < n->result_count(); ++i)
      if (!apart(n->result(i))) plan_pads(n->result(i), writable);
}

void PlacementPlan::plan_concat(const Node& n, const std::function<bool(const Value*)>& writable) {
  const Value* whole = n.result();
  const auto axis =
      static_cast<size_t>(normalize_axis(n.attrs().integer("axis"), whole->rank(), n.where()));
  Shape offset(whole->shape().size(), Dim(0));
  for (const Value* operand : n.operands()) {
    const Value* v = behind_axes_of_one(operand);
    // The same value twice in one concatenation is written once and copied for the others.
    const bool nested = v->def() != nullptr && v->def()->is("concat");
    if ((writable(v) || nested) && v->output_uses() == 0 && hosts_.count(v) == 0)
      hosts_[v] = {whole, -1, offset, operand};
    offset[axis] = offset[axis] + operand->shape()[axis];
  }
}

void PlacementPlan::plan_pads(const Value* v, const std::function<bool(const Value*)>& writable) {
  const bool concat = v->def() != nullptr && v->def()->is("concat");
  if ((!writable(v) && !concat) || v->output_uses() != 0 || hosts_.count(v) != 0) return;
  Frame frame;
  frame.inner = v;
  std::vector<const Node*> pads;
  for (const Use& u : v->uses()) {
    if (u.operand != 0 || !is_margin(*u.node)) continue;
    const Shape before = u.node->attrs().dims("before");
    const Shape after = u.node->attrs().dims("after");
    const double fill = *constant_fill(*u.node);
    if (pads.empty()) {
      frame.before = before;
      frame.after = after;
      frame.fill = fill;
    } else if (fill == frame.fill) {
      for (size_t i = 0; i < before.size(); ++i) {
        frame.before[i] = max(frame.before[i], before[i]);
        frame.after[i] = max(frame.after[i], after[i]);
      }
    } else {
      continue;  // another fill value: that pad copies
    }
    pads.push_back(u.node);
  }
  if (pads.empty()) return;
  const int id = static_cast<int>(frames_.size());
  for (const Node* p : pads) {
    Shape offset = p->attrs().dims("before");
    for (size_t i = 0; i < offset.size(); ++i) offset[i] = frame.before[i] - offset[i];
    padded_[p] = {nullptr, id, std::move(offset)};
  }
  hosts_[v] = {nullptr, id, frame.before};
  frames_.push_back(std::move(frame));
}

bool PlacementPlan::in_place(const Node* node, int operand) const {
  if (node->is("pad")) return padded_.count(node) != 0;
  auto it = hosts_.find(behind_axes_of_one(node->operand(operand)));
  if (it == hosts_.end() || it->second.value != node->result() ||
      it->second.as != node->operand(operand))
    return false;
  // A value that occurs several times sits at its first place only.
  for (int i = 0; i < operand; ++i)
    if (node->operand(i) == node->operand(operand)) return false;
  return true;
}

Placement PlacementPlan::window(const Placement& base, const Shape& offset) const {
  Placement p = base;
  for (size_t i = 0; i < offset.size(); ++i) p.offset = p.offset + offset[i] * base.strides[i];
  return p;
}

void PlacementPlan::allocate_frame(Frame& f) {
  if (f.storage >= 0) return;
  const Shape shape = f.shape();
  const DType dtype = f.inner->dtype();
  f.storage = builder_.storage(Storage::Kind::arena, 0,
                               product(shape) * Dim(static_cast<int64_t>(size_of(dtype))));
  // Slabs around the inside: whole in the axes before, inner extent in the axes after.
  const Placement whole{f.storage, Dim(0), dense_strides(shape)};
  for (size_t axis = 0; axis < shape.size(); ++axis) {
    for (const bool leading : {true, false}) {
      const Dim size = leading ? f.before[axis] : f.after[axis];
      if (size.is(0)) continue;
      Shape extents = shape;
      Shape offset(shape.size(), Dim(0));
      for (size_t i = 0; i < axis; ++i) {
        extents[i] = f.inner->shape()[i];
        offset[i] = f.before[i];
      }
      extents[axis] = size;
      if (!leading) offset[axis] = f.before[axis] + f.inner->shape()[axis];
      on_margin({dtype, f.fill, window(whole, offset), extents});
    }
  }
}

const Placement& PlacementPlan::of(const Value* v) {
  if (auto it = placements_.find(v); it != placements_.end()) return it->second;
  Placement p;
  const Host* host = nullptr;
  if (v->def() != nullptr && v->def()->is("pad"))
    if (auto it = padded_.find(v->def()); it != padded_.end()) host = &it->second;
  if (host == nullptr)
    if (auto it = hosts_.find(v); it != hosts_.end()) host = &it->second;
  if (host == nullptr) {
    const Dim bytes = product(v->shape()) * Dim(static_cast<int64_t>(size_of(v->dtype())));
    p = {builder_.storage(Storage::Kind::arena, 0, bytes), Dim(0), dense_strides(v->shape())};
  } else if (host->value != nullptr) {
    const Shape offset = host->offset;
    const Shape axes = host->as->shape();
    p = window(of(host->value), offset);
    p.strides = strides_of_other_ones(axes, p.strides, v->shape());
  } else {
    Frame& f = frames_[static_cast<size_t>(host->frame)];
    allocate_frame(f);
    p = window({f.storage, Dim(0), dense_strides(f.shape())}, host->offset);
  }
  return placements_[v] = std::move(p);
}

std::optional<Shape> reshape_strides(const Shape& from, const Shape& strides, const Shape& to) {
  // Walk both shapes from the inside, closing a group whenever the products agree.
  Shape result(to.size(), Dim(1));
  size_t i = from.size(), j = to.size();
  while (i > 0 || j > 0) {
    Dim have = 1, want = 1;
    const size_t i_end = i, j_end = j;
    if (i > 0) have = from[--i];
    if (j > 0) want = to[--j];
    while (!(have == want)) {
      const bool need_more =
          j == 0 || (i > 0 && (provably_le(have, want) || !provably_le(want, have)));
      if (need_more) {
        if (i == 0) return std::nullopt;
        have = have * from[--i];
      } else {
        want = want * to[--j];
      }
    }
    // from[i, i_end) becomes to[j, j_end): the group must be mergeable into one run.
    Dim inner = 1;
    bool first = true;
    Dim extent = 1;
    for (size_t k = i_end; k-- > i;) {
      if (from[k].is(1)) continue;
      if (first) inner = strides[k];
      else if (!(strides[k] == inner * extent)) return std::nullopt;
      first = false;
      extent = extent * from[k];
    }
    Dim step = inner;
    for (size_t k = j_end; k-- > j;) {
      result[k] = step;
      step = step * to[k];
    }
  }
  return result;
}

namespace {

std::optional<Placement> place_behind(const Node& view, const Placement& p) {
  Placement q = p;
  if (view.is("transpose")) {
    const auto perm = view.attrs().integers("perm");
    for (size_t i = 0; i < perm.size(); ++i) q.strides[static_cast<size_t>(perm[i])] = p.strides[i];
    return q;
  }
  if (!view.is("reshape")) return std::nullopt;
  auto strides = reshape_strides(view.result()->shape(), p.strides, view.operand(0)->shape());
  if (!strides) return std::nullopt;
  q.strides = std::move(*strides);
  return q;
}

}  // namespace

std::optional<Placement> place_behind_views(const Value*& v, const Placement& p) {
  std::optional<Placement> place = p;
  while (place && v->def() != nullptr && (v->def()->is("transpose") || v->def()->is("reshape"))) {
    place = place_behind(*v->def(), *place);
    v = v->def()->operand(0);
  }
  return place;
}

std::optional<Placement> view_of(const Node& n, const Placement& operand) {
  const Shape& from = n.operand(0)->shape();
  Placement p{operand.storage, operand.offset, {}, operand.motions};
  if (n.is("reshape")) {
    if (is_dense(operand, from)) {
      p.strides = dense_strides(n.result()->shape());
      return p;
    }
    auto strides = reshape_strides(from, operand.strides, n.result()->shape());
    if (!strides) return std::nullopt;
    p.strides = std::move(*strides);
    return p;
  }
  if (n.is("transpose")) {
    for (int64_t axis : n.attrs().integers("perm"))
      p.strides.push_back(operand.strides[static_cast<size_t>(axis)]);
    return p;
  }
  if (n.is("broadcast")) {
    const Shape& to = n.result()->shape();
    p.strides.assign(to.size(), Dim(0));
    const size_t skip = to.size() - from.size();
    for (size_t i = 0; i < from.size(); ++i)
      if (!from[i].is(1)) p.strides[skip + i] = operand.strides[i];
    return p;
  }
  if (n.is("slice")) {
    const Shape starts = n.attrs().dims("starts");
    const auto steps = n.attrs().integers("steps");
    for (size_t i = 0; i < from.size(); ++i) {
      p.offset = p.offset + starts[i] * operand.strides[i];
      p.strides.push_back(operand.strides[i] * Dim(steps[i]));
    }
    return p;
  }
  TINTYPE_CHECK(n.is("reverse"), "op " + std::string(n.name()) + " is not a view");
  const auto axes = n.attrs().integers("axes");
  for (size_t i = 0; i < from.size(); ++i) {
    const bool flip = std::find(axes.begin(), axes.end(), static_cast<int64_t>(i)) != axes.end();
    if (flip) p.offset = p.offset + (from[i] - Dim(1)) * operand.strides[i];
    p.strides.push_back(flip ? Dim(0) - operand.strides[i] : operand.strides[i]);
  }
  return p;
}

}  // namespace tintype
