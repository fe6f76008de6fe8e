// Where a constant of a model comes from, as far as its file tells: what training may change
// depends on it (frontend/train/parameters.h).
#pragma once

#include "ir/graph.h"

#include <optional>
#include <string_view>

namespace tintype {

enum class ConstantSource : uint8_t {
  initializer,  ///< a weight as far as the file says
  literal,      ///< the value of a Constant node: part of a formula, or a weight that was put there
  buffer,       ///< what the exporter says is no parameter
};

/// The name that attributes and files have for it.
std::string_view name_of(ConstantSource source);
std::optional<ConstantSource> parse_constant_source(std::string_view name);

/// Of a node that is a constant; initializer where nothing is known.
ConstantSource source_of(const Node& constant);
void set_source(Node& constant, ConstantSource source);

}  // namespace tintype
