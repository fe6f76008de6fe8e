// Run-time outcome: a code and a message. The runtime never throws and never aborts on bad input.
#pragma once

#include <string>
#include <utility>
#include <variant>

namespace tintype {

enum class StatusCode : int {
  ok = 0,
  invalid_argument = 1,  ///< the caller passed something wrong (name, dtype, shape)
  out_of_memory = 2,
  corrupt_file = 3,  ///< a program, cache or checkpoint file fails its checks
  io_error = 4,
  unsupported = 5,
  internal = 6,  ///< a defect of Tintype
};

/// Success, or a code with a one-line message (lower-case, no final period).
class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(StatusCode code, std::string message) : code_(code), message_(std::move(message)) {}
  bool ok() const { return code_ == StatusCode::ok; }
  StatusCode code() const { return code_; }
  const std::string& message() const { return message_; }

 private:
  StatusCode code_ = StatusCode::ok;
  std::string message_;
};

inline Status invalid_argument(std::string message) {
  return {StatusCode::invalid_argument, std::move(message)};
}

/// A value or the Status that says why there is none.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T result) : state_(std::move(result)) {}         // NOLINT(google-explicit-constructor)
  Result(Status failure) : state_(std::move(failure)) {}  // NOLINT(google-explicit-constructor)
  bool ok() const { return std::holds_alternative<T>(state_); }
  /// Only where it is ok(): else this throws std::bad_variant_access, and status() says why.
  const T& value() const& { return std::get<T>(state_); }
  T& value() & { return std::get<T>(state_); }
  T&& value() && { return std::get<T>(std::move(state_)); }
  Status status() const { return ok() ? Status() : std::get<Status>(state_); }

 private:
  std::variant<T, Status> state_;
};

}  // namespace tintype
