// The ops of this plugin.
#pragma once

namespace acme {

void add_ops();      // ops.cpp
void add_kernels();  // kernels.cpp

}  // namespace acme
