// A CUDA driver for machines without one: keeps books, runs kernels by interpreting their PTX, and
// fails the call that it is told to.
//
// Work is queued and done when the queue is waited for, as late as a device may; host memory that
// is not pinned is read when the copy is asked for, pinned memory when it is done. So a missing
// wait, or staging memory that is reused too early, gives wrong values. Device addresses point
// nowhere: the host crashes when it follows one.
#pragma once

#include "runtime/cuda/driver.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace tintype {

struct StandInState;

class CudaStandIn {
 public:
  struct Settings {
    int capability = 90;
    int devices = 1;
    size_t memory = size_t{8} << 30;
    bool interpret = true;  ///< false: launches are checked and counted, results stay undefined
  };
  /// Takes the place of the machine's driver as long as it lives; there can be one at a time.
  CudaStandIn();
  explicit CudaStandIn(const Settings& settings);
  ~CudaStandIn();
  CudaStandIn(const CudaStandIn&) = delete;
  CudaStandIn& operator=(const CudaStandIn&) = delete;

  const CudaDriver& driver() const;
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

}  // namespace tintype
