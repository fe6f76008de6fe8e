// Plain C++ evaluation of core ops: constant folding, shape arithmetic and the slow path at run
// time.
#pragma once

#include "runtime/attributes.h"
#include "runtime/status.h"
#include "runtime/tensor.h"

#include <span>
#include <string_view>

namespace tintype {

/// One evaluation. Inputs are contiguous; an absent optional input is an undefined Tensor.
/// Outputs arrive allocated with the inferred dtype and dims, and are to be filled completely.
struct HostCall {
  std::span<const Tensor> inputs;
  std::span<Tensor> outputs;
  const Attributes& attributes;
};

using HostFunction = Status (*)(const HostCall&);

/// Element type of the first result.
enum class HostResult : uint8_t {
  like_first,  ///< that of the first input
  boolean,
  index,  ///< i64
  free,   ///< what the call's output says
};

struct HostOp {
  std::string_view name;  ///< core op name, "add"
  HostFunction function;
  int min_inputs = 1, max_inputs = 1;  ///< max_inputs -1: any number
  int max_outputs = 1;  ///< at least one is always there; a second is i64, unless `result` is free
  HostResult result = HostResult::like_first;
};

/// The evaluation of a core op, or null when the op has none. Thread-safe.
const HostOp* find_host_op(std::string_view name);
/// Adds host ops of other libraries and of plugins, named "domain::Name". The table must live until
/// the program ends. Fails when a name has no domain or belongs to another op. Thread-safe.
Status register_host_ops(std::span<const HostOp> ops);
/// All built-in host ops, in no promised order.
std::span<const HostOp> all_host_ops();

}  // namespace tintype
