// The accidents.
#include "tests/damage/damage.h"

#include <algorithm>
#include <cctype>
#include <cstring>
#include <iterator>

namespace tintype::test {

namespace {

constexpr uint64_t kNumbers[] = {0,
                                 1,
                                 2,
                                 0x7f,
                                 0x80,
                                 0xff,
                                 0x7fff,
                                 0xffff,
                                 0x10000,
                                 0x7fffffff,
                                 0x80000000,
                                 0xffffffff,
                                 0x100000000,
                                 0x1fffffffffffffff,
                                 0x4000000000000000,
                                 0x7fffffffffffffff,
                                 0x8000000000000000,
                                 0xfffffffffffffff8,
                                 0xffffffffffffffff};

constexpr const char* kDigits[] = {"0",
                                   "-1",
                                   "1",
                                   "65536",
                                   "2147483647",
                                   "4294967296",
                                   "1000000000000",
                                   "4611686018427387904",
                                   "9223372036854775807",
                                   "-9223372036854775808",
                                   "18446744073709551615",
                                   "99999999999999999999999",
                                   "1e308",
                                   "-1e999",
                                   "nan",
                                   "0.5"};

bool is_digit(char c) { return std::isdigit(static_cast<unsigned char>(c)) != 0; }

}  // namespace

/// A number of 1, 2, 4 or 8 bytes, in either order: what lengths and extents are in binary files.
void Damage::overwrite_number(std::string& bytes) {
  const size_t width = size_t{1} << below(4);
  if (bytes.size() < width) return;
  const uint64_t number = kNumbers[below(std::size(kNumbers))];
  char stored[8];
  std::memcpy(stored, &number, sizeof stored);
  if (below(2) == 0) std::reverse(stored, stored + width);
  bytes.replace(below(bytes.size() - width + 1), width, stored, width);
}

/// A run of digits: what they are in text.
void Damage::overwrite_digits(std::string& bytes) {
  if (bytes.empty()) return;
  auto first = std::find_if(bytes.begin() + static_cast<std::ptrdiff_t>(below(bytes.size())),
                            bytes.end(), is_digit);
  if (first == bytes.end()) first = std::find_if(bytes.begin(), bytes.end(), is_digit);
  const auto last = std::find_if_not(first, bytes.end(), is_digit);
  bytes.replace(first, last, kDigits[below(std::size(kDigits))]);
}

/// A piece again and again: lists that do not end, brackets in brackets.
void Damage::repeat(std::string& bytes) {
  if (bytes.empty()) return;
  const size_t at = below(bytes.size());
  const std::string piece = bytes.substr(at, 1 + below(24));
  const size_t most = below(8) == 0 ? 60'000 : 400;
  std::string many;
  while (many.size() + piece.size() <= most) many += piece;
  bytes.insert(at, many);
}

void Damage::strike(std::string& bytes) {
  const auto at = [&] { return bytes.empty() ? 0 : below(bytes.size()); };
  switch (below(10)) {
    case 0:
      if (!bytes.empty()) bytes[at()] ^= static_cast<char>(1u << below(8));
      break;
    case 1:
      if (!bytes.empty()) bytes[at()] = static_cast<char>(random_());
      break;
    case 2: bytes.resize(at()); break;
    case 3: bytes.insert(at(), 1 + below(8), static_cast<char>(random_())); break;
    case 4: bytes.erase(at(), 1 + below(8)); break;
    case 5: {  // a piece of this file or another in the place of what was there
      const std::string& other = whole_[below(whole_.size())];
      const std::string piece = other.substr(below(other.size()), 1 + below(64));
      bytes.replace(at(), below(2) == 0 ? 0 : piece.size(), piece);
      break;
    }
    case 6:
    case 7: overwrite_number(bytes); break;
    case 8: overwrite_digits(bytes); break;
    default: repeat(bytes);
  }
}

std::string Damage::next() {
  std::string bytes = whole_[below(whole_.size())];
  size_t most = 0;
  for (const std::string& w : whole_) most = std::max(most, w.size());
  for (size_t i = 0, accidents = 1 + below(4); i < accidents; ++i) strike(bytes);
  bytes.resize(std::min(bytes.size(), 4 * most + (64 << 10)));
  return bytes;
}

}  // namespace tintype::test
