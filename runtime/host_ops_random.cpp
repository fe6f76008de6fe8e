// Host evaluation of random bits.
#include "runtime/host_broadcast.h"
#include "runtime/host_families.h"
#include "runtime/host_shapes.h"
#include "runtime/philox.h"

namespace tintype {

namespace {

/// The only element of an optional integer operand; 0 when it is absent.
Result<uint64_t> optional_word(const HostCall& call, size_t i) {
  if (i >= call.inputs.size() || !call.inputs[i].defined()) return uint64_t{0};
  const auto value = read_integers(call.inputs[i]);
  if (!value || value->size() != 1)
    return invalid_argument("expected one integer, got " + call.inputs[i].type_string());
  return static_cast<uint64_t>(value->front());
}

// Word i of the result is word i % 4 of block i / 4; see the record of random_bits.
Status random_bits(const HostCall& call) {
  const Result<uint64_t> seed = optional_word(call, 0), step = optional_word(call, 1);
  if (!seed.ok()) return seed.status();
  if (!step.ok()) return step.status();
  Tensor& out = call.outputs[0];
  if (out.dtype() != DType::u32)
    return {StatusCode::internal, "the result is " + out.type_string() + ", expected u32"};
  const auto low = [](uint64_t v) { return static_cast<uint32_t>(v); };
  const auto high = [](uint64_t v) { return static_cast<uint32_t>(v >> 32); };
  const philox::Key key = {low(seed.value()), high(seed.value())};
  const uint32_t stream = low(static_cast<uint64_t>(call.attributes.integer("stream", 0)));
  auto* to = static_cast<uint32_t*>(out.mutable_data());
  parallel_for(out.size(), kHostGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const philox::Block block = {low(static_cast<uint64_t>(i) / 4), stream, low(step.value()),
                                   high(step.value())};
      to[i] = philox::words(block, key)[static_cast<size_t>(i % 4)];
    }
  });
  return {};
}

constexpr HostOp kOps[] = {{"random_bits", random_bits, 0, 2, 1, HostResult::free}};

}  // namespace

std::span<const HostOp> random_host_ops() { return kOps; }

}  // namespace tintype
