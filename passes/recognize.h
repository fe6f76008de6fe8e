// The recognize-* passes, as the text of patterns.
#pragma once

#include <string_view>

namespace tintype {

/// In the language of docs/patterns.md; the names are those of the passes.
std::string_view recognize_patterns();
/// Makes passes of them, once.
void register_recognize_passes();

}  // namespace tintype
