// Host ops against results of NumPy, PyTorch and the ONNX reference (data/host_cases.txt, written
// by make_host_cases.py), plus what those leave open: errors, threads, Winograd, big tensors.
#include "runtime/host_ops.h"
#include "runtime/scalar.h"
#include "runtime/thread_pool.h"
#include "runtime/winograd.h"

#include <cmath>
#include <cstring>
#include <fstream>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <random>
#include <set>
#include <sstream>

namespace tintype::testing {
namespace {

struct Case {
  std::string op;
  int line = 0;
  Attributes attributes;
  std::vector<Tensor> inputs, expected;
  double tolerance = 0;
};

uint64_t parse_element(DType dtype, const std::string& text) {
  uint64_t bits = 0;
  if (dtype == DType::u64) bits = std::stoull(text);
  else if (!is_float(dtype)) bits = static_cast<uint64_t>(std::stoll(text));
  else store_scalar(dtype, std::strtod(text.c_str(), nullptr), &bits);
  return bits;
}

Tensor parse_tensor(std::istringstream& in) {
  std::string type, shape, word;
  in >> type;
  if (type == "-") return {};
  in >> shape;
  std::vector<int64_t> dims;
  std::istringstream extents(shape == "scalar" ? "" : shape);
  while (std::getline(extents, word, ',')) dims.push_back(std::stoll(word));
  Tensor t = Tensor::empty(dtype_from_name(type).value(), dims);
  auto* to = static_cast<std::byte*>(t.mutable_data());
  const size_t element = size_of(t.dtype());
  for (int64_t i = 0; i < t.size(); ++i, to += element) {
    in >> word;
    const uint64_t bits = parse_element(t.dtype(), word);
    std::memcpy(to, &bits, element);
  }
  EXPECT_FALSE(in.fail());
  return t;
}

void parse_attribute(std::istringstream& in, Attributes& attributes) {
  std::string name, kind, text;
  in >> name >> kind;
  if (kind == "s") {
    in >> text;
    attributes.set(name, text);
  } else if (kind == "i") {
    int64_t value = 0;
    in >> value;
    attributes.set(name, value);
  } else {
    std::vector<int64_t> list;
    for (int64_t v = 0; in >> v;) list.push_back(v);
    attributes.set(name, list);
  }
}

const std::vector<Case>& all_cases() {
  static const std::vector<Case> cases = [] {
    std::vector<Case> list;
    std::ifstream file(std::string(TINTYPE_TEST_DIR) + "/data/host_cases.txt");
    int number = 0;
    for (std::string line, word; std::getline(file, line);) {
      std::istringstream in(line);
      in >> word;
      ++number;
      if (word == "case") {
        list.emplace_back().line = number;
        in >> list.back().op;
      } else if (word == "attr") {
        parse_attribute(in, list.back().attributes);
      } else if (word == "end") {
        in >> list.back().tolerance;
      } else {
        (word == "in" ? list.back().inputs : list.back().expected).push_back(parse_tensor(in));
      }
    }
    return list;
  }();
  return cases;
}

double element(const Tensor& t, int64_t i) {
  const auto index = static_cast<size_t>(i);
  switch (t.dtype()) {
    case DType::f16: return f16_to_f32(t.values<uint16_t>()[index]);
    case DType::bf16: return bf16_to_f32(t.values<uint16_t>()[index]);
    case DType::f32: return t.values<float>()[index];
    default: return t.values<double>()[index];
  }
}

double smallest(DType t) {
  return t == DType::f64   ? 0x1p-1074
         : t == DType::f16 ? 0x1p-24
         : t == DType::f32 ? 0x1p-149
                           : 0x1p-133;
}

void expect_equal(const Tensor& actual, const Tensor& expected, double tolerance) {
  ASSERT_EQ(actual.type_string(), expected.type_string());
  if (!is_float(actual.dtype())) {
    EXPECT_EQ(std::memcmp(actual.data(), expected.data(), actual.bytes()), 0);
    return;
  }
  for (int64_t i = 0; i < actual.size(); ++i) {
    const double a = element(actual, i), e = element(expected, i);
    if (std::isnan(e) ? std::isnan(a) : a == e) continue;
    const double allowed = tolerance == 0 ? 0 : tolerance * std::abs(e) + smallest(actual.dtype());
    EXPECT_LE(std::abs(a - e), allowed) << "element " << i << ": " << a << ", expected " << e;
    if (!(std::abs(a - e) <= allowed)) return;
  }
}

std::vector<Tensor> outputs_like(const std::vector<Tensor>& like) {
  std::vector<Tensor> outputs;
  for (const Tensor& t : like) {
    outputs.push_back(Tensor::empty(t.dtype(), t.dims()));
    std::memset(outputs.back().mutable_data(), 0x5a, outputs.back().bytes());
  }
  return outputs;
}

Status evaluate(const std::string& op, const std::vector<Tensor>& inputs,
                std::vector<Tensor>& outputs, const Attributes& attributes = {}) {
  const HostOp* record = find_host_op(op);
  if (record == nullptr) return {StatusCode::internal, "no host op " + op};
  return record->function({inputs, outputs, attributes});
}

TEST(HostOps, AgreeWithTheReference) {
  ASSERT_GT(all_cases().size(), 1000u);
  for (const Case& c : all_cases()) {
    SCOPED_TRACE(c.op + ", host_cases.txt line " + std::to_string(c.line));
    std::vector<Tensor> outputs = outputs_like(c.expected);
    const Status status = evaluate(c.op, c.inputs, outputs, c.attributes);
    ASSERT_TRUE(status.ok()) << status.message();
    for (size_t i = 0; i < outputs.size(); ++i)
      expect_equal(outputs[i], c.expected[i], c.tolerance);
    if (HasFailure()) return;
  }
}

TEST(HostOps, EveryOpIsCoveredByACase) {
  std::set<std::string_view> covered = {"constant",
                                        "winograd_weight",
                                        "winograd_input",
                                        "winograd_output",
                                        "winograd_conv",
                                        "winograd_output_adjoint",
                                        "winograd_weight_adjoint"};  // tests of their own below
  for (const Case& c : all_cases()) covered.insert(c.op);
  for (const HostOp& op : all_host_ops()) EXPECT_TRUE(covered.count(op.name)) << op.name;
}

TEST(HostOps, OneOutputOfTopKIsEnough) {
  std::vector<Tensor> outputs = {Tensor::empty(DType::i32, {2})};
  Attributes attributes;
  attributes.set("axis", int64_t{0});
  ASSERT_TRUE(
      evaluate("top_k", {Tensor::from<int32_t>({4}, {3, 9, 1, 4})}, outputs, attributes).ok());
  EXPECT_THAT(outputs[0].values<int32_t>(), ::testing::ElementsAre(9, 4));
}

TEST(HostOps, ConstantCopiesItsTensor) {
  std::vector<Tensor> outputs = {Tensor::empty(DType::f32, {2})};
  Attributes attributes;
  attributes.set("value", Tensor::from<float>({2}, {1, 2}));
  ASSERT_TRUE(evaluate("constant", {}, outputs, attributes).ok());
  EXPECT_THAT(outputs[0].values<float>(), ::testing::ElementsAre(1, 2));
  EXPECT_FALSE(evaluate("constant", {}, outputs).ok());
}

TEST(HostOps, IndicesFromDataAreChecked) {
  const Tensor x = Tensor::zeros(DType::f32, {3, 4});
  const auto status = [&](const std::string& op, const std::vector<Tensor>& inputs,
                          std::vector<int64_t> dims, int64_t axis = 0) {
    std::vector<Tensor> outputs = {Tensor::empty(DType::f32, std::move(dims))};
    Attributes attributes;
    attributes.set("axis", axis);
    const Status s = evaluate(op, inputs, outputs, attributes);
    EXPECT_EQ(s.code(), StatusCode::invalid_argument) << op;
    return s.message();
  };
  const Tensor bad = Tensor::from<int64_t>({1}, {3}),
               huge = Tensor::from<int64_t>({1}, {INT64_MIN});
  EXPECT_EQ(status("gather", {x, bad}, {1, 4}), "index 3 is out of range for an axis of extent 3");
  EXPECT_EQ(status("gather", {x, huge}, {1, 4}),
            "index -9223372036854775808 is out of range for an axis of extent 3");
  EXPECT_EQ(status("gather", {x, bad}, {1, 4}, 2), "axis 2 is out of range for f32[3,4]");
  const Tensor pair = Tensor::from<int64_t>({1, 2}, {0, 4});
  EXPECT_EQ(status("gather_nd", {x, pair}, {1}), "index 4 is out of range for an axis of extent 4");
  EXPECT_EQ(status("scatter_nd", {x, pair, Tensor::zeros(DType::f32, {1})}, {3, 4}),
            "index 4 is out of range for an axis of extent 4");
  const Tensor wide = Tensor::from<int64_t>({1, 2}, {0, 3});
  EXPECT_EQ(status("gather_elements", {x, wide}, {1, 2}),
            "index 3 is out of range for an axis of extent 3");
  EXPECT_EQ(status("scatter_elements", {x, wide, Tensor::zeros(DType::f32, {1, 2})}, {3, 4}),
            "index 3 is out of range for an axis of extent 3");
}

/// The code with which an op over windows ends on x[1,8,1] and `positions` results.
StatusCode over_windows(const std::string& op, int64_t positions, int64_t window, int64_t stride,
                        int64_t dilation) {
  const Tensor x = Tensor::zeros(DType::f32, {1, 8, 1});
  std::vector<Tensor> outputs = {Tensor::empty(DType::f32, {1, positions, 1})};
  if (op == "window_argmax") outputs = {Tensor::empty(DType::i64, {1, positions, 1})};
  std::vector<Tensor> inputs = {x};
  if (op == "conv") inputs.push_back(Tensor::zeros(DType::f32, {window, 1, 1}));
  Attributes attributes;
  attributes.set("kind", std::string("max"));
  attributes.set("window", std::vector<int64_t>{window});
  attributes.set("strides", std::vector<int64_t>{stride});
  attributes.set("dilations", std::vector<int64_t>{dilation});
  return evaluate(op, inputs, outputs, attributes).code();
}

TEST(HostOps, WindowsStayWithinTheirAxes) {
  constexpr int64_t kFar = int64_t{1} << 62;
  for (const char* op : {"window_reduce", "window_argmax", "conv"}) {
    EXPECT_EQ(over_windows(op, 6, 3, 1, 1), StatusCode::ok) << op;
    EXPECT_EQ(over_windows(op, 7, 3, 1, 1), StatusCode::invalid_argument) << op;
    EXPECT_EQ(over_windows(op, 2, 3, kFar, kFar), StatusCode::invalid_argument) << op;
    EXPECT_EQ(over_windows(op, 2, 3, 1, kFar), StatusCode::invalid_argument) << op;
    EXPECT_EQ(over_windows(op, 2, 3, -1, 1), StatusCode::invalid_argument) << op;
    EXPECT_EQ(over_windows(op, 2, 3, 1, -1), StatusCode::invalid_argument) << op;
    EXPECT_EQ(over_windows(op, 1, 1, kFar, kFar), StatusCode::ok) << op << ": no step is taken";
  }
  // A list of the places of this window would take 16 GB.
  for (const char* op : {"window_reduce", "window_argmax"})
    EXPECT_EQ(over_windows(op, 0, int64_t{1} << 31, kFar, 1), StatusCode::ok) << op;
}

TEST(HostOps, BoundsNameTheElement) {
  const Tensor x = Tensor::from<int32_t>({3}, {0, 4, -2});
  Attributes attributes;
  attributes.set("what", std::string("sequence_lens"));
  const auto message_for = [&](int64_t low, int64_t high) {
    attributes.set("low", std::vector<int64_t>{low});
    attributes.set("high", std::vector<int64_t>{high});
    std::vector<Tensor> out = outputs_like({x});
    return evaluate("bounded", {x}, out, attributes).message();
  };
  EXPECT_EQ(message_for(-2, 4), "");
  EXPECT_EQ(message_for(0, 4), "sequence_lens[2] is -2, expected 0 to 4");
  EXPECT_EQ(message_for(-2, 3), "sequence_lens[1] is 4, expected -2 to 3");
}

TEST(HostOps, ElementTypesThatMakeNoSenseAreUnsupported) {
  std::vector<Tensor> outputs = {Tensor::empty(DType::boolean, {2})};
  const Tensor flags = Tensor::zeros(DType::boolean, {2});
  const Status s = evaluate("add", {flags, flags}, outputs);
  EXPECT_EQ(s.code(), StatusCode::unsupported);
  EXPECT_EQ(s.message(), "not defined for element type bool");
}

Tensor random_floats(std::vector<int64_t> dims, unsigned seed) {
  Tensor t = Tensor::empty(DType::f32, std::move(dims));
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  for (float& v : t.mutable_values<float>()) v = normal(generator);
  return t;
}

TEST(HostOps, ResultsDoNotDependOnTheNumberOfThreads) {
  const Tensor x = random_floats({37, 129, 65}, 1), row = random_floats({65}, 2);
  Attributes attributes;
  attributes.set("axes", std::vector<int64_t>{0, 2});
  attributes.set("perm", std::vector<int64_t>{2, 0, 1});
  attributes.set("axis", int64_t{1});
  const auto run = [&](int threads) {
    const ThreadLimit limit(threads);
    std::vector<Tensor> all;
    const auto add = [&](const std::string& op, const std::vector<Tensor>& in,
                         std::vector<int64_t> dims) {
      std::vector<Tensor> out = {Tensor::empty(DType::f32, std::move(dims))};
      EXPECT_TRUE(evaluate(op, in, out, attributes).ok());
      all.push_back(out[0]);
    };
    add("mul", {x, row}, x.dims());
    add("transpose", {x}, {65, 37, 129});
    add("reduce_sum", {x}, {1, 129, 1});
    add("cumsum", {x}, x.dims());
    add("exp", {x}, x.dims());
    return all;
  };
  const std::vector<Tensor> serial = run(1);
  for (int threads : {2, 3, 4, 8}) {
    const std::vector<Tensor> parallel = run(threads);
    for (size_t i = 0; i < serial.size(); ++i)
      EXPECT_EQ(std::memcmp(serial[i].data(), parallel[i].data(), serial[i].bytes()), 0) << i;
  }
}

TEST(HostOps, LargeTransposesAndPads) {
  const Tensor x = random_floats({70, 3, 5, 131}, 3);
  Attributes attributes;
  attributes.set("perm", std::vector<int64_t>{3, 1, 0, 2});
  std::vector<Tensor> out = {Tensor::empty(DType::f32, {131, 3, 70, 5})};
  ASSERT_TRUE(evaluate("transpose", {x}, out, attributes).ok());
  for (int64_t i = 0; i < x.size(); ++i) {
    const int64_t d = i % 131, c = i / 131 % 5, b = i / 655 % 3, a = i / 1965;
    ASSERT_EQ(out[0].values<float>()[static_cast<size_t>(((d * 3 + b) * 70 + a) * 5 + c)],
              x.values<float>()[static_cast<size_t>(i)]);
  }
}

// U = winograd_weight(w), V = winograd_input(x); the products of their points give the convolution.
struct WinogradSize {
  int64_t m, height, width;  ///< window extents
};

/// The part of a tensor [points, ...] that belongs to one point, sharing its memory.
Tensor point_of(const Tensor& t, int64_t p, const std::vector<int64_t>& dims) {
  return Tensor::borrow(DType::f32, dims,
                        static_cast<const float*>(t.data()) + p * (t.size() / t.dims()[0]),
                        nullptr);
}

class WinogradTest : public ::testing::TestWithParam<WinogradSize> {};

TEST_P(WinogradTest, TransformsGiveTheConvolution) {
  const auto [m, kh, kw] = GetParam();
  const int64_t n = 2, h = 13, w = 11, channels = 3, filters = 5, block = 4;
  const int64_t oh = h - kh + 1, ow = w - kw + 1, mh = kh == 1 ? 1 : m, mw = kw == 1 ? 1 : m;
  const int64_t th = (oh + mh - 1) / mh, tw = (ow + mw - 1) / mw;
  const int64_t points = (mh + kh - 1) * (mw + kw - 1), tiles = n * th * tw;
  const Tensor x = random_floats({n, h, w, channels}, 4);
  const Tensor weights = random_floats({filters, channels, kh, kw}, 5);
  Attributes attributes;
  attributes.set("m", m);
  attributes.set("block", block);
  attributes.set("perm", std::vector<int64_t>{2, 3, 1, 0});
  attributes.set("window", std::vector<int64_t>{kh, kw});
  std::vector<Tensor> u = {Tensor::empty(DType::f32, {points, 2, channels, block})};
  std::vector<Tensor> v = {Tensor::empty(DType::f32, {points, n, th, tw, channels})};
  ASSERT_TRUE(evaluate("winograd_weight", {weights}, u, attributes).ok());
  ASSERT_TRUE(evaluate("winograd_input", {x}, v, attributes).ok());

  Attributes product;
  product.set("block", block);
  std::vector<Tensor> y = {Tensor::empty(DType::f32, {points, n, th, tw, filters})};
  for (int64_t p = 0; p < points; ++p) {  // one packed matrix product per point
    std::vector<Tensor> out = {point_of(y[0], p, {tiles, filters})};
    ASSERT_TRUE(
        evaluate("dot",
                 {point_of(v[0], p, {tiles, channels}), point_of(u[0], p, {2, channels, block})},
                 out, product)
            .ok());
  }
  std::vector<Tensor> result = {Tensor::empty(DType::f32, {n, oh, ow, filters})};
  ASSERT_TRUE(evaluate("winograd_output", y, result, attributes).ok());

  std::vector<Tensor> at_once = {Tensor::empty(DType::f32, {n, oh, ow, filters})};
  ASSERT_TRUE(evaluate("winograd_conv", {x, u[0]}, at_once, attributes).ok());

  Attributes plain;
  plain.set("window", std::vector<int64_t>{kh, kw});
  plain.set("perm", std::vector<int64_t>{2, 3, 1, 0});
  std::vector<Tensor> hwio = {Tensor::empty(DType::f32, {kh, kw, channels, filters})};
  std::vector<Tensor> expected = {Tensor::empty(DType::f32, {n, oh, ow, filters})};
  ASSERT_TRUE(evaluate("transpose", {weights}, hwio, plain).ok());
  ASSERT_TRUE(evaluate("conv", {x, hwio[0]}, expected, plain).ok());
  for (int64_t i = 0; i < expected[0].size(); ++i)
    ASSERT_NEAR(element(result[0], i), element(expected[0], i), 5e-5) << i;
  for (int64_t i = 0; i < expected[0].size(); ++i)
    ASSERT_NEAR(element(at_once[0], i), element(expected[0], i), 5e-5) << i;
}

// dw = winograd_weight_adjoint(V^T winograd_output_adjoint(dy)) is the gradient of the convolution.
TEST_P(WinogradTest, AdjointsGiveTheWeightGradient) {
  const auto [m, kh, kw] = GetParam();
  const int64_t n = 2, channels = 3, filters = 5;
  const int64_t mh = kh == 1 ? 1 : m, mw = kw == 1 ? 1 : m, th = 3, tw = 2;
  const int64_t oh = th * mh, ow = tw * mw, points = (mh + kh - 1) * (mw + kw - 1);
  const Tensor x = random_floats({n, oh + kh - 1, ow + kw - 1, channels}, 6);
  const Tensor dy = random_floats({n, oh, ow, filters}, 7);
  Attributes attributes;
  attributes.set("m", m);
  attributes.set("window", std::vector<int64_t>{kh, kw});
  attributes.set("perm", std::vector<int64_t>{1, 0});
  std::vector<Tensor> v = {Tensor::empty(DType::f32, {points, n, th, tw, channels})};
  std::vector<Tensor> g = {Tensor::empty(DType::f32, {points, n, th, tw, filters})};
  ASSERT_TRUE(evaluate("winograd_input", {x}, v, attributes).ok());
  ASSERT_TRUE(evaluate("winograd_output_adjoint", {dy}, g, attributes).ok());
  std::vector<Tensor> du = {Tensor::empty(DType::f32, {points, channels, filters})};
  for (int64_t p = 0; p < points; ++p) {
    std::vector<Tensor> left = {Tensor::empty(DType::f32, {channels, n * th * tw})};
    ASSERT_TRUE(
        evaluate("transpose", {point_of(v[0], p, {n * th * tw, channels})}, left, attributes).ok());
    std::vector<Tensor> out = {point_of(du[0], p, {channels, filters})};
    ASSERT_TRUE(
        evaluate("dot", {left[0], point_of(g[0], p, {n * th * tw, filters})}, out, {}).ok());
  }
  std::vector<Tensor> result = {Tensor::empty(DType::f32, {kh, kw, channels, filters})};
  std::vector<Tensor> expected = {Tensor::empty(DType::f32, {kh, kw, channels, filters})};
  ASSERT_TRUE(evaluate("winograd_weight_adjoint", du, result, attributes).ok());
  ASSERT_TRUE(evaluate("conv_weight_gradient", {x, dy}, expected, attributes).ok());
  for (int64_t i = 0; i < expected[0].size(); ++i)
    ASSERT_NEAR(element(result[0], i), element(expected[0], i), 2e-4) << i;
}

INSTANTIATE_TEST_SUITE_P(Sizes, WinogradTest,
                         ::testing::Values(WinogradSize{2, 3, 3}, WinogradSize{4, 3, 3},
                                           WinogradSize{6, 3, 3}, WinogradSize{2, 5, 5},
                                           WinogradSize{4, 1, 3}, WinogradSize{4, 3, 1},
                                           WinogradSize{6, 1, 3}, WinogradSize{2, 5, 1}));

TEST(Winograd, MatricesAreThoseOfLavinAndGray) {
  // Section 4.1 and 4.2 of the paper, up to the common sign of a row of B^T and G.
  const auto& f43 = kWinograd<4, 3>;
  const double bt[6][6] = {{4, 0, -5, 0, 1, 0},  {0, -4, -4, 1, 1, 0}, {0, 4, -4, -1, 1, 0},
                           {0, -2, -1, 2, 1, 0}, {0, 2, -1, -2, 1, 0}, {0, 4, 0, -5, 0, 1}};
  const double g[6][3] = {{1.0 / 4, 0, 0},
                          {-1.0 / 6, -1.0 / 6, -1.0 / 6},
                          {-1.0 / 6, 1.0 / 6, -1.0 / 6},
                          {1.0 / 24, 1.0 / 12, 1.0 / 6},
                          {1.0 / 24, -1.0 / 12, 1.0 / 6},
                          {0, 0, 1}};
  const double at[4][6] = {
      {1, 1, 1, 1, 1, 0}, {0, 1, -1, 2, -2, 0}, {0, 1, 1, 4, 4, 0}, {0, 1, -1, 8, -8, 1}};
  for (size_t j = 0; j < 6; ++j) {
    for (size_t k = 0; k < 6; ++k) EXPECT_DOUBLE_EQ(f43.bt[j][k], bt[j][k]);
    for (size_t k = 0; k < 3; ++k) EXPECT_DOUBLE_EQ(f43.g[j][k], g[j][k]);
    for (size_t i = 0; i < 4; ++i) EXPECT_DOUBLE_EQ(f43.at[i][j], at[i][j]);
  }
  EXPECT_EQ(find_winograd({.m = 3}, 3).points, 0);
}

TEST(Winograd, TwoResultsBetweenZerosTakeThreeProducts) {
  const WinogradMatrices f = find_winograd({.m = 2, .zero_margins = true}, 3);
  ASSERT_EQ(f.points, 3);
  ASSERT_EQ(f.inputs, 2);
  const double g[3] = {2, 3, 5}, d[2] = {7, 11};
  double products[3];
  for (int p = 0; p < 3; ++p)
    products[p] = (f.g[3 * p] * g[0] + f.g[3 * p + 1] * g[1] + f.g[3 * p + 2] * g[2]) *
                  (f.bt[2 * p] * d[0] + f.bt[2 * p + 1] * d[1]);
  const double want[2] = {g[1] * d[0] + g[2] * d[1], g[0] * d[0] + g[1] * d[1]};
  for (int i = 0; i < 2; ++i)
    EXPECT_EQ(f.at[3 * i] * products[0] + f.at[3 * i + 1] * products[1] +
                  f.at[3 * i + 2] * products[2],
              want[i]);
  // No margins but those of two results by three taps.
  EXPECT_EQ(find_winograd({.m = 4, .zero_margins = true}, 3).points, 0);
  EXPECT_EQ(find_winograd({.m = 2, .zero_margins = true}, 5).points, 0);
}

TEST(DTypeConversions, HalfIsExactForAllBitPatterns) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    const float f = f16_to_f32(half);
    const int exponent = (half >> 10) & 31, mantissa = half & 1023;
    const double sign = (half & 0x8000) != 0 ? -1 : 1;
    if (exponent == 31) {
      ASSERT_EQ(std::isnan(f), mantissa != 0);
      ASSERT_EQ(std::isinf(f), mantissa == 0);
    } else {
      const double value =
          exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
      ASSERT_EQ(static_cast<double>(f), sign * value);
    }
    if (!std::isnan(f)) {
      ASSERT_EQ(f32_to_f16(f), half);
      ASSERT_EQ(bf16_to_f32(f32_to_bf16(bf16_to_f32(half))), bf16_to_f32(half)) << bits;
    }
  }
}

TEST(DTypeConversions, RoundToNearestEven) {
  EXPECT_EQ(f32_to_f16(65519.0f), 0x7bff);
  EXPECT_EQ(f32_to_f16(65520.0f), 0x7c00);  // halfway to 65536 rounds to infinity
  EXPECT_EQ(f32_to_f16(1.0f + 0x1p-11f), 0x3c00);
  EXPECT_EQ(f32_to_f16(1.0f + 3 * 0x1p-11f), 0x3c02);
  EXPECT_EQ(f32_to_f16(0x1p-25f), 0);
  EXPECT_EQ(f32_to_f16(0x1.8p-25f), 1);
  EXPECT_EQ(f32_to_bf16(1.0f + 0x1p-8f), 0x3f80);
  EXPECT_EQ(f32_to_bf16(1.0f + 3 * 0x1p-8f), 0x3f82);
  EXPECT_TRUE(std::isnan(f16_to_f32(f32_to_f16(NAN))));
  EXPECT_TRUE(std::isnan(bf16_to_f32(f32_to_bf16(std::bit_cast<float>(0x7f800001u)))));
  // Rounding 1 + 2^-11 + 2^-40 by way of float would lose what decides.
  EXPECT_EQ(f32_to_f16(f64_to_f32_odd(1.0 + 0x1p-11 + 0x1p-40)), 0x3c01);
  EXPECT_EQ(f32_to_f16(f64_to_f32_odd(-1.0 - 0x1p-11 + 0x1p-40)), 0xbc00);
}

}  // namespace
}  // namespace tintype::testing
