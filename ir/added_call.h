// Calls of what plugins register, which may throw anything.
#pragma once

#include "ir/custom_ops.h"
#include "ir/diagnostic.h"
#include "ir/graph.h"

#include <exception>
#include <new>
#include <string>
#include <string_view>

namespace tintype {

/// Calls a function of a plugin, which messages call `what`. All that it throws besides Error is a
/// mistake of the plugin, and becomes an Error.
template <typename Function>
auto call_added(const std::string& what, const Function& function) -> decltype(function()) {
  try {
    return function();
  } catch (const Error&) {
    throw;
  } catch (const InternalError&) {  // of Tintype, which the function called
    throw;
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& e) {
    throw Error(what + " failed: " + e.what());
  } catch (...) {
    throw Error(what + " failed: it throws what is no std::exception");
  }
}

/// "cube (acme::Cube): the op's gradient"
inline std::string function_of_op(const Node& node, std::string_view which) {
  return node.where() + " (" + std::string(node.name()) + "): the op's " + std::string(which);
}

/// Calls a function in the record of a node's op; built-in ones as they are.
template <typename Function>
auto call_of_record(const Node& node, std::string_view which, const Function& function)
    -> decltype(function()) {
  if (!is_added(node.op())) return function();
  return call_added(function_of_op(node, which), function);
}

}  // namespace tintype
