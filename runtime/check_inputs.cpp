// Checks of what a caller passes to a run; every message shows the expected and the given type.
#include "runtime/executor.h"
#include "runtime/extents.h"

namespace tintype {

namespace {

Status wrong_input(const Program& program, const Port& port, const Tensor& given,
                   const std::string& why) {
  return invalid_argument("input '" + port.name + "': expected " + format_type(program, port) +
                          ", got " + (given.defined() ? given.type_string() : "nothing") +
                          (why.empty() ? "" : " (" + why + ")"));
}

std::string where_read(const Program& program, const Symbol& symbol, int64_t value) {
  return symbol.name + " is " + std::to_string(value) + ", from axis " +
         std::to_string(symbol.axis) + " of input '" +
         program.inputs[static_cast<size_t>(symbol.input)].name + "'";
}

/// Where an element lies, as "[3, 7]".
std::string place_of(int64_t element, const std::vector<int64_t>& dims) {
  std::string s;
  for (size_t d = dims.size(); d-- > 0; element /= dims[d])
    s = std::to_string(element % dims[d]) + (s.empty() ? "" : ", ") + s;
  return "[" + s + "]";
}

template <typename T>
Status check_indices(const Port& port, const IndexUse& use, int64_t extent, const Tensor& given) {
  const std::span<const T> values = given.values<T>();
  for (size_t i = 0; i < values.size(); ++i)
    if (values[i] < -extent || values[i] >= extent)
      return invalid_argument("input '" + port.name + "': " + std::to_string(values[i]) + " at " +
                              place_of(static_cast<int64_t>(i), given.dims()) +
                              " is out of range for an axis of extent " + std::to_string(extent) +
                              " (" + use.where + ")");
  return {};
}

}  // namespace

Status read_symbols(const Program& program, std::span<const Tensor> inputs,
                    std::vector<int64_t>& symbols) {
  if (inputs.size() != program.inputs.size())
    return invalid_argument("expected " + std::to_string(program.inputs.size()) + " inputs, got " +
                            std::to_string(inputs.size()));
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Port& port = program.inputs[i];
    if (!inputs[i].defined() || inputs[i].dtype() != port.dtype ||
        inputs[i].dims().size() != port.dims.size())
      return wrong_input(program, port, inputs[i], "");
    if (inputs[i].data() == nullptr && inputs[i].size() != 0)
      return wrong_input(program, port, inputs[i], "its data pointer is null");
  }
  symbols.resize(program.symbols.size());
  for (size_t i = 0; i < symbols.size(); ++i) {
    const Symbol& s = program.symbols[i];
    symbols[i] = inputs[static_cast<size_t>(s.input)].dims()[static_cast<size_t>(s.axis)];
  }
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Port& port = program.inputs[i];
    for (size_t d = 0; d < port.dims.size(); ++d) {
      const ExtentExpr& e = program.expressions[static_cast<size_t>(port.dims[d])];
      const int64_t given = inputs[i].dims()[d];
      if (e.kind == ExtentExpr::Kind::constant && given != e.value)
        return wrong_input(program, port, inputs[i], "");
      if (e.kind != ExtentExpr::Kind::symbol) continue;
      const auto index = static_cast<size_t>(e.value);
      if (given != symbols[index])
        return wrong_input(program, port, inputs[i],
                           where_read(program, program.symbols[index], symbols[index]));
    }
  }
  return {};
}

Status check_inputs(const Program& program, const Plan& plan, std::span<const Tensor> inputs) {
  for (size_t i = 0; i < inputs.size(); ++i)
    if (inputs[i].dims() != plan.input_dims[i])
      return wrong_input(program, program.inputs[i], inputs[i],
                         type_string(program.inputs[i].dtype, plan.input_dims[i]) + " for " +
                             format_symbols(program, plan.symbols));
  for (size_t i = 0; i < inputs.size(); ++i)
    for (const IndexUse& use : program.inputs[i].indices) {
      const int64_t extent = plan.value(use.extent);
      const Port& port = program.inputs[i];
      Status s = port.dtype == DType::i64 ? check_indices<int64_t>(port, use, extent, inputs[i])
                                          : check_indices<int32_t>(port, use, extent, inputs[i]);
      if (!s.ok()) return s;
    }
  return {};
}

}  // namespace tintype
