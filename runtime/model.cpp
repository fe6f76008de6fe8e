// The public model: checks names, lends sessions to callers, measures.
#include "runtime/model.h"

#include "runtime/executor.h"
#include "runtime/guarded.h"
#include "runtime/nearest_name.h"
#include "runtime/plan.h"
#include "runtime/validate.h"

#include <algorithm>
#include <mutex>

namespace tintype {

namespace {

Status empty_model() { return invalid_argument("the model is empty: load or create one first"); }

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

}  // namespace

struct Model::State {
  std::shared_ptr<const Program> program;
  std::shared_ptr<const KernelLibrary> kernels;
  std::shared_ptr<const std::vector<KernelFunction>> functions;
  std::shared_ptr<PlanCache> plans;
  std::mutex mutex;
  std::vector<std::unique_ptr<Executor>> idle;

  // More sessions than this are used when as many runs overlap, but not kept.
  static constexpr size_t kMaxIdle = 16;

  std::unique_ptr<Executor> take() {
    {
      const std::lock_guard lock(mutex);
      if (!idle.empty()) {
        std::unique_ptr<Executor> session = std::move(idle.back());
        idle.pop_back();
        return session;
      }
    }
    return std::make_unique<Executor>(program, functions, plans);
  }

  void give_back(std::unique_ptr<Executor> session) {
    const std::lock_guard lock(mutex);
    if (idle.size() < kMaxIdle) idle.push_back(std::move(session));
  }
};

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
    model.state_ = std::make_shared<State>();
    model.state_->plans = std::make_shared<PlanCache>(program);
    model.state_->program = std::move(program);
    model.state_->kernels = std::move(kernels);
    model.state_->functions = std::move(functions);
    model.state_->idle.reserve(State::kMaxIdle);
    return model;
  });
}

const Program& Model::program() const { return *state_->program; }

Result<std::vector<Tensor>> Model::run(std::span<const Tensor> inputs,
                                       const RunOptions& options) const {
  return guarded([&]() -> Result<std::vector<Tensor>> {
    if (state_ == nullptr) return empty_model();
    std::unique_ptr<Executor> session = state_->take();
    Result<std::vector<Tensor>> outputs = session->run(inputs, options.threads);
    state_->give_back(std::move(session));
    return outputs;
  });
}

Result<std::vector<Tensor>> Model::run(const std::map<std::string, Tensor>& inputs,
                                       const RunOptions& options) const {
  return guarded([&]() -> Result<std::vector<Tensor>> {
    if (state_ == nullptr) return empty_model();
    const std::vector<Port>& ports = program().inputs;
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
    if (ordered.size() == ports.size()) return run(ordered, options);
    std::vector<std::string> missing;
    for (const Port& port : ports)
      if (inputs.find(port.name) == inputs.end()) missing.push_back(port.name);
    return invalid_argument("missing input " + join_quoted(missing));
  });
}

Result<std::vector<StepTime>> Model::profile(std::span<const Tensor> inputs, int runs,
                                             const RunOptions& options) const {
  return guarded([&]() -> Result<std::vector<StepTime>> {
    if (state_ == nullptr) return empty_model();
    if (runs < 1) return invalid_argument("a profile needs at least one run");
    std::vector<double> seconds(program().steps.size());
    std::unique_ptr<Executor> session = state_->take();
    Status failure;
    for (int i = 0; i <= runs && failure.ok(); ++i) {  // the first binds, and is not counted
      failure = session->run(inputs, options.threads, seconds).status();
      if (i == 0) std::fill(seconds.begin(), seconds.end(), 0.0);
    }
    state_->give_back(std::move(session));
    if (!failure.ok()) return failure;

    std::vector<int64_t> symbols;
    if (Status s = read_symbols(program(), inputs, symbols); !s.ok()) return s;
    Result<std::shared_ptr<const Plan>> plan = state_->plans->get(symbols);
    if (!plan.ok()) return plan.status();
    std::vector<StepTime> times;
    for (size_t i = 0; i < seconds.size(); ++i) {
      const Step& step = program().steps[i];
      StepTime& t = times.emplace_back();
      t.step = static_cast<int32_t>(i);
      t.milliseconds = seconds[i] * 1e3 / runs;
      if (step.kind == Step::Kind::kernel)
        t.kernel = step.alternatives[static_cast<size_t>(plan.value()->alternatives[i])].kernel;
      if (step.flops != -1) t.flops = static_cast<double>(plan.value()->value(step.flops));
    }
    return times;
  });
}

Result<MemoryReport> Model::memory(std::span<const Tensor> inputs) const {
  return guarded([&]() -> Result<MemoryReport> {
    if (state_ == nullptr) return empty_model();
    std::vector<int64_t> symbols;
    if (Status s = read_symbols(program(), inputs, symbols); !s.ok()) return s;
    Result<std::shared_ptr<const Plan>> plan = state_->plans->get(symbols);
    if (!plan.ok()) return plan.status();
    if (Status s = check_input_dims(program(), *plan.value(), inputs); !s.ok()) return s;
    MemoryReport report;
    report.arena = plan.value()->arena_bytes;
    report.unplanned = plan.value()->unplanned_bytes;
    for (const Tensor& t : program().constants) report.constants += t.bytes();
    return report;
  });
}

}  // namespace tintype
