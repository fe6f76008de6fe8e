// The order of the passes, and why.
#include "passes/pass_manager.h"

#include <array>
#include <initializer_list>

namespace tintype {

namespace {

std::string joined(std::initializer_list<std::string_view> steps) {
  std::string text;
  for (std::string_view s : steps) text += (text.empty() ? "" : ",") + std::string(s);
  return text;
}

}  // namespace

std::span<const NamedPipeline> named_pipelines() {
  static const std::array<NamedPipeline, 8> pipelines = {{
      {"default", "from a model to kernels: what compile runs",
       joined({
           "recognize-attention",  // its scale then costs nothing, wherever exporters put it
           "fold-batch-norm",      // while Conv and BatchNormalization are still whole
           "canonical",
           "merge-projections",  // while products are not packed yet
           "select-algorithms",
           "simplify-control",  // what a loop would pack again on every trip is packed before
           "finish",
       })},
      {"strict", "the same without rewrites that round differently",
       joined({
           "canonical",
           "select-algorithms{winograd=0}",
           "simplify-control",
           "finish",
       })},
      {"fast", "the same as default, with products of 16-bit operands where the machine has them",
       joined({
           "recognize-attention",
           "fold-batch-norm",  // into weights before these are rounded
           "canonical",
           "merge-projections",
           "narrow-operands",  // the cost of algorithms depends on it
           "select-algorithms",
           "simplify-control",
           "finish",
       })},
      {"canonical", "core ops, channels last, nothing redundant",
       joined({
           "decompose",                  // from here on core ops only
           "simplify-control",           // weights become constants of the bodies that read them
           "layout-states",              // weights of training, before transposes move
           "fold-constants{weights=0}",  // shape arithmetic away; packing moves weights once
           "dead-code",                  // leftovers of shape arithmetic would block patterns
           "simplify{layout=0}",         // merged movement; transposes kept for the next pass
           "common-subexpressions",      // steps of a network are compared value by value
           "normalize-cells",            // whatever form their products were given
           "roll-loops",                 // before layouts move apart what is the same in all steps
           "stack-steps",                // what the loops have left of the steps
           "fuse-gates",
           "read-last-steps",            // of what has become a loop
           "simplify-control",           // the weights of what rolled up, once more
           "sink-transposes",            // between convolutions they meet and cancel
           "simplify{layout=0}",         // reshapes that meet where a transpose has left
           "split-phases",               // once what follows convolutions stands behind them
           "sink-transposes",            // may let those pass that were stuck at one of the two
           "simplify",                   // transposes of extent 1, scalars made of equal elements
           "fold-constants{weights=0}",  // biases that sinking brought into the new layout
           "simplify",                   // what the new constants make trivial
           "common-subexpressions",      // movement that several users asked for separately
           "simplify-control",           // what folding left constant, and outputs nobody reads
           "dead-code",
       })},
      {"roll", "loops of what was written out step by step: before it is differentiated",
       joined({
           "fold-constants{weights=0}",
           "dead-code",
           "common-subexpressions",  // steps of a network are compared value by value
           "normalize-cells",
           "roll-loops",
           "stack-steps",
           "fuse-gates",
           "simplify-control",  // gradients of weights that loops are given are summed behind them
           "read-last-steps",
       })},
      {"finish", "what follows the selection of algorithms, up to regions",
       joined({
           "reshape-updates",        // which lets them join the kernel of their gradient
           "simplify",               // packing takes over the transposes before it
           "fold-constants",         // the packed weights
           "common-subexpressions",  // weights that are used twice
           "dead-code",
           "fuse-regions",   // each region becomes one kernel
           "sink-repeats",   // which reads gradients of averages without writing them out
           "hoist-updates",  // gradients make room as soon as they are used
       })},
      {"reference", "the model as written: every core op a kernel of its own",
       joined({"decompose", "fold-constants", "dead-code", "fuse-regions{single-ops}"})},
      {"recognize", "ONNX ops for what exporters write out as many nodes",
       joined({
           "recognize-attention",
           "recognize-gelu",
           "recognize-gelu-half-first",
           "recognize-gelu-half-inside",
           "recognize-gelu-tanh",
           "recognize-gelu-tanh-half-first",
           "recognize-gelu-tanh-product",
           "recognize-swish",
           "recognize-hard-swish",
           "recognize-hard-swish-clip",
           "recognize-mish",
           "recognize-softmax",
           "recognize-layer-norm",
           "recognize-layer-norm-product",
           "recognize-rms-norm",
           "recognize-gemm",
           "dead-code",
       })},
  }};
  return pipelines;
}

}  // namespace tintype
