// Clocks and shadows of bytes.
#include "tests/support/cuda/races.h"

#include <algorithm>
#include <utility>

namespace tintype {

uint32_t Races::add_work(std::string name, size_t line, uint32_t number, Clock before) {
  works_.push_back({std::move(name), line, number, std::move(before)});
  return static_cast<uint32_t>(works_.size() - 1);
}

void Races::begin(uint32_t work) {
  current_ = work;
  known_before_ = 0;
  with_known_.clear();
}

const std::string* Races::touch(uint64_t address, size_t bytes, bool write) {
  for (size_t i = 0; i < bytes;) {
    Page& page = page_of(address + i);
    const size_t at = (address + i) % kPage, end = std::min(kPage, at + bytes - i);
    if (page.bytes == nullptr && write) {
      page.bytes = std::make_unique<std::array<Byte, kPage>>();
      for (size_t k = page.first; k < page.end; ++k) (*page.bytes)[k].readers = page.readers;
    }
    if (page.bytes == nullptr) {
      page.readers = with_current(page.readers);
      page.first = std::min(page.first, at);
      page.end = std::max(page.end, end);
    } else
      for (size_t k = at; k < end; ++k)
        if (!touch_byte((*page.bytes)[k], write)) return &problem_;
    i += end - at;
  }
  return nullptr;
}

bool Races::touch_byte(Byte& b, bool write) {
  if (!is_before(b.writer)) return fail(b.writer, write ? "writes" : "reads", "writes");
  if (!write) {
    b.readers = with_current(b.readers);
    return true;
  }
  for (uint32_t reader : sets_[b.readers])
    if (!is_before(reader)) return fail(reader, "writes", "reads");
  b = {current_, 0};
  return true;
}

/// Readers that come before the current work are covered by it.
uint32_t Races::with_current(uint32_t readers) {
  const auto [it, fresh] = with_known_.emplace(readers, 0);
  if (!fresh) return it->second;
  std::vector<uint32_t> set;
  for (uint32_t r : sets_[readers])
    if (!is_before(r)) set.push_back(r);
  set.push_back(current_);
  sets_.push_back(std::move(set));
  const auto made = static_cast<uint32_t>(sets_.size() - 1);
  it->second = made;
  with_known_.emplace(made, made);
  return made;
}

bool Races::fail(uint32_t other, const char* is, const char* was) {
  problem_ = works_[current_].name + " " + is + " what " + works_[other].name + " " + was +
             " on another stream, and nothing orders the two";
  return false;
}

Races::Page& Races::page_of(uint64_t address) {
  const uint64_t number = address / kPage;
  if (number != last_number_) {
    last_number_ = number;
    last_page_ = &pages_[number];  // stays where it is when others are added
  }
  return *last_page_;
}

void Races::forget(uint64_t address, size_t bytes) {
  for (uint64_t n = address / kPage; n <= (address + bytes) / kPage; ++n) pages_.erase(n);
  last_number_ = UINT64_MAX;
}

}  // namespace tintype
