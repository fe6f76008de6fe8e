// Penalties, projections and gradient clipping as graph fragments.
#pragma once

#include "ir/builder.h"

#include <vector>

namespace tintype {

/// l1 sum |w| + l2 sum w^2 over all elements of the weights, a scalar; null when nothing is
/// penalised.
Value* add_penalty(Builder& b, const std::vector<Value*>& weights, double l1, double l2);

/// Limits of gradients; 0 means none. They apply in the order of the fields.
struct Clipping {
  double value = 0;        ///< of each element (torch.nn.utils.clip_grad_value_)
  double norm = 0;         ///< of each tensor: g min(1, norm / (|g| + 1e-6))
  double global_norm = 0;  ///< of all tensors together (torch.nn.utils.clip_grad_norm_)
};

/// Euclidean norm of all tensors taken together, an f32 scalar.
Value* global_norm(Builder& b, const std::vector<Value*>& tensors);

struct ClippedGradients {
  std::vector<Value*> gradients;  ///< null entries stay null
  Value* global_norm = nullptr;   ///< before the last clipping; null where that is not asked for
};
ClippedGradients clip_gradients(Builder& b, std::vector<Value*> gradients, const Clipping& limits);

/// w with every unit (slice of `unit_axis`) of a norm above `limit` scaled down to it: w limit /
/// (|unit| + 1e-7), as torch.renorm has it (Srivastava et al. 2014, Dropout, section 5.1).
Value* project_max_norm(Builder& b, Value* w, int unit_axis, double limit);

}  // namespace tintype
