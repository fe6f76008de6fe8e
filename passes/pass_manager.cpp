// Parsing and running of pipelines.
#include "passes/pass_manager.h"

#include "ir/added_call.h"
#include "ir/arithmetic_errors.h"
#include "ir/diagnostic.h"
#include "ir/verify.h"
#include "passes/added_pass.h"

#include <algorithm>
#include <chrono>

namespace tintype {

namespace {

std::string_view trimmed(std::string_view s) {
  const auto first = s.find_first_not_of(" \t\n");
  if (first == std::string_view::npos) return {};
  return s.substr(first, s.find_last_not_of(" \t\n") - first + 1);
}

/// Parts between commas that are not inside braces.
std::vector<std::string_view> split(std::string_view text) {
  std::vector<std::string_view> parts;
  int depth = 0;
  size_t start = 0;
  for (size_t i = 0; i <= text.size(); ++i) {
    if (i < text.size() && text[i] == '{') ++depth;
    if (i < text.size() && text[i] == '}') --depth;
    if (depth < 0) throw Error("pipeline '" + std::string(text) + "' closes a brace twice");
    if (i < text.size() && (text[i] != ',' || depth > 0)) continue;
    parts.push_back(trimmed(text.substr(start, i - start)));
    start = i + 1;
  }
  if (depth > 0) throw Error("pipeline '" + std::string(text) + "' does not close a brace");
  return parts;
}

class Parser {
 public:
  void parse(std::string_view text) {
    for (std::string_view part : split(text)) {
      if (part.empty()) throw Error("pipeline '" + std::string(text) + "' has an empty entry");
      const size_t brace = part.find('{');
      const std::string_view name = trimmed(part.substr(0, brace));
      const NamedPipeline* named = brace == std::string_view::npos ? find_pipeline(name) : nullptr;
      if (named != nullptr) {
        parse(named->text);
        continue;
      }
      PassStep step{&pass_named(name), {}};
      if (brace != std::string_view::npos) {
        if (part.back() != '}')
          throw Error("unexpected text after the options of pass '" + std::string(name) + "'");
        parse_options(step, part.substr(brace + 1, part.size() - brace - 2));
      }
      pipeline_.push_back(std::move(step));
    }
  }

  PassPipeline take() { return std::move(pipeline_); }

 private:
  static const NamedPipeline* find_pipeline(std::string_view name) {
    for (const NamedPipeline& p : named_pipelines())
      if (p.name == name) return &p;
    return nullptr;
  }

  static const Pass& pass_named(std::string_view name) {
    std::vector<std::string> names;
    for (const Pass* p : all_passes()) {
      if (p->name == name) return *p;
      names.emplace_back(p->name);
    }
    for (const NamedPipeline& p : named_pipelines()) names.emplace_back(p.name);
    throw Error("there is no pass or pipeline '" + std::string(name) + "'" +
                did_you_mean(name, names));
  }

  static void parse_options(PassStep& step, std::string_view text) {
    if (trimmed(text).empty()) return;
    for (std::string_view part : split(text)) {
      const size_t equals = part.find('=');
      const std::string name(trimmed(part.substr(0, equals)));
      std::vector<std::string> known;
      for (const PassOption& o : step.pass->options) known.emplace_back(o.name);
      if (std::find(known.begin(), known.end(), name) == known.end())
        throw Error("pass '" + std::string(step.pass->name) + "' has no option '" + name + "'" +
                    did_you_mean(name, known));
      // An option without a value is a flag that is set.
      step.options[name] =
          equals == std::string_view::npos ? "1" : std::string(trimmed(part.substr(equals + 1)));
    }
  }

  PassPipeline pipeline_;
};

/// Disabled names must mean something.
void check_disabled(const std::vector<std::string>& disabled) {
  std::vector<std::string> names;
  for (const Pass* p : all_passes()) names.emplace_back(p->name);
  for (const std::string& name : disabled)
    if (std::find(names.begin(), names.end(), name) == names.end())
      throw Error("cannot disable '" + name + "': there is no such pass" +
                  did_you_mean(name, names));
}

/// The pass on the graph, then on the bodies of its loops and branches. Regions stay as they are.
bool run_nested(const Pass& pass, Graph& graph, PassContext& context) {
  bool changed = pass.run(graph, context);
  for (Node* n : graph.node_list())
    if (n->op().has(kControl))
      for (int i = 0; i < n->body_count(); ++i) {
        const PassContext::Inside inside(context, *n, i);
        changed = run_nested(pass, *n->body(i), context) || changed;
      }
  return changed;
}

PassTiming run_step(Graph& graph, const PassStep& step, const PipelineOptions& options) {
  using Clock = std::chrono::steady_clock;
  PassContext context(*step.pass, step.options, options.explain);
  const auto start = Clock::now();
  const bool changed = with_arithmetic_errors("pass '" + std::string(step.pass->name) + "': ", [&] {
    if (!is_added(*step.pass)) return run_nested(*step.pass, graph, context);
    return call_added("pass '" + std::string(step.pass->name) + "'",
                      [&] { return run_nested(*step.pass, graph, context); });
  });
  const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  if (options.verify) {
    const std::string problem = find_problem(graph);
    if (!problem.empty()) {
      const std::string message =
          "pass '" + std::string(step.pass->name) + "' left a broken graph: " + problem;
      TINTYPE_CHECK(is_added(*step.pass), message);
      throw Error(message);
    }
  }
  return {step.pass->name, seconds, changed, graph.size()};
}

}  // namespace

PassPipeline parse_pipeline(std::string_view text) {
  Parser parser;
  parser.parse(text);
  return parser.take();
}

void set_default(PassPipeline& pipeline, std::string_view pass, const std::string& option,
                 const std::string& value) {
  for (PassStep& step : pipeline)
    if (step.pass->name == pass) step.options.emplace(option, value);
}

std::string text_of(const PassPipeline& pipeline) {
  std::string out;
  for (const PassStep& step : pipeline) {
    if (!out.empty()) out += ',';
    out += step.pass->name;
    char separator = '{';
    for (const auto& [name, value] : step.options) {
      out += separator;
      out.append(name).append("=").append(value);
      separator = ',';
    }
    if (!step.options.empty()) out += '}';
  }
  return out;
}

std::vector<PassTiming> run_pipeline(Graph& graph, const PassPipeline& pipeline,
                                     const PipelineOptions& options) {
  check_disabled(options.disabled);
  std::vector<PassTiming> timings;
  for (const PassStep& step : pipeline) {
    if (options.stop_after >= 0 && timings.size() >= static_cast<size_t>(options.stop_after)) break;
    const auto& off = options.disabled;
    if (std::find(off.begin(), off.end(), step.pass->name) != off.end()) continue;
    if (options.observer != nullptr) options.observer->before(step, graph);
    timings.push_back(run_step(graph, step, options));
    if (options.observer != nullptr) options.observer->after(step, graph, timings.back());
  }
  return timings;
}

}  // namespace tintype
