// Pictures of graphs through Graphviz.
#pragma once

#include "ir/graph.h"

#include <string>

namespace tintype {

/// Graphviz source: regions as boxes coloured by what anchors them, with the ops inside and the
/// model's node names; tensors as labelled edges. Constants are left out.
std::string to_dot(const Graph& graph);
/// Runs `dot`; throws Error when it is not installed or fails. The file is written whole or not at
/// all.
void render_svg(const std::string& dot, const std::string& path);

}  // namespace tintype
