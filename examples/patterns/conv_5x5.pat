# The structure of VGG: two 3x3 convolutions see as far as one 5x5, with fewer parameters and one more
# activation. The new weights are zeros, to be trained: values change, so --verify-passes says no.

pattern split-conv-5x5 "Conv 5x5 becomes two Conv 3x3 (structure only)" {
  y = Conv(x, w, b?) where shape(w)[2] == 5 and shape(w)[3] == 5
      and default(y.group, 1) == 1 and default(y.strides, [1, 1]) == [1, 1]
      and default(y.dilations, [1, 1]) == [1, 1] and default(y.pads, repeat(0, 4)) == repeat(2, 4)
} => {
  w1 = ConstantOfShape(constant(i64, [shape(w)[1], shape(w)[1], 3, 3]))
  w2 = ConstantOfShape(constant(i64, [shape(w)[0], shape(w)[1], 3, 3]))
  inner = Relu(Conv(x, w1) {pads = repeat(1, 4)})
  y = Conv(inner, w2, b) {pads = repeat(1, 4)}
}
