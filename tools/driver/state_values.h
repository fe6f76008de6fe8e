// Large initial values of states, held once instead of by graph, program and store.
#pragma once

#include "ir/graph.h"
#include "runtime/session.h"

#include <map>
#include <string>

namespace tintype {

/// Takes the initial values of large states out of a graph: what is compiled from it holds zeros in
/// their place, which take no memory as long as nobody writes to them.
std::map<std::string, Tensor> take_state_values(Graph& graph);
/// Writes taken values to the states of a session that were not in its store before; `present` are
/// the names that were, in alphabetical order. Throws Error.
void give_state_values(StateStore& store, const std::map<std::string, Tensor>& values,
                       const std::vector<std::string>& present = {});

}  // namespace tintype
