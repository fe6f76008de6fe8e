// The two compile-time failures: the user's mistake (Error) and our defect (InternalError).
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace tintype {

/// A mistake in a model, an option or an input. The message is one line: where, what was expected,
/// what was found, what to do.
class Error : public std::runtime_error {
 public:
  explicit Error(const std::string& message) : std::runtime_error(message) {}
};

/// Compiling needs the value of a model input (axes, a target shape ...) that is not constant.
/// The driver may supply it and compile again.
class NeedsInputValue : public Error {
 public:
  NeedsInputValue(std::string input, const std::string& message)
      : Error(message), input_(std::move(input)) {}
  const std::string& input() const { return input_; }

 private:
  std::string input_;
};

/// A broken invariant of the compiler itself.
class InternalError : public std::logic_error {
 public:
  explicit InternalError(const std::string& message) : std::logic_error(message) {}
};

[[noreturn]] void internal_error(const char* file, int line, const std::string& message);

#define TINTYPE_CHECK(condition, message)                                       \
  do {                                                                          \
    if (!(condition)) ::tintype::internal_error(__FILE__, __LINE__, (message)); \
  } while (false)

/// The candidate closest to `name` by edit distance, as " (did you mean 'x'?)", or "" if none is
/// near.
std::string did_you_mean(std::string_view name, const std::vector<std::string>& candidates);

}  // namespace tintype
