# Activations written out as several nodes.
pattern swish "x * sigmoid(x) = Swish(x)" {
  s = Sigmoid(x) where users(s) == 1
  y = Mul(x, s)
} => y = Swish(x)

pattern gelu-erf "0.5 x (1 + erf(x / sqrt 2)) = Gelu(x)" {
  y = Mul(Mul(x, Add(Erf(Div(x, r)), 1.0)), 0.5) where near(scalar(r), sqrt(2.0))
} => y = Gelu(x)

pattern leaky "max(x, a x) = LeakyRelu(x), 0 < a < 1" {
  a = Mul(x, slope) where 0.0 < scalar(slope) and scalar(slope) < 1.0 and users(a) == 1
  y = Max(x, a)
} => y = LeakyRelu(x) {alpha = scalar(slope)}
