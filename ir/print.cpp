// Printing graphs as text.
#include "ir/print.h"

#include "ir/diagnostic.h"

#include <algorithm>
#include <charconv>
#include <unordered_map>

namespace tintype {

std::string quoted_text(const std::string& s) {
  static const char* const digits = "0123456789abcdef";
  std::string out = "\"";
  for (const char c : s) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20) {
      out += "\\x";
      out += digits[byte >> 4];
      out += digits[byte & 15];
    } else {
      out += c;
    }
  }
  return out + '"';
}

namespace {

/// The shortest text that reads back as the same number.
template <typename T>
std::string number(T v) {
  char buffer[40];
  const auto r = std::to_chars(buffer, buffer + sizeof buffer, v);
  std::string s(buffer, r.ptr);
  if (s.find_first_of(".enai") == std::string::npos) s += ".0";
  return s;
}

template <typename T, typename F>
std::string list(const std::vector<T>& values, F text) {
  std::string s = "[";
  for (size_t i = 0; i < values.size(); ++i) s += (i == 0 ? "" : ", ") + text(values[i]);
  return s + "]";
}

std::string element(const Tensor& t, int64_t i) {
  const auto at = static_cast<size_t>(i);
  switch (t.dtype()) {
    case DType::f32: return number(t.values<float>()[at]);
    case DType::f64: return number(t.values<double>()[at]);
    case DType::f16: return number(f16_to_f32(t.values<uint16_t>()[at]));
    case DType::bf16: return number(bf16_to_f32(t.values<uint16_t>()[at]));
    case DType::boolean: return t.values<uint8_t>()[at] != 0 ? "true" : "false";
    case DType::i8: return std::to_string(t.values<int8_t>()[at]);
    case DType::i16: return std::to_string(t.values<int16_t>()[at]);
    case DType::i32: return std::to_string(t.values<int32_t>()[at]);
    case DType::i64: return std::to_string(t.values<int64_t>()[at]);
    case DType::u8: return std::to_string(t.values<uint8_t>()[at]);
    case DType::u16: return std::to_string(t.values<uint16_t>()[at]);
    case DType::u32: return std::to_string(t.values<uint32_t>()[at]);
    case DType::u64: return std::to_string(t.values<uint64_t>()[at]);
    case DType::undefined: break;
  }
  return "?";
}

std::string tensor_text(const Tensor& t, int64_t inline_elements) {
  std::string s = t.type_string();
  if (t.size() > inline_elements) return s + "(...)";
  s += "(";
  for (int64_t i = 0; i < t.size(); ++i) s += (i == 0 ? "" : ", ") + element(t, i);
  return s + ")";
}

std::string attr_text(const Attr& a, int64_t inline_elements) {
  if (const auto* v = std::get_if<int64_t>(&a)) return std::to_string(*v);
  if (const auto* v = std::get_if<double>(&a)) return number(*v);
  if (const auto* v = std::get_if<std::string>(&a)) return quoted_text(*v);
  if (const auto* v = std::get_if<std::vector<int64_t>>(&a))
    return list(*v, [](int64_t x) { return std::to_string(x); });
  if (const auto* v = std::get_if<std::vector<double>>(&a)) return list(*v, number<double>);
  if (const auto* v = std::get_if<std::vector<std::string>>(&a)) return list(*v, quoted_text);
  if (const auto* v = std::get_if<Tensor>(&a)) return tensor_text(*v, inline_elements);
  if (const auto* v = std::get_if<DType>(&a)) return std::string(name_of(*v));
  return "<" + text_of(std::get<Shape>(a)).substr(1, text_of(std::get<Shape>(a)).size() - 2) + ">";
}

/// Names that are not plain words, and numbers, are quoted.
std::string input_name(const std::string& name) {
  const auto plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '.' || c == '-';
  };
  const bool digit = name[0] >= '0' && name[0] <= '9';
  return !digit && std::all_of(name.begin(), name.end(), plain) ? name : quoted_text(name);
}

std::string one_line(std::string s) {
  for (char& c : s)
    if (static_cast<unsigned char>(c) < 0x20) c = ' ';
  return s;
}

class Printer {
 public:
  explicit Printer(const PrintOptions& options) : options_(options) {}

  void graph(const Graph& g, const std::string& indent) {
    out_ += indent + "graph " + quoted_text(g.name()) + "(";
    bool first = true;
    for (const auto& v : g.inputs()) {
      names_[v.get()] = "%" + (v->name().empty() ? std::to_string(next_++) : input_name(v->name()));
      out_ += (first ? "" : ", ");
      if (const State* s = g.state_of(v.get()))
        out_ += "state " + names_[v.get()] + ": " + initial(*s);
      else out_ += names_[v.get()] + ": " + v->type().text();
      first = false;
    }
    out_ += ") {\n";
    for (const auto& n : g.nodes()) node(*n, indent + "  ");
    for (const DimConstraint& c : g.constraints())
      out_ += indent + "  require " + c.left.text() + " == " + c.right.text() + " : " +
              quoted_text(c.message) + "\n";
    out_ += indent + "  return ";
    if (g.output_count() == 0) out_ += "nothing";
    for (size_t i = 0; i < g.output_count(); ++i)
      out_ += (i == 0 ? "" : ", ") + names_[g.output(i)] +
              (g.is_next(static_cast<int>(i)) ? " next " : " as ") + quoted_text(g.output_name(i));
    out_ += "\n" + indent + "}\n";
  }

  std::string take() { return std::move(out_); }

 private:
  void node(const Node& n, const std::string& indent) {
    out_ += indent;
    for (int i = 0; i < n.result_count(); ++i) {
      names_[n.result(i)] = "%" + std::to_string(next_++);
      out_ += (i == 0 ? "" : ", ") + names_[n.result(i)];
    }
    out_ += " = " + std::string(n.name()) + "(";
    for (int i = 0; i < n.operand_count(); ++i) {
      const Value* v = n.operand(i);
      out_ += (i == 0 ? "" : ", ") + (v == nullptr ? std::string("none") : names_[v]);
    }
    out_ += ")";
    const std::string attributes =
        is_named_constant(n) ? named_constant(n) : print(n.attrs(), options_.inline_elements);
    if (!attributes.empty()) out_ += " " + attributes;
    out_ += " : ";
    for (int i = 0; i < n.result_count(); ++i)
      out_ += (i == 0 ? "" : ", ") + n.result(i)->type().text();
    if (options_.origins && !n.origins().empty())
      if (const std::string where = one_line(n.where()); !where.empty()) out_ += "  // " + where;
    out_ += "\n";
    for (int i = 0; i < n.body_count(); ++i) graph(*n.body(i), indent + "  ");
  }

  bool is_named_constant(const Node& n) const {
    return options_.tensors != nullptr && n.is("constant") &&
           n.result()->constant()->size() > options_.inline_elements;
  }

  std::string named_constant(const Node& n) {
    const std::string source = n.attrs().string("source");
    return "{" + (source.empty() ? "" : "source = " + quoted_text(source) + ", ") +
           "value = " + named_tensor(*n.result()->constant(), n.result()->name()) + "}";
  }

  /// The tensor goes to the table, under the wished name where that is free.
  std::string named_tensor(const Tensor& t, const std::string& wish) {
    std::string name = wish.empty() ? "c0" : wish;
    for (int i = 1; !options_.tensors->emplace(name, t).second; ++i)
      name = (wish.empty() ? "c" : wish + "_") + std::to_string(i);
    return t.type_string() + "(" + quoted_text(name) + ")";
  }

  std::string initial(const State& s) {
    const bool named = options_.tensors != nullptr && s.initial.size() > options_.inline_elements;
    const std::string layout =
        s.layout.empty() ? ""
                         : " layout " + list(s.layout, [](int64_t x) { return std::to_string(x); });
    return (named ? named_tensor(s.initial, s.current->name())
                  : tensor_text(s.initial, options_.inline_elements)) +
           layout;
  }

  PrintOptions options_;
  std::string out_;
  std::unordered_map<const Value*, std::string> names_;
  int next_ = 0;
};

}  // namespace

std::string print(const AttrMap& attrs, int64_t inline_elements) {
  std::string s;
  for (const auto& [name, value] : attrs.entries())
    s += (s.empty() ? "{" : ", ") + name + " = " + attr_text(value, inline_elements);
  return s.empty() ? s : s + "}";
}

std::string print(const Graph& graph, const PrintOptions& options) {
  Printer p(options);
  p.graph(graph, "");
  return p.take();
}

}  // namespace tintype
