// The meaning of control ops, plainly: slices are borrowed, outputs are stacked.
#include "passes/evaluate_control.h"

#include "ir/diagnostic.h"
#include "ir/ops/control.h"

#include <algorithm>
#include <cstring>

namespace tintype {

namespace {

int64_t slice_bytes(const Tensor& all) {
  return all.dims()[0] == 0 ? 0 : static_cast<int64_t>(all.bytes()) / all.dims()[0];
}

Tensor slice(const Tensor& all, int64_t i) {
  std::vector<int64_t> dims(all.dims().begin() + 1, all.dims().end());
  const auto* at = static_cast<const std::byte*>(all.data()) + i * slice_bytes(all);
  return Tensor::borrow(all.dtype(), std::move(dims), at, all.owner());
}

std::vector<Tensor> evaluate_scan(const Node& node, std::span<const Tensor> operands,
                                  const SymbolLookup& symbols) {
  const ScanView scan(node);
  const auto states = static_cast<size_t>(scan.states);
  const auto known = known_dims({scan.trips}, symbols);
  if (!known) throw Error(node.where() + ": the number of trips is not known");
  const int64_t trips = known->front();
  std::vector<Tensor> results(operands.begin(), operands.begin() + scan.states);
  for (int i = scan.states; i < node.result_count(); ++i) {
    auto dims = known_dims(node.result(i)->shape(), symbols);
    if (!dims) throw Error(node.where() + ": an extent is not known");
    results.push_back(Tensor::empty(node.result(i)->dtype(), std::move(*dims)));
  }
  for (int64_t trip = 0; trip < trips; ++trip) {
    const int64_t at = scan.reverse ? trips - 1 - trip : trip;
    std::vector<Tensor> inputs(results.begin(), results.begin() + scan.states);
    for (size_t i = states; i < operands.size(); ++i)
      inputs.push_back(static_cast<int>(i) < scan.first_invariant() ? slice(operands[i], at)
                                                                    : operands[i]);
    std::vector<Tensor> outputs = evaluate_graph(scan.body(), inputs, symbols);
    for (size_t i = 0; i < outputs.size(); ++i) {
      if (i < states) {
        results[i] = std::move(outputs[i]);
      } else if (outputs[i].bytes() > 0) {
        auto* to = static_cast<std::byte*>(results[i].mutable_data());
        std::memcpy(to + at * slice_bytes(results[i]), outputs[i].data(), outputs[i].bytes());
      }
    }
  }
  return results;
}

bool holds(const Tensor& condition) { return condition.values<uint8_t>()[0] != 0; }

std::vector<Tensor> evaluate_loop(const Node& node, std::span<const Tensor> operands,
                                  const SymbolLookup& symbols) {
  const LoopView loop(node);
  const Tensor& count = operands[LoopView::kTripCount];
  const Tensor& condition = operands[LoopView::kCondition];
  const int64_t most = count.defined() ? count.values<int64_t>()[0] : INT64_MAX;
  bool on = !condition.defined() || holds(condition);
  const auto first = operands.begin() + LoopView::kStates;
  std::vector<Tensor> states(first, first + loop.states);
  for (int64_t trip = 0; on && trip < most; ++trip) {
    std::vector<Tensor> inputs = {Tensor::scalar<int64_t>(trip)};
    inputs.insert(inputs.end(), states.begin(), states.end());
    inputs.insert(inputs.end(), first + loop.states, operands.end());
    std::vector<Tensor> outputs = evaluate_graph(loop.body(), inputs, symbols);
    on = holds(outputs[0]);
    states.assign(std::make_move_iterator(outputs.begin() + 1),
                  std::make_move_iterator(outputs.end()));
  }
  return states;
}

}  // namespace

std::vector<Tensor> evaluate_control(const Node& node, std::span<const Tensor> operands,
                                     const SymbolLookup& symbols) {
  if (node.is("scan")) return evaluate_scan(node, operands, symbols);
  if (node.is("loop")) return evaluate_loop(node, operands, symbols);
  return evaluate_graph(*node.body(holds(operands[0]) ? 0 : 1), operands.subspan(1), symbols);
}

}  // namespace tintype
