// The public model: checks names, lends sessions to callers, measures.
#include "runtime/model.h"

#include "runtime/guarded.h"
#include "runtime/model_shared.h"
#include "runtime/nearest_name.h"
#include "runtime/plan_lanes.h"
#include "runtime/validate.h"

#include <algorithm>

namespace tintype {

namespace {

Status empty_model() { return invalid_argument("the model is empty: load or create one first"); }

Status needs_session(const Program& program) {
  return invalid_argument("'" + program.model_name + "' keeps " +
                          std::to_string(program.states.size()) +
                          " states from run to run: run it through a Session");
}

std::vector<std::string> names_of(const std::vector<Port>& ports) {
  std::vector<std::string> names;
  names.reserve(ports.size());
  for (const Port& p : ports) names.push_back(p.name);
  return names;
}

std::string join_quoted(const std::vector<std::string>& names) {
  std::string s;
  for (const std::string& n : names) s += (s.empty() ? "'" : ", '") + n + "'";
  return s.empty() ? "none" : s;
}

/// True for a step behind a library step that is one of two ways, and not the one that was taken.
bool never_ran(const Program& program, size_t index, const std::vector<double>& seconds) {
  if (seconds[index] > 0) return false;
  for (size_t i = 0; i < index; ++i) {
    const Step& s = program.steps[i];
    if (s.kind == Step::Kind::library &&
        index <= i + static_cast<size_t>(s.control.span + s.control.otherwise))
      return true;
  }
  return false;
}

Result<std::shared_ptr<const Plan>> plan_for(const Program& program, PlanCache& plans,
                                             std::span<const Tensor> inputs) {
  std::vector<int64_t> symbols;
  if (Status s = read_symbols(program, inputs, symbols); !s.ok()) return s;
  Result<std::shared_ptr<const Plan>> plan = plans.get(symbols);
  if (!plan.ok()) return plan.status();
  if (Status s = check_inputs(program, *plan.value(), inputs); !s.ok()) return s;
  return plan;
}

}  // namespace

Result<std::vector<Tensor>> in_port_order(const Program& program,
                                          const std::map<std::string, Tensor>& inputs) {
  const std::vector<Port>& ports = program.inputs;
  std::vector<Tensor> ordered;
  ordered.reserve(ports.size());
  for (const Port& port : ports)
    if (const auto it = inputs.find(port.name); it != inputs.end()) ordered.push_back(it->second);
  for (const auto& [name, tensor] : inputs) {
    const std::vector<std::string> known = names_of(ports);
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    const std::string nearest = nearest_name(name, known);
    return invalid_argument("unknown input '" + name + "'" +
                            (nearest.empty() ? "; inputs are " + join_quoted(known)
                                             : "; did you mean '" + nearest + "'?"));
  }
  if (ordered.size() == ports.size()) return ordered;
  std::vector<std::string> missing;
  for (const Port& port : ports)
    if (inputs.find(port.name) == inputs.end()) missing.push_back(port.name);
  return invalid_argument("missing input " + join_quoted(missing));
}

Result<std::vector<StepTime>> profile_steps(Executor& executor, const Program& program,
                                            PlanCache& plans, std::span<const Tensor> inputs,
                                            int runs, const RunOptions& options) {
  if (runs < 1) return invalid_argument("a profile needs at least one run");
  std::vector<double> seconds(program.steps.size());
  for (int i = 0; i <= runs; ++i) {  // the first binds, and is not counted
    if (Status s = executor.run(inputs, options.threads, seconds).status(); !s.ok()) return s;
    if (i == 0) std::fill(seconds.begin(), seconds.end(), 0.0);
  }
  std::vector<int64_t> symbols;
  if (Status s = read_symbols(program, inputs, symbols); !s.ok()) return s;
  Result<std::shared_ptr<const Plan>> plan = plans.get(symbols);
  if (!plan.ok()) return plan.status();
  std::vector<StepTime> times;
  for (size_t i = 0; i < seconds.size(); ++i) {
    const Step& step = program.steps[i];
    if (never_ran(program, i, seconds)) continue;
    StepTime& t = times.emplace_back();
    t.step = static_cast<int32_t>(i);
    t.milliseconds = seconds[i] * 1e3 / runs;
    if (step.kind == Step::Kind::kernel)
      t.kernel = step.alternatives[static_cast<size_t>(plan.value()->alternatives[i])].kernel;
    t.stream = plan.value()->lanes.lane_of(i);
    // A library step that did nothing leaves the counting to the kernels behind it.
    if (step.kind == Step::Kind::library && seconds[i] == 0) continue;
    if (step.flops != -1) t.flops = static_cast<double>(plan.value()->value(step.flops));
  }
  return times;
}

Result<Model> Model::create(std::shared_ptr<const Program> program,
                            std::shared_ptr<const KernelLibrary> kernels) {
  return guarded([&]() -> Result<Model> {
    if (program == nullptr) return invalid_argument("no program");
    if (Status s = validate(*program); !s.ok()) return s;
    auto functions = std::make_shared<std::vector<KernelFunction>>();
    for (const KernelInfo& kernel : program->kernels) {
      if (kernels == nullptr) return invalid_argument("no kernel library");
      Result<KernelFunction> f = kernels->find(kernel.symbol);
      if (!f.ok()) return f.status();
      functions->push_back(f.value());
    }
    Model model;
    model.shared_ = std::make_shared<Shared>();
    model.shared_->plans = std::make_shared<PlanCache>(program);
    if (uses_device(*program)) model.shared_->cuda = std::make_shared<CudaProgram>(program);
    model.shared_->program = std::move(program);
    model.shared_->kernels = std::move(kernels);
    model.shared_->functions = std::move(functions);
    model.shared_->idle.reserve(Shared::kMaxIdle);
    return model;
  });
}

const Program& Model::program() const {
  static const Program kEmpty;
  return shared_ == nullptr ? kEmpty : *shared_->program;
}

Result<std::vector<Tensor>> Model::run(std::span<const Tensor> inputs,
                                       const RunOptions& options) const {
  return guarded([&]() -> Result<std::vector<Tensor>> {
    if (shared_ == nullptr) return empty_model();
    if (!program().states.empty()) return needs_session(program());
    std::unique_ptr<Executor> executor = shared_->take();
    Result<std::vector<Tensor>> outputs = executor->run(inputs, options.threads);
    shared_->give_back(std::move(executor));
    return outputs;
  });
}

Result<std::vector<Tensor>> Model::run(const std::map<std::string, Tensor>& inputs,
                                       const RunOptions& options) const {
  return guarded([&]() -> Result<std::vector<Tensor>> {
    if (shared_ == nullptr) return empty_model();
    Result<std::vector<Tensor>> ordered = in_port_order(program(), inputs);
    if (!ordered.ok()) return ordered.status();
    return run(ordered.value(), options);
  });
}

Result<std::vector<StepTime>> Model::profile(std::span<const Tensor> inputs, int runs,
                                             const RunOptions& options) const {
  return guarded([&]() -> Result<std::vector<StepTime>> {
    if (shared_ == nullptr) return empty_model();
    if (!program().states.empty()) return needs_session(program());
    std::unique_ptr<Executor> executor = shared_->take();
    Result<std::vector<StepTime>> times =
        profile_steps(*executor, program(), *shared_->plans, inputs, runs, options);
    shared_->give_back(std::move(executor));
    return times;
  });
}

std::vector<LibraryUse> Model::libraries() const {
  if (shared_ == nullptr || shared_->cuda == nullptr) return {};
  return shared_->cuda->libraries();
}

Result<StreamReport> Model::streams(std::span<const Tensor> inputs) const {
  return guarded([&]() -> Result<StreamReport> {
    if (shared_ == nullptr) return empty_model();
    const auto plan = plan_for(program(), *shared_->plans, inputs);
    if (!plan.ok()) return plan.status();
    const PlannedLanes& lanes = plan.value()->lanes;
    return StreamReport{lanes.count, lanes.waits, lanes.bytes_on_one};
  });
}

Result<MemoryReport> Model::memory(std::span<const Tensor> inputs) const {
  return guarded([&]() -> Result<MemoryReport> {
    if (shared_ == nullptr) return empty_model();
    const auto plan = plan_for(program(), *shared_->plans, inputs);
    if (!plan.ok()) return plan.status();
    MemoryReport report;
    report.arena = plan.value()->arena_bytes;
    report.unplanned = plan.value()->unplanned_bytes;
    for (const Tensor& t : program().constants) report.constants += t.bytes();
    report.device_arena = plan.value()->device_bytes;
    std::vector<bool> counted(program().constants.size());
    for (const Storage& s : program().storages) {
      if (s.device && s.kind == Storage::Kind::state)
        report.device_states += program().states[static_cast<size_t>(s.value)].initial.bytes();
      if (!s.device || s.kind != Storage::Kind::constant) continue;
      const auto i = static_cast<size_t>(s.value);
      if (!counted[i]) report.device_constants += program().constants[i].bytes();
      counted[i] = true;
    }
    return report;
  });
}

}  // namespace tintype
