// The border where exceptions of the standard library become statuses.
#pragma once

#include "runtime/status.h"

#include <exception>
#include <new>
#include <stdexcept>

namespace tintype {

/// A status whose message is dropped when there is no memory for it.
inline Status status_without_throwing(StatusCode code, const char* message) noexcept {
  try {
    return {code, message};
  } catch (...) {
    return {StatusCode::out_of_memory, {}};
  }
}

/// Calls f, which returns a Status or a Result; what it throws becomes a Status. The runtime's
/// public functions never throw.
template <typename F>
auto guarded(const F& f) noexcept -> decltype(f()) {
  try {
    return f();
  } catch (const std::bad_alloc&) {
    return status_without_throwing(StatusCode::out_of_memory, "out of memory");
  } catch (const std::length_error& e) {
    return status_without_throwing(StatusCode::invalid_argument, e.what());
  } catch (const std::exception& e) {
    return status_without_throwing(StatusCode::internal, e.what());
  }
}

}  // namespace tintype
