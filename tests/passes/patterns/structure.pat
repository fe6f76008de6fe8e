# Rewrites of several nodes, attributes and constants.

# The weights are new: only the structure stays.
pattern conv-5x5 "one 5x5 convolution becomes two of 3x3 (structure only)" {
  y = Conv(x, w) where shape(w)[2] == 5 and shape(w)[3] == 5 and default(y.group, 1) == 1
      and default(y.pads, repeat(0, 4)) == repeat(2, 4) and default(y.strides, [1, 1]) == [1, 1]
} => {
  m = ConstantOfShape(constant(i64, [shape(w)[1], shape(w)[1], 3, 3]))
  n = ConstantOfShape(constant(i64, [shape(w)[0], shape(w)[1], 3, 3]))
  t = Conv(x, m) {pads = repeat(1, 4)}
  y = Conv(t, n) {...y, kernel_shape = [3, 3], pads = repeat(1, 4)}
}

pattern drop-identity { y = Identity(x) } => y = x

pattern double-to-add "x * 2 = x + x" { y = Mul(x, 2.0) } => y = Add(x, x)

pattern split-halves "two slices that share their input become one Split" {
  a = Slice(x, b0, e0, ax0) where elements(b0) == [0] and elements(ax0) == [1]
  b = Slice(x, b1, e1, ax1) where elements(ax1) == [1] and elements(e0) == elements(b1)
      and elements(e1)[0] >= shape(x)[1] and elements(e0)[0] * 2 == shape(x)[1]
} => a, b = Split(x) {axis = 1, num_outputs = 2}

pattern transpose-pair "Transpose(Transpose(x)) is one" {
  t = Transpose(x) where len(t.perm) == 2
  y = Transpose(t) where y.perm == t.perm
} => y = x

pattern conv-without-bias "absent operands are matched" {
  y = Conv(x, w, b?) where not present(b) and users(x) == 1
} => y = Conv(x, w, constant(dtype(x), repeat(0.0, shape(w)[0]))) {...y}

# Never ends: what it makes matches again.
pattern forever { y = Neg(x) } => y = Neg(Neg(Neg(x)))

pattern wrong-shape "declined: the types differ" { y = Abs(x) } => y = Transpose(x)
