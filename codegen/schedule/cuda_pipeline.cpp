// Registers and pipelines of blocks, on Halide's statements.
#include "codegen/schedule/cuda_pipeline.h"

#include "ir/diagnostic.h"

#include <map>
#include <optional>
#include <sstream>
#include <utility>
#include <vector>

namespace tintype::cuda {

using Halide::Expr;
using Halide::Internal::Allocate;
using Halide::Internal::Block;
using Halide::Internal::Call;
using Halide::Internal::Evaluate;
using Halide::Internal::For;
using Halide::Internal::ForType;
using Halide::Internal::IfThenElse;
using Halide::Internal::IRMutator;
using Halide::Internal::IRVisitor;
using Halide::Internal::Let;
using Halide::Internal::LetStmt;
using Halide::Internal::Load;
using Halide::Internal::ProducerConsumer;
using Halide::Internal::Ramp;
using Halide::Internal::Stmt;
using Halide::Internal::Store;
using Halide::Internal::Variable;

namespace {

// ---- own_registers -------------------------------------------------------------------------

/// The number of elements when it is known.
std::optional<int64_t> constant_size(const Allocate* op) {
  int64_t size = 1;
  for (const Expr& e : op->extents) {
    const auto extent = Halide::Internal::as_const_int(e);
    if (!extent) return std::nullopt;
    size *= *extent;
  }
  return size;
}

/// A sum as terms and their factors, those that are the same added up: simplify does not see that
/// (a - b) 2 + 2 b is 2 a.
class Terms {
 public:
  explicit Terms(const Expr& e) { add(e, 1); }

  Expr sum() const {
    Expr all = 0;
    for (const auto& [term, factor] : terms_)
      if (factor != 0) all = all + term * static_cast<int32_t>(factor);
    return Halide::Internal::simplify(all);
  }

 private:
  void add(const Expr& e, int64_t factor) {
    const auto* plus = e.as<Halide::Internal::Add>();
    const auto* minus = e.as<Halide::Internal::Sub>();
    const auto* times = e.as<Halide::Internal::Mul>();
    if (plus != nullptr) {
      add(plus->a, factor);
      add(plus->b, factor);
    } else if (minus != nullptr) {
      add(minus->a, factor);
      add(minus->b, -factor);
    } else if (const auto c = times == nullptr ? std::nullopt : constant(times->b)) {
      add(times->a, factor * *c);
    } else {
      for (auto& [term, known] : terms_)
        if (Halide::Internal::equal(term, e)) {
          known += factor;
          return;
        }
      terms_.emplace_back(e, factor);
    }
  }
  static std::optional<int64_t> constant(const Expr& e) {
    return Halide::Internal::as_const_int(e);
  }

  std::vector<std::pair<Expr, int64_t>> terms_;
};

/// Indices of one array, told apart into a thread's place and what it keeps there. The first walk
/// collects them, the second one puts the thread's own in their place.
class ThreadPlaces : public IRMutator {
 public:
  explicit ThreadPlaces(std::string name) : name_(std::move(name)) {}

  std::string problem;  ///< "" when every access is of the thread's own

  /// To be called between the two walks: how many elements a thread keeps.
  int64_t number_parts() {
    int64_t used = 0, end = -1;
    for (const auto& [first, last] : ranges_) {
      if (first >= end) {
        parts_[first] = used;
        end = first;
      }
      used += std::max<int64_t>(last - end, 0);
      end = std::max(end, last);
    }
    numbered_ = true;
    return std::max<int64_t>(used, 1);
  }

 private:
  using IRMutator::visit;

  Stmt visit(const LetStmt* op) override {
    values_[op->name] = expanded(op->value);
    return IRMutator::visit(op);
  }
  Expr visit(const Let* op) override {
    values_[op->name] = expanded(op->value);
    return IRMutator::visit(op);
  }
  Expr visit(const Load* op) override {
    if (op->name != name_) return IRMutator::visit(op);
    return Load::make(op->type, op->name, own(op->index), op->image, op->param,
                      mutate(op->predicate), {});
  }
  Stmt visit(const Store* op) override {
    if (op->name != name_) return IRMutator::visit(op);
    return Store::make(op->name, mutate(op->value), own(op->index), op->param,
                       mutate(op->predicate), {});
  }

  /// Halide gives the loop over an axis of threads one name, or a name with a number behind it:
  /// its counters are the process's, so that depends on what was compiled before.
  Stmt visit(const For* op) override {
    if (op->for_type != ForType::GPUThread) return IRMutator::visit(op);
    threads_.push_back(op->name);
    const Stmt s = IRMutator::visit(op);
    threads_.pop_back();
    return s;
  }

  static std::string axis_of(const std::string& thread) {
    return thread.substr(0, thread.find('$'));
  }

  /// Where only the first threads along an axis come, their number is known to be 0.
  Stmt visit(const IfThenElse* op) override {
    const size_t before = first_.size();
    note_first(op->condition);
    const Stmt then_case = mutate(op->then_case);
    first_.resize(before);
    return IfThenElse::make(mutate(op->condition), then_case, mutate(op->else_case));
  }

  void note_first(const Expr& condition) {
    if (const auto* both = condition.as<Halide::Internal::And>()) {
      note_first(both->a);
      note_first(both->b);
    } else if (const auto* less = condition.as<Halide::Internal::LT>()) {
      const auto* thread = less->a.as<Variable>();
      if (thread != nullptr && Halide::Internal::is_const_one(less->b))
        first_.push_back(axis_of(thread->name));
    }
  }

  Expr at_first(Expr e) const {
    for (const std::string& thread : first_) e = Halide::Internal::substitute(thread, 0, e);
    return Halide::Internal::simplify(e);
  }

  Expr expanded(const Expr& e) const { return Halide::Internal::substitute(values_, e); }

  /// With one name for the threads along an axis, whatever loop they are in.
  Expr by_axes(Expr e) const {
    for (const std::string& thread : threads_)
      if (const std::string axis = axis_of(thread); axis != thread)
        e = Halide::Internal::substitute(thread, Variable::make(Halide::Int(32), axis), e);
    return e;
  }

  Expr own(const Expr& index) {
    const Ramp* ramp = index.as<Ramp>();
    const Expr first = Terms(by_axes(expanded(ramp == nullptr ? index : ramp->base))).sum();
    Expr mine = first;
    for (const std::string& thread : threads_)
      mine = Halide::Internal::substitute(axis_of(thread), 0, mine);
    mine = Halide::Internal::simplify(mine);
    const Expr place = Halide::Internal::simplify(first - mine);
    if (!place_.defined()) place_ = place;
    const auto at = Halide::Internal::as_const_int(mine);
    const bool dense =
        ramp == nullptr ? index.type().is_scalar() : Halide::Internal::is_const_one(ramp->stride);
    if (!at || !dense || !Halide::Internal::can_prove(at_first(place_) == at_first(place))) {
      std::ostringstream s;
      s << "the index " << first << " of " << name_ << " is not " << place_ << " and a constant";
      problem = s.str();
      return index;
    }
    const int lanes = index.type().lanes();
    if (!numbered_) {
      int64_t& last = ranges_[*at];
      last = std::max(last, *at + lanes);
      return index;
    }
    const auto part = std::prev(parts_.upper_bound(*at));
    const Expr base = static_cast<int32_t>(part->second + *at - part->first);
    return ramp == nullptr ? base : Ramp::make(base, 1, lanes);
  }

  std::string name_;
  std::map<std::string, Expr> values_;
  std::vector<std::string> threads_;   ///< loops over threads around this place
  std::vector<std::string> first_;     ///< axes along which the thread's number is 0 here
  Expr place_;                         ///< where a thread's elements begin
  std::map<int64_t, int64_t> ranges_;  ///< of elements, the first and one past the last
  std::map<int64_t, int64_t> parts_;   ///< from the first element of a run to its number
  bool numbered_ = false;
};

class OwnRegisters : public IRMutator {
  using IRMutator::visit;

  Stmt visit(const Allocate* op) override {
    Stmt s = IRMutator::visit(op);
    op = s.as<Allocate>();
    if (op->memory_type != Halide::MemoryType::Register || !constant_size(op)) return s;
    ThreadPlaces places(op->name);
    places.mutate(op->body);
    TINTYPE_CHECK(places.problem.empty(), "no registers of threads: " + places.problem);
    const auto elements = static_cast<int32_t>(places.number_parts());
    return Allocate::make(op->name, op->type, op->memory_type, {elements}, op->condition,
                          places.mutate(op->body));
  }
};

}  // namespace

std::unique_ptr<IRMutator> own_registers() { return std::make_unique<OwnRegisters>(); }

// ---- pipelined -----------------------------------------------------------------------------

namespace {

/// Blocks one behind the other, with nothing around several of them.
class Flattened : public IRMutator {
  using IRMutator::visit;
  Stmt visit(const ProducerConsumer* op) override { return mutate(op->body); }
  Stmt visit(const LetStmt* op) override {
    return mutate(Halide::Internal::substitute(op->name, op->value, op->body));
  }
};

bool is_barrier(const Stmt& s) {
  const auto* e = s.as<Evaluate>();
  const Call* call = e == nullptr ? nullptr : e->value.as<Call>();
  return call != nullptr && call->is_intrinsic(Call::gpu_thread_barrier);
}

void append(const Stmt& s, std::vector<Stmt>& list) {
  if (const Block* b = s.as<Block>()) {
    append(b->first, list);
    append(b->rest, list);
  } else {
    list.push_back(s);
  }
}

Stmt sequence(const std::vector<Stmt>& list) { return Block::make(list); }

Expr moved(const Expr& index, const Expr& by) {
  if (const Ramp* ramp = index.as<Ramp>())
    return Ramp::make(ramp->base + by, ramp->stride, ramp->lanes);
  return index.type().is_scalar()
             ? index + by
             : index + Halide::Internal::Broadcast::make(by, index.type().lanes());
}

/// Moves accesses of an array.
class Shifted : public IRMutator {
 public:
  Shifted(std::string name, Expr by) : name_(std::move(name)), by_(std::move(by)) {}

 private:
  using IRMutator::visit;
  Expr visit(const Load* op) override {
    if (op->name != name_) return IRMutator::visit(op);
    return Load::make(op->type, op->name, moved(mutate(op->index), by_), op->image, op->param,
                      op->predicate, op->alignment);
  }
  std::string name_;
  Expr by_;
};

/// Stores to shared memory, taken apart: their values go to registers, or come from there.
class Staging : public IRMutator {
 public:
  Staging(std::string shared, std::string registers, Expr to)
      : shared_(std::move(shared)), registers_(std::move(registers)), to_(std::move(to)) {}

  std::vector<std::pair<std::string, Halide::Type>> kept;

 private:
  using IRMutator::visit;
  Stmt visit(const Store* op) override {
    if (op->name != shared_) return IRMutator::visit(op);
    const Halide::Type type = op->value.type();
    const std::string name = registers_ + std::to_string(kept.size());
    kept.emplace_back(name, type);
    const Expr index = type.is_scalar() ? Expr(0) : Ramp::make(0, 1, type.lanes());
    if (!to_.defined())
      return Store::make(name, op->value, index, {}, Halide::Internal::const_true(type.lanes()),
                         {});
    const Expr value =
        Load::make(type, name, index, {}, {}, Halide::Internal::const_true(type.lanes()), {});
    return Store::make(op->name, value, moved(op->index, to_), op->param, op->predicate,
                       op->alignment);
  }
  std::string shared_, registers_;
  Expr to_;
};

/// The array of shared memory that a statement writes to, or "".
class SharedTarget : public IRVisitor {
 public:
  explicit SharedTarget(const std::map<std::string, int64_t>& shared) : shared_(shared) {}
  std::string name;

 private:
  using IRVisitor::visit;
  void visit(const Store* op) override {
    if (shared_.count(op->name) != 0) name = op->name;
    IRVisitor::visit(op);
  }
  const std::map<std::string, int64_t>& shared_;
};

class Pipelined : public IRMutator {
 public:
  explicit Pipelined(std::string loop) : loop_(std::move(loop)) {}

 private:
  using IRMutator::visit;

  Stmt visit(const Allocate* op) override {
    const auto size = constant_size(op);
    if (op->memory_type != Halide::MemoryType::GPUShared || !size) return IRMutator::visit(op);
    shared_[op->name] = *size;
    Stmt body = mutate(op->body);
    const auto elements = static_cast<int32_t>(shared_.at(op->name));
    return Allocate::make(op->name, op->type, op->memory_type, {elements}, op->condition, body);
  }

  Stmt visit(const For* op) override {
    if (op->for_type != ForType::Serial || !op->name.starts_with(loop_))
      return IRMutator::visit(op);
    std::vector<Stmt> all, copies, uses;
    append(Flattened().mutate(op->body), all);
    std::string shared;
    Stmt barrier;
    for (const Stmt& s : all) {
      SharedTarget target(shared_);
      s.accept(&target);
      if (is_barrier(s)) barrier = s;
      else if (target.name.empty()) uses.push_back(s);
      else copies.push_back(s), shared = target.name;
    }
    TINTYPE_CHECK(barrier.defined() && !copies.empty() && !uses.empty(),
                  "no panels in the loop " + op->name);
    const auto size = static_cast<int32_t>(shared_.at(shared));
    shared_[shared] = 2 * int64_t{size};
    return pipeline(op, sequence(copies), sequence(uses), barrier, shared, size);
  }

  static Stmt pipeline(const For* op, const Stmt& copies, const Stmt& uses, const Stmt& barrier,
                       const std::string& shared, int32_t size) {
    const Expr k = Halide::Internal::Variable::make(Halide::Int(32), op->name);
    const std::string registers = op->name + ".kept";
    const Expr here = ((k - op->min) % 2) * size, there = ((k - op->min + 1) % 2) * size;
    const auto at = [&](const Stmt& s, const Expr& step) {
      return Halide::Internal::substitute(op->name, step, s);
    };
    Staging load(shared, registers, Expr());
    const Stmt fetch = load.mutate(copies);
    const Stmt put = Staging(shared, registers, Expr(0)).mutate(copies);
    const Expr next = Halide::min(k + 1, op->min + op->extent - 1);
    // Indices in shared memory do not depend on the step; what is fetched does.
    const Stmt body = sequence({at(fetch, next), Shifted(shared, here).mutate(uses),
                                Staging(shared, registers, there).mutate(copies), barrier});
    Stmt s = sequence({at(fetch, op->min), at(put, op->min), barrier,
                       For::make(op->name, op->min, op->extent, op->for_type, op->partition_policy,
                                 op->device_api, body)});
    for (const auto& [name, type] : load.kept)
      s = Allocate::make(name, type.element_of(), Halide::MemoryType::Register, {type.lanes()},
                         Halide::Internal::const_true(), s);
    return Halide::Internal::is_const_one(op->extent) ? s : IfThenElse::make(op->extent > 0, s);
  }

  std::string loop_;
  std::map<std::string, int64_t> shared_;
};

}  // namespace

std::unique_ptr<IRMutator> pipelined(std::string loop) {
  return std::make_unique<Pipelined>(std::move(loop));
}

}  // namespace tintype::cuda
