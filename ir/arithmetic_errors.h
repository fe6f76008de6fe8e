// Where arithmetic on extents fails, the model is wrong.
#pragma once

#include "ir/diagnostic.h"

#include <stdexcept>
#include <string>

namespace tintype {

/// Calls `work`; extents that overflow or divide by zero in it, and shapes with more elements than
/// can be counted, are mistakes of the model: Error, with `where` in front of the message.
template <typename Work>
auto with_arithmetic_errors(const std::string& where, Work&& work) -> decltype(work()) {
  try {
    return work();
  } catch (const std::overflow_error& e) {
    throw Error(where + e.what());
  } catch (const std::domain_error& e) {
    throw Error(where + e.what());
  } catch (const std::length_error& e) {
    throw Error(where + e.what());
  }
}

}  // namespace tintype
