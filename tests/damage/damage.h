// What happens to files: bytes that flip, ends that are missing, pieces of other files, lengths
// that promise the moon.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

namespace tintype::test {

/// Draws damaged versions of whole files from a seed: the same ones every time.
class Damage {
 public:
  Damage(std::vector<std::string> whole, uint64_t seed) : whole_(std::move(whole)), random_(seed) {}

  /// One of the files after one to four accidents. Never longer than four times the longest, plus
  /// 64 KiB.
  std::string next();

 private:
  size_t below(size_t n) { return static_cast<size_t>(random_() % n); }
  void strike(std::string& bytes);
  void overwrite_number(std::string& bytes);
  void overwrite_digits(std::string& bytes);
  void repeat(std::string& bytes);

  std::vector<std::string> whole_;
  std::mt19937_64 random_;
};

}  // namespace tintype::test
