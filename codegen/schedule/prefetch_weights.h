// Prefetching of packed weights: while a register tile runs, the panel after its own arrives.
#pragma once

#include "codegen/compose.h"

namespace tintype {

/// Has the pipeline ask for weights ahead of their use. A panel of weights is used for several
/// tiles in turn, so that only the first of them would wait for memory and the others leave it
/// idle. Instead every tile fetches its share of the panel that follows in memory: spec.prefetch
/// lines per step of the innermost reduction loop. Results do not change. Addresses behind the last
/// panel are harmless: a prefetch never faults. Where the loops of schedule_contraction are not
/// found, nothing is added.
void prefetch_weights(Halide::Pipeline& pipeline, const Composition& c, const KernelSpec& spec);

}  // namespace tintype
