// A pattern: nodes to find, conditions on them, and what takes their place. docs/patterns.md
// describes the text, parse_patterns reads it, apply_pattern rewrites a graph by it.
#pragma once

#include "ir/graph.h"
#include "passes/pattern/expression.h"
#include "passes/pattern/scanner.h"

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace tintype::pattern {

/// A condition, and how it was written.
struct Condition {
  Expression test;
  std::string text;
};

struct OperandPattern {
  enum class Kind : uint8_t { value, none, number };
  Kind kind = Kind::value;
  int value = -1;         ///< number of the tensor
  bool optional = false;  ///< the operand may be absent
  double number = 0;      ///< what all elements of a constant are
};

/// One node to find. Tensors have numbers: a name that occurs twice means the same tensor.
struct NodePattern {
  Place at;
  std::vector<const OpDef*> ops;
  std::vector<int> results;  ///< -1 for `_`
  std::vector<OperandPattern> operands;
  bool more_operands = false;         ///< `...`: there may be more
  std::vector<Condition> conditions;  ///< decided as soon as this node is matched
};

/// What is put in place of a tensor: a captured or new one, a number in the element type of the
/// replaced one, or a constant.
struct OperandTemplate {
  enum class Kind : uint8_t { value, none, number, constant };
  Kind kind = Kind::value;
  Place at;
  int value = -1;
  double number = 0;
  Expression dtype, elements;  ///< of a constant
};

struct NodeTemplate {
  Place at;
  const OpDef* op = nullptr;  ///< null: the results are the operands themselves
  std::vector<int> results;
  std::vector<OperandTemplate> operands;
  int attributes_of = -1;  ///< `...y`: starts with the attributes of the node that computes this
  struct Attribute {
    Place at;
    const AttrDef* def;
    Expression value;
  };
  std::vector<Attribute> attributes;
};

/// `now` takes the place of `old`.
struct Replacement {
  int old, now;
};

struct Pattern {
  std::string name, summary;
  std::string file;  ///< for messages
  Place at;
  std::string source;                    ///< from `pattern` to the end
  std::vector<std::string> value_names;  ///< by number; "" for nested ones
  std::vector<NodePattern> nodes;       ///< in the order in which they are matched; first: the root
  std::vector<NodeTemplate> templates;  ///< in the order in which they are made
  std::vector<Replacement> replacements;
};

/// The patterns of a text. Throws Error, "FILE:LINE:COLUMN: what was expected and found": syntax,
/// ops, attributes, functions and names are all checked here.
std::vector<std::unique_ptr<Pattern>> parse_patterns(std::string_view source,
                                                     const std::string& file);

}  // namespace tintype::pattern
