// Running programs that keep tensors from run to run: training steps, streams.
#pragma once

#include "runtime/model.h"

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace tintype {

class Executor;
class StateMemory;

/// Named tensors that outlive runs. Sessions of several programs may share one store: the program
/// that trains and the one that evaluates then see the same parameters. Reading and writing while a
/// session runs is a race; everything else is thread-safe.
class StateStore {
 public:
  /// In alphabetical order.
  std::vector<std::string> names() const;
  /// A copy; invalid_argument with the nearest name when there is none. What a CUDA device holds is
  /// copied from there, which may fail, as in snapshot().
  Result<Tensor> get(const std::string& name) const;
  /// Copies the elements in; dtype and dims must be those of the state.
  Status set(const std::string& name, const Tensor& value);
  /// All states, copied.
  Result<std::map<std::string, Tensor>> snapshot() const;
  /// Sum of the sizes of all states.
  size_t bytes() const;

 private:
  friend class Session;
  /// Memory as programs use it, and its order of axes (StateVariable::layout).
  struct Entry {
    std::shared_ptr<StateMemory> memory;
    std::vector<int64_t> layout;
  };
  Result<Entry> find(const std::string& name) const;
  /// The memory of a state, which starts as `initial` when it is new.
  Result<std::shared_ptr<StateMemory>> open(const StateVariable& state);
  /// The tensor with the axes that its name stands for, copied.
  static Result<Tensor> shown(const Entry& entry);

  mutable std::mutex mutex_;
  std::map<std::string, Entry> entries_;
};

/// One caller's runs of a program with states. Not thread-safe, and no more are copies of a
/// session: they are the same one. A run that fails half-way may leave states between their old and
/// new values: restore them from a snapshot.
class Session {
 public:
  /// States already in `store` are continued, others are added with their initial values.
  /// invalid_argument when a state is in the store with another type.
  static Result<Session> create(const Model& model, std::shared_ptr<StateStore> store = nullptr);

  Result<std::vector<Tensor>> run(std::span<const Tensor> inputs, const RunOptions& options = {});
  Result<std::vector<Tensor>> run(const std::map<std::string, Tensor>& inputs,
                                  const RunOptions& options = {});
  /// Like Model::profile; the states advance by runs + 1 runs.
  Result<std::vector<StepTime>> profile(std::span<const Tensor> inputs, int runs,
                                        const RunOptions& options = {});

  const Program& program() const { return model_.program(); }
  const std::shared_ptr<StateStore>& states() const { return store_; }

 private:
  Model model_;  // keeps the machine code
  std::shared_ptr<StateStore> store_;
  std::shared_ptr<Executor> executor_;
};

}  // namespace tintype
