// Finds work on different streams that touches the same bytes, one of them writing, with nothing
// that orders the two.
//
// Streams, the host and the branches of a recorded graph are lines: what one line does happens in
// order. A clock says how much of each line comes before a point. Every byte remembers who wrote it
// last and who has read it since.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

namespace tintype {

/// Per line: how many pieces of its work come before. Lines behind the end have none.
class Clock {
 public:
  uint32_t operator[](size_t line) const { return line < counts_.size() ? counts_[line] : 0; }
  void set(size_t line, uint32_t count) {
    if (line >= counts_.size()) counts_.resize(line + 1, 0);
    counts_[line] = count;
  }
  void merge(const Clock& other) {
    for (size_t i = 0; i < other.counts_.size(); ++i)
      if (other.counts_[i] > (*this)[i]) set(i, other.counts_[i]);
  }
  size_t lines() const { return counts_.size(); }

 private:
  std::vector<uint32_t> counts_;
};

class Races {
 public:
  /// A new line, numbered from 0.
  size_t add_line() { return lines_++; }
  /// Work number `number` of a line, from 1, that comes behind `before`. Its own number.
  uint32_t add_work(std::string name, size_t line, uint32_t number, Clock before);
  /// The accesses from here on are of this work.
  void begin(uint32_t work);
  /// Null, or what is wrong with the access.
  const std::string* touch(uint64_t address, size_t bytes, bool write);
  /// The bytes belong to nobody any more.
  void forget(uint64_t address, size_t bytes);

 private:
  static constexpr size_t kPage = 4096;
  struct Work {
    std::string name;
    size_t line;
    uint32_t number;
    Clock before;
  };
  struct Byte {
    uint32_t writer = 0, readers = 0;
  };
  /// Until something writes to a page, its readers count as readers of all that was read.
  struct Page {
    std::unique_ptr<std::array<Byte, kPage>> bytes;
    uint32_t readers = 0;
    size_t first = kPage, end = 0;  ///< of the bytes read
  };

  bool is_before(uint32_t work) {
    if (work == 0 || work == current_ || work == known_before_) return true;
    const Work& w = works_[work];
    if (works_[current_].before[w.line] < w.number) return false;
    known_before_ = work;
    return true;
  }
  uint32_t with_current(uint32_t readers);
  bool touch_byte(Byte& b, bool write);
  bool fail(uint32_t other, const char* is, const char* was);
  Page& page_of(uint64_t address);

  size_t lines_ = 0;
  std::vector<Work> works_{1};  ///< number 0 is nobody
  uint32_t current_ = 0, known_before_ = 0;
  std::unordered_map<uint64_t, Page> pages_;
  uint64_t last_number_ = UINT64_MAX;
  Page* last_page_ = nullptr;
  std::vector<std::vector<uint32_t>> sets_{1};         ///< of readers; number 0 is empty
  std::unordered_map<uint32_t, uint32_t> with_known_;  ///< per set: the one with the current work
  std::string problem_;
};

}  // namespace tintype
