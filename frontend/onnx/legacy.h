// What ONNX's version converter leaves undone.
#pragma once

#include "ir/graph.h"

#include <onnx/onnx_pb.h>

#include <string_view>
#include <vector>

namespace tintype {

class Builder;

/// Adapts a node stored in `opset` whose meaning has changed since.
void adapt_node(Builder& b, std::string_view op_type, int opset, std::vector<Value*>& operands,
                AttrMap& attrs);

/// Scan of opset 8 treats every sequence of a batch apart: each node becomes one that scans over
/// the batch, with a Scan over time as its body. `graph` is converted already.
void separate_batches(onnx::GraphProto& graph);

}  // namespace tintype
