// Structural checks of a Program, whoever made it.
#pragma once

#include "runtime/program.h"
#include "runtime/status.h"

namespace tintype {

/// Checks that every index is in range, every expression refers to earlier ones, operand counts fit
/// the kind of step, host ops exist, nothing writes to constants or inputs, and planned storages
/// are used only within their lifetimes. After it, executing the program reads and writes nothing
/// outside its storages as long as binding succeeds. A failure is `internal` and names the part.
Status validate(const Program& program);

}  // namespace tintype
