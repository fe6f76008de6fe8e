// Running graphs between passes and comparing what they give.
#include "tools/driver/check_passes.h"

#include "ir/diagnostic.h"
#include "tools/driver/compare.h"
#include "tools/driver/reference_run.h"

#include <algorithm>
#include <set>
#include <unordered_map>

namespace tintype {

namespace {

struct Difference {
  std::string message;
  double share = 0;  ///< largest difference over the largest element
};

Difference compare(const Tensor& after, const Tensor& before, double tolerance) {
  const double scale = compare_tensors(before, before, 0, 0).scale;
  const Comparison c = compare_tensors(after, before, 0, tolerance * scale);
  return {c.ok ? "" : c.message, c.max_error == 0 ? 0 : c.max_error / scale};
}

/// Names of the outputs that are no states' next values, in order, then of the states.
std::vector<std::string> result_names(const Graph& g) {
  std::vector<std::string> names;
  for (size_t i = 0; i < g.output_count(); ++i)
    if (!g.is_next(static_cast<int>(i))) names.push_back("output '" + g.output_name(i) + "'");
  for (const State& s : g.states()) names.push_back("state '" + s.current->name() + "'");
  return names;
}

size_t plain_outputs(const Graph& g) { return g.output_count() - g.states().size(); }

std::unordered_map<std::string, Value*> values_by_name(const Graph& g) {
  std::unordered_map<std::string, Value*> map;
  for (const auto& n : g.nodes())
    for (int i = 0; i < n->result_count(); ++i)
      if (!n->result(i)->name().empty() && n->result(i)->constant() == nullptr)
        map.emplace(n->result(i)->name(), n->result(i));
  return map;
}

/// Names that stand for values of the same type in both graphs, in the order of the second.
std::vector<std::string> common_names(const Graph& before, const Graph& after) {
  const auto then = values_by_name(before);
  std::vector<std::string> names;
  std::set<std::string> seen;
  for (const auto& n : after.nodes())
    for (int i = 0; i < n->result_count(); ++i) {
      const Value& v = *n->result(i);
      const auto it = then.find(v.name());
      if (it != then.end() && v.constant() == nullptr && it->second->type() == v.type() &&
          seen.insert(v.name()).second)
        names.push_back(v.name());
    }
  return names;
}

/// The first node of the graph after the pass whose result differs from that of the same name
/// before.
std::string first_changed(const Graph& before, const Graph& after, ReferenceRun& run,
                          double tolerance) {
  std::vector<std::string> names = common_names(before, after);
  std::vector<Tensor> then, now;
  try {
    then = run(*exposing(before, names));
    now = run(*exposing(after, names));
  } catch (const Error&) {
    return "";  // some value cannot be an output of a compiled graph; the fault stands without it
  }
  const size_t first = plain_outputs(before);
  for (size_t i = 0; i < names.size(); ++i) {
    if (compare(now[first + i], then[first + i], tolerance).message.empty()) continue;
    const Node& n = *values_by_name(after).at(names[i])->def();
    return n.where() + " (" + std::string(n.name()) + ")";
  }
  return "";
}

class Checker {
 public:
  Checker(std::unique_ptr<Graph>& graph, const CompileOptions& compile,
          const PipelineOptions& passes, const CheckPassesOptions& options)
      : graph_(graph), options_(options), one_(passes),
        run_(compile, options.seed, options.inputs) {
    one_.stop_after = -1;
  }

  PassCheck run(const PassPipeline& pipeline, int stop_after) {
    name_values(*graph_);
    values_ = run_(*graph_);
    const size_t count = stop_after < 0
                             ? pipeline.size()
                             : std::min(pipeline.size(), static_cast<size_t>(stop_after));
    for (size_t i = 0; i < count; ++i) {
      if (check(pipeline[i], i) || options_.disable_faulty) continue;
      break;
    }
    forget_names(*graph_);
    return std::move(check_);
  }

 private:
  /// False when the pass is faulty.
  bool check(const PassStep& step, size_t index) {
    name_values(*graph_);
    std::unique_ptr<Graph> before = graph_->clone();
    PassFault fault{std::string(step.pass->name), index, "", "", false};
    try {
      const auto timings = run_pipeline(*graph_, {step}, one_);
      if (timings.empty() || !timings[0].changed) return true;
      const std::vector<Tensor> now = run_(*graph_);
      fault.message = difference(now);
      if (fault.message.empty()) {
        values_ = now;
        return true;
      }
      fault.node = first_changed(*before, *graph_, run_, options_.tolerance);
    } catch (const std::exception& e) {
      fault.threw = true;
      fault.message = e.what();
    }
    if (options_.on_fault) options_.on_fault(fault, *before, run_.inputs());
    check_.faults.push_back(std::move(fault));
    if (options_.disable_faulty) graph_ = std::move(before);
    return false;
  }

  std::string difference(const std::vector<Tensor>& now) {
    const std::vector<std::string> names = result_names(*graph_);
    double largest = 0;
    for (size_t i = 0; i < values_.size(); ++i) {
      const Difference d = compare(now[i], values_[i], options_.tolerance);
      if (!d.message.empty()) return names[i] + ": " + d.message;
      largest = std::max(largest, d.share);
    }
    check_.max_error = std::max(check_.max_error, largest);
    return "";
  }

  std::unique_ptr<Graph>& graph_;
  const CheckPassesOptions& options_;
  PipelineOptions one_;
  ReferenceRun run_;
  std::vector<Tensor> values_;
  PassCheck check_;
};

}  // namespace

PassCheck check_passes(std::unique_ptr<Graph>& graph, const PassPipeline& pipeline,
                       const CompileOptions& compile, const PipelineOptions& passes,
                       const CheckPassesOptions& options) {
  return Checker(graph, compile, passes, options).run(pipeline, passes.stop_after);
}

void name_values(Graph& graph) {
  std::set<std::string> taken;
  for (const auto& n : graph.nodes())
    for (int i = 0; i < n->result_count(); ++i) taken.insert(n->result(i)->name());
  int64_t next = 0;
  for (const auto& n : graph.nodes())
    for (int i = 0; i < n->result_count(); ++i) {
      Value* v = n->result(i);
      if (!v->name().empty() || n->is("constant")) continue;
      std::string name;
      do name = "%" + std::to_string(next++);
      while (taken.count(name) != 0);
      v->set_name(name);
    }
}

void forget_names(Graph& graph) {
  for (const auto& n : graph.nodes())
    for (int i = 0; i < n->result_count(); ++i)
      if (n->result(i)->name().starts_with("%")) n->result(i)->set_name("");
}

std::unique_ptr<Graph> exposing(const Graph& graph, std::vector<std::string>& names) {
  std::unique_ptr<Graph> copy = graph.clone();
  const auto values = values_by_name(*copy);
  std::erase_if(names, [&](const std::string& n) { return values.count(n) == 0; });
  for (const std::string& n : names) copy->add_output("value " + n, values.at(n));
  return copy;
}

}  // namespace tintype
