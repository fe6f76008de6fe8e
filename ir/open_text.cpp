// A folder opens as a file does, and then has nothing to read.
#include "ir/open_text.h"

#include "ir/diagnostic.h"

#include <cerrno>
#include <cstring>
#include <filesystem>

namespace tintype {

std::ifstream open_text(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string why = file ? "" : std::strerror(errno);
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored))
    throw Error(path + ": is a folder, expected a file");
  if (!file) throw Error(path + ": cannot be opened: " + why);
  return file;
}

}  // namespace tintype
