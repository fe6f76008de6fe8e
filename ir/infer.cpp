// Running the inference of op records, and what records need for it.
#include "ir/added_call.h"
#include "ir/builder.h"
#include "ir/diagnostic.h"
#include "ir/extent_arithmetic.h"
#include "ir/ops/tables.h"
#include "ir/verify.h"

#include <algorithm>
#include <stdexcept>
#include <unordered_map>
#include <unordered_set>

namespace tintype {

const TensorType& InferContext::type(int operand) const {
  Value* v = node.operand(operand);
  if (v == nullptr) fail("operand " + std::to_string(operand) + " is missing");
  return v->type();
}

bool InferContext::has(int operand) const { return node.operand(operand) != nullptr; }

const std::vector<Dim>* InferContext::content(int operand) const {
  Value* v = node.operand(operand);
  return v != nullptr && v->content() ? &*v->content() : nullptr;
}

const AttrMap& InferContext::attrs() const { return node.attrs(); }

void InferContext::fail(const std::string& message) const { ops::fail(node, message); }

Dim InferContext::unify(const Dim& a, const Dim& b, const std::string& what) const {
  if (a == b) return a;
  const Dim difference = a - b;
  if (difference.is_static()) fail(what + " must agree, got " + a.text() + " and " + b.text());
  node.graph().require_equal(a, b, node.where() + ": " + what + " must agree");
  return a.is_static() ? a : b;
}

Shape broadcast_shapes(Graph& graph, const Shape& a, const Shape& b, const std::string& where) {
  const size_t rank = std::max(a.size(), b.size());
  Shape out(rank);
  for (size_t i = 0; i < rank; ++i) {  // i counts from the innermost axis
    const Dim x = i < a.size() ? a[a.size() - 1 - i] : Dim(1);
    const Dim y = i < b.size() ? b[b.size() - 1 - i] : Dim(1);
    Dim& d = out[rank - 1 - i];
    if (x.is(1)) {
      d = y;
    } else if (y.is(1) || x == y) {
      d = x;
    } else {
      if ((x - y).is_static())
        throw Error(where + ": shapes " + text_of(a) + " and " + text_of(b) + " do not broadcast");
      graph.require_equal(
          x, y, where + ": shapes " + text_of(a) + " and " + text_of(b) + " must broadcast");
      d = x.is_static() ? x : y;
    }
  }
  return out;
}

int normalize_axis(int64_t axis, int rank, const std::string& where) {
  if (axis < -rank || axis >= rank)
    throw Error(where + ": axis " + std::to_string(axis) + " is outside [" + std::to_string(-rank) +
                ", " + std::to_string(rank - 1) + "]");
  return static_cast<int>(axis < 0 ? axis + rank : axis);
}

namespace {

/// Fails unless least <= n <= most, where most -1 is any number.
void check_count(const Node& node, std::string_view what, int n, int least, int most) {
  if (n >= least && (most < 0 || n <= most)) return;
  std::string expected = std::to_string(least);
  if (most < 0) expected += " or more";
  else if (most != least) expected += " to " + std::to_string(most);
  ops::fail(node, "expected " + expected + " " + std::string(what) + ", got " + std::to_string(n));
}

/// What a node is, before anything is computed from it.
void check_form(const Node& node) {
  const OpDef& def = node.op();
  const int n = node.operand_count();
  check_count(node, "inputs", n, def.min_operands, def.max_operands);
  check_count(node, "results", node.result_count(), def.min_results, def.max_results);
  if (const std::string problem = attribute_problem(node); !problem.empty())
    ops::fail(node, problem);
  // Lists have no gaps; those of control ops begin with what may be absent.
  const bool list = def.max_operands < 0 && !def.has(kControl);
  for (int i = 0; i < (list ? n : def.min_operands); ++i)
    if (node.operand(i) == nullptr) ops::fail(node, "input " + std::to_string(i) + " is required");
}

/// An integer graph input that `v` is computed from, or null.
Value* integer_source(Value* v) {
  std::vector<Value*> open = {v};
  std::unordered_set<Value*> seen;
  while (!open.empty()) {
    Value* x = open.back();
    open.pop_back();
    // What is known does not depend on the elements of an input, only on its shape.
    if (x == nullptr || x->content() || !seen.insert(x).second) continue;
    if (x->def() == nullptr) {
      if (is_int(x->dtype()) || x->dtype() == DType::boolean) return x;
      continue;
    }
    for (Value* operand : x->def()->operands()) open.push_back(operand);
  }
  return nullptr;
}

/// A decomposition built aside sees operands as inputs; what it asks for may be computed.
[[noreturn]] void needs_value(const Node& node, const NeedsInputValue& wanted) {
  for (Value* v : node.operands()) {
    if (v == nullptr || v->name() != wanted.input() || v->def() == nullptr) continue;
    const std::string message = wanted.what();
    const std::string reason = message.substr(0, message.find("; it depends on input"));
    Value* source = integer_source(v);
    if (source == nullptr) throw Error(reason + ", but it depends on data");
    throw NeedsInputValue(source->name(), reason + "; it depends on input '" + source->name() +
                                              "': give its value with --known-input");
  }
  throw wanted;
}

/// Types and contents of an ONNX-level node: those of its decomposition, built aside.
void infer_composite(Node& node) {
  Graph scratch("inference");
  std::vector<Value*> operands;
  std::unordered_map<Value*, Value*> stand_ins;
  for (Value* v : node.operands()) {
    if (v == nullptr) {
      operands.push_back(nullptr);
      continue;
    }
    Value*& twin = stand_ins[v];
    if (twin == nullptr) {
      if (const Tensor* t = v->constant()) {
        Builder b(scratch);
        twin = b.constant(*t);
      } else {
        twin = scratch.add_input(v->name(), v->type());
        twin->set_content(v->content());
      }
    }
    operands.push_back(twin);
  }
  Node* copy = scratch.create(node.op(), operands, node.attrs(), node.result_count());
  copy->set_origins(node.origins());
  Builder b(scratch, copy);
  b.set_origins(node.origins());
  std::vector<Value*> results;
  try {
    results = call_of_record(node, "decomposition", [&] { return node.op().decompose(b, *copy); });
  } catch (const NeedsInputValue& e) {
    needs_value(node, e);
  }
  for (const DimConstraint& c : scratch.constraints())
    node.graph().require_equal(c.left, c.right, c.message);
  for (int i = 0; i < node.result_count(); ++i) {
    Value* r = static_cast<size_t>(i) < results.size() ? results[static_cast<size_t>(i)] : nullptr;
    if (r == nullptr) continue;
    node.result(i)->set_type(r->type());
    node.result(i)->set_content(r->content());
  }
  // Composite results of composites: decompose may leave ONNX-level nodes, typed by this function.
}

/// False for a number that arithmetic on elements of the type would have wrapped.
bool is_one_of_type(const Dim& d, DType type) {
  if (!d.is_static() || type == DType::i64) return true;
  const int64_t v = d.value();
  if (type == DType::i32) return v == static_cast<int32_t>(v);
  return v >= 0 && (type != DType::u32 || v == static_cast<uint32_t>(v));
}

/// What is known of the elements of a core op's result, unless they are too large for extents.
void infer_content(Node& node) {
  if (node.op().content == nullptr || node.result_count() != 1) return;
  try {
    auto content = node.op().content(node);
    const DType type = node.result()->dtype();
    if (content && content->size() <= ops::kMaxContent &&
        std::all_of(content->begin(), content->end(),
                    [type](const Dim& d) { return is_one_of_type(d, type); }))
      node.result()->set_content(std::move(content));
  } catch (const std::overflow_error&) {
    return;
  }
}

/// The nodes in front of a cast, too, decide what is known of its result.
void infer_rounded(Node& node) {
  if (node.result_count() != 1 || node.result()->content()) return;
  if (auto content = extents_through_floats(node)) node.result()->set_content(std::move(content));
}

}  // namespace

void infer_node(Node& node) {
  check_form(node);
  if (node.op().decompose != nullptr) {
    infer_composite(node);
    infer_rounded(node);
    return;
  }
  std::vector<TensorType> results(static_cast<size_t>(node.result_count()));
  InferContext context{node, results};
  TINTYPE_CHECK(node.op().infer != nullptr, "op " + std::string(node.name()) + " has no inference");
  call_of_record(node, "inference", [&] { node.op().infer(context); });
  for (size_t i = 0; is_added(node.op()) && i < results.size(); ++i)
    if (results[i].dtype == DType::undefined)
      context.fail("the op's inference gives result " + std::to_string(i) + " no element type");
  for (int i = 0; i < node.result_count(); ++i)
    node.result(i)->set_type(std::move(results[static_cast<size_t>(i)]));
  infer_content(node);
  infer_rounded(node);
}

namespace ops {

void fail(const Node& node, const std::string& message) {
  std::string where = node.where();
  if (where != node.name()) where += " (" + std::string(node.name()) + ")";
  throw Error(where + ": " + message);
}

namespace {

[[noreturn]] void not_known(const Node& node, int operand, std::string_view what) {
  Value* v = node.operand(operand);
  const std::string message =
      std::string(what) + " (input " + std::to_string(operand) + ") must be known when compiling";
  // A graph input that decides structure can be supplied by the caller; name it for the driver.
  Value* source = v;
  while (source != nullptr && source->def() != nullptr && source->def()->operand_count() > 0)
    source = source->def()->operand(0);
  if (source != nullptr && source->def() == nullptr && !source->name().empty())
    throw NeedsInputValue(source->name(), node.where() + " (" + std::string(node.name()) + "): " +
                                              message + "; it depends on input '" + source->name() +
                                              "': give its value with --known-input");
  fail(node, message + ", but it depends on data");
}

}  // namespace

std::vector<Dim> symbolic_integers(const Node& node, int operand, std::string_view what) {
  Value* v = node.operand(operand);
  TINTYPE_CHECK(v != nullptr, "reading an absent operand");
  if (!v->content()) not_known(node, operand, what);
  return *v->content();
}

std::vector<int64_t> static_integers(const Node& node, int operand, std::string_view what) {
  std::vector<int64_t> out;
  for (const Dim& d : symbolic_integers(node, operand, what)) {
    if (!d.is_static()) fail(node, std::string(what) + " must be constant, got " + d.text());
    out.push_back(d.value());
  }
  return out;
}

namespace {

template <typename T>
T only(const Node& node, int operand, std::string_view what, const std::vector<T>& list) {
  if (list.size() != 1)
    fail(node,
         std::string(what) + " must be a scalar, got " + node.operand(operand)->type().text());
  return list[0];
}

}  // namespace

int64_t static_integer(const Node& node, int operand, std::string_view what) {
  return only(node, operand, what, static_integers(node, operand, what));
}

Dim symbolic_integer(const Node& node, int operand, std::string_view what) {
  return only(node, operand, what, symbolic_integers(node, operand, what));
}

namespace {

template <typename T, typename Convert>
std::vector<double> numbers_of(const Tensor& t, Convert convert) {
  std::vector<double> out;
  for (const T v : t.values<T>()) out.push_back(static_cast<double>(convert(v)));
  return out;
}

template <typename T>
std::vector<double> numbers_of(const Tensor& t) {
  return numbers_of<T>(t, [](T v) { return v; });
}

}  // namespace

std::vector<double> static_numbers(const Node& node, int operand, std::string_view what) {
  const Value* v = node.operand(operand);
  const Tensor* t = v == nullptr ? nullptr : v->constant();
  if (t == nullptr) {
    std::vector<double> out;
    if (v != nullptr && v->content())
      for (const Dim& d : *v->content())
        if (d.is_static()) out.push_back(static_cast<double>(d.value()));
    if (v == nullptr || !v->content() || out.size() != v->content()->size())
      not_known(node, operand, what);
    return out;
  }
  switch (t->dtype()) {
    case DType::f32: return numbers_of<float>(*t);
    case DType::f64: return numbers_of<double>(*t);
    case DType::i64: return numbers_of<int64_t>(*t);
    case DType::i32: return numbers_of<int32_t>(*t);
    case DType::f16: return numbers_of<uint16_t>(*t, f16_to_f32);
    case DType::bf16: return numbers_of<uint16_t>(*t, bf16_to_f32);
    case DType::u8:
    case DType::boolean: return numbers_of<uint8_t>(*t);
    default:
      fail(node, std::string(what) + " has element type " + std::string(name_of(t->dtype())));
  }
}

double static_number(const Node& node, int operand, std::string_view what) {
  return only(node, operand, what, static_numbers(node, operand, what));
}

}  // namespace ops

}  // namespace tintype
