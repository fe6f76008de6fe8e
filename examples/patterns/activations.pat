# Activations that were written out become the op that means them.
#   tintype opt examples/patterns/activations.ir --patterns examples/patterns/activations.pat --verify-passes

pattern fuse-swish "x * sigmoid(x) = Swish(x)" {
  s = Sigmoid(x) where users(s) == 1
  y = Mul(x, s)
} => y = Swish(x)

pattern fuse-gelu "0.5 * x * (1 + erf(x / sqrt(2))) = Gelu(x)" {
  half = Mul(x, 0.5)
  e = Erf(Div(x, r)) where near(scalar(r), sqrt(2.0))
  y = Mul(half, Add(e, 1.0))
} => y = Gelu(x)

pattern fuse-leaky-relu "max(x, a * x) = LeakyRelu(x) for 0 < a < 1" {
  a = Mul(x, slope) where 0.0 < scalar(slope) and scalar(slope) < 1.0 and users(a) == 1
  y = Max(x, a)
} => y = LeakyRelu(x) {alpha = scalar(slope)}
