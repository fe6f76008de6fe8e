// Expressions of pattern files: conditions on what was matched, and attributes computed from it.
#pragma once

#include "ir/graph.h"
#include "passes/pattern/datum.h"
#include "passes/pattern/scanner.h"

#include <string>
#include <string_view>
#include <vector>

namespace tintype::pattern {

struct Expression {
  enum class Kind : uint8_t {
    literal,    ///< datum
    value,      ///< a captured tensor, by its number
    attribute,  ///< `name` of the node that computes tensor number `value`
    call,       ///< function `name` of the arguments
    unary,      ///< operator `name`
    binary,
    list,
    index,  ///< arguments[0] at arguments[1]; negative counts from the end
  };
  Kind kind = Kind::literal;
  Place at;
  size_t begin = 0, end = 0;  ///< offsets in the source
  std::string name;
  Datum datum;
  int value = -1;
  std::vector<Expression> arguments;
};

/// Tensors captured so far, by number; null for one that is absent.
using Captures = std::vector<Value*>;

/// The value of an expression, or why it has none: throws Unknown, whose text completes "the
/// condition cannot be decided: ".
struct Unknown {
  std::string why;
};
Datum evaluate(const Expression& e, const Captures& captures);

/// How a function is called.
struct FunctionInfo {
  std::string_view name;
  int min_arguments, max_arguments;
  bool takes_value;  ///< the first argument is the name of a tensor
  std::string_view doc;
};
/// All functions, by name.
const std::vector<FunctionInfo>& functions();
const FunctionInfo* find_function(std::string_view name);

/// Calls `visit` with the number of every tensor that the expression mentions.
template <typename F>
void for_each_value(const Expression& e, const F& visit) {
  if (e.value >= 0) visit(e.value);
  for (const Expression& a : e.arguments) for_each_value(a, visit);
}

}  // namespace tintype::pattern
