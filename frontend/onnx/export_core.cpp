// Core ops in terms of ONNX's operators.
#include "frontend/onnx/export_body.h"
#include "frontend/onnx/tensor_decode.h"

#include <algorithm>
#include <limits>
#include <string_view>

namespace tintype {

namespace {

/// Ops that differ from ONNX's in name only: same operands, same attributes.
struct SameOp {
  std::string_view core, onnx;
};
constexpr SameOp kSame[] = {
    {"add", "Add"},
    {"sub", "Sub"},
    {"mul", "Mul"},
    {"div", "Div"},
    {"mod", "Mod"},
    {"pow", "Pow"},
    {"max", "Max"},
    {"min", "Min"},
    {"bit_and", "BitwiseAnd"},
    {"bit_or", "BitwiseOr"},
    {"bit_xor", "BitwiseXor"},
    {"and", "And"},
    {"or", "Or"},
    {"xor", "Xor"},
    {"eq", "Equal"},
    {"lt", "Less"},
    {"le", "LessOrEqual"},
    {"gt", "Greater"},
    {"ge", "GreaterOrEqual"},
    {"identity", "Identity"},
    {"stop_gradient", "Identity"},
    {"neg", "Neg"},
    {"abs", "Abs"},
    {"sign", "Sign"},
    {"exp", "Exp"},
    {"log", "Log"},
    {"sqrt", "Sqrt"},
    {"reciprocal", "Reciprocal"},
    {"sin", "Sin"},
    {"cos", "Cos"},
    {"tan", "Tan"},
    {"asin", "Asin"},
    {"acos", "Acos"},
    {"atan", "Atan"},
    {"sinh", "Sinh"},
    {"cosh", "Cosh"},
    {"tanh", "Tanh"},
    {"asinh", "Asinh"},
    {"acosh", "Acosh"},
    {"atanh", "Atanh"},
    {"erf", "Erf"},
    {"sigmoid", "Sigmoid"},
    {"relu", "Relu"},
    {"floor", "Floor"},
    {"ceil", "Ceil"},
    {"round", "Round"},
    {"not", "Not"},
    {"bit_not", "BitwiseNot"},
    {"is_nan", "IsNaN"},
    {"is_inf", "IsInf"},
    {"select", "Where"},
    {"bitcast", "BitCast"},
    {"cast", "Cast"},
    {"transpose", "Transpose"},
    {"concat", "Concat"},
    {"gather", "Gather"},
    {"gather_elements", "GatherElements"},
    {"gather_nd", "GatherND"},
    {"scatter_elements", "ScatterElements"},
};

std::vector<std::string> operands(const BodyExporter& b) {
  std::vector<std::string> list(static_cast<size_t>(b.node().operand_count()));
  for (size_t i = 0; i < list.size(); ++i) list[i] = b.operand(static_cast<int>(i));
  return list;
}

void not_equal(BodyExporter& b) { b.emit("Not", {b.emit("Equal", operands(b))}, {}, b.result()); }

void rsqrt(BodyExporter& b) { b.emit("Reciprocal", {b.emit("Sqrt", operands(b))}, {}, b.result()); }

template <bool kLeft>
void shift(BodyExporter& b) {
  b.emit("BitShift", operands(b), {{"direction", std::string(kLeft ? "LEFT" : "RIGHT")}},
         b.result());
}

void scatter_nd(BodyExporter& b) {
  AttrMap attrs = b.node().attrs();
  attrs.erase("axis");
  b.emit("ScatterND", operands(b), attrs, b.result());
}

void reshape(BodyExporter& b) {
  const Shape shape = b.node().attrs().dims("shape");
  std::vector<int64_t> known;
  int symbolic = 0;
  bool empty = false;
  for (const Dim& d : shape) {
    symbolic += d.is_static() ? 0 : 1;
    empty = empty || d.is(0);
    known.push_back(d.is_static() ? d.value() : -1);
  }
  // One extent can be left to ONNX, as long as the others determine it.
  const bool inferable = symbolic <= 1 && !empty;
  b.emit("Reshape", {b.operand(0), inferable ? b.int64s(known) : b.extents(shape)},
         {{"allowzero", int64_t{1}}}, b.result());
}

void broadcast(BodyExporter& b) {
  b.emit("Expand", {b.operand(0), b.extents(b.node().attrs().dims("shape"))}, {}, b.result());
}

std::vector<int64_t> all_axes(size_t rank) {
  std::vector<int64_t> axes(rank);
  for (size_t i = 0; i < rank; ++i) axes[i] = static_cast<int64_t>(i);
  return axes;
}

// element i = starts + i * steps, `sizes` of them; ONNX wants the end
void slice(BodyExporter& b) {
  const AttrMap& a = b.node().attrs();
  const Shape starts = a.dims("starts");
  const Shape sizes = a.dims("sizes");
  const auto steps = a.integers("steps");
  Shape ends;
  for (size_t i = 0; i < starts.size(); ++i) {
    const Dim end = starts[i] + sizes[i] * Dim(steps[i]);
    // A negative end would count from the back; the far negative one means "through the start".
    const bool through_start = steps[i] < 0 && (end.lower_bound().value_or(-1) < 0);
    ends.push_back(through_start ? Dim(std::numeric_limits<int64_t>::min()) : end);
  }
  b.emit("Slice",
         {b.operand(0), b.extents(starts), b.extents(ends), b.int64s(all_axes(starts.size())),
          b.int64s(steps)},
         {}, b.result());
}

void reverse(BodyExporter& b) {
  const auto axes = b.node().attrs().integers("axes");
  const std::vector<int64_t> last(axes.size(), -1);
  const std::vector<int64_t> before_first(axes.size(), std::numeric_limits<int64_t>::min());
  b.emit("Slice",
         {b.operand(0), b.int64s(last), b.int64s(before_first), b.int64s(axes), b.int64s(last)}, {},
         b.result());
}

void pad(BodyExporter& b) {
  Shape amounts = b.node().attrs().dims("before");
  const Shape after = b.node().attrs().dims("after");
  amounts.insert(amounts.end(), after.begin(), after.end());
  b.emit("Pad", {b.operand(0), b.extents(amounts), b.operand(1)},
         {{"mode", b.node().attrs().string("mode", "constant")}}, b.result());
}

void dims(BodyExporter& b) {
  b.emit("Identity", {b.extents(b.node().attrs().dims("extents"))}, {}, b.result());
}

/// ONNX checks no elements: whoever reads them does.
void bounded(BodyExporter& b) { b.emit("Identity", {b.operand(0)}, {}, b.result()); }

template <const char* Op>
void reduce(BodyExporter& b) {
  b.emit(Op, {b.operand(0), b.int64s(b.node().attrs().integers("axes"))},
         {{"keepdims", int64_t{1}}}, b.result());
}

template <const char* Op>
void arg(BodyExporter& b) {
  AttrMap attrs = b.node().attrs();
  attrs.set("keepdims", int64_t{1});
  b.emit(Op, {b.operand(0)}, attrs, b.result());
}

template <const char* Op>
void cumulative(BodyExporter& b) {
  AttrMap attrs = b.node().attrs();
  const int64_t axis = attrs.integer("axis");
  attrs.erase("axis");
  b.emit(Op, {b.operand(0), b.constant(Tensor::scalar<int64_t>(axis))}, attrs, b.result());
}

void top_k(BodyExporter& b) {
  AttrMap attrs = b.node().attrs();
  const int64_t k = attrs.integer("k");
  attrs.erase("k");
  const std::string indices = b.node().result_count() > 1 ? b.result(1) : b.fresh("unused");
  b.emit_node("TopK", "", {b.operand(0), b.int64s({k})}, {b.result(0), indices}, attrs);
}

void iota(BodyExporter& b) {
  const AttrMap& a = b.node().attrs();
  const Shape shape = a.dims("shape");
  const auto axis = static_cast<size_t>(a.integer("axis"));
  std::string y = b.emit("Range", {b.constant(Tensor::scalar<int64_t>(0)),
                                   b.emit("Squeeze", {b.extent(shape[axis])}),
                                   b.constant(Tensor::scalar<int64_t>(1))});
  std::vector<int64_t> aligned(shape.size(), 1);
  aligned[axis] = -1;
  y = b.emit("Reshape", {y, b.int64s(aligned)});
  y = b.emit("Expand", {y, b.extents(shape)});
  b.emit("Cast", {y}, {{"to", a.get("dtype", DType::i64)}}, b.result());
}

// Each element becomes a row of `factor`, padded by zeros; the last row keeps its first element.
void dilate(BodyExporter& b) {
  const auto factors = b.node().attrs().integers("factors");
  Shape spread, starts, ends;
  std::vector<int64_t> amounts(factors.size() * 4, 0);
  Shape merged;
  for (size_t i = 0; i < factors.size(); ++i) {
    const Dim& n = b.node().operand(0)->shape()[i];
    spread.push_back(n);
    spread.emplace_back(1);
    amounts[factors.size() * 2 + 2 * i + 1] = factors[i] - 1;
    merged.push_back(n * Dim(factors[i]));
    starts.emplace_back(0);
    ends.push_back((n - Dim(1)) * Dim(factors[i]) + Dim(1));
  }
  std::string y = b.emit("Reshape", {b.operand(0), b.extents(spread)}, {{"allowzero", int64_t{1}}});
  y = b.emit("Pad", {y, b.int64s(amounts)});
  y = b.emit("Reshape", {y, b.extents(merged)}, {{"allowzero", int64_t{1}}});
  b.emit("Slice", {y, b.extents(starts), b.extents(ends)}, {}, b.result());
}

std::vector<int64_t> channels_first(int rank) {
  std::vector<int64_t> perm = {0, rank - 1};
  for (int64_t i = 1; i + 1 < rank; ++i) perm.push_back(i);
  return perm;
}

std::vector<int64_t> channels_last(int rank) {
  std::vector<int64_t> perm = {0};
  for (int64_t i = 2; i < rank; ++i) perm.push_back(i);
  perm.push_back(1);
  return perm;
}

/// N,spatial,C -> N,C,spatial, the op, and back.
void in_onnx_layout(BodyExporter& b, const std::string& op, std::vector<std::string> more,
                    const AttrMap& attrs, const std::string& scale = "") {
  const int rank = b.node().operand(0)->rank();
  std::vector<std::string> inputs = {
      b.emit("Transpose", {b.operand(0)}, {{"perm", channels_first(rank)}})};
  for (std::string& m : more) inputs.push_back(std::move(m));
  std::string y = b.emit(op, inputs, attrs);
  if (!scale.empty()) y = b.emit("Mul", {y, scale});
  b.emit("Transpose", {y}, {{"perm", channels_last(rank)}}, b.result());
}

AttrMap window_attributes(const AttrMap& a) {
  AttrMap attrs{{"kernel_shape", a.integers("window")}};
  for (const char* name : {"strides", "dilations"})
    if (a.has(name)) attrs.set(name, a.integers(name));
  return attrs;
}

// w[window..., C/group, filters] -> [filters, C/group, window...]
bool conv(BodyExporter& b) {
  const AttrMap& a = b.node().attrs();
  if (a.integer("block") != 0) return false;
  const int64_t rank = b.node().operand(1)->rank();
  std::vector<int64_t> perm = {rank - 1, rank - 2};
  for (int64_t i = 0; i + 2 < rank; ++i) perm.push_back(i);
  AttrMap attrs = window_attributes(a);
  attrs.set("group", a.integer("group", 1));
  in_onnx_layout(b, "Conv", {b.emit("Transpose", {b.operand(1)}, {{"perm", perm}})}, attrs);
  return true;
}

bool dot(BodyExporter& b) {
  if (b.node().attrs().integer("block") != 0) return false;
  b.emit("MatMul", operands(b), {}, b.result());
  return true;
}

bool window_reduce(BodyExporter& b) {
  const AttrMap& a = b.node().attrs();
  const DType dtype = b.node().operand(0)->dtype();
  if (a.string("kind") == "max" && (is_float(dtype) || dtype == DType::i8 || dtype == DType::u8)) {
    in_onnx_layout(b, "MaxPool", {}, window_attributes(a));
    return true;
  }
  if (a.string("kind") != "sum" || (dtype != DType::f32 && dtype != DType::f64)) return false;
  // sum = mean * elements of the window
  double count = 1;
  for (int64_t w : a.integers("window")) count *= static_cast<double>(w);
  const std::string scale = b.constant(
      dtype == DType::f32 ? Tensor::scalar(static_cast<float>(count)) : Tensor::scalar(count));
  in_onnx_layout(b, "AveragePool", {}, window_attributes(a), scale);
  return true;
}

constexpr char kReduceSum[] = "ReduceSum";
constexpr char kReduceProd[] = "ReduceProd";
constexpr char kReduceMax[] = "ReduceMax";
constexpr char kReduceMin[] = "ReduceMin";
constexpr char kArgMax[] = "ArgMax";
constexpr char kArgMin[] = "ArgMin";
constexpr char kCumProd[] = "CumProd";
constexpr char kCumSum[] = "CumSum";

/// Translations that do not cover packed weights and every element type.
struct PartialTranslation {
  std::string_view core;
  bool (*write)(BodyExporter&);
};
constexpr PartialTranslation kPartial[] = {
    {"conv", conv},
    {"dot", dot},
    {"window_reduce", window_reduce},
};

struct Translation {
  std::string_view core;
  void (*write)(BodyExporter&);
};
constexpr Translation kTranslations[] = {
    {"iota", iota},
    {"dilate", dilate},
    {"ne", not_equal},
    {"rsqrt", rsqrt},
    {"shift_left", shift<true>},
    {"shift_right", shift<false>},
    {"scatter_nd", scatter_nd},
    {"reshape", reshape},
    {"broadcast", broadcast},
    {"slice", slice},
    {"reverse", reverse},
    {"pad", pad},
    {"dims", dims},
    {"reduce_sum", reduce<kReduceSum>},
    {"reduce_prod", reduce<kReduceProd>},
    {"reduce_max", reduce<kReduceMax>},
    {"reduce_min", reduce<kReduceMin>},
    {"arg_max", arg<kArgMax>},
    {"arg_min", arg<kArgMin>},
    {"cumprod", cumulative<kCumProd>},
    {"cumsum", cumulative<kCumSum>},
    {"bounded", bounded},
    {"top_k", top_k},
};

}  // namespace

bool export_split(BodyExporter& b) {
  const Node& n = b.node();
  if (!n.is("Split") || n.operand(1) != nullptr) return false;
  AttrMap attrs = n.attrs();
  const int rank = n.operand(0)->rank();
  const int64_t axis = attrs.integer("axis", 0);
  const auto at = static_cast<size_t>(axis < 0 ? axis + rank : axis);
  std::vector<int64_t> sizes;
  std::vector<std::string> outputs;
  for (int i = 0; i < n.result_count(); ++i) {
    const Dim& d = n.result(i)->shape()[at];
    if (!d.is_static()) return false;
    sizes.push_back(d.value());
    outputs.push_back(b.result(i));
  }
  attrs.erase("num_outputs");
  b.emit_node("Split", "", {b.operand(0), b.int64s(sizes)}, outputs, attrs);
  return true;
}

bool export_core_op(BodyExporter& body) {
  const std::string_view name = body.node().name();
  for (const SameOp& s : kSame)
    if (s.core == name) {
      body.emit(std::string(s.onnx), operands(body), body.node().attrs(), body.result());
      return true;
    }
  for (const PartialTranslation& t : kPartial)
    if (t.core == name) return t.write(body);
  for (const Translation& t : kTranslations)
    if (t.core == name) {
      t.write(body);
      return true;
    }
  return false;
}

}  // namespace tintype
