// The ops of this plugin.
#pragma once

namespace acme {

void add_ops();

}  // namespace acme
