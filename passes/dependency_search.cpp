// Searches backwards from operands, no further than the node at which the group began.
#include "passes/dependency_search.h"

#include <vector>

namespace tintype {

void DependencySearch::begin(const Node& seed) {
  seed_ = numbers_.of(&seed);
  independent_.clear();
  visited_ = 0;
  waits_for_.clear();
}

const Node* DependencySearch::obstacle(const Node& n) {
  const auto known = waits_for_.find(&n);
  if (known != waits_for_.end() && !group_.has(known->second)) return known->second;
  const Node* found = dependent_operand(n);
  if (found != nullptr) waits_for_[&n] = found;
  return found;
}

const Node* DependencySearch::dependent_operand(const Node& n) {
  for (int i = 0; i < n.operand_count(); ++i) {
    const Node* def = n.operand(i) == nullptr ? nullptr : n.operand(i)->def();
    if (def != nullptr && !group_.has(def) && depends_on_group(*def)) return def;
  }
  return nullptr;
}

bool DependencySearch::depends_on_group(const Node& n) {
  std::vector<const Node*> open = {&n}, fresh;
  while (!open.empty()) {
    const Node* m = open.back();
    open.pop_back();
    if (numbers_.of(m) < seed_) continue;
    if (group_.has(m) || visited_ == kMostVisited) {
      for (const Node* f : fresh) independent_.erase(f);
      return true;
    }
    if (!independent_.insert(m)) continue;
    fresh.push_back(m);
    ++visited_;
    for (int i = 0; i < m->operand_count(); ++i)
      if (const Value* v = m->operand(i); v != nullptr && v->def() != nullptr)
        open.push_back(v->def());
  }
  return false;
}

}  // namespace tintype
