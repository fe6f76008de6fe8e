// Host evaluation: attributes and extents become integers, then the host op runs.
#include "passes/evaluate.h"

#include "ir/added_call.h"
#include "ir/diagnostic.h"
#include "passes/evaluate_control.h"
#include "runtime/host_ops.h"

#include <type_traits>
#include <unordered_map>
#include <variant>

namespace tintype {

std::optional<std::vector<int64_t>> known_dims(const Shape& shape, const SymbolLookup& symbols) {
  std::vector<int64_t> dims;
  dims.reserve(shape.size());
  for (const Dim& d : shape) {
    const std::optional<int64_t> v = d.is_static() ? d.value() : d.evaluate(symbols);
    if (!v) return std::nullopt;
    dims.push_back(*v);
  }
  return dims;
}

std::optional<Attributes> runtime_attributes(const AttrMap& attrs, const SymbolLookup& symbols) {
  Attributes out;
  for (const auto& [name, value] : attrs.entries()) {
    if (const auto* extents = std::get_if<Shape>(&value)) {
      std::optional<std::vector<int64_t>> dims = known_dims(*extents, symbols);
      if (!dims) return std::nullopt;
      out.set(name, std::move(*dims));
    } else if (const auto* dtype = std::get_if<DType>(&value)) {
      out.set(name, static_cast<int64_t>(*dtype));
    } else {
      std::visit(
          [&out, &key = name](const auto& v) {
            if constexpr (std::is_constructible_v<AttributeValue, decltype(v)>) out.set(key, v);
          },
          value);
    }
  }
  return out;
}

std::optional<std::vector<Tensor>> evaluate_node(const Node& node, std::span<const Tensor> operands,
                                                 const SymbolLookup& symbols) {
  if (node.is("constant")) return std::vector<Tensor>{*node.result()->constant()};
  const HostOp* op = find_host_op(node.name());
  if (op == nullptr) return std::nullopt;
  const std::optional<Attributes> attributes = runtime_attributes(node.attrs(), symbols);
  if (!attributes) return std::nullopt;
  std::vector<Tensor> results;
  for (int i = 0; i < node.result_count(); ++i) {
    auto dims = known_dims(node.result(i)->shape(), symbols);
    if (!dims) return std::nullopt;
    results.push_back(Tensor::empty(node.result(i)->dtype(), std::move(*dims)));
  }
  const Status status = call_of_record(node, "host op", [&] {
    return op->function({operands, results, *attributes});
  });
  if (!status.ok())
    throw Error(node.where() + " (" + std::string(node.name()) + "): " + status.message());
  return results;
}

std::vector<Tensor> evaluate_graph(const Graph& graph, std::span<const Tensor> inputs,
                                   const SymbolLookup& symbols) {
  std::unordered_map<const Value*, Tensor> values;
  for (size_t i = 0; i < inputs.size(); ++i) values[graph.inputs()[i].get()] = inputs[i];
  for (const auto& node : graph.nodes()) {
    std::vector<Tensor> operands;
    operands.reserve(static_cast<size_t>(node->operand_count()));
    for (Value* v : node->operands()) operands.push_back(v == nullptr ? Tensor() : values.at(v));
    std::vector<Tensor> results;
    if (node->op().has(kControl)) {
      results = evaluate_control(*node, operands, symbols);
    } else if (node->body() != nullptr) {
      results = evaluate_graph(*node->body(), operands, symbols);
    } else {
      auto evaluated = evaluate_node(*node, operands, symbols);
      if (!evaluated)
        throw Error(node->where() + ": no host evaluation of " + std::string(node->name()));
      results = std::move(*evaluated);
    }
    for (int i = 0; i < node->result_count(); ++i)
      values[node->result(i)] = results[static_cast<size_t>(i)];
  }
  std::vector<Tensor> outputs;
  outputs.reserve(graph.output_count());
  for (size_t i = 0; i < graph.output_count(); ++i) outputs.push_back(values.at(graph.output(i)));
  return outputs;
}

}  // namespace tintype
