// The recognize-* passes: what exporters write out as many nodes becomes the ONNX op that means it.
//
// They are patterns (docs/patterns.md), and they are for people who read models: results and speed
// stay what they are, since decompose and fuse-regions lead both forms to the same kernels. Hence
// they are not part of the pipelines that compile.
#include "passes/recognize.h"

namespace tintype {

std::string_view recognize_patterns() {
  return R"pat(
pattern recognize-gelu "x (1 + erf(x / sqrt 2)) / 2 = Gelu(x)" {
  y = Mul(Mul(x, Add(Erf(Div(x, r)), 1.0)), 0.5) where near(scalar(r), sqrt(2.0))
} => y = Gelu(x)

pattern recognize-gelu-half-first "(x / 2) (1 + erf(x / sqrt 2)) = Gelu(x)" {
  y = Mul(Mul(x, 0.5), Add(Erf(Div(x, r)), 1.0)) where near(scalar(r), sqrt(2.0))
} => y = Gelu(x)

pattern recognize-gelu-half-inside "x ((1 + erf(x / sqrt 2)) / 2) = Gelu(x)" {
  y = Mul(x, Mul(Add(Erf(Div(x, r)), 1.0), 0.5)) where near(scalar(r), sqrt(2.0))
} => y = Gelu(x)

pattern recognize-gelu-tanh "x (1 + tanh(c (x + k x^3))) / 2 = Gelu(x), approximate" {
  inner = Add(x, Mul(Pow(x, 3.0), k)) where near(scalar(k), 0.044715)
  y = Mul(Mul(x, Add(Tanh(Mul(inner, c)), 1.0)), 0.5) where near(scalar(c), sqrt(2.0 / 3.14159265))
} => y = Gelu(x) {approximate = "tanh"}

pattern recognize-gelu-tanh-half-first "(x / 2) (1 + tanh(c (x + k x^3))) = Gelu(x), approximate" {
  inner = Add(x, Mul(Pow(x, 3.0), k)) where near(scalar(k), 0.044715)
  y = Mul(Mul(x, 0.5), Add(Tanh(Mul(inner, c)), 1.0)) where near(scalar(c), sqrt(2.0 / 3.14159265))
} => y = Gelu(x) {approximate = "tanh"}

pattern recognize-gelu-tanh-product "x (1 + tanh(c (x + k x x x))) / 2 = Gelu(x), approximate" {
  inner = Add(x, Mul(Mul(x, Mul(x, x)), k)) where near(scalar(k), 0.044715)
  y = Mul(Mul(x, Add(Tanh(Mul(inner, c)), 1.0)), 0.5) where near(scalar(c), sqrt(2.0 / 3.14159265))
} => y = Gelu(x) {approximate = "tanh"}

pattern recognize-swish "x sigmoid(x) = Swish(x)" {
  s = Sigmoid(x) where users(s) == 1
  y = Mul(x, s)
} => y = Swish(x)

pattern recognize-hard-swish "x hardsigmoid(x) = HardSwish(x)" {
  h = HardSigmoid(x) where near(default(h.alpha, 0.2), 1.0 / 6.0) and default(h.beta, 0.5) == 0.5
  y = Mul(x, h)
} => y = HardSwish(x)

pattern recognize-hard-swish-clip "x clip(x + 3, 0, 6) / 6 = HardSwish(x)" {
  y = Div(Mul(x, Clip(Add(x, 3.0), 0.0, 6.0)), 6.0)
} => y = HardSwish(x)

pattern recognize-mish "x tanh(softplus(x)) = Mish(x)" {
  y = Mul(x, Tanh(Softplus(x)))
} => y = Mish(x)

pattern recognize-softmax "exp(x - max x) / sum exp(x - max x) = Softmax(x)" {
  m = ReduceMax(x, a) where default(m.keepdims, 1) == 1 and len(elements(a)) == 1
  e = Exp(Sub(x, m))
  s = ReduceSum(e, b) where default(s.keepdims, 1) == 1 and elements(a) == elements(b)
  y = Div(e, s) where dtype(x) in [f32, f64]
} => y = Softmax(x) {axis = elements(a)[0]}

pattern recognize-layer-norm "(x - mean x) / sqrt(variance x + epsilon) scale + bias = LayerNormalization" {
  m = ReduceMean(x, a) where default(m.keepdims, 1) == 1 and elements(a) in [[-1], [rank(x) - 1]]
  d = Sub(x, m)
  v = ReduceMean(Pow(d, 2.0), b) where default(v.keepdims, 1) == 1 and elements(a) == elements(b)
  n = Div(d, Sqrt(Add(v, epsilon))) where dtype(x) in [f32, f64]
  y = Add(Mul(n, scale), bias) where shape(scale) == [shape(x)[-1]] and shape(bias) == shape(scale)
} => y = LayerNormalization(x, scale, bias) {axis = -1, epsilon = scalar(epsilon)}

pattern recognize-layer-norm-product "the same with (x - mean x) (x - mean x) for the square" {
  m = ReduceMean(x, a) where default(m.keepdims, 1) == 1 and elements(a) in [[-1], [rank(x) - 1]]
  d = Sub(x, m)
  v = ReduceMean(Mul(d, d), b) where default(v.keepdims, 1) == 1 and elements(a) == elements(b)
  n = Div(d, Sqrt(Add(v, epsilon))) where dtype(x) in [f32, f64]
  y = Add(Mul(n, scale), bias) where shape(scale) == [shape(x)[-1]] and shape(bias) == shape(scale)
} => y = LayerNormalization(x, scale, bias) {axis = -1, epsilon = scalar(epsilon)}

pattern recognize-rms-norm "x / sqrt(mean x^2 + epsilon) scale = RMSNormalization" {
  v = ReduceMean(Pow(x, 2.0), a) where default(v.keepdims, 1) == 1
      and elements(a) in [[-1], [rank(x) - 1]] and dtype(x) in [f32, f64]
  y = Mul(Div(x, Sqrt(Add(v, epsilon))), scale) where shape(scale) == [shape(x)[-1]]
} => y = RMSNormalization(x, scale) {axis = -1, epsilon = scalar(epsilon)}

pattern recognize-gemm "x w + b = Gemm(x, w, b) for matrices" {
  m = MatMul(x, w) where rank(x) == 2 and rank(w) == 2 and users(m) == 1
  y = Add(m, b) where shape(b) == [shape(w)[1]]
} => y = Gemm(x, w, b)
)pat";
}

}  // namespace tintype
