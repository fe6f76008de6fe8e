// Binding: evaluate, check constraints and bounds, place the arena, choose alternatives.
#include "runtime/plan.h"

#include "runtime/arena.h"
#include "runtime/cuda/device.h"
#include "runtime/extents.h"
#include "runtime/plan_lanes.h"
#include "runtime/strided.h"

#include <algorithm>

namespace tintype {

namespace {

// Kernels index with 32 bits; see Binder::check_kernel_view.
constexpr int64_t kKernelLimit = INT32_MAX;

class Binder {
 public:
  Binder(const Program& program, Plan& plan, int32_t streams)
      : p_(program), plan_(plan), streams_(streams) {}

  Status run() {
    for (auto stage :
         {&Binder::constraints, &Binder::ports, &Binder::storages, &Binder::views, &Binder::steps})
      if (Status s = (this->*stage)(); !s.ok()) return s;
    // Which steps run beside each other decides what may share memory on the device.
    plan_device(p_, on_device_, streams_, plan_);
    return {};
  }

 private:
  std::string for_symbols() const { return " for " + format_symbols(p_, plan_.symbols); }

  Status constraints() {
    for (const Constraint& c : p_.constraints) {
      const int64_t left = plan_.value(c.left), right = plan_.value(c.right);
      if (left != right)
        return invalid_argument(c.message + ": " + format_expression(p_, c.left) + " is " +
                                std::to_string(left) + ", " + format_expression(p_, c.right) +
                                " is " + std::to_string(right) + for_symbols());
    }
    return {};
  }

  Status port_dims(const Port& port, const char* kind, std::vector<int64_t>& dims, size_t& bytes) {
    auto count = static_cast<int64_t>(size_of(port.dtype));
    for (ExprId id : port.dims) {
      dims.push_back(plan_.value(id));
      if (dims.back() < 0 || __builtin_mul_overflow(count, dims.back(), &count))
        return invalid_argument(std::string(kind) + " '" + port.name +
                                "': " + format_type(p_, port) + " is negative or too large" +
                                for_symbols());
    }
    bytes = static_cast<size_t>(count);
    return {};
  }

  Status ports() {
    plan_.input_dims.resize(p_.inputs.size());
    plan_.output_dims.resize(p_.outputs.size());
    input_bytes_.resize(p_.inputs.size());
    output_bytes_.resize(p_.outputs.size());
    for (size_t i = 0; i < p_.inputs.size(); ++i)
      if (Status s = port_dims(p_.inputs[i], "input", plan_.input_dims[i], input_bytes_[i]);
          !s.ok())
        return s;
    for (size_t i = 0; i < p_.outputs.size(); ++i) {
      const Port& port = p_.outputs[i];
      if (Status s = port_dims(port, "output", plan_.output_dims[i], output_bytes_[i]); !s.ok())
        return s;
      const View& view = p_.views[static_cast<size_t>(port.view)];
      if (extents_of(view.extents) != plan_.output_dims[i])
        return defect("output '" + port.name + "' differs in shape from its view");
    }
    return {};
  }

  Status storages() {
    std::vector<Lifetime> lifetimes(p_.storages.size());
    on_device_.resize(p_.storages.size());
    size_t total = 0;
    for (size_t i = 0; i < p_.storages.size(); ++i) {
      const Storage& s = p_.storages[i];
      const int64_t bytes = plan_.value(s.bytes);
      // The limit keeps all later sums of sizes and offsets far from overflow.
      if (bytes < 0 || bytes > int64_t{1} << 46)
        return invalid_argument("a buffer of " + std::to_string(bytes) + " bytes is needed" +
                                for_symbols());
      if (s.kind != Storage::Kind::arena) continue;
      (s.device ? on_device_ : lifetimes)[i] = {static_cast<size_t>(bytes), s.first_step,
                                                s.last_step};
      if (__builtin_add_overflow(total, static_cast<size_t>(bytes) + 64, &total))
        return invalid_argument("buffers overflow the address space" + for_symbols());
    }
    ArenaPlan arena = plan_arena(lifetimes);
    plan_.arena_offsets = std::move(arena.offsets);
    plan_.arena_bytes = arena.bytes;
    plan_.unplanned_bytes = arena.unplanned;
    return {};
  }

  size_t storage_bytes(const Storage& s) const {
    const auto index = static_cast<size_t>(s.value);
    const auto declared = static_cast<size_t>(plan_.value(s.bytes));
    switch (s.kind) {
      case Storage::Kind::arena: return declared;
      case Storage::Kind::constant: return p_.constants[index].bytes();
      case Storage::Kind::input: return input_bytes_[index];
      case Storage::Kind::output: return output_bytes_[index];
      case Storage::Kind::state: return p_.states[index].initial.bytes();
    }
    return 0;
  }

  // First and last element a view touches, relative to its storage. False on overflow.
  bool span_of(const View& v, int64_t& low, int64_t& high) const {
    low = high = plan_.value(v.offset);
    for (size_t i = 0; i < v.extents.size(); ++i) {
      int64_t reach = 0;
      if (__builtin_mul_overflow(plan_.value(v.extents[i]) - 1, plan_.value(v.strides[i]), &reach))
        return false;
      int64_t& end = reach < 0 ? low : high;
      if (__builtin_add_overflow(end, reach, &end)) return false;
    }
    return true;
  }

  /// Widens a span by all places that the view moves to. False on overflow.
  bool add_motions(const View& v, int64_t& low, int64_t& high) const {
    for (int32_t id : v.motions) {
      const Motion& m = p_.motions[static_cast<size_t>(id)];
      int64_t reach = 0;
      const int64_t places = m.ring > 0 ? m.ring : trips_of(m);
      if (__builtin_mul_overflow(places - 1, plan_.value(m.stride), &reach)) return false;
      int64_t& end = reach < 0 ? low : high;
      if (__builtin_add_overflow(end, reach, &end)) return false;
    }
    return true;
  }

  int64_t trips_of(const Motion& m) const {
    return plan_.value(p_.steps[static_cast<size_t>(m.loop)].control.trips);
  }

  /// True for views of loops that make no trip at all.
  bool never_used(const View& v) const {
    return std::any_of(v.motions.begin(), v.motions.end(), [this](int32_t id) {
      const Motion& m = p_.motions[static_cast<size_t>(id)];
      const ExprId trips = p_.steps[static_cast<size_t>(m.loop)].control.trips;
      return trips >= 0 && plan_.value(trips) <= 0;
    });
  }

  Status views() {
    for (size_t i = 0; i < p_.views.size(); ++i) {
      const View& v = p_.views[i];
      bool empty = false;
      for (ExprId id : v.extents) {
        if (plan_.value(id) < 0)
          return invalid_argument("an extent is negative: " + format_expression(p_, id) + " is " +
                                  std::to_string(plan_.value(id)) + for_symbols());
        empty = empty || plan_.value(id) == 0;
      }
      if (plan_.value(v.offset) < 0)
        return defect("offset of view " + std::to_string(i) + " is negative");
      if (empty || never_used(v)) continue;
      int64_t low = 0, high = 0, end = 0;
      const size_t bytes = storage_bytes(p_.storages[static_cast<size_t>(v.storage)]);
      if (!span_of(v, low, high) || !add_motions(v, low, high) || low < 0 ||
          __builtin_mul_overflow(high + 1, static_cast<int64_t>(size_of(v.dtype)), &end) ||
          static_cast<uint64_t>(end) > bytes)
        return defect("view " + std::to_string(i) + " leaves its storage of " +
                      std::to_string(bytes) + " bytes");
    }
    return {};
  }

  // Kernels address elements with signed 32-bit numbers.
  Status check_kernel_view(ViewId id, const Step& step) const {
    const View& v = p_.views[static_cast<size_t>(id)];
    int64_t low = 0, high = 0;
    bool fits = span_of(v, low, high) && high - low < kKernelLimit;
    for (size_t i = 0; i < v.extents.size(); ++i)
      fits = fits && plan_.value(v.extents[i]) <= kKernelLimit &&
             std::abs(plan_.value(v.strides[i])) <= kKernelLimit;
    if (fits) return {};
    return {StatusCode::unsupported, "step '" + step.name + "' (from " + step.origin +
                                         "): a tensor of more than 2^31 elements" + for_symbols()};
  }

  Status steps() {
    plan_.alternatives.assign(p_.steps.size(), -1);
    plan_.attributes.resize(p_.steps.size());
    for (size_t i = 0; i < p_.steps.size(); ++i) {
      const Step& step = p_.steps[i];
      Status status;
      if (step.kind == Step::Kind::kernel) status = kernel_step(step, plan_.alternatives[i]);
      if (step.kind == Step::Kind::host) status = host_step(step, plan_.attributes[i]);
      if (step.kind == Step::Kind::copy &&
          extents_of(p_.views[static_cast<size_t>(step.inputs[0])].extents) !=
              extents_of(p_.views[static_cast<size_t>(step.outputs[0])].extents))
        status = defect("step '" + step.name + "' copies between different shapes");
      if (step.kind == Step::Kind::copy && status.ok()) status = device_copy(step);
      if (!status.ok()) return status;
    }
    return {};
  }

  Status kernel_step(const Step& step, int32_t& chosen) const {
    const auto holds = [&](const Step::Alternative& a) {
      return a.condition == -1 || plan_.value(a.condition) != 0;
    };
    const auto it = std::find_if(step.alternatives.begin(), step.alternatives.end(), holds);
    chosen = static_cast<int32_t>(it - step.alternatives.begin());
    for (ViewId v : it->arguments)
      if (Status s = check_kernel_view(v, step); !s.ok()) return s;
    return {};
  }

  Status host_step(const Step& step, Attributes& attributes) const {
    attributes = step.attributes;
    for (const auto& [name, ids] : step.extent_attributes) attributes.set(name, extents_of(ids));
    for (const std::vector<ViewId>* list : {&step.inputs, &step.outputs})
      for (ViewId id : *list) {
        if (id == kNoView) continue;
        const View& v = p_.views[static_cast<size_t>(id)];
        if (!is_dense(extents_of(v.extents), extents_of(v.strides)))
          return defect("host step '" + step.name + "' has an operand that is not contiguous");
      }
    return {};
  }

  /// Copies to, from and on the device move whole blocks.
  Status device_copy(const Step& step) const {
    const auto dense = [this](ViewId id) {
      const View& v = p_.views[static_cast<size_t>(id)];
      return is_dense(extents_of(v.extents), extents_of(v.strides));
    };
    const auto on_device = [this](ViewId id) {
      const auto storage = static_cast<size_t>(p_.views[static_cast<size_t>(id)].storage);
      return p_.storages[storage].device;
    };
    const ViewId from = step.inputs[0], to = step.outputs[0];
    if ((on_device(from) || on_device(to)) && (!dense(from) || !dense(to)))
      return defect("step '" + step.name +
                    "' copies to, from or on the device what is not contiguous");
    return {};
  }

  std::vector<int64_t> extents_of(const std::vector<ExprId>& ids) const {
    std::vector<int64_t> list;
    list.reserve(ids.size());
    for (ExprId id : ids) list.push_back(plan_.value(id));
    return list;
  }

  Status defect(const std::string& what) const {
    return {StatusCode::internal, "program '" + p_.model_name + "': " + what + for_symbols()};
  }

  const Program& p_;
  Plan& plan_;
  const int32_t streams_;
  std::vector<size_t> input_bytes_, output_bytes_;
  std::vector<Lifetime> on_device_;  ///< per storage, empty for those that are not
};

}  // namespace

Result<std::shared_ptr<const Plan>> make_plan(const Program& program,
                                              std::span<const int64_t> symbols, int32_t streams) {
  auto plan = std::make_shared<Plan>();
  plan->symbols.assign(symbols.begin(), symbols.end());
  Result<std::vector<int64_t>> values = evaluate_expressions(program, symbols);
  if (!values.ok()) return values.status();
  plan->values = std::move(values).value();
  if (Status s = Binder(program, *plan, streams).run(); !s.ok()) return s;
  return std::shared_ptr<const Plan>(std::move(plan));
}

Result<std::shared_ptr<const Plan>> PlanCache::get(std::span<const int64_t> symbols) {
  const auto find = [&] {
    return std::find_if(recent_.begin(), recent_.end(), [&](const auto& plan) {
      return std::equal(plan->symbols.begin(), plan->symbols.end(), symbols.begin(), symbols.end());
    });
  };
  {
    const std::lock_guard lock(mutex_);
    if (const auto it = find(); it != recent_.end()) {
      recent_.splice(recent_.begin(), recent_, it);
      return recent_.front();
    }
  }
  const Result<int32_t> streams = uses_device(*program_) ? cuda_streams() : 1;
  if (!streams.ok()) return streams.status();
  Result<std::shared_ptr<const Plan>> made = make_plan(*program_, symbols, streams.value());
  if (!made.ok()) return made;
  const std::lock_guard lock(mutex_);
  if (const auto it = find(); it != recent_.end()) return *it;  // another thread was faster
  recent_.push_front(made.value());
  if (recent_.size() > kCapacity) recent_.pop_back();
  return made;
}

}  // namespace tintype
