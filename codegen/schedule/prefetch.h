// Prefetching in contractions: while a register tile runs, what it and its successors need arrives.
#pragma once

#include "codegen/compose.h"

namespace tintype {

/// Adds both kinds of prefetches to a pipeline that schedule_contraction or schedule_winograd_conv
/// has scheduled. Results do not change, and addresses outside a buffer are harmless: a prefetch
/// never faults. Where the loops of these schedules are not found, nothing is added.
///
/// Weights: a panel is used for several tiles in turn, so that only the first of them would wait
/// for memory and the others leave it idle. Instead every tile fetches its share of the panel that
/// follows in memory: spec.prefetch lines per step of the innermost reduction loop, none for 0.
///
/// Results: a tile's rows lie far apart, which the processor does not foresee. A store to a line
/// that is not in the first-level cache holds up those behind it, so the tile asks for the lines
/// that it is going to write, and for those that it is going to add, before its sums begin.
void prefetch_contraction(Halide::Pipeline& pipeline, const Composition& c, const KernelSpec& spec);

}  // namespace tintype
