// Candidates are applied to copies of the graph and compared by what they need and what they cost.
#include "passes/recompute.h"

#include "ir/accumulate_gradients.h"
#include "ir/diagnostic.h"
#include "ir/work.h"
#include "passes/passes.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

namespace tintype {

namespace {

using Nodes = std::vector<const Node*>;

bool is_view(const Node& n) {
  return n.op().has(kView) || n.is("reverse") ||
         (n.is("pad") && n.attrs().string("mode", "constant") == "constant");
}

int64_t number(const Dim& d, const SymbolLookup& symbols) {
  return d.evaluate([&](std::string_view name) { return std::optional(symbols(name).value_or(1)); })
      .value_or(1);
}

int64_t bytes_of(const Value* v, const SymbolLookup& symbols) {
  return number(product(v->shape()), symbols) * static_cast<int64_t>(size_of(v->dtype()));
}

/// Which values share memory: views lie in what they show, operands of a concat in its result.
class Owners {
 public:
  explicit Owners(const Graph& graph) {
    for (const auto& n : graph.nodes()) {
      if (is_view(*n)) owner_[n->result()] = of(n->operand(0));
      if (!n->is("concat")) continue;
      for (const Value* v : n->operands())
        if (of(v) == v && v->def() != nullptr && !v->def()->is("constant")) owner_[v] = n->result();
    }
    for (size_t i = 0; i < graph.output_count(); ++i) outside_.insert(of(graph.output(i)));
  }
  const Value* of(const Value* v) const {
    for (auto it = owner_.find(v); it != owner_.end(); it = owner_.find(v)) v = it->second;
    return v;
  }
  /// Memory of the program that a pass can plan: not that of inputs, states, constants and outputs.
  bool is_buffer(const Value* owner) const {
    return owner->def() != nullptr && !owner->def()->is("constant") && outside_.count(owner) == 0;
  }

 private:
  std::unordered_map<const Value*, const Value*> owner_;
  std::unordered_set<const Value*> outside_;
};

/// Bytes that a node reads and writes, and its arithmetic as the bytes that move in the same time.
double cost_of(const Node& n, const SymbolLookup& symbols) {
  constexpr double kFlopsPerByte = 16;
  if (is_view(n) || n.is("constant")) return 0;
  double cost = 0;
  for (const Value* v : n.operands())
    if (v != nullptr) cost += static_cast<double>(bytes_of(v, symbols));
  for (int i = 0; i < n.result_count(); ++i)
    cost += static_cast<double>(bytes_of(n.result(i), symbols));
  if (n.body() == nullptr) return cost;
  return cost + static_cast<double>(number(contraction_flops(*n.body()), symbols)) / kFlopsPerByte;
}

bool contracts(const Node& n) {
  if (n.body() == nullptr) return n.op().has(kContraction) || n.name().starts_with("winograd");
  return std::any_of(n.body()->nodes().begin(), n.body()->nodes().end(),
                     [](const auto& inner) { return contracts(*inner); });
}

/// By position of a node: why its results stay in memory until they are read for the last time;
/// empty for those that do not.
class Plan {
 public:
  explicit Plan(size_t nodes = 0) : why_(nodes) {}
  void keep(size_t i, std::string_view why) {
    if (why_[i].empty()) why_[i] = why;
  }
  bool keeps(size_t i) const { return !why_[i].empty(); }
  std::string_view why(size_t i) const { return why_[i]; }

 private:
  std::vector<std::string_view> why_;  ///< literals
};

/// The nodes of a graph by position, and what is known of them before anything is changed.
class Timeline {
 public:
  Timeline(const Graph& graph, const SymbolLookup& symbols) : symbols_(symbols), owners_(graph) {
    for (const auto& n : graph.nodes()) {
      position_[n.get()] = nodes_.size();
      nodes_.push_back(n.get());
    }
    mark_backward();
    collect_forward();
    measure();
  }

  bool backward(size_t i) const { return backward_[i]; }
  bool anything_to_do() const { return !forward_.empty(); }
  /// Nodes that a plan is about.
  Nodes candidates() const {
    Nodes list;
    for (const size_t i : forward_)
      if (!is_view(*nodes_[i])) list.push_back(nodes_[i]);
    return list;
  }

  /// Everything is kept but what is cheap to compute from results of contractions.
  Plan contractions_kept() const {
    Plan plan = small_kept();
    for (const size_t i : forward_)
      if (contracts(*nodes_[i])) plan.keep(i, "this plan keeps all results of contractions");
    return plan;
  }

  /// What crosses a cut is kept, and the last segment, which the backward pass reads at once.
  Plan cuts_kept(const std::vector<size_t>& cuts) const {
    Plan plan = small_kept();
    for (size_t k = 0; k < forward_.size(); ++k) {
      const auto cut = std::lower_bound(cuts.begin(), cuts.end(), k);
      if (cut == cuts.end()) plan.keep(forward_[k], "the backward pass begins with its segment");
      else if (*cut < last_read_[k]) plan.keep(forward_[k], "other segments start from it");
    }
    return plan;
  }

  /// The cuts (behind places of forward nodes) that keep least while no segment of more than one
  /// node exceeds the limit. Dynamic programming over the place of the last cut.
  std::vector<size_t> cuts_within(double limit) const {
    const size_t count = forward_.size();
    // least[k]: what is kept when the last cut so far is behind place k - 1; k = 0: no cut yet.
    std::vector<double> least(count + 1, std::numeric_limits<double>::infinity());
    std::vector<size_t> before(count + 1, 0);
    least[0] = 0;
    for (size_t k = 1; k <= count; ++k) {
      double segment = 0;
      for (size_t j = k; j-- > 0;) {
        segment += bytes_[j];
        if (segment > limit && j + 1 < k) break;
        // One more byte for each cut: where little crosses, few cuts are as good as many.
        const double kept = least[j] + (k < count ? crossing_[k - 1] + 1 : 0);
        if (kept >= least[k]) continue;
        least[k] = kept;
        before[k] = j;
      }
    }
    std::vector<size_t> cuts;
    for (size_t k = before[count]; k > 0; k = before[k]) cuts.push_back(k - 1);
    std::reverse(cuts.begin(), cuts.end());
    return cuts;
  }

  double forward_bytes() const {
    double total = 0;
    for (const double b : bytes_) total += b;
    return total;
  }

 private:
  void mark_backward() {
    backward_.assign(nodes_.size(), false);
    for (size_t i = 0; i < nodes_.size(); ++i) {
      const Node& n = *nodes_[i];
      backward_[i] = is_of_backward_pass(n);
      for (const Value* v : n.operands())
        if (v != nullptr && v->def() != nullptr && backward_[position_.at(v->def())])
          backward_[i] = true;
    }
  }

  /// Nodes outside the backward pass that its operands are made of, in order.
  void collect_forward() {
    std::vector<bool> needed(nodes_.size(), false);
    for (size_t i = nodes_.size(); i-- > 0;) {
      if (!backward_[i] && !needed[i]) continue;
      for (const Value* v : nodes_[i]->operands())
        if (v != nullptr && v->def() != nullptr) needed[position_.at(v->def())] = true;
    }
    for (size_t i = 0; i < nodes_.size(); ++i)
      if (needed[i] && !backward_[i] && !nodes_[i]->is("constant")) forward_.push_back(i);
  }

  /// What is small beside what it is made of is not worth computing again: sums and means above
  /// all.
  Plan small_kept() const {
    constexpr int64_t kSmall = 16;
    Plan plan(nodes_.size());
    for (const size_t i : forward_) {
      int64_t read = 0, written = 0;
      for (const Value* v : nodes_[i]->operands())
        if (v != nullptr) read += bytes_of(v, symbols_);
      for (int r = 0; r < nodes_[i]->result_count(); ++r)
        written += bytes_of(nodes_[i]->result(r), symbols_);
      if (!is_view(*nodes_[i]) && written * kSmall <= read)
        plan.keep(i, "it is small beside what it is made of");
    }
    return plan;
  }

  /// Sizes of the buffers that forward nodes define, the last forward node that reads them, and
  /// what lies between definition and last reader at every place.
  void measure() {
    std::unordered_map<const Value*, size_t> defined;  // buffer -> place of its node
    bytes_.assign(forward_.size(), 0);
    last_read_.assign(forward_.size(), 0);
    for (size_t k = 0; k < forward_.size(); ++k) {
      last_read_[k] = k;
      const Node& n = *nodes_[forward_[k]];
      for (const Value* v : n.operands()) {
        if (v == nullptr) continue;
        // A view of a buffer is read: so are all views before it, down to the buffer itself.
        for (const Value* at = v; at->def() != nullptr; at = at->def()->operand(0)) {
          if (const auto it = defined.find(at); it != defined.end())
            last_read_[it->second] = std::max(last_read_[it->second], k);
          if (!is_view(*at->def())) break;
        }
      }
      for (int r = 0; r < n.result_count(); ++r) {
        defined[n.result(r)] = k;
        if (owners_.of(n.result(r)) == n.result(r) && owners_.is_buffer(n.result(r)))
          bytes_[k] += static_cast<double>(bytes_of(n.result(r), symbols_));
      }
    }
    std::vector<double> change(forward_.size() + 1, 0);
    for (size_t k = 0; k < forward_.size(); ++k) {
      change[k] += bytes_[k];
      change[last_read_[k]] -= bytes_[k];
    }
    crossing_.assign(forward_.size(), 0);
    double alive = 0;
    for (size_t k = 0; k < forward_.size(); ++k) crossing_[k] = alive += change[k];
  }

  const SymbolLookup& symbols_;
  Owners owners_;
  std::vector<const Node*> nodes_;
  std::unordered_map<const Node*, size_t> position_;
  std::vector<bool> backward_;
  std::vector<size_t> forward_;  ///< positions of the nodes that may be computed again
  // By place in forward_:
  std::vector<double> bytes_, crossing_;
  std::vector<size_t> last_read_;
};

/// Gives backward nodes repeated operands where the plan does not keep them.
class Repetition {
 public:
  Repetition(Graph& graph, const Timeline& timeline, const Plan& keep)
      : graph_(graph), timeline_(timeline), keep_(keep) {
    size_t at = 0;
    for (Node* n : graph.node_list()) position_[n] = at++;
  }

  /// Returns the new nodes.
  Nodes run() {
    const std::vector<Node*> nodes = graph_.node_list();
    for (size_t i = 0; i < nodes.size(); ++i)
      for (int o = 0; timeline_.backward(i) && o < nodes[i]->operand_count(); ++o)
        if (Value* v = nodes[i]->operand(o); v != nullptr)
          if (Value* again = repeated(v, nodes[i]); again != v) nodes[i]->set_operand(o, again);
    return added_;
  }

  /// What has become of a node of the forward pass.
  void explain(const Node& n, const PassContext& context) const {
    const size_t i = position_.at(&n);
    if (again_.count(n.result()) != 0) context.matched(n, "computed again for the backward pass");
    else if (keep_.keeps(i)) context.declined(n, "kept: " + std::string(keep_.why(i)));
    else context.declined(n, "not computed again: the backward pass does not read it");
  }

 private:
  /// The value, computed before `reader` if it was not kept.
  Value* repeated(Value* v, Node* reader) {
    Node* n = v->def();
    if (n == nullptr || n->is("constant")) return v;
    const size_t i = position_.at(n);
    if (timeline_.backward(i) || keep_.keeps(i)) return v;
    if (const auto it = again_.find(v); it != again_.end()) return it->second;
    std::vector<Value*> operands;
    for (Value* o : n->operands()) operands.push_back(o == nullptr ? nullptr : repeated(o, reader));
    // A view of what is there is there, too.
    if (is_view(*n) && operands[0] == n->operand(0)) return again_[v] = v;
    Node* copy = graph_.create(n->op(), operands, n->attrs(), n->result_count(), reader);
    for (int k = 0; k < n->body_count(); ++k) copy->add_body(n->body(k)->clone());
    std::vector<std::string> origins = n->origins();
    for (std::string& o : origins) o = "again:" + o;
    copy->set_origins(std::move(origins));
    for (int r = 0; r < n->result_count(); ++r) {
      copy->result(r)->set_type(n->result(r)->type());
      copy->result(r)->set_content(n->result(r)->content());
      again_[n->result(r)] = copy->result(r);
    }
    if (!is_view(*n)) added_.push_back(copy);
    return again_.at(v);
  }

  Graph& graph_;
  const Timeline& timeline_;
  const Plan& keep_;
  std::unordered_map<const Node*, size_t> position_;
  std::unordered_map<const Value*, Value*> again_;
  Nodes added_;
};

struct Candidate {
  Plan keep;
  int64_t peak = 0;
  double cost = 0;
};

Candidate rate(const Graph& graph, const Timeline& timeline, Plan keep,
               const SymbolLookup& symbols) {
  Candidate c = {std::move(keep)};
  const std::unique_ptr<Graph> trial = graph.clone();
  for (const Node* n : Repetition(*trial, timeline, c.keep).run()) c.cost += cost_of(*n, symbols);
  c.peak = peak_bytes(*trial, symbols);
  return c;
}

std::vector<Candidate> candidates(const Graph& graph, const Timeline& timeline,
                                  const RecomputeOptions& options, const SymbolLookup& symbols) {
  constexpr int kLimits = 15;
  std::vector<Candidate> list;
  if (options.segments == 0)
    list.push_back(rate(graph, timeline, timeline.contractions_kept(), symbols));
  std::vector<size_t> last;
  for (int i = 1; i <= kLimits; ++i) {
    const double limit = timeline.forward_bytes() * std::exp2(-i / 2.0);
    std::vector<size_t> cuts = timeline.cuts_within(limit);
    if (cuts == last) continue;
    last = std::move(cuts);
    if (options.segments > 0 && static_cast<int64_t>(last.size()) >= options.segments) continue;
    list.push_back(rate(graph, timeline, timeline.cuts_kept(last), symbols));
  }
  return list;
}

/// The cheapest plan within the limit; without one, of the plans that need next to least. Nothing
/// when no plan saves what is worth mentioning.
const Candidate* best_of(const std::vector<Candidate>& list, int64_t before, int64_t limit) {
  constexpr int64_t kLittle = 32;  // a 32nd of the memory
  int64_t least = before;
  for (const Candidate& c : list) least = std::min(least, c.peak);
  const int64_t allowed = limit >= least ? limit : least + least / kLittle;
  const Candidate* best = nullptr;
  for (const Candidate& c : list)
    if (c.peak < before - before / kLittle && c.peak <= allowed &&
        (best == nullptr || c.cost < best->cost))
      best = &c;
  return best;
}

}  // namespace

int64_t peak_bytes(const Graph& graph, const SymbolLookup& symbols) {
  const Owners owners(graph);
  struct Life {
    int64_t first, last;
  };
  std::unordered_map<const Value*, Life> lives;
  int64_t at = 0;
  const auto touch = [&](const Value* v) {
    const Value* owner = v == nullptr ? nullptr : owners.of(v);
    if (owner == nullptr || !owners.is_buffer(owner)) return;
    const auto [it, fresh] = lives.emplace(owner, Life{at, at});
    it->second.last = at;
  };
  for (const auto& n : graph.nodes()) {
    // Views touch nothing: whoever reads them does.
    if (!is_view(*n)) {
      for (const Value* v : n->operands()) touch(v);
      for (int i = 0; i < n->result_count(); ++i) touch(n->result(i));
    }
    ++at;
  }
  std::vector<int64_t> change(static_cast<size_t>(at) + 1, 0);
  for (const auto& [v, life] : lives) {
    change[static_cast<size_t>(life.first)] += bytes_of(v, symbols);
    change[static_cast<size_t>(life.last) + 1] -= bytes_of(v, symbols);
  }
  int64_t alive = 0, most = 0;
  for (const int64_t c : change) most = std::max(most, alive += c);
  return most;
}

Recomputation recompute(Graph& graph, const RecomputeOptions& options, const SymbolLookup& symbols,
                        const PassContext* explain) {
  if (options.bytes < 0 || options.segments < 0)
    throw Error("recompute expects a number of bytes or of segments that is not negative");
  const Timeline timeline(graph, symbols);
  Recomputation done;
  done.bytes_before = done.bytes_after = peak_bytes(graph, symbols);
  if (!timeline.anything_to_do()) return done;
  const auto nothing = [&](const std::string& why) {
    for (const Node* n : explain == nullptr ? Nodes() : timeline.candidates())
      explain->declined(*n, "kept: " + why);
    return done;
  };
  const std::string before = std::to_string(done.bytes_before);
  if (options.bytes > 0 && done.bytes_before <= options.bytes)
    return nothing("buffers take " + before +
                   " bytes, within bytes=" + std::to_string(options.bytes));
  const std::vector<Candidate> list = candidates(graph, timeline, options, symbols);
  const Candidate* best = best_of(list, done.bytes_before, options.bytes);
  if (best == nullptr) return nothing("no plan saves enough of the " + before + " bytes");
  Repetition repetition(graph, timeline, best->keep);
  done.nodes = static_cast<int>(repetition.run().size());
  done.bytes_after = peak_bytes(graph, symbols);
  if (explain != nullptr)
    for (const Node* n : timeline.candidates()) repetition.explain(*n, *explain);
  return done;
}

bool recompute(Graph& graph, PassContext& context) {
  const auto extents = context.extents("extents");
  const SymbolLookup symbols = [&](std::string_view name) -> std::optional<int64_t> {
    const auto it = extents.find(std::string(name));
    return it == extents.end() ? std::nullopt : std::optional(it->second);
  };
  const RecomputeOptions options = {context.integer("bytes", 0), context.integer("segments", 0)};
  return recompute(graph, options, symbols, context.explaining() ? &context : nullptr).nodes > 0;
}

}  // namespace tintype
