// The stand-in for a CUDA device as a libcuda.so.1 of its own, for programs that load the driver by
// name: LD_LIBRARY_PATH=build/release/tests/stand_in tintype run model.tt.
//
// It also has the functions of cuBLASLt and cuDNN; libraries of these names, which are empty but
// for needing this one, lie in a folder of their own (build/release/tests/stand_in_libraries).
//
// TINTYPE_STAND_IN=unchecked counts launches without running them. TINTYPE_STAND_IN_TRAFFIC=FILE
// writes what each kernel moved (traffic.h); with TINTYPE_STAND_IN_BLOCKS=N so many blocks of each
// launch run and no more: results mean nothing then, and large networks take seconds. What goes
// wrong inside kernels is written to standard error when the program ends, and ends it with 86.
#include "tests/support/cuda/stand_in.h"
#include "tests/support/cuda/traffic.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>

namespace {

using tintype::CudaDriver;

class Device {
 public:
  Device() : stand_in_(settings()) {}
  ~Device() {
    if (const char* file = std::getenv("TINTYPE_STAND_IN_TRAFFIC"))
      std::ofstream(file) << traffic_.table();
    if (stand_in_.problem().empty()) return;
    std::fprintf(stderr, "stand-in for CUDA: %s\n", stand_in_.problem().c_str());
    std::fflush(nullptr);
    std::_Exit(86);
  }
  const CudaDriver& driver() const { return stand_in_.driver(); }

 private:
  static size_t blocks() {
    const char* text = std::getenv("TINTYPE_STAND_IN_BLOCKS");
    return text == nullptr ? 0 : std::strtoul(text, nullptr, 10);
  }
  tintype::CudaStandIn::Settings settings() {
    tintype::CudaStandIn::Settings s;
    if (std::getenv("TINTYPE_STAND_IN_TRAFFIC") != nullptr) s.traffic = &traffic_;
    const char* how = std::getenv("TINTYPE_STAND_IN");
    s.interpret = how == nullptr || std::strcmp(how, "unchecked") != 0;
    return s;
  }
  tintype::ptx::Traffic traffic_{blocks(), blocks() > 0};
  tintype::CudaStandIn stand_in_;
};

const CudaDriver& driver() {
  static const Device device;
  return device.driver();
}

/// A table, once there is a device behind it.
template <typename Table>
const Table& table();
template <>
const CudaDriver& table() {
  return driver();
}
template <>
const tintype::CublasLt& table() {
  driver();
  return tintype::CudaStandIn::cublaslt();
}
template <>
const tintype::Cudnn& table() {
  driver();
  return tintype::CudaStandIn::cudnn();
}

template <typename Table, auto Member, typename Function>
struct Forward;
template <typename Table, auto Member, typename R, typename... Arguments>
struct Forward<Table, Member, R(Arguments...)> {
  static R call(Arguments... arguments) { return (table<Table>().*Member)(arguments...); }
};

}  // namespace

// A function of every name in the table, which the loader finds by asking for its address.
#define TINTYPE_EXPORT_FROM(table, prefix, member, symbol)                     \
  extern "C" table::member##_type* resolve_##prefix##_##member() {             \
    return &Forward<table, &table::member, table::member##_type>::call;        \
  }                                                                            \
  extern "C" table::member##_type exported_##prefix##_##member __asm__(symbol) \
      __attribute__((ifunc("resolve_" #prefix "_" #member), visibility("default")));
#define TINTYPE_EXPORT(member, symbol, ...) TINTYPE_EXPORT_FROM(CudaDriver, driver, member, symbol)
#define TINTYPE_EXPORT_LT(member, function, ...) \
  TINTYPE_EXPORT_FROM(tintype::CublasLt, lt, member, #function)
#define TINTYPE_EXPORT_DNN(member, function, ...) \
  TINTYPE_EXPORT_FROM(tintype::Cudnn, dnn, member, #function)
TINTYPE_CUDA_DRIVER(TINTYPE_EXPORT)
TINTYPE_CUBLASLT(TINTYPE_EXPORT_LT)
TINTYPE_CUDNN(TINTYPE_EXPORT_DNN)
#undef TINTYPE_EXPORT_DNN
#undef TINTYPE_EXPORT_LT
#undef TINTYPE_EXPORT
#undef TINTYPE_EXPORT_FROM
