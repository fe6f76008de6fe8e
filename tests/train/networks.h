// The networks and the data of make_training_fixtures.py.
#pragma once

#include "ir/graph.h"
#include "runtime/tensor.h"

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace tintype::test {

/// f32 elements low + (high - low) u, u from SplitMix64.
Tensor uniform_tensor(uint64_t seed, const std::vector<int64_t>& dims, double low, double high);

/// "mlp", "lenet" or "normed", batch N, input "x", output "y", with the script's weights.
std::unique_ptr<Graph> make_network(const std::string& name);
/// The script's examples: "x" and "target".
std::map<std::string, Tensor> make_examples(const std::string& name, int64_t count);

}  // namespace tintype::test
