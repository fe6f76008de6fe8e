// A CUDA driver for machines without one: keeps books, runs kernels by interpreting their PTX, and
// fails the call that it is told to.
//
// Work is queued and done when the queue is waited for, as late as a device may; host memory that
// is not pinned is read when the copy is asked for, pinned memory when it is done. So a missing
// wait, or staging memory that is reused too early, gives wrong values. Streams do no more than
// what is waited for, a recorded graph does its branches in an order of its own, and work on two
// streams that touches the same bytes with nothing to order it is an error (races.h). Device
// addresses point nowhere: the host crashes when it follows one.
#pragma once

#include "runtime/cuda/driver.h"
#include "runtime/cuda/libraries.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace tintype {

namespace ptx {
class Traffic;
}
struct StandInState;

class CudaStandIn {
 public:
  struct Settings {
    int capability = 90;
    int devices = 1;
    size_t memory = size_t{8} << 30;
    bool interpret = true;   ///< false: launches are checked and counted, results stay undefined
    bool libraries = false;  ///< there are a cuBLASLt and a cuDNN
    size_t library_workspace = 512;   ///< bytes that their algorithms want
    ptx::Traffic* traffic = nullptr;  ///< is told what kernels move
  };
  /// Takes the place of the machine's driver and libraries as long as it lives; there can be one at
  /// a time.
  CudaStandIn();
  explicit CudaStandIn(const Settings& settings);
  ~CudaStandIn();
  CudaStandIn(const CudaStandIn&) = delete;
  CudaStandIn& operator=(const CudaStandIn&) = delete;

  const CudaDriver& driver() const;
  /// Of libraries that compute on the host, in f32 or with operands rounded to TF32 as they are
  /// told; their calls count as calls of the driver do.
  static const CublasLt& cublaslt();
  static const Cudnn& cudnn();
  /// Names of the driver's functions in the order of the calls.
  const std::vector<std::string>& calls() const;
  size_t count(const std::string& function) const;
  void forget_calls();
  /// Lets call number `call` from here on, counted from 0, fail with `code`; it has no effect.
  void fail_call(size_t call, int code = 999);
  /// The same for the next call of one function.
  void fail_next(const std::string& function, int code = 999);
  void fail_nothing();

  /// Names of the kernels that were launched, in order.
  const std::vector<std::string>& launched() const;
  /// What went wrong inside kernels, or in the use of the driver; "" when nothing did.
  const std::string& problem() const;
  /// What was created and not given back: "2 blocks of memory, 1 stream"; "" when nothing.
  std::string leaks() const;
  size_t bytes_on_device() const;

 private:
  std::unique_ptr<StandInState> state_;
};

// For the stand-ins of libraries (stand_in_cublaslt.cpp, stand_in_cudnn.cpp).
namespace stand_in {

/// Counts a call of the function, and does `work` unless the call has to fail, with `failure`.
int enter(const char* function, int failure, const std::function<int()>& work);
/// Work on a stream, done when the stream is waited for. Less than 0: there is no such stream.
int enqueue(const char* name, void* stream, std::function<int()> work);
/// Memory of the device, null where there is none of that size.
std::byte* memory(const void* address, size_t bytes);
/// Notes an access beside what other streams do; 0 when nothing is wrong with it.
int touch(const void* address, size_t bytes, bool write);
/// Records what went wrong and returns the code.
int note(const std::string& what, int code);
size_t library_workspace();
bool interprets();
/// Counts what the libraries made and did not destroy.
int& objects();

/// A library's function that makes an object, and one that destroys it.
template <typename T, int failure, typename... A>
int make(const char* function, void** out, A... of) {
  return enter(function, failure, [&] {
    *out = new T{of...};
    ++objects();
    return 0;
  });
}
template <typename T, int failure>
int drop(const char* function, void* object) {
  return enter(function, failure, [&] {
    delete static_cast<T*>(object);
    --objects();
    return 0;
  });
}

/// What a CudaStandIn puts in the place of the machine's libraries.
const CudaLibraries& libraries(bool there);

inline size_t element_bytes(bool wide) { return wide ? 4 : 2; }

/// Elements of a library's operand: f32, or bf16 or f16.
struct Elements {
  const std::byte* at = nullptr;
  bool wide = true, bf16 = false;
  float operator[](size_t i) const;
  /// Stores a value of the same type.
  void put(std::byte* to, size_t i, float value) const;
};

/// A number with the 10 bits of fraction that tensor cores see, if it is `rounded`.
float operand(float x, bool rounded);

}  // namespace stand_in

}  // namespace tintype
