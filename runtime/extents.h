// Extent expressions of a Program: their values for given symbols, and their text.
#pragma once

#include "runtime/program.h"
#include "runtime/status.h"

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace tintype {

/// Values of all expressions, in order, for one value per symbol. Overflow and division by zero are
/// invalid_argument: only the caller's extents can cause them.
Result<std::vector<int64_t>> evaluate_expressions(const Program& program,
                                                  std::span<const int64_t> symbols);

/// The expression as people write it: "N", "224", "(H+2)/2".
std::string format_expression(const Program& program, ExprId id);
/// The type of a port with symbols in place: "f32[N,3,224,224]".
std::string format_type(const Program& program, const Port& port);
/// "N=8, H=224", or "no symbols".
std::string format_symbols(const Program& program, std::span<const int64_t> values);

}  // namespace tintype
