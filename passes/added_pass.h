// Which passes are not Tintype's own.
#pragma once

#include "passes/pass.h"

namespace tintype {

/// True for a pass that register_passes added, patterns excepted: what it does wrong is no defect
/// of Tintype.
bool is_added(const Pass& pass);

}  // namespace tintype
