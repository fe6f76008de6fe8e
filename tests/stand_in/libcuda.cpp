// The stand-in for a CUDA device as a libcuda.so.1 of its own, for programs that load the driver by
// name: LD_LIBRARY_PATH=build/release/tests/stand_in tintype run model.tt.
//
// TINTYPE_STAND_IN=unchecked counts launches without running them. What goes wrong inside kernels
// is written to standard error when the program ends, and ends it with 86.
#include "tests/support/cuda/stand_in.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

using tintype::CudaDriver;

class Device {
 public:
  Device() : stand_in_(settings()) {}
  ~Device() {
    if (stand_in_.problem().empty()) return;
    std::fprintf(stderr, "stand-in for CUDA: %s\n", stand_in_.problem().c_str());
    std::fflush(nullptr);
    std::_Exit(86);
  }
  const CudaDriver& driver() const { return stand_in_.driver(); }

 private:
  static tintype::CudaStandIn::Settings settings() {
    tintype::CudaStandIn::Settings s;
    const char* how = std::getenv("TINTYPE_STAND_IN");
    s.interpret = how == nullptr || std::strcmp(how, "unchecked") != 0;
    return s;
  }
  tintype::CudaStandIn stand_in_;
};

const CudaDriver& driver() {
  static const Device device;
  return device.driver();
}

template <auto Member, typename Function>
struct Forward;
template <auto Member, typename... Arguments>
struct Forward<Member, int(Arguments...)> {
  static int call(Arguments... arguments) { return (driver().*Member)(arguments...); }
};

}  // namespace

// A function of every name in the table, which the loader finds by asking for its address.
#define TINTYPE_EXPORT(member, symbol, ...)                                \
  extern "C" CudaDriver::member##_type* resolve_##member() {               \
    return &Forward<&CudaDriver::member, CudaDriver::member##_type>::call; \
  }                                                                        \
  extern "C" CudaDriver::member##_type exported_##member __asm__(symbol)   \
      __attribute__((ifunc("resolve_" #member), visibility("default")));
TINTYPE_CUDA_DRIVER(TINTYPE_EXPORT)
#undef TINTYPE_EXPORT
