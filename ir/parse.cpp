// The parser: one line per node, each checked against the op's record and its inference.
#include "ir/parse.h"

#include "ir/arithmetic_errors.h"
#include "ir/builder.h"
#include "ir/diagnostic.h"
#include "ir/lexer.h"
#include "ir/limits.h"
#include "ir/nearest_op.h"
#include "ir/verify.h"

#include <algorithm>
#include <cstring>
#include <unordered_map>
#include <utility>

namespace tintype {

namespace {

bool is_permutation(std::vector<int64_t> order, int rank) {
  std::sort(order.begin(), order.end());
  for (size_t i = 0; i < order.size(); ++i)
    if (order[i] != static_cast<int64_t>(i)) return false;
  return order.size() == static_cast<size_t>(rank);
}

class Parser {
 public:
  Parser(std::string_view text, const TensorTable& tensors) : in_(text), tensors_(tensors) {}

  std::unique_ptr<Graph> run() {
    auto g = std::make_unique<Graph>();
    graph(*g, *g);
    if (!in_.at_end()) in_.fail("expected the end of the text after the graph");
    const std::string problem = find_problem(*g);
    if (!problem.empty()) throw Error("graph '" + g->name() + "': " + problem);
    return g;
  }

 private:
  using Scope = std::unordered_map<std::string, Value*>;

  /// Extents that inference needs to be equal are equal in `whole`: the graph itself, or the one
  /// around a region.
  void graph(Graph& g, Graph& whole) {
    in_.expect("graph");
    g.set_name(in_.quoted());
    Scope scope;
    in_.expect("(");
    if (!in_.accept(")")) {
      do {
        if (in_.accept("state ")) {
          state(g, scope);
          continue;
        }
        const auto [key, name] = value_name();
        in_.expect(":");
        define(scope, key, g.add_input(name, type()));
      } while (in_.accept(","));
      in_.expect(")");
    }
    in_.expect("{");
    while (!in_.accept("return")) {
      if (in_.accept("require")) constraint(g);
      else node(g, scope);
    }
    constraints(g, whole);
    outputs(g, scope);
    if (!states_.empty()) in_.fail("state '" + states_.begin()->first + "' has no next value");
    in_.expect("}");
  }

  /// `%name: type(elements)` among the inputs.
  void state(Graph& g, Scope& scope) {
    const auto [key, name] = value_name();
    in_.expect(":");
    Tensor t = tensor();
    tensor_name_.clear();
    std::vector<int64_t> layout;
    if (in_.accept("layout")) layout = list<int64_t>([this] { return in_.integer(); });
    if (!layout.empty() && !is_permutation(layout, t.rank()))
      in_.fail("the layout of state '" + name + "' is no order of its " + std::to_string(t.rank()) +
               " axes");
    Value* v = g.add_input(name, {t.dtype(), Shape(t.dims().begin(), t.dims().end())});
    define(scope, key, v);
    states_.emplace(name, State{v, 0, std::move(t), std::move(layout)});
  }

  void outputs(Graph& g, const Scope& scope) {
    if (in_.accept("nothing")) return;
    do {
      Value* v = use(scope);
      const bool next = in_.accept("next");
      if (!next) in_.expect("as");
      const std::string name = in_.quoted();
      g.add_output(name, v);
      if (next) set_next(g, name);
    } while (in_.accept(","));
  }

  void set_next(Graph& g, const std::string& name) {
    const auto it = states_.find(name);
    if (it == states_.end())
      in_.fail("there is no state '" + name + "', or it has a next value already");
    try {
      const State& s = it->second;
      g.make_state(s.current, static_cast<int>(g.output_count()) - 1, s.initial, s.layout);
    } catch (const Error& e) {
      in_.fail(e.what());
    }
    states_.erase(it);
  }

  void constraint(Graph& g) {
    DimConstraint c;
    c.left = extent("=");
    in_.expect("==");
    c.right = extent(":");
    in_.expect(":");
    c.message = in_.quoted();
    reserve(g, {c.left, c.right});
    stated_constraints_.push_back(std::move(c));
  }

  /// Those that are stated stand as they are; what inference needs holds, stated or not.
  void constraints(Graph& g, Graph& whole) {
    const auto inferred = std::exchange(g.constraints(), std::exchange(stated_constraints_, {}));
    for (const DimConstraint& c : inferred) whole.require_equal(c.left, c.right, c.message);
  }

  Dim extent(std::string_view stop) {
    const std::string_view text = in_.until(stop);
    const auto d = parse_dim(text.substr(0, text.find_last_not_of(' ') + 1));
    if (!d) in_.fail("'" + std::string(text) + "' is not an extent");
    return *d;
  }

  /// What follows '%': its text, which is the key, and the name it gives to an input.
  std::pair<std::string, std::string> value_name() {
    in_.expect("%");
    if (in_.at_quote()) {
      std::string name = in_.quoted();
      return {"\"" + name, name};
    }
    std::string word = in_.word();
    const bool numbered =
        std::all_of(word.begin(), word.end(), [](char c) { return c >= '0' && c <= '9'; });
    return {word, numbered ? std::string() : word};
  }

  void define(Scope& scope, const std::string& key, Value* v) {
    if (!scope.emplace(key, v).second) in_.fail("%" + key + " is defined twice");
  }

  Value* use(const Scope& scope) {
    const std::string key = value_name().first;
    const auto it = scope.find(key);
    if (it == scope.end()) in_.fail("%" + key + " is used, but not defined above");
    return it->second;
  }

  TensorType type() {
    TensorType t;
    t.dtype = in_.dtype();
    t.shape = in_.extents('[', ']');
    return t;
  }

  static void reserve(Graph& g, const Shape& shape) {
    for (const Dim& d : shape) d.symbols([&g](const std::string& s) { g.reserve_symbol(s); });
  }

  void node(Graph& g, Scope& scope) {
    std::vector<std::string> keys;
    do keys.push_back(value_name().first);
    while (in_.accept(","));
    in_.expect("=");
    const int line = in_.line();
    const std::string name = in_.op_name();
    const OpDef* def = find_op(name);
    if (def == nullptr) in_.fail("there is no op '" + name + "'" + nearest_op(name));
    std::vector<Value*> operands = operand_list(scope);
    AttrMap attrs = attributes(g, *def);
    std::vector<TensorType> types;
    if (in_.accept(":")) {
      do types.push_back(type());
      while (in_.accept(","));
    }
    if (!types.empty() && types.size() != keys.size())
      in_.fail(std::to_string(keys.size()) + " results have " + std::to_string(types.size()) +
               " types");
    Node* n = g.create(*def, std::move(operands), std::move(attrs), static_cast<int>(keys.size()));
    n->set_origins(origins(in_.comment()));
    while (next_is_graph()) n->add_body(body(g, *n));
    finish(g, *n, types, line);
    // The name of a tensor beside the text is that of its value, so that it prints the same again.
    if (!tensor_name_.empty()) n->result()->set_name(std::move(tensor_name_));
    tensor_name_.clear();
    for (size_t i = 0; i < keys.size(); ++i) define(scope, keys[i], n->result(static_cast<int>(i)));
  }

  bool next_is_graph() {
    Lexer ahead = in_;
    return ahead.accept("graph \"");
  }

  /// A graph within the one that is being read, whose constraints and states wait meanwhile.
  std::unique_ptr<Graph> body(Graph& around, const Node& n) {
    if (++depth_ > Limits().depth)
      in_.fail("graphs lie more than " + std::to_string(Limits().depth) + " deep in each other");
    const auto constraints = std::exchange(stated_constraints_, {});
    auto states = std::exchange(states_, {});
    auto inner = std::make_unique<Graph>();
    graph(*inner, n.is("region") ? around : *inner);
    --depth_;
    stated_constraints_ = constraints;
    states_ = std::move(states);
    return inner;
  }

  /// Stated types must be those of inference, but for the choice between extents that a constraint
  /// makes equal.
  static void finish(Graph& g, Node& n, const std::vector<TensorType>& types, int line) {
    const auto fail = [line](const std::string& message) {
      throw Error("line " + std::to_string(line) + ": " + message);
    };
    try {
      with_arithmetic_errors(std::string(n.name()) + ": ", [&] { infer_node(n); });
    } catch (const Error& e) {
      fail(e.what());
    }
    for (size_t i = 0; i < types.size(); ++i) {
      Value* v = n.result(static_cast<int>(i));
      if (!agree(types[i], v->type(), g.constraints()))
        fail("result " + std::to_string(i) + " of " + std::string(n.name()) + " is stated as " +
             types[i].text() + ", inference gives " + v->type().text());
      reserve(g, types[i].shape);
      v->set_type(types[i]);
    }
  }

  std::vector<Value*> operand_list(const Scope& scope) {
    std::vector<Value*> operands;
    in_.expect("(");
    if (in_.accept(")")) return operands;
    do operands.push_back(in_.accept("none") ? nullptr : use(scope));
    while (in_.accept(","));
    in_.expect(")");
    return operands;
  }

  static std::vector<std::string> origins(const std::string& comment) {
    std::vector<std::string> out;
    if (comment.empty()) return out;
    for (size_t start = 0; start <= comment.size();) {
      const size_t end = std::min(comment.find(", ", start), comment.size());
      out.push_back(comment.substr(start, end - start));
      start = end + 2;
    }
    return out;
  }

  AttrMap attributes(Graph& g, const OpDef& def) {
    AttrMap attrs;
    if (!in_.accept("{")) return attrs;
    do {
      const std::string name = in_.word();
      const auto it = std::find_if(def.attrs.begin(), def.attrs.end(),
                                   [&name](const AttrDef& d) { return d.name == name; });
      if (it == def.attrs.end())
        in_.fail("op " + std::string(def.name) + " has no attribute '" + name + "'");
      in_.expect("=");
      Attr value = attribute(it->kind);
      if (const auto* shape = std::get_if<Shape>(&value)) reserve(g, *shape);
      attrs.set(name, std::move(value));
    } while (in_.accept(","));
    in_.expect("}");
    return attrs;
  }

  Attr attribute(AttrKind kind) {
    switch (kind) {
      case AttrKind::integer: return in_.integer();
      case AttrKind::number: return in_.number();
      case AttrKind::string: return in_.quoted();
      case AttrKind::integers: return list<int64_t>([this] { return in_.integer(); });
      case AttrKind::numbers: return list<double>([this] { return in_.number(); });
      case AttrKind::strings: return list<std::string>([this] { return in_.quoted(); });
      case AttrKind::tensor: return tensor();
      case AttrKind::dtype: return in_.dtype();
      case AttrKind::dims: return in_.extents('<', '>');
    }
    in_.fail("unknown kind of attribute");
  }

  template <typename T, typename F>
  std::vector<T> list(F element) {
    std::vector<T> out;
    in_.expect("[");
    if (in_.accept("]")) return out;
    do out.push_back(element());
    while (in_.accept(","));
    in_.expect("]");
    return out;
  }

  Tensor tensor() {
    const DType dtype = in_.dtype();
    if (dtype == DType::undefined) in_.fail("a tensor needs an element type");
    const std::vector<int64_t> dims = in_.numbers('[', ']');
    in_.expect("(");
    if (in_.accept("..."))
      in_.fail("the elements of this tensor are left out; print with a table of tensors");
    if (in_.at_quote()) return named_tensor(dtype, dims);
    // Each element is at least a digit: the text bounds what a mistaken extent can allocate.
    int64_t room = static_cast<int64_t>(in_.remaining());
    for (int64_t d : dims) room = d == 0 ? 0 : room / d;
    if (room == 0 && std::find(dims.begin(), dims.end(), 0) == dims.end())
      in_.fail("the tensor has fewer elements than " + type_string(dtype, dims));
    Tensor out = Tensor::empty(dtype, dims);
    auto* to = static_cast<std::byte*>(out.mutable_data());
    for (int64_t i = 0; i < out.size(); ++i) {
      if (i > 0) in_.expect(",");
      element(dtype, to + static_cast<size_t>(i) * size_of(dtype));
    }
    in_.expect(")");
    return out;
  }

  Tensor named_tensor(DType dtype, const std::vector<int64_t>& dims) {
    const std::string name = in_.quoted();
    in_.expect(")");
    const auto it = tensors_.find(name);
    if (it == tensors_.end()) in_.fail("there is no tensor '" + name + "' beside the text");
    if (it->second.dtype() != dtype || it->second.dims() != dims)
      in_.fail("tensor '" + name + "' is stated as " + type_string(dtype, dims) + ", it is " +
               it->second.type_string());
    tensor_name_ = name;
    return it->second;
  }

  void element(DType dtype, std::byte* to) {
    const auto put = [to](auto v) { std::memcpy(to, &v, sizeof v); };
    switch (dtype) {
      case DType::boolean: {
        const bool yes = in_.accept("true");
        if (!yes) in_.expect("false");
        return put(static_cast<uint8_t>(yes ? 1 : 0));
      }
      case DType::i8: return put(static_cast<int8_t>(in_.integer()));
      case DType::i16: return put(static_cast<int16_t>(in_.integer()));
      case DType::i32: return put(static_cast<int32_t>(in_.integer()));
      case DType::i64: return put(in_.integer());
      case DType::u8: return put(static_cast<uint8_t>(in_.unsigned_integer()));
      case DType::u16: return put(static_cast<uint16_t>(in_.unsigned_integer()));
      case DType::u32: return put(static_cast<uint32_t>(in_.unsigned_integer()));
      case DType::u64: return put(in_.unsigned_integer());
      case DType::f16: return put(f32_to_f16(in_.single_number()));
      case DType::bf16: return put(f32_to_bf16(in_.single_number()));
      case DType::f32: return put(in_.single_number());
      case DType::f64: return put(in_.number());
      case DType::undefined: in_.fail("a tensor needs an element type");
    }
  }

  Lexer in_;
  const TensorTable& tensors_;
  std::vector<DimConstraint> stated_constraints_;
  std::map<std::string, State> states_;  ///< without a next value so far
  std::string tensor_name_;              ///< of the node that is being read
  int depth_ = 0;                        ///< graphs around the one that is being read
};

}  // namespace

std::unique_ptr<Graph> parse_graph(std::string_view text, const TensorTable& tensors) {
  return Parser(text, tensors).run();
}

}  // namespace tintype
