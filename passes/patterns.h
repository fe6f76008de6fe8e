// Questions about shapes, permutations and constants that several passes ask.
#pragma once

#include "ir/builder.h"
#include "ir/graph.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace tintype {

using Perm = std::vector<int64_t>;

bool is_identity(const Perm& perm);
/// result[perm[i]] = i
Perm inverse(const Perm& perm);
/// transpose(transpose(x, first), second) = transpose(x, composed(first, second))
Perm composed(const Perm& first, const Perm& second);
Shape permuted(const Shape& shape, const Perm& perm);
/// True when all axes whose extent is not 1 keep their order, so that the elements do too.
bool moves_only_ones(const Shape& shape, const Perm& perm);

/// The one element of a constant (or the common one of all its elements) as a number, if it has
/// one.
std::optional<double> constant_splat(const Value* v);
/// Every extent is 1.
bool is_one_element(const Value* v);
/// True when all operands on the way up are constants.
bool depends_on_constants_only(const Value* v);

/// What a value is, for explanations: "graph input 'x'", "a constant", "conv1 (Conv)".
std::string described(const Value& v);
/// Number and names of its users, for explanations: "2 users (bn1, graph output)".
std::string users_text(const Value& v);

/// Replaces all uses of a result; hands over the name and drops the node.
void replace_node(Graph& graph, Node& node, Value* now);

}  // namespace tintype
