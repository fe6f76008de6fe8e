// What a name of a model stands for: a tensor, a sequence of tensors, or an optional one of either.
#pragma once

#include "ir/graph.h"

#include <string>
#include <utility>
#include <vector>

namespace tintype {

/// The IR knows tensors only. A sequence is a list of them, known while a model is imported: what
/// inserts, erases or picks an element works on the list, so that sequences cost nothing when the
/// program runs. An optional is what it holds, or absent.
class ModelValue {
 public:
  enum class Kind : uint8_t {
    none,  ///< an operand that is left out, or one whose node has a problem
    tensor,
    sequence,
    absent,  ///< an optional that holds nothing
  };

  ModelValue() = default;
  ModelValue(Value* tensor)  // null: none
      : kind_(tensor == nullptr ? Kind::none : Kind::tensor), values_{tensor} {}
  static ModelValue sequence(DType dtype, std::vector<Value*> elements) {
    return {Kind::sequence, dtype, std::move(elements)};
  }
  static ModelValue absent() { return {Kind::absent, DType::undefined, {}}; }
  /// With other tensors in the places of this one's.
  ModelValue with(std::vector<Value*> values) const { return {kind_, dtype_, std::move(values)}; }

  bool is_none() const { return kind_ == Kind::none; }
  bool is_sequence() const { return kind_ == Kind::sequence; }
  bool is_absent() const { return kind_ == Kind::absent; }
  /// Null when it is no tensor.
  Value* tensor() const { return kind_ == Kind::tensor ? values_[0] : nullptr; }
  /// The tensor by itself, the elements of a sequence, nothing.
  const std::vector<Value*>& values() const { return values_; }
  size_t size() const { return values_.size(); }
  /// Element type of a sequence, which it has without elements, too.
  DType dtype() const { return dtype_; }
  /// True when one can take the other's place as far as lists are concerned.
  bool same_structure(const ModelValue& other) const {
    return kind_ == other.kind_ && dtype_ == other.dtype_ && size() == other.size();
  }
  /// "f32[3]", "a sequence of 2 tensors"
  std::string text() const;

 private:
  ModelValue(Kind kind, DType dtype, std::vector<Value*> values)
      : kind_(kind), dtype_(dtype), values_(std::move(values)) {}

  Kind kind_ = Kind::none;
  DType dtype_ = DType::undefined;
  std::vector<Value*> values_;
};

}  // namespace tintype
