# What does nothing goes; what is expensive becomes cheap.

pattern drop-identity { y = Identity(x) } => y = x

# Both branches of a sum that only pass their input on.
pattern drop-identity-branch "x + 0 = x" { y = Add(x, 0.0) } => y = x

pattern divide-to-multiply "x / c = x * (1 / c) for constant c" {
  y = Div(x, c) where dtype(x) == f32 and scalar(c) != 0.0
} => y = Mul(x, constant(f32, 1.0 / scalar(c)))

pattern square "Pow(x, 2) = x * x" { y = Pow(x, 2.0) } => y = Mul(x, x)
