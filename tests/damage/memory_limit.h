// A limit on what a test may allocate: whoever asks for more gets none.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <fstream>
#include <sys/resource.h>
#include <unistd.h>

// Sanitizers reserve terabytes of addresses; where they are, their allocator does the limiting
// (damage_test.cpp).
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define TINTYPE_LIMITED_BY_SANITIZER 1
#endif

namespace tintype::test {

/// While this lives, the process may map this many bytes more than it has now.
class MemoryLimit {
 public:
  explicit MemoryLimit([[maybe_unused]] size_t bytes) {
    if (getrlimit(RLIMIT_AS, &before_) != 0) std::abort();
#ifndef TINTYPE_LIMITED_BY_SANITIZER
    size_t pages = 0;
    std::ifstream("/proc/self/statm") >> pages;
    rlimit limit = before_;
    limit.rlim_cur = pages * static_cast<size_t>(sysconf(_SC_PAGESIZE)) + bytes;
    if (setrlimit(RLIMIT_AS, &limit) != 0) std::abort();
#endif
  }
  ~MemoryLimit() { setrlimit(RLIMIT_AS, &before_); }
  MemoryLimit(const MemoryLimit&) = delete;
  MemoryLimit& operator=(const MemoryLimit&) = delete;

 private:
  rlimit before_{};
};

}  // namespace tintype::test
