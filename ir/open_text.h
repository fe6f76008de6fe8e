// Opening files of text.
#pragma once

#include <fstream>
#include <string>

namespace tintype {

/// Opens a file to read it as text. Throws Error naming it and what is wrong: it is not there, may
/// not be read, or is a folder.
std::ifstream open_text(const std::string& path);

}  // namespace tintype
