#!/usr/bin/env python3
"""Writes pytorch.ir: models in ONNX ops, and their gradients as PyTorch computes them.

usage: make_pytorch_cases.py > pytorch.ir     (needs torch; last run with 2.15)

A case is a graph in ONNX ops, then a graph whose outputs are constants: the inputs, the result "y",
the weights "w" of the loss sum(y * w), and d loss / d input for every float input.
"""

import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)
torch.manual_seed(1)


def draw(*shape, low=-1.0, high=1.0):
    """Multiples of 1/256: short in text and exact in every float format."""
    return torch.round((low + (high - low) * torch.rand(shape)) * 256) / 256


def literal(t):
    kind = {torch.float64: "f64", torch.int64: "i64"}[t.dtype]
    values = ", ".join(repr(v) for v in t.flatten().tolist())
    return f"{kind}[{','.join(map(str, t.shape))}]({values})"


def case(name, inputs, body, model, how="graph"):
    """`body`: lines that compute %y from the inputs by name; `model`: the same in PyTorch."""
    leaves = {k: v.clone().requires_grad_(v.is_floating_point()) for k, v in inputs.items()}
    y = model(*leaves.values())
    w = draw(*y.shape)
    (y * w).sum().backward()
    kinds = {torch.float64: "f64", torch.int64: "i64"}
    signature = ", ".join(
        f"%{k}: {kinds[v.dtype]}[{','.join(map(str, v.shape))}]" for k, v in inputs.items())
    print(f"case {name}: {how}")
    print(f'graph "{name}"({signature}) {{')
    for line in body:
        print("  " + line)
    print('  return %y as "y"\n}\n----\ngraph "values"() {')
    values = [("input " + k, v) for k, v in inputs.items()] + [("y", y.detach()), ("w", w)]
    values += [("gradient " + k, v.grad) for k, v in leaves.items() if v.is_floating_point()]
    for i, (_, t) in enumerate(values):
        print(f"  %{i} = constant() {{value = {literal(t)}}}")
    print("  return " + ", ".join(f'%{i} as "{n}"' for i, (n, _) in enumerate(values)) + "\n}\n")


def constants(**named):
    return [f"%{k} = constant() {{value = {v}}}" for k, v in named.items()]


# ---- convolution ------------------------------------------------------------------------------
def conv(name, x, w, strides, pads, dilations, group=1, bias=True):
    n = len(x) - 2
    f = [None, F.conv1d, F.conv2d, F.conv3d][n]
    inputs = {"x": draw(*x), "w": draw(*w)}
    if bias:
        inputs["b"] = draw(w[0])
    attrs = (f"{{dilations = {dilations}, group = {group}, pads = {pads + pads}, "
             f"strides = {strides}}}")
    operands = "%x, %w, %b" if bias else "%x, %w"
    case(name, inputs, [f"%y = Conv({operands}) {attrs}"],
         lambda x, w, b=None: f(x, w, b, strides, pads, dilations, group))


conv("conv", [2, 2, 5, 4], [3, 2, 3, 3], [1, 1], [1, 1], [1, 1])
conv("conv_strided_remainder", [1, 2, 8, 7], [2, 2, 3, 2], [3, 2], [0, 1], [1, 1])
conv("conv_dilated", [1, 2, 7, 6], [2, 2, 3, 2], [1, 2], [2, 1], [2, 3])
conv("conv_grouped", [1, 4, 5, 5], [6, 2, 3, 3], [2, 1], [1, 1], [1, 1], 2)
conv("conv_depthwise", [2, 3, 5, 5], [6, 1, 3, 3], [2, 2], [1, 1], [1, 1], 3)
conv("conv_pointwise_strided", [2, 3, 4, 5], [2, 3, 1, 1], [2, 3], [0, 0], [1, 1], bias=False)
conv("conv_1d", [2, 3, 9], [4, 3, 4], [2], [1], [1])
conv("conv_3d", [1, 2, 3, 4, 3], [2, 2, 2, 2, 2], [1, 2, 1], [0, 1, 1], [1, 1, 2])


def transposed(name, x, w, strides, pads, output_padding, dilations, group=1):
    n = len(x) - 2
    f = [None, F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d][n]
    attrs = (f"{{dilations = {dilations}, group = {group}, output_padding = {output_padding}, "
             f"pads = {pads + pads}, strides = {strides}}}")
    case(name, {"x": draw(*x), "w": draw(*w), "b": draw(w[1] * group)},
         [f"%y = ConvTranspose(%x, %w, %b) {attrs}"],
         lambda x, w, b: f(x, w, b, strides, pads, output_padding, group, dilations))


transposed("conv_transposed", [1, 2, 3, 4], [2, 3, 3, 3], [2, 2], [1, 1], [1, 0], [1, 1])
transposed("conv_transposed_grouped", [1, 4, 3, 3], [4, 2, 2, 3], [1, 2], [0, 1], [0, 1], [2, 1], 2)
transposed("conv_transposed_1d", [2, 2, 4], [2, 2, 3], [3], [1], [2], [1])


def local(x, w, b):
    """weight[place, tap * channels + channel, filter]: every place has weights of its own."""
    n, c, h, v = x.shape
    patches = F.unfold(x, (2, 3), stride=(2, 1)).reshape(n, c, 6, -1)
    patches = patches.permute(3, 0, 2, 1).reshape(-1, n, 6 * c)
    return torch.matmul(patches, w).permute(1, 2, 0).reshape(n, 2, 2, v - 2) + b


case("locally_connected", {"x": draw(2, 2, 5, 4), "w": draw(4, 12, 2), "b": draw(2, 2, 2)},
     ["%y = Identity(%x)"], local, how="layer")

# ---- pooling ----------------------------------------------------------------------------------
ties = torch.tensor([[1, 3, 3, 0, 2], [3, 3, 1, 2, 2], [0, 3, 2, 2, 2], [1, 1, 2, 2, 0.0]])
case("max_pool_ties_and_padding", {"x": ties.reshape(1, 1, 4, 5)},
     ["%y = MaxPool(%x) {kernel_shape = [3, 3], pads = [1, 1, 1, 1], strides = [1, 2]}"],
     lambda x: F.max_pool2d(x, 3, (1, 2), 1))
case("max_pool_negative_at_the_border", {"x": draw(1, 2, 5, 5, low=-3, high=-1)},
     ["%y = MaxPool(%x) {kernel_shape = [3, 2], pads = [1, 1, 1, 1], strides = [2, 2]}"],
     lambda x: F.max_pool2d(x, (3, 2), 2, (1, 1)))
case("max_pool_ceil", {"x": draw(1, 1, 6, 6)},
     ["%y = MaxPool(%x) {ceil_mode = 1, kernel_shape = [3, 3], strides = [2, 2]}"],
     lambda x: F.max_pool2d(x, 3, 2, ceil_mode=True))
case("max_pool_1d_dilated", {"x": draw(2, 2, 9)},
     ["%y = MaxPool(%x) {dilations = [2], kernel_shape = [3], strides = [2]}"],
     lambda x: F.max_pool1d(x, 3, 2, dilation=2))
for include in (0, 1):
    case(f"average_pool_count_include_pad_{include}", {"x": draw(1, 2, 5, 4)},
         [f"%y = AveragePool(%x) {{count_include_pad = {include}, kernel_shape = [3, 2], "
          "pads = [1, 1, 1, 1], strides = [2, 1]}"],
         lambda x, i=include: F.avg_pool2d(x, (3, 2), (2, 1), 1, count_include_pad=bool(i)))
case("global_average_pool", {"x": draw(2, 3, 2, 3)}, ["%y = GlobalAveragePool(%x)"],
     lambda x: x.mean((2, 3), keepdim=True))
case("global_max_pool", {"x": draw(2, 3, 2, 3)}, ["%y = GlobalMaxPool(%x)"],
     lambda x: x.amax((2, 3), keepdim=True))

# ---- normalisation ----------------------------------------------------------------------------
case("batch_norm_training",
     {"x": draw(3, 2, 2, 2), "s": draw(2), "b": draw(2), "m": draw(2), "v": draw(2, low=0.5)},
     ["%y, %rm, %rv = BatchNormalization(%x, %s, %b, %m, %v) {epsilon = 0.001, training_mode = 1}"],
     lambda x, s, b, m, v: F.batch_norm(x, m.detach(), v.detach(), s, b, True, 0.1, 1e-3)
     + 0 * m.sum() + 0 * v.sum())
case("batch_norm_inference",
     {"x": draw(3, 2, 2, 2), "s": draw(2), "b": draw(2), "m": draw(2), "v": draw(2, low=0.5)},
     ["%y = BatchNormalization(%x, %s, %b, %m, %v) {epsilon = 0.001}"],
     lambda x, s, b, m, v: (x - m.view(2, 1, 1)) / (v.view(2, 1, 1) + 1e-3).sqrt()
     * s.view(2, 1, 1) + b.view(2, 1, 1))
case("layer_norm", {"x": draw(2, 3, 5), "s": draw(5), "b": draw(5)},
     ["%y = LayerNormalization(%x, %s, %b) {axis = -1, epsilon = 0.001}"],
     lambda x, s, b: F.layer_norm(x, (5,), s, b, 1e-3))
case("group_norm", {"x": draw(2, 4, 3), "s": draw(4), "b": draw(4)},
     ["%y = GroupNormalization(%x, %s, %b) {epsilon = 0.001, num_groups = 2}"],
     lambda x, s, b: F.group_norm(x, 2, s, b, 1e-3))
case("instance_norm", {"x": draw(2, 2, 2, 3), "s": draw(2), "b": draw(2)},
     ["%y = InstanceNormalization(%x, %s, %b) {epsilon = 0.001}"],
     lambda x, s, b: F.instance_norm(x, None, None, s, b, True, 0.1, 1e-3))
case("local_response_norm", {"x": draw(1, 5, 2, 2)},
     ["%y = LRN(%x) {alpha = 0.5, beta = 0.75, bias = 2.0, size = 3}"],
     lambda x: F.local_response_norm(x, 3, 0.5, 0.75, 2.0))

# ---- the rest of a classifier -----------------------------------------------------------------
case("softmax", {"x": draw(2, 3, 4)}, ["%y = Softmax(%x) {axis = 1}"], lambda x: F.softmax(x, 1))
case("softmax_cross_entropy", {"x": draw(4, 3), "t": torch.tensor([[0], [2], [1], [2]])},
     ["%l = LogSoftmax(%x) {axis = -1}", "%p = GatherElements(%l, %t) {axis = 1}", "%n = Neg(%p)",
      "%y = ReduceMean(%n) {keepdims = 0}"],
     lambda x, t: F.cross_entropy(x, t.flatten()))
case("embedding", {"w": draw(5, 3), "t": torch.tensor([[0, 4, 1], [4, 4, 2]])},
     ["%y = Gather(%w, %t) {axis = 0}"], lambda w, t: F.embedding(t, w))
case("gemm", {"a": draw(4, 2), "w": draw(3, 4), "c": draw(1, 3)},
     ["%y = Gemm(%a, %w, %c) {alpha = 0.5, beta = 2.0, transA = 1, transB = 1}"],
     lambda a, w, c: 0.5 * a.T @ w.T + 2 * c)
case("attention", {"q": draw(2, 3, 4), "k": draw(2, 5, 4), "v": draw(2, 5, 4)},
     ["%t = Transpose(%k) {perm = [0, 2, 1]}", "%s = MatMul(%q, %t)"] + constants(h="f64[](0.5)") +
     ["%u = Mul(%s, %h)", "%p = Softmax(%u) {axis = -1}", "%y = MatMul(%p, %v)"],
     lambda q, k, v: F.scaled_dot_product_attention(q, k, v))
case("dropout_in_inference", {"x": draw(3, 3)}, ["%y = Dropout(%x)"],
     lambda x: F.dropout(x, 0.5, False))

# ---- activations, with 0 among the inputs: the kinks are PyTorch's too --------------------------
points = torch.tensor([-3, -1, -0.5, 0, 0.25, 1, 2.5, 7])
for name, op, f in [
        ("relu", "Relu(%x)", F.relu), ("leaky_relu", "LeakyRelu(%x) {alpha = 0.125}",
                                       lambda x: F.leaky_relu(x, 0.125)),
        ("elu", "Elu(%x) {alpha = 0.5}", lambda x: F.elu(x, 0.5)), ("celu", "Celu(%x)", F.celu),
        ("softplus", "Softplus(%x)", F.softplus), ("softsign", "Softsign(%x)", F.softsign),
        ("gelu", "Gelu(%x)", F.gelu), ("gelu_tanh", 'Gelu(%x) {approximate = "tanh"}',
                                       lambda x: F.gelu(x, approximate="tanh")),
        ("mish", "Mish(%x)", F.mish), 
        ("selu", "Selu(%x) {alpha = 1.5, gamma = 1.25}", lambda x: 1.25 * F.elu(x, 1.5)),
        ("abs", "Abs(%x)", torch.abs), ("sign", "Sign(%x)", lambda x: torch.sign(x) + 0 * x)]:
    case("activation_" + name, {"x": points}, [f"%y = {op}"], f)
# Clipping is a maximum and a minimum, which share at ties; F.hardswish gives such points no slope.
case("activation_hard_swish", {"x": draw(12, low=-5, high=5)}, ["%y = HardSwish(%x)"], F.hardswish)
case("activation_hard_sigmoid", {"x": draw(12, low=-5, high=5)},
     ["%y = HardSigmoid(%x) {alpha = 0.25}"], lambda x: (0.25 * x + 0.5).clamp(0, 1))
case("prelu", {"x": draw(2, 3, 4), "a": draw(3, 1)}, ["%y = PRelu(%x, %a)"],
     lambda x, a: F.prelu(x, a.flatten()))
case("reduce_max_ties", {"x": torch.tensor([[1, 2, 2], [0, -1, 0.0]])},
     constants(i="i64[1](1)") + ["%y = ReduceMax(%x, %i)"], lambda x: x.amax(1, keepdim=True))
case("maximum_ties", {"a": torch.tensor([1, 2, 3.0]), "b": torch.tensor([1, 3, 2.0])},
     ["%y = Max(%a, %b)"], torch.maximum)
case("reduce_prod_zeros", {"x": torch.tensor([[1, 2, 3], [0, 2, 3], [0, 0, 3.0]])},
     constants(i="i64[1](1)") + ["%y = ReduceProd(%x, %i)"], lambda x: x.prod(1, keepdim=True))
case("top_k", {"x": draw(2, 5)}, constants(k="i64[1](2)") + ["%y, %i = TopK(%x, %k)"],
     lambda x: x.topk(2).values)
case("pad_reflect", {"x": draw(1, 1, 3, 4)},
     constants(p="i64[8](0, 0, 1, 2, 0, 0, 2, 1)") + ['%y = Pad(%x, %p) {mode = "reflect"}'],
     lambda x: F.pad(x, (2, 1, 1, 2), "reflect"))

# ---- recurrent networks: 20 random configurations, every result part of the loss -----------------
GATES = {"RNN": (1, [0]), "GRU": (3, [1, 0, 2]), "LSTM": (4, [0, 2, 3, 1])}  # PyTorch's order


def recurrent(number, op, steps, batch, features, hidden, directions, lengths):
    gates, order = GATES[op]
    rows = gates * hidden
    names = ["x", "w", "r", "b", "h"] + (["c"] if op == "LSTM" else [])
    shapes = [(steps, batch, features), (directions, rows, features), (directions, rows, hidden),
              (directions, 2 * rows)] + [(directions, batch, hidden)] * 2
    module = getattr(torch.nn, op)(features, hidden, bidirectional=directions == 2)

    def torch_rows(v):
        return torch.cat([v.chunk(gates)[i] for i in order])

    def model(x, w, r, b, h, c=None):
        parameters = {}
        for d in range(directions):
            end = "_l0" + ("_reverse" if d else "")
            parameters["weight_ih" + end] = torch_rows(w[d])
            parameters["weight_hh" + end] = torch_rows(r[d])
            parameters["bias_ih" + end] = torch_rows(b[d][:rows])
            parameters["bias_hh" + end] = torch_rows(b[d][rows:])
        given = x
        if lengths:
            given = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, enforce_sorted=False)
        y, last = torch.func.functional_call(module, parameters,
                                             (given, h if c is None else (h, c)))
        if lengths:
            y, _ = torch.nn.utils.rnn.pad_packed_sequence(y, total_length=steps)
        y = y.reshape(steps, batch, directions, hidden).permute(0, 2, 1, 3)
        states = [last] if c is None else list(last)
        return torch.cat([v.reshape(-1) for v in [y] + states])

    attrs = f'direction = "{"bidirectional" if directions == 2 else "forward"}"'
    attrs += f", hidden_size = {hidden}" + (", linear_before_reset = 1" if op == "GRU" else "")
    lines = constants(flat="i64[1](-1)")
    operands = ["%x", "%w", "%r", "%b", "none", "%h"] + (["%c"] if op == "LSTM" else [])
    if lengths:
        lines += constants(l=f"i32[{batch}]({', '.join(map(str, lengths))})")
        operands[4] = "%l"
    results = ["%a", "%e"] + (["%f"] if op == "LSTM" else [])
    lines.append(f"{', '.join(results)} = {op}({', '.join(operands)}) {{{attrs}}}")
    lines += [f"{v}1 = Reshape({v}, %flat)" for v in results]
    lines.append(f"%y = Concat({', '.join(v + '1' for v in results)}) {{axis = 0}}")
    case(f"{op.lower()}_{number}", dict(zip(names, (draw(*s) for s in shapes))), lines, model)


for number in range(20):
    pick = lambda low, high: int(torch.randint(low, high + 1, ()))
    steps, batch = pick(1, 5), pick(1, 3)
    lengths = [pick(1, steps) for _ in range(batch)] if number % 4 == 3 else None
    recurrent(number, list(GATES)[number % 3], steps, batch, pick(1, 4), pick(1, 4), pick(1, 2),
              lengths)

# ---- values between elements --------------------------------------------------------------------
def resize(name, shape, size, mode, attributes, **how):
    onnx_mode = mode.removeprefix("bi").removeprefix("tri")
    case(f"resize_{name}", {"x": draw(*shape)},
         constants(s=f"i64[{len(shape)}]({', '.join(map(str, list(shape[:2]) + size))})")
         + [f'%y = Resize(%x, none, none, %s) {{{attributes}mode = "{onnx_mode}"}}'],
         lambda x: F.interpolate(x, size, mode=mode, **how))


CORNERS = 'coordinate_transformation_mode = "align_corners", '
FLOOR = 'coordinate_transformation_mode = "asymmetric", nearest_mode = "floor", '
resize("nearest", (1, 2, 3, 4), [7, 3], "nearest", FLOOR)
resize("nearest_repeated", (2, 1, 2, 3), [4, 9], "nearest", FLOOR)
resize("linear", (1, 2, 3, 4), [5, 9], "bilinear", "")
resize("linear_smaller", (2, 1, 5, 4), [2, 3], "bilinear", "")
resize("linear_corners", (1, 2, 3, 4), [5, 6], "bilinear", CORNERS, align_corners=True)
resize("linear_1d", (2, 2, 5), [8], "linear", "")
resize("linear_3d", (1, 1, 2, 3, 2), [3, 4, 5], "trilinear", "")
resize("cubic", (1, 2, 3, 4), [5, 7], "bicubic", "")
resize("cubic_corners", (1, 1, 4, 5), [3, 8], "bicubic", CORNERS, align_corners=True)
ANTIALIAS = "antialias = 1, exclude_outside = 1, "
resize("antialiased", (1, 2, 7, 6), [3, 4], "bilinear", ANTIALIAS, antialias=True)
resize("antialiased_cubic", (1, 1, 9, 8), [4, 3], "bicubic",
       ANTIALIAS + "cubic_coeff_a = -0.5, ", antialias=True)

for mode in ("bilinear", "nearest", "bicubic"):
    for padding, corners in (("zeros", 0), ("border", 1), ("reflection", 0)):
        case(f"grid_sample_{mode}_{padding}",
             {"x": draw(2, 2, 3, 4), "g": draw(2, 2, 3, 2, low=-1.4, high=1.4)},
             [f'%y = GridSample(%x, %g) {{align_corners = {corners}, mode = "'
              f'{ {"bilinear": "linear", "bicubic": "cubic"}.get(mode, mode)}", '
              f'padding_mode = "{padding}"}}'],
             lambda x, g, m=mode, p=padding, c=corners: F.grid_sample(x, g, m, p, bool(c)))
case("grid_sample_3d", {"x": draw(1, 2, 2, 3, 3), "g": draw(1, 2, 2, 2, 3)},
     ['%y = GridSample(%x, %g) {align_corners = 0, mode = "linear"}'],
     lambda x, g: F.grid_sample(x, g, align_corners=False))

# ---- sums of products, running products, spectra ------------------------------------------------
case("einsum_batches", {"a": draw(2, 3, 4), "b": draw(2, 4, 2), "c": draw(2)},
     ['%y = Einsum(%a, %b, %c) {equation = "bij,bjk,k->bi"}'],
     lambda a, b, c: torch.einsum("bij,bjk,k->bi", a, b, c))
case("einsum_diagonal", {"a": draw(3, 4, 4)}, ['%y = Einsum(%a) {equation = "...ii->...i"}'],
     lambda a: torch.einsum("...ii->...i", a))
zeros = torch.tensor([[2, 0.5, 3, 4], [0.5, 0, 2, 3], [0, 2, 0, 3], [2, 3, 4, 0.0]])
case("cumprod", {"x": zeros}, constants(i="i64[](1)") + ["%y = CumProd(%x, %i)"],
     lambda x: x.cumprod(1))
case("cumprod_reverse", {"x": zeros}, constants(i="i64[](1)")
     + ["%y = CumProd(%x, %i) {reverse = 1}"], lambda x: x.flip(1).cumprod(1).flip(1))
case("cumprod_exclusive", {"x": zeros}, constants(i="i64[](1)")
     + ["%y = CumProd(%x, %i) {exclusive = 1}"],
     lambda x: F.pad(x[:, :-1], (1, 0), value=1.0).cumprod(1) + 0 * x)
case("dft", {"x": draw(2, 6, 2)}, ["%y = DFT(%x)"],
     lambda x: torch.view_as_real(torch.fft.fft(torch.view_as_complex(x), dim=1)))
case("dft_of_reals", {"x": draw(2, 7, 1)}, ["%y = DFT(%x) {onesided = 1}"],
     lambda x: torch.view_as_real(torch.fft.rfft(x[..., 0], dim=1)))
case("max_unpool", {"x": draw(1, 2, 2, 2), "i": torch.tensor([[[[0, 3], [9, 14]],
                                                              [[21, 18], [24, 31]]]])},
     ["%y = MaxUnpool(%x, %i) {kernel_shape = [2, 2], strides = [2, 2]}"],
     lambda x, i: F.max_unpool2d(x, i - torch.tensor([0, 16]).reshape(2, 1, 1), 2))
case("col2im", {"x": draw(2, 12, 6)}, constants(s="i64[2](5, 5)", k="i64[2](2, 3)")
     + ["%y = Col2Im(%x, %s, %k) {pads = [1, 1, 1, 1], strides = [3, 2]}"],
     lambda x: F.fold(x, (5, 5), (2, 3), padding=1, stride=(3, 2)))
