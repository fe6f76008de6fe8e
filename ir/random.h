// Random numbers as graph values: counter-based, so the same seed, step and node give the same
// numbers on every machine and any number of threads.
#pragma once

#include "ir/builder.h"

namespace tintype {

/// Uniform in [0, 1): multiples of 2^-24 (2^-11 for f16, 2^-8 for bf16). `seed`: one i64 element,
/// or null for the graph's seed (see set_random_state). Every call draws from a stream of its own.
Value* random_uniform(Builder& b, const Shape& shape, DType dtype, Value* seed = nullptr);
/// Normal with mean 0 and variance 1, at most 5.8 in magnitude.
Value* random_normal(Builder& b, const Shape& shape, DType dtype, Value* seed = nullptr);
/// Makes all random numbers of the graph depend on `step` and, where no seed is set yet, on `seed`:
/// single i64 elements that precede all nodes, inputs for example. Until then both are 0.
void set_random_state(Graph& graph, Value* seed, Value* step);

}  // namespace tintype
