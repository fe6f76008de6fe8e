// Numbers and shapes that no model has on purpose: inference refuses them, whatever they overflow
// or point beyond.
#include "ir/diagnostic.h"
#include "ir/parse.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tintype::test {

namespace {

using ::testing::HasSubstr;

/// What is said of nodes %0; %1; ... whose inputs are in the graph's signature.
std::string refusal(const std::string& inputs, const std::string& nodes) {
  std::string text = "graph \"g\"(" + inputs + ") {\n";
  int count = 0;
  for (size_t at = 0, end = 0; end != std::string::npos; at = end + 1) {
    end = nodes.find(';', at);
    text += "  %" + std::to_string(count++) + " = " + nodes.substr(at, end - at) + "\n";
  }
  try {
    parse_graph(text + "  return %" + std::to_string(count - 1) + " as \"y\"\n}\n");
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

struct Refused {
  const char* inputs;
  const char* nodes;
  const char* message;
};

void expect_refused(std::initializer_list<Refused> cases) {
  for (const Refused& c : cases)
    EXPECT_THAT(refusal(c.inputs, c.nodes), HasSubstr(c.message)) << c.inputs << "\n" << c.nodes;
}

constexpr const char* kOverflows = "extent arithmetic overflows";

TEST(Infer, WindowsThatOverflow) {
  const char* image = "%x: f32[1,1,8,8]";
  expect_refused({
      {image, "MaxPool(%x) {kernel_shape = [4294967297, 1], dilations = [4294967296, 1]}",
       kOverflows},
      {image, "AveragePool(%x) {kernel_shape = [9223372036854775807, 2], pads = [1, 1, 1, 1]}",
       "does not fit extent"},
      {"%x: f32[1,8,8,1]",
       "window_reduce(%x) {kind = \"max\", window = [4294967297, 1], dilations = [4294967296, 1]}",
       kOverflows},
      {"%x: f32[1,8,8,1]", "window_reduce(%x) {kind = \"max\", window = [-3, 1]}",
       "attribute 'window' must be positive"},
      {"%x: f32[1,1,8,8], %w: f32[1,1,3,3]",
       "ConvTranspose(%x, %w) {dilations = [9223372036854775807, 1]}", kOverflows},
      {"%x: f32[1,1,8,8], %w: f32[1,1,3,3]", "ConvTranspose(%x, %w) {strides = [0, 1]}",
       "must be positive"},
      {"%x: f32[1,1,2,2], %i: i64[1,1,2,2]",
       "MaxUnpool(%x, %i) {kernel_shape = [2, 2], pads = [9223372036854775807, 0, 1, 0]}",
       kOverflows},
      {"%x: f32[1,4,8,8]", "DepthToSpace(%x) {blocksize = 4294967296}", kOverflows},
      {"%x: f32[1,4,8,8]", "SpaceToDepth(%x) {blocksize = 4294967296}", "number of elements"},
  });
}

TEST(Infer, LoopsThatWouldBeWrittenOut) {
  expect_refused({
      {"%x: f32[1,4,8,8]", "LRN(%x) {size = 1000000000000}", "expected 1 to 4096"},
      {"%x: f32[1,8,1]", "constant() {value = i64[2](100000, 100000)}; Col2Im(%x, %0, %0)",
       "at most 4096"},
      {"%x: f32[1,8,1]", "constant() {value = i64[2](4294967296, 4294967296)}; Col2Im(%x, %0, %0)",
       kOverflows},
  });
  EXPECT_EQ(refusal("%x: f32[1,4,8,8]", "LRN(%x) {size = 5}"), "");
}

TEST(Infer, OperandsOfTooFewAxes) {
  expect_refused({
      {"%x: f32[1,4,8], %s: f32[], %b: f32[4]", "InstanceNormalization(%x, %s, %b)",
       "expected one number per channel, got f32[]"},
      {"%x: f32[1,4,8], %s: f32[]", "BatchNormalization(%x, %s, %s, %s, %s)",
       "expected one number per channel, got f32[]"},
      {"%x: f32[1,64,1], %w: f32[]", "constant() {value = i64[](8)}; STFT(%x, %0, %w)",
       "expected a window with one axis"},
      {"%q: f32[1,2,3,4], %m: bool[]", "Attention(%q, %q, %q, %m)", "expected a mask"},
      {"%q: f32[1,2,3,4], %p: f32[3]", "Attention(%q, %q, %q, none, %p, %p)",
       "expected past keys with 4 axes"},
      {"%q: f32[1,2,3,4], %l: i64[]", "Attention(%q, %q, %q, none, none, none, %l)",
       "expected a length per batch"},
  });
}

TEST(Infer, ListsHaveNoGaps) {
  expect_refused({
      {"%x: f32[5]", "Einsum(%x, none) {equation = \"i,i\"}", "input 1 is required"},
      {"%x: f32[5]", "Concat(%x, none) {axis = 0}", "input 1 is required"},
      {"%x: f32[5]", "concat(%x, none, %x) {axis = 0}", "input 1 is required"},
      {"%x: f32[5]", "Sum(%x, none)", "input 1 is required"},
  });
}

TEST(Infer, NumbersThatAreNotThere) {
  const std::string none = "constant() {value = i64[0]()}; ";
  for (const char* node : {"CumSum(%x, %0)", "TopK(%x, %0)"})
    EXPECT_THAT(refusal("%x: f32[4]", none + node), HasSubstr("must be a scalar, got i64[0]"));
  EXPECT_THAT(refusal("", none + "Range(%0, %0, %0)"), HasSubstr("must be a scalar, got i64[0]"));
}

TEST(Infer, ScalesBeyondAllExtents) {
  for (const char* scale : {"3e38", "1e-30"})
    EXPECT_THAT(refusal("%x: f32[4]", "constant() {value = f32[1](" + std::string(scale) +
                                          ")}; Resize(%x, none, %0)"),
                HasSubstr("scales must be between"));
  EXPECT_THAT(
      refusal("%i: i64[4], %v: f32[2]", "constant() {value = f32[](1e30)}; OneHot(%i, %0, %v)"),
      HasSubstr("depth is 1"));
}

TEST(Infer, WeightsThatKernelsWouldReadBeyond) {
  const char* operands = "%x: f32[1,8,8,2], %w: f32[3,3,2,4]";
  EXPECT_EQ(refusal(operands, "conv(%x, %w) {window = [3, 3], filters = 4}"), "");
  expect_refused({
      {operands, "conv(%x, %w) {window = [5, 3], filters = 4}", "do not fit: expected 5"},
      {operands, "conv(%x, %w) {window = [3, 3], filters = 9}", "do not fit: expected 9"},
      {operands, "conv(%x, %w) {window = [3, 3], filters = 4, group = 2}", "do not fit"},
      {"%x: f32[1,8,8,2], %w: f32[1,3,3,2,8]",
       "conv(%x, %w) {window = [3, 3], filters = 9, block = 8}", "do not fit: expected 2"},
      {"%x: f32[5,3], %w: f32[1,3,8]", "dot(%x, %w) {block = 8, columns = 9}",
       "do not fit: expected 2"},
      {"%x: f32[5,3], %w: f32[1,3,4]", "dot(%x, %w) {block = 8, columns = 4}",
       "do not fit: expected 8"},
  });
}

TEST(Infer, AxesThatDoNotExist) {
  expect_refused({
      {"%x: f32[2,3,4], %i: i64[2,1]", "GatherND(%x, %i) {batch_dims = -2}", "too deep"},
      {"%x: f32[2,3,4], %i: i64[2,1]", "GatherND(%x, %i) {batch_dims = 9223372036854775807}",
       "too deep"},
      {"%x: f32[2,3,4], %i: i64[2,1]", "gather_nd(%x, %i) {batch_dims = -3}", "too deep"},
      {"%x: f32[2,3]", "reverse(%x) {axes = [2]}", "axis 2 is not one of"},
      {"", "iota() {shape = <3>, axis = 1}", "axis 1 is not one of"},
      {"%x: f32[2,3]", "pack(%x) {perm = [0, 2], block = 8}", "perm does not fit"},
      {"%x: f32[2,3]", "pack(%x) {perm = [1, 1], block = 8}", "perm does not fit"},
      {"%x: f32[2,3], %w: f32[3,4]", "dot(%x, %w) {block = 8, columns = 4}", "not packed"},
      {"%w: f32[3,3,4,4]",
       "winograd_weight(%w) {m = 2, window = [3, 3], perm = [0, 1, 2, 4], block = 8}",
       "expected weights of rank 4"},
      {"%x: f32[2,3], %i: i64[2]",
       "ReverseSequence(%x, %i) {batch_axis = 9223372036854775807, time_axis = 2}",
       "batch_axis and time_axis must be 0 and 1"},
      {"%x: f32[5]", "slice(%x) {starts = <0>, sizes = <4294967297>, steps = [4294967296]}",
       kOverflows},
      {"%x: f32[2]", "dilate(%x) {factors = [-9223372036854775808]}", "factors must be positive"},
  });
}

}  // namespace

}  // namespace tintype::test
