// How readers fail inside this library: public functions return a Status instead.
#pragma once

#include "runtime/guarded.h"
#include "runtime/status.h"

#include <fmt/format.h>
#include <stdexcept>
#include <string>

namespace tintype {

class DataError : public std::runtime_error {
 public:
  explicit DataError(const Status& status)
      : std::runtime_error(status.message()), code_(status.code()) {}
  DataError(const std::string& path, const std::string& why)
      : std::runtime_error(path + ": " + why), code_(StatusCode::corrupt_file) {}
  Status status() const { return {code_, what()}; }

 private:
  StatusCode code_;
};

/// Calls f, which returns a Status or a Result; what it throws becomes a Status.
template <typename F>
auto without_throwing(const F& f) noexcept -> decltype(f()) {
  return guarded([&f]() -> decltype(f()) {
    try {
      return f();
    } catch (const DataError& e) {
      return e.status();
    }
  });
}

template <typename T>
T value_or_throw(Result<T> result) {
  if (!result.ok()) throw DataError(result.status());
  return std::move(result).value();
}

inline void throw_unless_ok(const Status& status) {
  if (!status.ok()) throw DataError(status);
}

}  // namespace tintype
