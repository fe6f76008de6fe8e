// Making of replacements, and the loop over a graph.
#include "passes/pattern/rewrite.h"

#include "ir/builder.h"
#include "ir/diagnostic.h"
#include "passes/pattern/match.h"

#include <algorithm>
#include <unordered_set>

namespace tintype::pattern {

namespace {

/// Makes the new nodes of one match in front of its root. Throws Error when they do not fit.
class Maker {
 public:
  Maker(const Pattern& pattern, Match& m, Graph& graph)
      : pattern_(pattern), m_(m), b_(graph, m.nodes[0]) {
    std::vector<std::string> origins;
    for (const Node* n : m.nodes)
      for (const std::string& o : n->origins())
        if (std::find(origins.begin(), origins.end(), o) == origins.end()) origins.push_back(o);
    b_.set_origins(std::move(origins));
  }

  /// Nodes that were made stay when this throws; undo() takes them away.
  void run() {
    for (const NodeTemplate& t : pattern_.templates) make(t);
    for (const Replacement& r : pattern_.replacements) {
      const Value& old = *captured(r.old);
      const Value& now = *captured(r.now);
      if (!(old.type() == now.type()))
        throw Error("the replacement of " + pattern_.value_names[static_cast<size_t>(r.old)] +
                    " is " + now.type().text() + " instead of " + old.type().text());
    }
  }

  void undo() {
    for (auto it = made_.rbegin(); it != made_.rend(); ++it) b_.graph().erase(*it);
    made_.clear();
  }

 private:
  Value*& captured(int v) { return m_.captures[static_cast<size_t>(v)]; }

  /// Of a number among these operands: that of its neighbours, conditions aside.
  DType default_dtype(const NodeTemplate& t) {
    for (const OperandTemplate& o : t.operands)
      if (o.kind == OperandTemplate::Kind::value && captured(o.value) != nullptr &&
          captured(o.value)->dtype() != DType::boolean)
        return captured(o.value)->dtype();
    return captured(pattern_.replacements[0].old)->dtype();
  }

  Datum value_of(const Expression& e) {
    try {
      return evaluate(e, m_.captures);
    } catch (const Unknown& u) {
      fail_at(pattern_.file, e.at, "cannot be computed: " + u.why);
    }
  }

  Value* keep(Value* v) {
    made_.push_back(v->def());
    return v;
  }

  Value* constant(const OperandTemplate& o) {
    const Datum dtype = value_of(o.dtype);
    const Datum elements = value_of(o.elements);
    if (dtype.as<DType>() == nullptr)
      fail_at(pattern_.file, o.dtype.at, dtype.text() + " is not an element type");
    auto t = tensor_of(elements, *dtype.as<DType>());
    if (!t)
      fail_at(pattern_.file, o.elements.at,
              elements.text() + " is neither a number nor a list of numbers");
    return keep(b_.constant(std::move(*t)));
  }

  Value* operand(const OperandTemplate& o, const NodeTemplate& t) {
    switch (o.kind) {
      case OperandTemplate::Kind::value: return captured(o.value);
      case OperandTemplate::Kind::none: return nullptr;
      case OperandTemplate::Kind::number: return keep(b_.scalar(o.number, default_dtype(t)));
      case OperandTemplate::Kind::constant: return constant(o);
    }
    return nullptr;
  }

  AttrMap attributes(const NodeTemplate& t) {
    AttrMap attrs;
    if (t.attributes_of >= 0)
      for (const auto& [name, value] : captured(t.attributes_of)->def()->attrs().entries())
        for (const AttrDef& a : t.op->attrs)
          if (a.name == name) attrs.set(name, value);
    for (const NodeTemplate::Attribute& a : t.attributes) {
      const Datum d = value_of(a.value);
      auto attr = attr_of(d, a.def->kind);
      if (!attr)
        fail_at(pattern_.file, a.at,
                "attribute '" + std::string(a.def->name) + "' must be " +
                    std::string(name_of(a.def->kind)) + ", got " + d.text());
      attrs.set(std::string(a.def->name), std::move(*attr));
    }
    return attrs;
  }

  void make(const NodeTemplate& t) {
    std::vector<Value*> operands;
    for (const OperandTemplate& o : t.operands) operands.push_back(operand(o, t));
    if (t.op == nullptr) {
      if (operands[0] == nullptr) throw Error("an absent operand would take the place of a result");
      captured(t.results[0]) = operands[0];
      return;
    }
    while (!operands.empty() && operands.back() == nullptr) operands.pop_back();
    Node* n = b_.create(t.op->name, std::move(operands), attributes(t),
                        static_cast<int>(t.results.size()));
    made_.push_back(n);
    for (size_t i = 0; i < t.results.size(); ++i)
      captured(t.results[i]) = n->result(static_cast<int>(i));
  }

  const Pattern& pattern_;
  Match& m_;
  Builder b_;
  std::vector<Node*> made_;
};

class Rewriter {
 public:
  Rewriter(Graph& graph, PassContext& context, const Pattern& pattern)
      : graph_(graph), context_(context), pattern_(pattern),
        limit_(context.integer("max-rewrites", 1000 + 16 * static_cast<int64_t>(graph.size()))),
        upward_(finds_upward()) {}

  bool run() {
    while (sweep()) {
    }
    for (const auto& [node, why] : declined_) context_.declined(*node, why);
    return rewrites_ > 0;
  }

 private:
  bool sweep() {
    bool changed = false;
    declined_.clear();
    erased_.clear();
    for (Node* n : graph_.node_list()) {
      if (erased_.count(n) != 0 || !is_root(*n)) continue;
      std::string why;
      std::optional<Match> m = match(pattern_, *n, why);
      if (m && escapes(*m, why)) m.reset();
      if (m && replace(*m, why)) {
        changed = true;
        count();
      } else if (context_.explaining()) {
        declined_.emplace_back(n, why);
      }
    }
    if (changed && !upward_) graph_.sort();
    return changed;
  }

  bool is_root(const Node& n) const {
    const auto& ops = pattern_.nodes[0].ops;
    if (std::find(ops.begin(), ops.end(), &n.op()) == ops.end()) return false;
    return is_used(n);
  }

  static bool is_used(const Node& n) {
    for (int i = 0; i < n.result_count(); ++i)
      if (!n.result(i)->uses().empty() || n.result(i)->output_uses() != 0) return true;
    return false;
  }

  void count() {
    if (++rewrites_ > limit_)
      throw Error("pattern '" + pattern_.name + "' (" + pattern_.file + ":" +
                  std::to_string(pattern_.at.line) + ") does not come to an end: stopped after " +
                  std::to_string(limit_) +
                  " rewrites; what it makes seems to match it again (option max-rewrites)");
  }

  /// New nodes stand where the root is. A result of another node may have users before that place,
  /// and the pattern may have found nodes behind it: sorting mends the order, unless an operand of
  /// the pattern depends on what would be replaced.
  bool escapes(const Match& m, std::string& why) const {
    if (upward_) return false;
    std::unordered_set<const Node*> replaced;
    for (const Replacement& r : pattern_.replacements)
      replaced.insert(m.captures[static_cast<size_t>(r.old)]->def());
    std::unordered_set<const Node*> inside(m.nodes.begin(), m.nodes.end());
    std::unordered_set<const Node*> seen;
    std::vector<const Node*> open;
    for (const Value* v : m.captures)
      if (v != nullptr && v->def() != nullptr && inside.count(v->def()) == 0)
        open.push_back(v->def());
    while (!open.empty()) {
      const Node* n = open.back();
      open.pop_back();
      if (!seen.insert(n).second) continue;
      if (replaced.count(n) != 0) {
        why = "an operand depends on " + n->where() + ", which would be replaced";
        return true;
      }
      for (const Value* v : n->operands())
        if (v != nullptr && v->def() != nullptr) open.push_back(v->def());
    }
    return false;
  }

  /// True when every node computes an operand of one before it, and only the root is replaced: all
  /// that is captured then stands before the root.
  bool finds_upward() const {
    const auto& nodes = pattern_.nodes;
    for (const Replacement& r : pattern_.replacements)
      if (std::find(nodes[0].results.begin(), nodes[0].results.end(), r.old) ==
          nodes[0].results.end())
        return false;
    std::unordered_set<int> operands;
    for (size_t i = 0; i < nodes.size(); ++i) {
      const auto is_operand = [&](int v) { return operands.count(v) != 0; };
      if (i > 0 && std::none_of(nodes[i].results.begin(), nodes[i].results.end(), is_operand))
        return false;
      for (const OperandPattern& o : nodes[i].operands)
        if (o.value >= 0) operands.insert(o.value);
    }
    return true;
  }

  bool replace(Match& m, std::string& why) {
    std::vector<Value*> old;
    for (const Replacement& r : pattern_.replacements)
      old.push_back(m.captures[static_cast<size_t>(r.old)]);
    Maker maker(pattern_, m, graph_);
    try {
      maker.run();
    } catch (const Error& e) {
      maker.undo();
      why = std::string("not replaced: ") + e.what();
      return false;
    }
    if (context_.explaining()) context_.matched(*m.nodes[0], "replaced " + names(m));
    for (size_t i = 0; i < old.size(); ++i) {
      Value* now = m.captures[static_cast<size_t>(pattern_.replacements[i].now)];
      if (now->name().empty() && now->def() != nullptr) now->set_name(old[i]->name());
      graph_.replace_all_uses(old[i], now);
    }
    erase_unused(m.nodes);
    return true;
  }

  static std::string names(const Match& m) {
    std::string out;
    for (const Node* n : m.nodes)
      out += (out.empty() ? "" : ", ") + n->where() + " (" + std::string(n->name()) + ")";
    return out;
  }

  /// Matched nodes that others use stay; erasing one may free another.
  void erase_unused(std::vector<Node*> nodes) {
    for (bool again = true; again;) {
      again = false;
      for (Node*& n : nodes) {
        if (n == nullptr || is_used(*n)) continue;
        erased_.insert(n);
        graph_.erase(n);
        n = nullptr;
        again = true;
      }
    }
  }

  Graph& graph_;
  PassContext& context_;
  const Pattern& pattern_;
  int64_t limit_, rewrites_ = 0;
  bool upward_;
  std::vector<std::pair<Node*, std::string>> declined_;
  std::unordered_set<const Node*> erased_;
};

}  // namespace

bool apply_pattern(Graph& graph, PassContext& context, const Pattern& pattern) {
  return Rewriter(graph, context, pattern).run();
}

}  // namespace tintype::pattern
