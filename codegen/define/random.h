// Random bits as expressions: Philox4x32-10 (Salmon et al. 2011), as in runtime/philox.h.
#pragma once

#include <Halide.h>

namespace tintype {

/// Word index % 4 of the block index / 4 of a stream. `index` i32, not negative; `seed` and `step`
/// i64.
Halide::Expr random_word(const Halide::Expr& index, uint32_t stream, const Halide::Expr& seed,
                         const Halide::Expr& step);

}  // namespace tintype
