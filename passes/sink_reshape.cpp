// Splits the axes of a reshape into groups that keep their elements together.
#include "passes/sink_reshape.h"

#include <algorithm>
#include <numeric>

namespace tintype {

namespace {

/// Axes of the operand and of the result of a reshape that hold the same elements.
struct Group {
  std::vector<int64_t> from;  ///< axes of x, in the order in which the reshape reads them
  std::vector<int64_t> to;    ///< axes of the result
};

/// Smallest groups, in order: they end where the products of the extents so far agree. Axes of
/// extent 1 hold nothing; those of the result join a neighbouring group.
std::vector<Group> reshape_groups(const Shape& x, const Perm& perm, const Shape& shape) {
  std::vector<int64_t> from;
  for (int64_t p : perm)
    if (!x[static_cast<size_t>(p)].is(1)) from.push_back(p);
  std::vector<int64_t> to;
  for (size_t i = 0; i < shape.size(); ++i)
    if (!shape[i].is(1)) to.push_back(static_cast<int64_t>(i));

  std::vector<Group> groups;
  size_t i = 0;
  size_t j = 0;
  while (i < from.size() && j < to.size()) {
    // The nearest place where both sides have the same number of elements.
    size_t end_i = from.size();
    size_t end_j = to.size();
    Dim left = 1;
    for (size_t a = i; a < from.size(); ++a) {
      left = left * x[static_cast<size_t>(from[a])];
      Dim right = 1;
      for (size_t c = j; c < to.size(); ++c) {
        right = right * shape[static_cast<size_t>(to[c])];
        if (left == right && a + c + 2 < end_i + end_j) {
          end_i = a + 1;
          end_j = c + 1;
        }
      }
    }
    Group g;
    g.from.assign(from.begin() + static_cast<std::ptrdiff_t>(i),
                  from.begin() + static_cast<std::ptrdiff_t>(end_i));
    g.to.assign(to.begin() + static_cast<std::ptrdiff_t>(j),
                to.begin() + static_cast<std::ptrdiff_t>(end_j));
    groups.push_back(std::move(g));
    i = end_i;
    j = end_j;
  }
  if (i < from.size() || j < to.size()) return {};
  if (groups.empty()) return {};
  for (size_t k = 0; k < shape.size(); ++k) {
    if (!shape[k].is(1)) continue;
    auto next = std::find_if(groups.begin(), groups.end(),
                             [k](const Group& g) { return g.to.back() > static_cast<int64_t>(k); });
    if (next == groups.end()) --next;
    next->to.push_back(static_cast<int64_t>(k));
    std::sort(next->to.begin(), next->to.end());
  }
  return groups;
}

bool has_zero_extent(const Shape& shape) {
  return std::any_of(shape.begin(), shape.end(), [](const Dim& d) { return d.is(0); });
}

}  // namespace

std::optional<ReshapePlan> plan_reshape(const Shape& x, const Perm& perm, const Shape& shape) {
  if (has_zero_extent(x) || has_zero_extent(shape)) return std::nullopt;
  std::vector<Group> groups = reshape_groups(x, perm, shape);
  if (groups.empty()) return std::nullopt;
  std::sort(groups.begin(), groups.end(), [](const Group& a, const Group& b) {
    return *std::max_element(a.from.begin(), a.from.end()) <
           *std::max_element(b.from.begin(), b.from.end());
  });

  ReshapePlan plan;
  Perm order;  // of the result's axes after the reshape of x
  std::vector<bool> placed(x.size());
  for (const Group& g : groups) {
    plan.inner.insert(plan.inner.end(), g.from.begin(), g.from.end());
    for (int64_t a : g.from) placed[static_cast<size_t>(a)] = true;
    for (int64_t a : g.to) {
      plan.shape.push_back(shape[static_cast<size_t>(a)]);
      order.push_back(a);
    }
  }
  // Axes of extent 1 stay where they are, so that the inner permutation is the identity when it
  // can.
  for (size_t a = 0; a < x.size(); ++a)
    if (!placed[a])
      plan.inner.insert(plan.inner.begin() +
                            static_cast<std::ptrdiff_t>(std::min(a, plan.inner.size())),
                        static_cast<int64_t>(a));
  plan.outer = inverse(order);
  if (moves_only_ones(plan.shape, plan.outer)) return std::nullopt;
  if (moves_only_ones(x, plan.inner)) {
    std::iota(plan.inner.begin(), plan.inner.end(), int64_t{0});
  }
  return plan;
}

std::optional<Perm> raise_above_reshape(const Shape& x, const Shape& shape, const Perm& perm) {
  if (has_zero_extent(x) || has_zero_extent(shape)) return std::nullopt;
  Perm straight(x.size());
  std::iota(straight.begin(), straight.end(), int64_t{0});
  const std::vector<Group> groups = reshape_groups(x, straight, shape);
  Perm out;
  std::vector<bool> placed(x.size());
  for (size_t i = 0; i < perm.size();) {
    if (shape[static_cast<size_t>(perm[i])].is(1)) {
      ++i;
      continue;
    }
    const auto group = std::find_if(groups.begin(), groups.end(), [&](const Group& g) {
      return std::find(g.to.begin(), g.to.end(), perm[i]) != g.to.end();
    });
    if (group == groups.end()) return std::nullopt;
    for (int64_t a : group->to) {
      if (shape[static_cast<size_t>(a)].is(1)) continue;
      while (i < perm.size() && shape[static_cast<size_t>(perm[i])].is(1)) ++i;
      if (i >= perm.size() || perm[i] != a) return std::nullopt;
      ++i;
    }
    for (int64_t a : group->from) {
      out.push_back(a);
      placed[static_cast<size_t>(a)] = true;
    }
  }
  for (size_t a = 0; a < x.size(); ++a)
    if (!placed[a]) out.push_back(static_cast<int64_t>(a));
  return out;
}

}  // namespace tintype
