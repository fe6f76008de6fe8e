// Sessions and the store of their states.
#include "runtime/session.h"

#include "runtime/guarded.h"
#include "runtime/model_shared.h"
#include "runtime/nearest_name.h"
#include "runtime/state_memory.h"
#include "runtime/strided.h"

namespace tintype {

namespace {

std::vector<int64_t> dense_strides(const std::vector<int64_t>& dims) {
  std::vector<int64_t> strides(dims.size(), 1);
  for (size_t i = dims.size(); i-- > 1;) strides[i - 1] = strides[i] * dims[i];
  return strides;
}

Status moved_from() { return invalid_argument("the session was moved from: create another"); }

/// Extents of the shown tensor: memory axis i is its axis layout[i].
std::vector<int64_t> shown_dims(const std::vector<int64_t>& memory,
                                const std::vector<int64_t>& layout) {
  std::vector<int64_t> dims = memory;
  for (size_t i = 0; i < layout.size(); ++i) dims[static_cast<size_t>(layout[i])] = memory[i];
  return dims;
}

/// Strides of the shown tensor, dense with these extents, in the order of the memory's axes.
std::vector<int64_t> strides_in(const std::vector<int64_t>& layout,
                                const std::vector<int64_t>& dims) {
  const std::vector<int64_t> dense = dense_strides(dims);
  if (layout.empty()) return dense;
  std::vector<int64_t> strides;
  for (int64_t axis : layout) strides.push_back(dense[static_cast<size_t>(axis)]);
  return strides;
}

}  // namespace

Result<Tensor> StateStore::shown(const Entry& entry) {
  const Result<Tensor> latest = entry.memory->on_host();
  if (!latest.ok()) return latest.status();
  const Tensor& from = latest.value();
  const std::vector<int64_t> dims = shown_dims(from.dims(), entry.layout);
  Tensor to = Tensor::empty(from.dtype(), dims);
  strided_copy(from.dims(), to.mutable_data(), strides_in(entry.layout, dims), from.data(),
               dense_strides(from.dims()), size_of(from.dtype()));
  return to;
}

std::vector<std::string> StateStore::names() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> list;
  for (const auto& [name, entry] : entries_) list.push_back(name);
  return list;
}

Result<StateStore::Entry> StateStore::find(const std::string& name) const {
  const std::lock_guard lock(mutex_);
  const auto it = entries_.find(name);
  if (it != entries_.end()) return it->second;
  std::vector<std::string> known;
  for (const auto& [key, entry] : entries_) known.push_back(key);
  const std::string nearest = nearest_name(name, known);
  return invalid_argument("there is no state '" + name + "'" +
                          (nearest.empty() ? "" : "; did you mean '" + nearest + "'?"));
}

Result<Tensor> StateStore::get(const std::string& name) const {
  return guarded([&]() -> Result<Tensor> {
    const Result<Entry> found = find(name);
    if (!found.ok()) return found.status();
    return shown(found.value());
  });
}

Status StateStore::set(const std::string& name, const Tensor& value) {
  return guarded([&]() -> Status {
    const Result<Entry> found = find(name);
    if (!found.ok()) return found.status();
    const Entry& e = found.value();
    const std::vector<int64_t> dims = shown_dims(e.memory->dims(), e.layout);
    if (e.memory->dtype() != value.dtype() || dims != value.dims())
      return invalid_argument("state '" + name + "' is " + type_string(e.memory->dtype(), dims) +
                              ", the new value " + value.type_string());
    if (value.data() == nullptr && value.size() > 0)
      return invalid_argument("state '" + name + "': the data pointer of the new value is null");
    Tensor to = e.memory->replaced_on_host();
    strided_copy(to.dims(), to.mutable_data(), dense_strides(to.dims()), value.data(),
                 strides_in(e.layout, dims), size_of(to.dtype()));
    return {};
  });
}

Result<std::map<std::string, Tensor>> StateStore::snapshot() const {
  return guarded([&]() -> Result<std::map<std::string, Tensor>> {
    const std::lock_guard lock(mutex_);
    std::map<std::string, Tensor> copies;
    for (const auto& [name, entry] : entries_) {
      Result<Tensor> copy = shown(entry);
      if (!copy.ok()) return copy.status();
      copies.emplace(name, std::move(copy).value());
    }
    return copies;
  });
}

size_t StateStore::bytes() const {
  const std::lock_guard lock(mutex_);
  size_t total = 0;
  for (const auto& [name, entry] : entries_) total += entry.memory->bytes();
  return total;
}

Result<std::shared_ptr<StateMemory>> StateStore::open(const StateVariable& state) {
  const std::lock_guard lock(mutex_);
  const auto it = entries_.find(state.name);
  if (it == entries_.end()) {
    auto memory = std::make_shared<StateMemory>(state.name, state.initial.clone());
    return entries_.emplace(state.name, Entry{std::move(memory), state.layout})
        .first->second.memory;
  }
  const Entry& e = it->second;
  if (e.memory->dtype() == state.initial.dtype() && e.memory->dims() == state.initial.dims() &&
      e.layout == state.layout)
    return e.memory;
  const auto text = [](const auto& t, const std::vector<int64_t>& layout) {
    return type_string(t.dtype(), shown_dims(t.dims(), layout)) +
           (layout.empty() ? "" : " with permuted axes");
  };
  return invalid_argument("state '" + state.name + "' is " + text(*e.memory, e.layout) +
                          " in the store, the program expects " +
                          text(state.initial, state.layout));
}

Result<Session> Session::create(const Model& model, std::shared_ptr<StateStore> store) {
  return guarded([&]() -> Result<Session> {
    if (model.shared_ == nullptr) return invalid_argument("the model is empty: load or create one");
    Session session;
    session.model_ = model;
    session.store_ = store == nullptr ? std::make_shared<StateStore>() : std::move(store);
    std::vector<std::shared_ptr<StateMemory>> states;
    for (const StateVariable& s : model.program().states) {
      Result<std::shared_ptr<StateMemory>> memory = session.store_->open(s);
      if (!memory.ok()) return memory.status();
      states.push_back(std::move(memory).value());
    }
    session.executor_ =
        std::make_shared<Executor>(model.shared_->program, model.shared_->functions,
                                   model.shared_->plans, std::move(states), model.shared_->cuda);
    return session;
  });
}

Result<std::vector<Tensor>> Session::run(std::span<const Tensor> inputs,
                                         const RunOptions& options) {
  return guarded([&]() -> Result<std::vector<Tensor>> {
    if (executor_ == nullptr) return moved_from();
    return executor_->run(inputs, options.threads);
  });
}

Result<std::vector<Tensor>> Session::run(const std::map<std::string, Tensor>& inputs,
                                         const RunOptions& options) {
  return guarded([&]() -> Result<std::vector<Tensor>> {
    if (executor_ == nullptr) return moved_from();
    Result<std::vector<Tensor>> ordered = in_port_order(program(), inputs);
    if (!ordered.ok()) return ordered.status();
    return executor_->run(ordered.value(), options.threads);
  });
}

Result<std::vector<StepTime>> Session::profile(std::span<const Tensor> inputs, int runs,
                                               const RunOptions& options) {
  return guarded([&]() -> Result<std::vector<StepTime>> {
    if (executor_ == nullptr) return moved_from();
    return profile_steps(*executor_, program(), *model_.shared_->plans, inputs, runs, options);
  });
}

}  // namespace tintype
