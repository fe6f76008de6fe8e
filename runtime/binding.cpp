// Prepares Halide buffers and argument lists for a plan.
#include "runtime/binding.h"

#include "runtime/scalar.h"
#include "runtime/strided.h"

namespace tintype {

namespace {

halide_type_t halide_type(DType t) {
  const auto bits = static_cast<uint8_t>(size_of(t) * 8);
  if (t == DType::boolean) return {halide_type_uint, 1, 1};
  if (t == DType::bf16) return {halide_type_bfloat, 16, 1};
  if (is_float(t)) return {halide_type_float, bits, 1};
  return {is_signed_int(t) ? halide_type_int : halide_type_uint, bits, 1};
}

uint8_t* at(const void* base, size_t offset) {
  return const_cast<uint8_t*>(static_cast<const uint8_t*>(base)) + offset;
}

}  // namespace

Executor::Binding::Binding(const Program& program, const std::vector<KernelFunction>& functions,
                           std::shared_ptr<const Plan> bound, const Memory& memory, void** context)
    : plan(std::move(bound)) {
  make_buffers(program, memory);
  make_steps(program, functions, context);
  if (memory.cuda != nullptr) find_device_steps(program);
  for (size_t i = 0; i < program.outputs.size(); ++i) {
    const ViewId id = program.outputs[i].view;
    const View& view = program.views[static_cast<size_t>(id)];
    const Storage& storage = program.storages[static_cast<size_t>(view.storage)];
    const bool own = storage.kind == Storage::Kind::output &&
                     storage.value == static_cast<int32_t>(i) && plan->value(view.offset) == 0 &&
                     is_dense(extents(id), strides(id));
    results.push_back({false, own, id});
  }
  for (const Storage& storage : program.storages)
    if (storage.kind == Storage::Kind::output)
      results[static_cast<size_t>(storage.value)].has_memory = true;
}

void Executor::Binding::make_buffers(const Program& program, const Memory& memory) {
  for (const View& view : program.views) {
    list_begin.push_back(extent_lists.size());
    for (size_t i = 0; i < view.extents.size(); ++i) {
      extent_lists.push_back(plan->value(view.extents[i]));
      stride_lists.push_back(plan->value(view.strides[i]));
    }
  }
  list_begin.push_back(extent_lists.size());
  dimensions.resize(extent_lists.size());
  size_t motions = 0;
  for (const View& view : program.views) {
    address_begin.push_back(motions);
    motions += view.motions.size();
  }
  addresses.resize(motions);
  buffers.resize(program.views.size());
  for (size_t v = 0; v < program.views.size(); ++v) {
    const View& view = program.views[v];
    const Storage& storage = program.storages[static_cast<size_t>(view.storage)];
    const size_t begin = list_begin[v], rank = view.extents.size();
    for (size_t i = 0; i < rank; ++i) {  // Halide counts dimensions from the innermost
      const size_t from = begin + rank - 1 - i;
      dimensions[begin + i] = {0, static_cast<int32_t>(extent_lists[from]),
                               static_cast<int32_t>(stride_lists[from]), 0};
    }
    halide_buffer_t& b = buffers[v];
    b = {};
    b.type = halide_type(view.dtype);
    b.dimensions = static_cast<int32_t>(rank);
    b.dim = dimensions.data() + begin;
    const size_t offset = static_cast<size_t>(plan->value(view.offset)) * size_of(view.dtype);
    uint8_t*& start = *start_of(program, static_cast<ViewId>(v));
    if (storage.kind == Storage::Kind::arena)
      start = at(storage.device ? memory.device_arena : memory.arena,
                 plan->arena_offsets[static_cast<size_t>(view.storage)] + offset);
    if (storage.kind == Storage::Kind::constant)
      start = at(storage.device ? memory.cuda->constant(static_cast<size_t>(storage.value))
                                : program.constants[static_cast<size_t>(storage.value)].data(),
                 offset);
    if (storage.kind == Storage::Kind::state)
      start = at(memory.states[static_cast<size_t>(storage.value)], offset);
  }
}

uint8_t** Executor::Binding::start_of(const Program& program, ViewId id) {
  const auto v = static_cast<size_t>(id);
  return program.views[v].motions.empty() ? &buffers[v].host : &addresses[address_begin[v]];
}

void Executor::Binding::make_movers(const Program& program, std::span<const ViewId> operand_views) {
  std::vector<int32_t> mover_of(program.steps.size(), -1);
  for (size_t i = 0; i < program.steps.size(); ++i) {
    if (program.steps[i].kind != Step::Kind::loop) continue;
    mover_of[i] = steps[i].mover = static_cast<int32_t>(movers.size());
    movers.emplace_back();
  }
  const auto mover = [&](int32_t motion) -> Mover& {
    const int32_t loop = program.motions[static_cast<size_t>(motion)].loop;
    return movers[static_cast<size_t>(mover_of[static_cast<size_t>(loop)])];
  };
  for (size_t v = 0; v < program.views.size(); ++v) {
    const View& view = program.views[v];
    for (size_t k = 0; k < view.motions.size(); ++k) {
      const Motion& m = program.motions[static_cast<size_t>(view.motions[k])];
      uint8_t** here = &addresses[address_begin[v] + k];
      const bool last = k + 1 == view.motions.size();
      mover(view.motions[k])
          .moves.push_back({here, last ? &buffers[v].host : here + 1,
                            plan->value(m.stride) * static_cast<ptrdiff_t>(size_of(view.dtype)),
                            m.phase, m.ring});
    }
  }
  // An operand is renewed by every loop that moves its view.
  for (size_t i = 0; i < operand_views.size(); ++i) {
    if (operand_views[i] == kNoView) continue;
    const auto v = static_cast<size_t>(operand_views[i]);
    for (int32_t m : program.views[v].motions)
      mover(m).operands.push_back({&operands[i], &buffers[v].host});
  }
}

void Executor::Binding::add_operands(const Program& program, const std::vector<ViewId>& views,
                                     std::vector<ViewId>& operand_views) {
  for (ViewId id : views) {
    operand_views.push_back(id);
    if (id == kNoView) {
      operands.emplace_back();
      continue;
    }
    const std::span<const int64_t> dims = extents(id);
    operands.push_back(Tensor::borrow(program.views[static_cast<size_t>(id)].dtype,
                                      {dims.begin(), dims.end()}, buffer(id).host, nullptr));
  }
}

void Executor::Binding::make_steps(const Program& program,
                                   const std::vector<KernelFunction>& functions, void** context) {
  size_t argument_count = 0, operand_count = 0;
  for (size_t i = 0; i < program.steps.size(); ++i) {
    const Step& step = program.steps[i];
    if (step.kind == Step::Kind::kernel)
      argument_count +=
          1 + step.alternatives[static_cast<size_t>(plan->alternatives[i])].arguments.size();
    if (step.kind == Step::Kind::host) operand_count += step.inputs.size() + step.outputs.size();
  }
  // Reserved in full, because steps keep pointers into both.
  arguments.reserve(argument_count);
  operands.reserve(operand_count);
  std::vector<ViewId> operand_views;
  for (size_t i = 0; i < program.steps.size(); ++i) {
    const Step& step = program.steps[i];
    ReadyStep& ready = steps.emplace_back();
    ready.step = &step;
    if (step.kind == Step::Kind::kernel) {
      const auto& choice = step.alternatives[static_cast<size_t>(plan->alternatives[i])];
      ready.kernel = functions[static_cast<size_t>(choice.kernel)];
      ready.arguments = arguments.data() + arguments.size();
      arguments.push_back(static_cast<void*>(context));
      for (ViewId id : choice.arguments) arguments.push_back(&buffer(id));
    } else if (step.kind == Step::Kind::host) {
      ready.host = find_host_op(step.host_op)->function;
      ready.attributes = &plan->attributes[i];
      Tensor* begin = operands.data() + operands.size();
      add_operands(program, step.inputs, operand_views);
      add_operands(program, step.outputs, operand_views);
      ready.host_inputs = {begin, step.inputs.size()};
      ready.host_outputs = {begin + step.inputs.size(), step.outputs.size()};
    } else if (step.kind == Step::Kind::fill && !step.outputs.empty()) {
      store_scalar(program.views[static_cast<size_t>(step.outputs[0])].dtype, step.fill,
                   &ready.fill);
    }
  }
  make_movers(program, operand_views);
  make_patches(program, operand_views);
}

void Executor::Binding::make_patches(const Program& program,
                                     std::span<const ViewId> operand_views) {
  const auto add = [&](ViewId id, Tensor* operand) {
    const View& view = program.views[static_cast<size_t>(id)];
    const Storage& storage = program.storages[static_cast<size_t>(view.storage)];
    const Patch patch{storage.value,
                      static_cast<size_t>(plan->value(view.offset)) * size_of(view.dtype),
                      start_of(program, id), view.motions.empty() ? operand : nullptr};
    if (storage.kind == Storage::Kind::input) input_patches.push_back(patch);
    if (storage.kind == Storage::Kind::output) output_patches.push_back(patch);
  };
  for (size_t v = 0; v < program.views.size(); ++v) add(static_cast<ViewId>(v), nullptr);
  for (size_t i = 0; i < operand_views.size(); ++i)
    if (operand_views[i] != kNoView) add(operand_views[i], &operands[i]);
}

void Executor::Binding::set_ports(std::span<const Tensor> inputs, std::span<Tensor> outputs) {
  alignas(kBufferAlignment) static const std::byte nothing[kBufferAlignment] = {};
  const auto apply = [](const Patch& p, const void* base) {
    // Kernels take a null pointer for a bounds query, and an empty tensor may have one.
    *p.host = base == nullptr ? at(nothing, 0) : at(base, p.byte_offset);
    if (p.operand != nullptr) p.operand->repoint(*p.host);
  };
  for (const Patch& p : input_patches) apply(p, inputs[static_cast<size_t>(p.port)].data());
  for (const Patch& p : output_patches) apply(p, outputs[static_cast<size_t>(p.port)].data());
}

size_t Executor::Binding::bytes(const Program& program, ViewId id) const {
  size_t n = size_of(program.views[static_cast<size_t>(id)].dtype);
  for (int64_t e : extents(id)) n *= static_cast<size_t>(e);
  return n;
}

// A recording holds addresses: those of the arenas and of staged ports stay what they are.
void Executor::Binding::find_device_steps(const Program& program) {
  recordable = true;
  const auto stays = [&](ViewId id) {
    const auto storage = static_cast<size_t>(program.views[static_cast<size_t>(id)].storage);
    const Storage& s = program.storages[storage];
    return s.device || s.kind == Storage::Kind::input || s.kind == Storage::Kind::output;
  };
  for (size_t i = 0; i < steps.size(); ++i) {
    const Step& step = *steps[i].step;
    if (step.kind == Step::Kind::kernel) {
      const auto& choice = step.alternatives[static_cast<size_t>(plan->alternatives[i])];
      steps[i].device = !choice.arguments.empty() && on_device(program, choice.arguments.front());
    } else if (step.kind == Step::Kind::copy) {
      const ViewId from = step.inputs[0], to = step.outputs[0];
      steps[i].device = on_device(program, from) || on_device(program, to);
      recordable = recordable && stays(from) && stays(to);
    } else if (step.kind == Step::Kind::loop) {
      const Step::Control& c = step.control;
      recordable =
          recordable && c.trip_count == kNoView && c.condition == kNoView && c.trip == kNoView;
      continue;
    } else if (step.kind == Step::Kind::library) {
      continue;  // the library queues its work, or the steps behind this one do
    }
    recordable = recordable && steps[i].device;
  }
}

LibraryOperand Executor::Binding::library_operand(const Program& program, ViewId id) {
  if (id == kNoView) return {};
  return {extents(id), strides(id), &buffer(id).host,
          !program.views[static_cast<size_t>(id)].motions.empty(),
          program.views[static_cast<size_t>(id)].dtype};
}

void Executor::Binding::prepare_libraries(const Program& program, CudaQueue& queue) {
  for (size_t i = 0; i < steps.size(); ++i) {
    const Step& step = *steps[i].step;
    if (step.kind != Step::Kind::library) continue;
    LibraryUse& note = library_uses.emplace_back();
    note.step = static_cast<int32_t>(i);
    note.library = library_name(step.library);
    const auto operand = [&](ViewId id) { return library_operand(program, id); };
    const LibraryOperands bound = {operand(step.inputs[0]),        operand(step.inputs[1]),
                                   operand(step.inputs[2]),        operand(step.inputs[3]),
                                   operand(step.outputs[0]),       &buffer(step.outputs[1]).host,
                                   bytes(program, step.outputs[1])};
    queue.use_lane(static_cast<size_t>(plan->lanes.lane_of(i)));
    const auto is_empty = [&](ViewId id) { return bytes(program, id) == 0; };
    if (is_empty(step.inputs[0]) || is_empty(step.inputs[1]) || is_empty(step.outputs[0])) {
      note.problem = "a tensor is empty";
      continue;
    }
    auto made = prepare_library_call(step.library, bound, queue);
    if (made.ok()) steps[i].library = std::move(made).value();
    else note.problem = made.status().message();
  }
  queue.use_lane(0);
}

Tensor Executor::Binding::copy_out(const Program& program, ViewId id) const {
  const View& view = program.views[static_cast<size_t>(id)];
  const std::span<const int64_t> dims = extents(id);
  Tensor t = Tensor::empty(view.dtype, {dims.begin(), dims.end()});
  std::vector<int64_t> dense(dims.size(), 1);
  for (size_t i = dims.size(); i-- > 1;) dense[i - 1] = dense[i] * dims[i];
  strided_copy(dims, t.mutable_data(), dense, buffers[static_cast<size_t>(id)].host, strides(id),
               size_of(view.dtype));
  return t;
}

}  // namespace tintype
