// Compiled kernels on disk, found again by everything that decided their code.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tintype {

/// A folder of kernel objects, private to the user. Safe for several threads and processes at once.
/// Entries are written atomically, hold their full key and a checksum; anything that does not match
/// is ignored and written again.
class KernelCache {
 public:
  /// `directory` empty: nothing is stored. A folder that is missing is made with mode 0700; one
  /// that others could write to is not used, and `problem` says why.
  explicit KernelCache(std::string directory);
  /// TINTYPE_CACHE_DIR, else XDG_CACHE_HOME/tintype, else HOME/.cache/tintype.
  static std::string default_directory();

  std::optional<std::vector<char>> load(std::string_view key) const;
  /// False, with `problem` set, when the entry could not be written; the program goes on without.
  bool store(std::string_view key, const std::vector<char>& object);
  const std::string& problem() const { return problem_; }
  const std::string& directory() const { return directory_; }

 private:
  std::string path_of(std::string_view key) const;
  std::string directory_;
  std::string problem_;
};

}  // namespace tintype
