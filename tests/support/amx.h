// Whether tests compile for AMX.
#pragma once

#include <cstdlib>
#include <string>

namespace tintype::test {

/// Compiles for AMX, or not, whatever the CPU has.
class WithAmx {
 public:
  explicit WithAmx(const char* wish) {
    if (const char* old = std::getenv("TINTYPE_AMX")) before_ = old;
    setenv("TINTYPE_AMX", wish, 1);
  }
  ~WithAmx() {
    if (before_.empty()) unsetenv("TINTYPE_AMX");
    else setenv("TINTYPE_AMX", before_.c_str(), 1);
  }
  WithAmx(const WithAmx&) = delete;
  WithAmx& operator=(const WithAmx&) = delete;

 private:
  std::string before_;
};

}  // namespace tintype::test
