// Compiling for reference, and inputs that stay the same.
#include "tools/driver/reference_run.h"

#include "ir/diagnostic.h"
#include "runtime/session.h"
#include "tools/driver/data_files.h"

namespace tintype {

ReferenceRun::ReferenceRun(const CompileOptions& options, uint64_t seed,
                           std::map<std::string, Tensor> inputs)
    : options_(options), seed_(seed), inputs_(std::move(inputs)) {
  options_.reference = true;
  options_.passes.clear();
  options_.disabled_passes.clear();
  options_.recompute.reset();
  options_.explain = nullptr;
  options_.progress = nullptr;
}

namespace {

int64_t extent(const Program& p, ExprId id, const std::map<std::string, int64_t>& hints) {
  const ExtentExpr& e = p.expressions[static_cast<size_t>(id)];
  if (e.kind == ExtentExpr::Kind::constant) return e.value;
  if (e.kind != ExtentExpr::Kind::symbol) return 1;
  const auto it = hints.find(p.symbols[static_cast<size_t>(e.value)].name);
  return it == hints.end() ? 1 : it->second;
}

}  // namespace

std::vector<Tensor> ReferenceRun::operator()(const Graph& graph) {
  const CompiledModel m = compile_graph(graph.clone(), options_);
  const Program& p = m.model.program();
  std::vector<Tensor> inputs;
  for (const Port& port : p.inputs) {
    Tensor& value = inputs_[port.name];
    if (!value.defined()) {
      std::vector<int64_t> dims;
      for (ExprId id : port.dims) dims.push_back(extent(p, id, options_.hints));
      value = random_tensor(port.dtype, dims, seed_ + inputs.size());
    }
    inputs.push_back(value);
  }
  Result<Session> session = Session::create(m.model);
  if (!session.ok()) throw Error(session.status().message());
  Result<std::vector<Tensor>> results = session.value().run(std::span<const Tensor>(inputs));
  if (!results.ok()) throw Error(results.status().message());
  std::vector<Tensor> all = std::move(results).value();
  for (const StateVariable& s : p.states)
    all.push_back(session.value().states()->get(s.name).value());
  return all;
}

}  // namespace tintype
