// Backtracking over the nodes of a pattern: each follows from the ones before it, upwards through
// an operand or downwards through a user.
#include "passes/pattern/match.h"

#include "passes/patterns.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace tintype::pattern {

namespace {

/// Operands of commutative nodes are tried in every order up to this many.
constexpr size_t kMaxPermuted = 4;

std::string names_of(const std::vector<const OpDef*>& ops) {
  std::string out;
  for (const OpDef* def : ops) out += (out.empty() ? "" : " or ") + std::string(def->name);
  return out;
}

/// True when a number written in decimal means this value of the element type.
bool is_number(double stored, double written, DType dtype) {
  const double step = dtype == DType::f64    ? 1e-12
                      : dtype == DType::f16  ? 1e-3
                      : dtype == DType::bf16 ? 8e-3
                      : is_float(dtype)      ? 1e-6
                                             : 0;
  return std::abs(stored - written) <= step * std::abs(written);
}

class Matcher {
 public:
  Matcher(const Pattern& pattern, std::string& why) : pattern_(pattern), why_(why) {
    m_.nodes.resize(pattern.nodes.size());
    m_.captures.resize(pattern.value_names.size());
    bound_.resize(pattern.value_names.size());
  }

  std::optional<Match> run(Node& root) {
    if (!try_node(0, root)) return std::nullopt;
    return std::move(m_);
  }

 private:
  const NodePattern& at(size_t step) const { return pattern_.nodes[step]; }

  std::string name_of_value(int v) const {
    const std::string& name = pattern_.value_names[static_cast<size_t>(v)];
    return name.empty() ? "a nested operand" : name;
  }

  /// Remembers the reason of the attempt that came farthest; the first one among equals.
  template <typename F>
  bool fail(const F& reason) {
    if (progress_ > farthest_) {
      farthest_ = progress_;
      why_ = reason();
    }
    return false;
  }

  bool bind(int number, Value* v) {
    const auto i = static_cast<size_t>(number);
    if (bound_[i] != 0) {
      if (m_.captures[i] == v) return true;
      return fail([&] {
        return name_of_value(number) + " would be both " +
               (m_.captures[i] == nullptr ? "absent" : described(*m_.captures[i])) + " and " +
               (v == nullptr ? "absent" : described(*v));
      });
    }
    bound_[i] = 1;
    m_.captures[i] = v;
    trail_.push_back(i);
    return true;
  }

  void undo(size_t mark) {
    for (; trail_.size() > mark; trail_.pop_back()) bound_[trail_.back()] = 0;
  }

  bool try_node(size_t step, Node& n) {
    const NodePattern& p = at(step);
    if (std::find(p.ops.begin(), p.ops.end(), &n.op()) == p.ops.end())
      return fail([&] { return described(*n.result()) + " is no " + names_of(p.ops); });
    const auto end = m_.nodes.begin() + static_cast<std::ptrdiff_t>(step);
    if (std::find(m_.nodes.begin(), end, &n) != end)
      return fail([&] { return n.where() + " would stand for two nodes of the pattern"; });
    const auto count = static_cast<size_t>(n.operand_count());
    if (count < required_operands(p) || (!p.more_operands && count > p.operands.size()))
      return fail([&] { return n.where() + " has " + std::to_string(count) + " operands"; });
    m_.nodes[step] = &n;
    ++progress_;
    const bool found = try_orders(step, n);
    --progress_;
    return found;
  }

  static size_t required_operands(const NodePattern& p) {
    size_t n = p.operands.size();
    while (n > 0 &&
           (p.operands[n - 1].optional || p.operands[n - 1].kind == OperandPattern::Kind::none))
      --n;
    return n;
  }

  bool try_orders(size_t step, Node& n) {
    std::vector<int> order(at(step).operands.size());
    std::iota(order.begin(), order.end(), 0);
    const bool permute = n.op().has(kCommutative) && order.size() == n.operands().size() &&
                         order.size() >= 2 && order.size() <= kMaxPermuted;
    do {
      const size_t mark = trail_.size();
      const size_t before = progress_;
      if (try_order(step, n, order)) return true;
      progress_ = before;
      undo(mark);
    } while (permute && std::next_permutation(order.begin(), order.end()));
    return false;
  }

  bool try_order(size_t step, Node& n, const std::vector<int>& order) {
    const NodePattern& p = at(step);
    for (size_t i = 0; i < p.results.size(); ++i) {
      if (p.results[i] < 0) continue;
      if (static_cast<int>(i) >= n.result_count())
        return fail([&] { return n.where() + " has no result " + std::to_string(i); });
      if (!bind(p.results[i], n.result(static_cast<int>(i)))) return false;
    }
    for (size_t i = 0; i < order.size(); ++i)
      if (!bind_operand(p.operands[i], n, order[i])) return false;
    for (const Condition& c : p.conditions) {
      if (!holds(c)) return false;
      ++progress_;
    }
    return step + 1 == pattern_.nodes.size() || try_next(step + 1);
  }

  bool bind_operand(const OperandPattern& o, const Node& n, int i) {
    Value* v = n.operand(i);
    const auto which = [&] { return "operand " + std::to_string(i) + " of " + n.where(); };
    if (o.kind == OperandPattern::Kind::none)
      return v == nullptr || fail([&] { return which() + " is not absent"; });
    if (v == nullptr && !(o.kind == OperandPattern::Kind::value && o.optional))
      return fail([&] { return which() + " is absent"; });
    if (o.kind == OperandPattern::Kind::value) return bind(o.value, v);
    const std::optional<double> number = constant_splat(v);
    if (number && is_number(*number, o.number, v->dtype())) return true;
    return fail([&] {
      return which() + " is " +
             (number                     ? Datum(*number).text()
              : v->constant() != nullptr ? std::string("a constant of different elements")
                                         : described(*v)) +
             ", not " + Datum(o.number).text();
    });
  }

  bool holds(const Condition& c) {
    try {
      const Datum d = evaluate(c.test, m_.captures);
      const auto* yes = d.as<bool>();
      if (yes == nullptr)
        return fail([&] { return "'" + c.text + "' is " + d.text() + ", not true or false"; });
      return *yes || fail([&] { return "'" + c.text + "' does not hold" + details(c.test); });
    } catch (const Unknown& u) {
      return fail([&] { return "'" + c.text + "' cannot be decided: " + u.why; });
    }
  }

  /// What the left side of a comparison is; for users(v) also who they are.
  std::string details(const Expression& e) const {
    if (e.kind == Expression::Kind::unary) return details(e.arguments[0]);
    const Expression& left = e.kind == Expression::Kind::binary ? e.arguments[0] : e;
    if (left.kind == Expression::Kind::call && left.name == "users") {
      const auto v = static_cast<size_t>(left.arguments[0].value);
      return ": " + name_of_value(left.arguments[0].value) + " has " + users_text(*m_.captures[v]);
    }
    if (e.kind != Expression::Kind::binary || e.name == "or") return "";
    return ": it is " + evaluate(left, m_.captures).text();
  }

  /// The node at `step` computes a tensor that is known, or uses one.
  bool try_next(size_t step) {
    const NodePattern& p = at(step);
    for (int r : p.results)
      if (r >= 0 && bound_[static_cast<size_t>(r)] != 0)
        return try_definition(step, m_.captures[static_cast<size_t>(r)]);
    for (const OperandPattern& o : p.operands) {
      if (o.kind != OperandPattern::Kind::value || bound_[static_cast<size_t>(o.value)] == 0)
        continue;
      Value* v = m_.captures[static_cast<size_t>(o.value)];
      if (v == nullptr) return fail([&] { return name_of_value(o.value) + " is absent"; });
      const std::vector<Use> uses = v->uses();
      for (const Use& u : uses)
        if (try_node(step, *u.node)) return true;
      return fail([&] { return described(*v) + " has no fitting user of op " + names_of(p.ops); });
    }
    return false;
  }

  bool try_definition(size_t step, Value* v) {
    if (v == nullptr || v->def() == nullptr)
      return fail([&] {
        return (v == nullptr ? std::string("an absent operand") : described(*v)) + " is no " +
               names_of(at(step).ops);
      });
    return try_node(step, *v->def());
  }

  const Pattern& pattern_;
  std::string& why_;
  Match m_;
  std::vector<char> bound_;
  std::vector<size_t> trail_;
  size_t progress_ = 1, farthest_ = 0;
};

}  // namespace

std::optional<Match> match(const Pattern& pattern, Node& root, std::string& why) {
  why.clear();
  return Matcher(pattern, why).run(root);
}

}  // namespace tintype::pattern
