// Sessions and the store of their states.
#include "runtime/session.h"

#include "runtime/guarded.h"
#include "runtime/model_shared.h"
#include "runtime/nearest_name.h"

#include <cstring>

namespace tintype {

std::vector<std::string> StateStore::names() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> list;
  for (const auto& [name, tensor] : tensors_) list.push_back(name);
  return list;
}

Result<Tensor> StateStore::find(const std::string& name) const {
  const std::lock_guard lock(mutex_);
  const auto it = tensors_.find(name);
  if (it != tensors_.end()) return it->second;
  std::vector<std::string> known;
  for (const auto& [key, tensor] : tensors_) known.push_back(key);
  const std::string nearest = nearest_name(name, known);
  return invalid_argument("there is no state '" + name + "'" +
                          (nearest.empty() ? "" : "; did you mean '" + nearest + "'?"));
}

Result<Tensor> StateStore::get(const std::string& name) const {
  return guarded([&]() -> Result<Tensor> {
    Result<Tensor> found = find(name);
    if (!found.ok()) return found;
    return found.value().clone();
  });
}

Status StateStore::set(const std::string& name, const Tensor& value) {
  return guarded([&]() -> Status {
    Result<Tensor> found = find(name);
    if (!found.ok()) return found.status();
    Tensor to = found.value();
    if (to.dtype() != value.dtype() || to.dims() != value.dims())
      return invalid_argument("state '" + name + "' is " + to.type_string() + ", the new value " +
                              value.type_string());
    if (value.bytes() > 0) std::memmove(to.mutable_data(), value.data(), value.bytes());
    return {};
  });
}

std::map<std::string, Tensor> StateStore::snapshot() const {
  const std::lock_guard lock(mutex_);
  std::map<std::string, Tensor> copies;
  for (const auto& [name, tensor] : tensors_) copies.emplace(name, tensor.clone());
  return copies;
}

size_t StateStore::bytes() const {
  const std::lock_guard lock(mutex_);
  size_t total = 0;
  for (const auto& [name, tensor] : tensors_) total += tensor.bytes();
  return total;
}

Result<Tensor> StateStore::open(const std::string& name, const Tensor& initial) {
  const std::lock_guard lock(mutex_);
  const auto it = tensors_.find(name);
  if (it == tensors_.end()) return tensors_.emplace(name, initial.clone()).first->second;
  const Tensor& t = it->second;
  if (t.dtype() == initial.dtype() && t.dims() == initial.dims()) return t;
  return invalid_argument("state '" + name + "' is " + t.type_string() +
                          " in the store, the program expects " + initial.type_string());
}

Result<Session> Session::create(const Model& model, std::shared_ptr<StateStore> store) {
  return guarded([&]() -> Result<Session> {
    if (model.shared_ == nullptr) return invalid_argument("the model is empty: load or create one");
    Session session;
    session.model_ = model;
    session.store_ = store == nullptr ? std::make_shared<StateStore>() : std::move(store);
    std::vector<Tensor> states;
    for (const StateVariable& s : model.program().states) {
      Result<Tensor> memory = session.store_->open(s.name, s.initial);
      if (!memory.ok()) return memory.status();
      states.push_back(std::move(memory).value());
    }
    session.executor_ = std::make_shared<Executor>(model.shared_->program, model.shared_->functions,
                                                   model.shared_->plans, std::move(states));
    return session;
  });
}

Result<std::vector<Tensor>> Session::run(std::span<const Tensor> inputs,
                                         const RunOptions& options) {
  return guarded(
      [&]() -> Result<std::vector<Tensor>> { return executor_->run(inputs, options.threads); });
}

Result<std::vector<Tensor>> Session::run(const std::map<std::string, Tensor>& inputs,
                                         const RunOptions& options) {
  return guarded([&]() -> Result<std::vector<Tensor>> {
    Result<std::vector<Tensor>> ordered = in_port_order(program(), inputs);
    if (!ordered.ok()) return ordered.status();
    return executor_->run(ordered.value(), options.threads);
  });
}

Result<std::vector<StepTime>> Session::profile(std::span<const Tensor> inputs, int runs,
                                               const RunOptions& options) {
  return guarded([&]() -> Result<std::vector<StepTime>> {
    return profile_steps(*executor_, program(), *model_.shared_->plans, inputs, runs, options);
  });
}

}  // namespace tintype
