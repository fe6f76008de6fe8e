// The part of binding that is about the CUDA device: lanes, and the arena that goes with them.
#pragma once

#include "runtime/arena.h"
#include "runtime/plan.h"

#include <span>

namespace tintype {

/// True when something of the program lies on a CUDA device.
bool uses_device(const Program& program);

/// Spreads the steps over at most `streams` lanes where that is reckoned to be faster, and places
/// the buffers on the device (`buffers`: per storage of the program, without bytes for all others).
/// What is reckoned to run at the same time shares no memory; what shares memory waits. Of the
/// plan, values, alternatives and offsets of the host's arena must be there.
void plan_device(const Program& program, std::span<const Lifetime> buffers, int32_t streams,
                 Plan& plan);

}  // namespace tintype
