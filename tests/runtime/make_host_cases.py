#!/usr/bin/env python3
"""Writes data/host_cases.txt: expected results of host ops, computed by NumPy, PyTorch and the ONNX
reference implementation. usage: make_host_cases.py > data/host_cases.txt
(needs numpy, ml_dtypes, torch and onnx; the results are committed, so tests need none of them)
"""

import itertools
import math

import ml_dtypes
import numpy as np
import torch
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

rng = np.random.default_rng(7)
BF16 = ml_dtypes.bfloat16
DTYPES = {
    "bool": np.bool_, "i8": np.int8, "i16": np.int16, "i32": np.int32, "i64": np.int64,
    "u8": np.uint8, "u16": np.uint16, "u32": np.uint32, "u64": np.uint64,
    "f16": np.float16, "bf16": BF16, "f32": np.float32, "f64": np.float64,
}
NAMES = {np.dtype(t): n for n, t in DTYPES.items()}
FLOATS = ["f16", "bf16", "f32", "f64"]
SIGNED = ["i8", "i16", "i32", "i64"]
UNSIGNED = ["u8", "u16", "u32", "u64"]
NUMBERS = SIGNED + UNSIGNED + FLOATS
ULP = {"f16": 2.0**-10, "bf16": 2.0**-7, "f32": 2.0**-23, "f64": 2.0**-52}
# Narrow floats accumulate in double here and there; of double only the order differs, which
# cancellation magnifies.
SUM = {"f16": 2.0**-10, "bf16": 2.0**-7, "f32": 2.0**-23, "f64": 2.0**-36}


def text_of(v):
    if v.dtype.kind in "biu":
        return str(int(v))
    if math.isnan(v):
        return "nan"
    if v.dtype == BF16:
        v = np.float32(v)
    text = str(v)  # the shortest digits that read back as the same value
    return text[:-2] if text.endswith(".0") else text


def tensor(kind, t):
    if t is None:
        print(f"{kind} -")
        return
    t = np.asarray(t)
    dims = ",".join(map(str, t.shape)) or "scalar"
    print(kind, NAMES[t.dtype], dims, *(text_of(v) for v in t.reshape(-1)))


def case(name, inputs, outputs, tolerance=0.0, **attributes):
    print("case", name)
    for key, value in attributes.items():
        if isinstance(value, str):
            print("attr", key, "s", value)
        elif isinstance(value, (list, tuple)):
            print("attr", key, "l", *value)
        else:
            print("attr", key, "i", value)
    for t in inputs:
        tensor("in", t)
    for t in outputs:
        tensor("out", t)
    print("end", tolerance)


def draw(dtype, shape):
    """Values that fit the type, with the awkward ones among them."""
    t = DTYPES[dtype]
    n = int(np.prod(shape))
    if dtype == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    if dtype in FLOATS:
        x = rng.normal(0, 3, n)
        special = [0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 2.5, 1.5, np.inf, -np.inf, np.nan, 1e-3]
        x[: min(n, len(special))] = special[:n]
        rng.shuffle(x)
        return x.reshape(shape).astype(t)
    info = np.iinfo(t)
    x = rng.integers(max(info.min, -9), 10, n).astype(t)
    special = [info.min, info.max, 0, 1, 2]
    x[: min(n, len(special))] = np.array(special, dtype=t)[:n]
    rng.shuffle(x)
    return x.reshape(shape)


def plain(dtype, shape):
    """Small values without specials."""
    if dtype in FLOATS:
        return rng.normal(0, 1, shape).astype(DTYPES[dtype])
    return rng.integers(0 if dtype in UNSIGNED else -5, 6, shape).astype(DTYPES[dtype])


SHAPES = [((3, 4), (3, 4)), ((2, 3, 4), (4,)), ((3, 1), (1, 4)), ((), (5,)), ((4, 1, 3), (2, 1)),
          ((0, 3), (1, 3))]


def wide(f, *args):
    """Computes f in float32 for 16-bit floats, as their arithmetic is defined."""
    if args[0].dtype in (np.float16, BF16):
        r = f(*(a.astype(np.float32) if a.dtype == args[0].dtype else a for a in args))
        return r.astype(args[0].dtype) if r.dtype == np.float32 else r
    return f(*args)


def binary_cases():
    def division(a, b):
        if a.dtype.kind in "iu":
            wide_a, wide_b = a.astype(object), b.astype(object)
            q = np.vectorize(lambda x, y: 0 if y == 0 else abs(x) // abs(y) * (1 if (x < 0) == (y < 0) else -1),
                             otypes=[object])(wide_a, wide_b) if a.size * b.size else a * b
            bits = 8 * a.dtype.itemsize
            return np.array([int(v) & (2**bits - 1) for v in np.asarray(q).reshape(-1)],
                            dtype=np.uint64).astype(f"u{a.dtype.itemsize}").view(a.dtype).reshape(
                                np.broadcast_shapes(a.shape, b.shape))
        return a / b

    ops = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": division,
           "max": np.maximum, "min": np.minimum}
    for op, f in ops.items():
        for dtype, (sa, sb) in zip(itertools.cycle(NUMBERS), SHAPES * 4):
            a, b = draw(dtype, sa), draw(dtype, sb)
            case(op, [a, b], [np.asarray(wide(f, a, b), a.dtype)])
    for dtype in NUMBERS:
        a, b = draw(dtype, (5, 6)), draw(dtype, (5, 6))
        case("mod", [a, b], [np.asarray(wide(np.mod, a, b), a.dtype)], fmod=0)
        case("mod", [a, b], [np.asarray(wide(np.fmod, a, b), a.dtype)], fmod=1)
    for dtype in SIGNED + UNSIGNED:
        a, b = draw(dtype, (4, 5)), draw(dtype, (5,))
        case("bit_and", [a, b], [a & b])
        case("bit_or", [a, b], [a | b])
        case("bit_xor", [a, b], [a ^ b])
        shift = rng.integers(0, 8, (4, 5)).astype(a.dtype)
        case("shift_left", [a, shift], [a << shift])
        case("shift_right", [a, shift], [a >> shift])
    a, b = draw("bool", (4, 1)), draw("bool", (3,))
    case("and", [a, b], [a & b])
    case("or", [a, b], [a | b])
    case("xor", [a, b], [a ^ b])
    compare = {"eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal,
               "gt": np.greater, "ge": np.greater_equal}
    for (op, f), dtype in itertools.product(compare.items(), NUMBERS):
        a, b = draw(dtype, (3, 4)), draw(dtype, (4,))
        b[0] = a[0, 0]
        case(op, [a, b], [wide(f, a, b)])
    case("eq", [draw("bool", (3,))] * 2, [np.ones(3, bool)])
    for dtype in FLOATS:
        a, b = draw(dtype, (4, 5)), draw(dtype, (5,))
        case("pow", [a, b], [np.power(a.astype(np.float64), b.astype(np.float64)).astype(a.dtype)], ULP[dtype])
        n = np.array([-2, -1, 0, 1, 2, 3], np.int64)
        x = plain(dtype, (6,))
        case("pow", [x, n], [np.power(x.astype(np.float64), n.astype(np.float64)).astype(x.dtype)], ULP[dtype])
    case("pow", [np.array([2, -3, 7, 0], np.int32), np.array([5, 3, 0, 0], np.int32)],
         [np.array([32, -27, 1, 1], np.int32)])
    case("pow", [np.array([2, 3, 10], np.int64), np.array([0.5, 2.5, 3], np.float32)],
         [np.array([1, 15, 1000], np.int64)])


def unary_cases():
    erf = np.vectorize(math.erf, otypes=[np.float64])
    real = {"exp": np.exp, "log": np.log, "sqrt": np.sqrt, "rsqrt": lambda x: 1 / np.sqrt(x),
            "reciprocal": lambda x: 1 / x, "sin": np.sin, "cos": np.cos, "tan": np.tan,
            "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan, "sinh": np.sinh,
            "cosh": np.cosh, "tanh": np.tanh, "asinh": np.arcsinh, "acosh": np.arccosh,
            "atanh": np.arctanh, "erf": erf, "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
            "floor": np.floor, "ceil": np.ceil, "round": np.rint}
    for (op, f), dtype in itertools.product(real.items(), FLOATS):
        x = draw(dtype, (30,))
        exact = op in ("floor", "ceil", "round")
        case(op, [x], [f(x.astype(np.float64)).astype(x.dtype)], 0 if exact else ULP[dtype])
    for dtype in NUMBERS:
        x = draw(dtype, (20,))
        case("abs", [x], [wide(np.abs, x)])
        case("sign", [x], [wide(np.sign, x)])
        case("relu", [x], [wide(lambda v: np.where(v < 0, np.zeros_like(v), v), x)])
        if dtype in SIGNED + FLOATS:
            case("neg", [x], [wide(np.negative, x)])
        if dtype not in FLOATS:
            case("bit_not", [x], [~x])
        else:
            case("is_nan", [x], [np.isnan(x)])
            case("is_inf", [x], [np.isinf(x)])
            case("is_inf", [x], [np.isposinf(x.astype(np.float64))], detect_negative=0)
            case("is_inf", [x], [np.isneginf(x.astype(np.float64))], detect_positive=0)
    x = draw("bool", (9,))
    case("not", [x], [~x])


def cast_cases():
    for source, target in itertools.product(DTYPES, DTYPES):
        if source in FLOATS and target not in FLOATS + ["bool"]:
            low = 0 if target in UNSIGNED else -100
            x = rng.uniform(low, 100, 12).astype(DTYPES[source])  # elsewhere ONNX leaves it open
        else:
            x = draw(source, (12,))
        y = x.astype(np.float32) if x.dtype == BF16 else x
        if source == "f64" and target == "bf16":  # rounded once, which ml_dtypes does not
            y = np.array([0.1, 1.0, -2.0, 3.14159, 1e-3, 65280.0, 1e30, -7.25, 0.0, 5.0, 9.0, 11.0])
            x = y
        case("cast", [x], [y.astype(DTYPES[target])])
    for dtype in DTYPES:
        a, b = draw(dtype, (3, 4)), draw(dtype, (1, 4))
        c = draw("bool", (3, 1))
        case("select", [c, a, b], [np.where(c, a, b)])
        case("identity", [a], [a])
        case("stop_gradient", [a], [a])


def movement_cases():
    for dtype in ("bool", "i16", "f32", "f64"):
        x = draw(dtype, (2, 3, 4, 5)) if dtype != "f64" else plain(dtype, (2, 3, 4, 5)).round()
        for perm in ((3, 2, 1, 0), (0, 2, 3, 1), (0, 3, 1, 2), (1, 0, 2, 3), (0, 1, 2, 3)):
            case("transpose", [x], [x.transpose(perm)], perm=perm)
        case("reshape", [x], [x.reshape(6, 20)])
        case("reverse", [x], [x[::-1, :, ::-1]], axes=[0, 2])
        case("slice", [x], [x[1:2, 2::-1, ::2, 4:0:-3]], starts=[1, 2, 0, 4], steps=[1, -1, 2, -3])
        case("slice", [x], [x[:, 1:1, 1:]], starts=[0, 1, 1, 0], steps=[1, 1, 1, 1])
        case("concat", [x, x[:, :1], x[:, 2:2]], [np.concatenate([x, x[:, :1], x[:, 2:2]], 1)], axis=1)
        case("concat", [x, x], [np.concatenate([x, x], -1)], axis=-1)
        y = draw(dtype, (3, 1, 5))
        case("broadcast", [y], [np.broadcast_to(y, (2, 3, 4, 5))])
        one = draw(dtype, ())
        case("broadcast", [one], [np.broadcast_to(one, (2, 2))])
    for dtype in ("i8", "f32"):
        x = plain(dtype, (2, 3, 4)).round()
        value = np.array(7, DTYPES[dtype])
        for before, after in (([1, 0, 2], [0, 1, 1]), ([0, 2, 3], [1, 2, 3]), ([-1, 1, -2], [2, -1, 0]),
                              ([0, 0, 0], [0, 0, 0])):
            crop = tuple(slice(max(0, -b), n - max(0, -a)) for b, a, n in zip(before, after, x.shape))
            amounts = [(max(0, b), max(0, a)) for b, a in zip(before, after)]
            args = dict(before=before, after=after)
            case("pad", [x, value], [np.pad(x[crop], amounts, constant_values=value)], **args)
            case("pad", [x], [np.pad(x[crop], amounts)], **args)
            for mode in ("reflect", "edge", "wrap"):
                case("pad", [x], [np.pad(x[crop], amounts, mode=mode)], mode=mode, **args)
    x = plain("f32", (5,))
    case("pad", [x], [np.pad(x, (13, 11), mode="reflect")], before=[13], after=[11], mode="reflect")
    case("pad", [x], [np.pad(x, (13, 11), mode="wrap")], before=[13], after=[11], mode="wrap")
    x = plain("f32", (2, 3))
    y = np.zeros((3, 7), np.float32)
    y[::2, ::3] = x
    case("dilate", [x], [y], factors=[2, 3])
    for dtype in NUMBERS:
        case("iota", [], [np.broadcast_to(np.arange(3, dtype=np.float64).astype(DTYPES[dtype])[:, None], (2, 3, 4))], axis=1)
    case("dims", [], [np.array([4, 0, 7], np.int64)], extents=[4, 0, 7])


def index_cases():
    for dtype in ("u8", "i16", "f32", "f64"):
        x = plain(dtype, (3, 4, 5)).round()
        for axis, kind in ((0, np.int64), (1, np.int32), (-1, np.int64)):
            indices = rng.integers(-x.shape[axis], x.shape[axis], (2, 3)).astype(kind)
            case("gather", [x, indices], [np.take(x, indices, axis)], axis=axis)
            shape = list(x.shape)
            shape[axis] = 2
            indices = rng.integers(-x.shape[axis], x.shape[axis], shape).astype(kind)
            case("gather_elements", [x, indices], [np.take_along_axis(x, indices, axis)], axis=axis)
        case("gather", [x, np.array(2, np.int64)], [x[2]], axis=0)
        tuples = np.stack([rng.integers(-3, 3, 6), rng.integers(-4, 4, 6)], -1).reshape(2, 3, 2)
        case("gather_nd", [x, tuples], [x[tuples[..., 0], tuples[..., 1]]])
        batched = rng.integers(0, 5, (3, 4, 1))
        case("gather_nd", [x, batched], [np.take_along_axis(x, batched, 2)[..., 0]], batch_dims=2)
    onnx_types = {"f32": TensorProto.FLOAT, "i64": TensorProto.INT64}
    for dtype, reduction in itertools.product(onnx_types, ("none", "add", "mul", "max", "min")):
        x = plain(dtype, (4, 5))
        indices = rng.integers(-4, 4, (3, 5)) if reduction != "none" else \
            np.array([rng.permutation(4)[:3] for _ in range(5)]).T.copy()
        updates = plain(dtype, (3, 5))
        case("scatter_elements", [x, indices, updates],
             [reference("ScatterElements", [x, indices, updates], onnx_types[dtype], axis=0, reduction=reduction)],
             1e-6, axis=0, reduction=reduction)
        tuples = np.array([[0], [3], [0]] if reduction != "none" else [[0], [3], [1]])
        updates = plain(dtype, (3, 5))
        case("scatter_nd", [x, tuples, updates],
             [reference("ScatterND", [x, tuples, updates], onnx_types[dtype], reduction=reduction)],
             1e-6, reduction=reduction)


def reference(op, inputs, onnx_type, **attributes):
    names = ["data", "indices", "updates"]
    types = [onnx_type, TensorProto.INT64, onnx_type]
    node = helper.make_node(op, names, ["y"], **attributes)
    graph = helper.make_graph(
        [node], "g", [helper.make_tensor_value_info(n, t, None) for n, t in zip(names, types)],
        [helper.make_tensor_value_info("y", onnx_type, None)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    return ReferenceEvaluator(model).run(None, dict(zip(names, inputs)))[0]


def reduce_cases():
    for dtype in NUMBERS:
        x = plain(dtype, (3, 4, 5) if dtype == "f32" else (2, 3, 3))
        wide_type = np.float64 if dtype in FLOATS else x.dtype
        for axes in ((0,), (1,), (2,), (0, 2), (1, 2), (0, 1, 2), ()) if dtype == "f32" else ((1,), (0, 2)):
            for op, f in (("reduce_sum", np.sum), ("reduce_prod", np.prod), ("reduce_max", np.max),
                          ("reduce_min", np.min)):
                y = x
                if axes:
                    y = f(x.astype(wide_type), axis=axes, keepdims=True).astype(x.dtype)
                case(op, [x], [y], SUM.get(dtype, 0), axes=axes)
    x = draw("f32", (4, 6))
    case("reduce_max", [x], [np.max(x, axis=1, keepdims=True)], axes=[1])
    case("reduce_min", [x], [np.min(x, axis=0, keepdims=True)], axes=[0])
    empty = np.zeros((2, 0, 3), np.float32)
    case("reduce_sum", [empty], [np.zeros((2, 1, 3), np.float32)], axes=[1])
    case("reduce_prod", [empty], [np.ones((2, 1, 3), np.float32)], axes=[1])
    case("reduce_max", [empty], [np.full((2, 1, 3), -np.inf, np.float32)], axes=[1])
    case("reduce_min", [np.zeros((0,), np.int8)], [np.array([127], np.int8)], axes=[0])


def sort_cases():
    for dtype in NUMBERS:
        x = plain(dtype, (3, 4, 3))
        x[1, 2] = x[1, 1]
        for axis in (0, 1, -1) if dtype == "f32" else (1,):
            for op, f in (("arg_max", np.argmax), ("arg_min", np.argmin)):
                case(op, [x], [f(x, axis=axis, keepdims=True)], axis=axis)
                flipped = f(np.flip(x, axis), axis=axis, keepdims=True)
                case(op, [x], [x.shape[axis] - 1 - flipped], axis=axis, select_last_index=1)
            wide_type = np.float64 if dtype in FLOATS else x.dtype
            y = x.astype(wide_type)
            forward = np.cumsum(y, axis, dtype=wide_type)
            backward = np.flip(np.cumsum(np.flip(y, axis), axis, dtype=wide_type), axis)
            tolerance = SUM.get(dtype, 0)
            case("cumsum", [x], [forward.astype(x.dtype)], tolerance, axis=axis)
            case("cumsum", [x], [backward.astype(x.dtype)], tolerance, axis=axis, reverse=1)
            if dtype not in FLOATS:
                case("cumsum", [x], [(forward - y).astype(x.dtype)], axis=axis, exclusive=1)
            k = 3
            for largest in (1, 0):
                key = x.astype(np.float64) * (-1 if largest else 1)
                order = np.take(np.argsort(key, axis, kind="stable"), range(k), axis)
                case("top_k", [x], [np.take_along_axis(x, order, axis), order], axis=axis, k=k,
                     largest=largest)


def bounded_cases():
    for dtype in ("i32", "i64"):
        x = np.array([[0, 3, 7], [7, -1, 2]], DTYPES[dtype])
        case("bounded", [x], [x], low=[-1], high=[7], what="sequence_lens")
        case("bounded", [x[:, :0]], [x[:, :0]], low=[0], high=[0], what="sequence_lens")


def contraction_cases():
    for dtype in ("i32", "u8", "f16", "bf16", "f32", "f64"):
        wide_type = np.float64 if dtype in FLOATS else DTYPES[dtype]
        for sa, sb in (((3, 4), (4, 5)), ((2, 1, 2, 3), (2, 3, 70)), ((1, 90), (90, 1)),
                       ((2, 0), (0, 3)), ((2, 3, 4), (2, 4, 1))):
            a, b = plain(dtype, sa), plain(dtype, sb)
            y = np.matmul(a.astype(wide_type), b.astype(wide_type)).astype(a.dtype)
            case("dot", [a, b], [y], SUM.get(dtype, 0))
            if b.ndim == 2:
                block = 4
                panels = -(-sb[1] // block)
                packed = np.zeros((panels, sb[0], block), b.dtype)
                for n in range(sb[1]):
                    packed[n // block, :, n % block] = b[:, n]
                case("dot", [a, packed], [y], SUM.get(dtype, 0), block=block, columns=sb[1])
    configurations = [  # N, C, spatial, F, window, strides, dilations, group
        (2, 3, (7, 6), 4, (3, 2), (1, 1), (1, 1), 1),
        (1, 4, (9, 8), 6, (3, 3), (2, 1), (1, 2), 2),
        (2, 4, (8, 8), 4, (3, 3), (1, 1), (1, 1), 4),
        (1, 2, (11,), 5, (4,), (3,), (2,), 1),
        (1, 2, (4, 5, 6), 3, (2, 3, 2), (1, 2, 1), (1, 1, 2), 1),
        (1, 8, (5, 5), 70, (1, 1), (1, 1), (1, 1), 1),
    ]
    for (n, c, spatial, f, window, strides, dilations, group), dtype in itertools.product(
            configurations, ("f32", "f16")):
        x, w = plain(dtype, (n, c, *spatial)).round(1), plain(dtype, (f, c // group, *window)).round(1)
        convolution = {1: torch.nn.functional.conv1d, 2: torch.nn.functional.conv2d,
                       3: torch.nn.functional.conv3d}[len(spatial)]
        y = convolution(torch.tensor(x.astype(np.float64)), torch.tensor(w.astype(np.float64)),
                        stride=strides, dilation=dilations, groups=group).numpy()
        last = np.moveaxis(y, 1, -1).astype(x.dtype)
        weights = np.moveaxis(w, (0, 1), (-1, -2))
        args = dict(window=window, strides=strides, dilations=dilations, group=group, filters=f)
        tolerance = SUM[dtype]
        case("conv", [np.moveaxis(x, 1, -1), weights], [last], tolerance, **args)
        block = 4
        packed = np.zeros((-(-f // block), *weights.shape[:-1], block), w.dtype)
        for k in range(f):
            packed[k // block, ..., k % block] = weights[..., k]
        case("conv", [np.moveaxis(x, 1, -1), packed], [last], tolerance, block=block, **args)
        perm = (*range(2, 2 + len(window)), 1, 0)
        case("pack", [w], [packed], perm=perm, block=block)


def window_cases():
    for dtype, (spatial, window, strides, dilations) in itertools.product(
            ("f32", "f16", "i32"), [((6, 7), (2, 3), (1, 2), (1, 1)), ((9,), (3,), (2,), (2,)),
                                    ((4, 4, 5), (2, 2, 2), (2, 1, 1), (1, 1, 2))]):
        x = plain(dtype, (2, 3, *spatial))
        pool = {1: torch.nn.functional.max_pool1d, 2: torch.nn.functional.max_pool2d,
                3: torch.nn.functional.max_pool3d}[len(spatial)]
        y, position = pool(torch.tensor(x.astype(np.float64)), window, strides, 0, dilations,
                           return_indices=True)
        args = dict(window=window, strides=strides, dilations=dilations)
        last = np.moveaxis(x, 1, -1)
        case("window_reduce", [last], [np.moveaxis(y.numpy(), 1, -1).astype(x.dtype)], kind="max", **args)
        if dtype != "i32":  # ties are resolved alike only where there are none
            case("window_argmax", [last], [np.moveaxis(position.numpy(), 1, -1)], **args)
        convolution = {1: torch.nn.functional.conv1d, 2: torch.nn.functional.conv2d,
                       3: torch.nn.functional.conv3d}[len(spatial)]
        ones = torch.ones((3, 1, *window), dtype=torch.float64)
        total = convolution(torch.tensor(x.astype(np.float64)), ones, stride=strides,
                            dilation=dilations, groups=3).numpy()
        case("window_reduce", [last], [np.moveaxis(total, 1, -1).astype(x.dtype)],
             SUM.get(dtype, 0), kind="sum", **args)


def gradient_cases():
    """What backpropagation through convolution, max pooling and embedding look-up needs."""
    configurations = [  # N, C, spatial, F, window, strides, dilations, group
        (2, 3, (7, 6), 4, (3, 2), (1, 1), (1, 1), 1),
        (1, 4, (9, 8), 6, (3, 3), (2, 1), (1, 2), 2),
        (2, 4, (8, 8), 4, (3, 3), (3, 2), (1, 1), 4),
        (1, 2, (11,), 5, (4,), (3,), (2,), 1),
        (1, 2, (4, 5, 6), 3, (2, 3, 2), (1, 2, 1), (1, 1, 2), 1),
    ]
    for (n, c, spatial, f, window, strides, dilations, group), dtype in itertools.product(
            configurations, ("f32", "f64")):
        x = plain(dtype, (n, c, *spatial)).round(1)
        positions = [(s - (k - 1) * d - 1) // t + 1
                     for s, k, t, d in zip(spatial, window, strides, dilations)]
        dy = plain(dtype, (n, f, *positions)).round(1)
        gradient = getattr(torch.nn.grad, f"conv{len(spatial)}d_weight")
        dw = gradient(torch.tensor(x.astype(np.float64)), (f, c // group, *window),
                      torch.tensor(dy.astype(np.float64)), strides, 0, dilations, group).numpy()
        case("conv_weight_gradient", [np.moveaxis(x, 1, -1), np.moveaxis(dy, 1, -1)],
             [np.moveaxis(dw, (0, 1), (-1, -2)).astype(x.dtype)], SUM[dtype],
             window=window, strides=strides, dilations=dilations, group=group)
    for dtype, (spatial, window, strides, dilations) in itertools.product(
            ("f32", "f16"), [((6, 7), (3, 3), (1, 2), (1, 1)), ((9,), (3,), (2,), (2,)),
                             ((4, 4, 5), (2, 2, 2), (2, 1, 1), (1, 1, 2))]):
        pool = getattr(torch.nn.functional, f"max_pool{len(spatial)}d")
        # Few different values: windows with several largest elements are the rule.
        x = torch.tensor(rng.integers(0, 3, (2, 3, *spatial)).astype(np.float64), requires_grad=True)
        y = pool(x, window, strides, 0, dilations)
        dy = plain(dtype, tuple(y.shape)).round(1)
        y.backward(torch.tensor(dy.astype(np.float64)))
        case("window_max_gradient",
             [np.moveaxis(x.detach().numpy(), 1, -1).astype(dy.dtype), np.moveaxis(dy, 1, -1)],
             [np.moveaxis(x.grad.numpy(), 1, -1).astype(dy.dtype)], SUM[dtype],
             window=window, strides=strides, dilations=dilations)
    for dtype, kind in itertools.product(("f32", "f16", "i32"), ("i32", "i64")):
        indices = np.array([2, 0, -1, 2, 2], DTYPES[kind])
        updates = plain(dtype, (2, 5, 3))
        y = np.zeros((2, 4, 3), np.float64)
        np.add.at(y, (slice(None), indices), updates.astype(np.float64))
        case("scatter_add", [indices, updates], [y.astype(updates.dtype)], SUM.get(dtype, 0), rows=[4])


def gate_product_cases():
    """Both products of all gates; the second's last gate apart; weights also in panels of 4."""
    for dtype in ("i32", "f16", "bf16", "f32", "f64"):
        wide_type = np.float64 if dtype in FLOATS else DTYPES[dtype]
        for rows, k, depth, columns, gates, places in ((3, 4, 5, 6, 2, (0, 1)), (1, 1, 3, 4, 3, (0, 1, 3)),
                                                       (2, 3, 0, 5, 3, (1,))):
            x, h = plain(dtype, (1, rows, k)), plain(dtype, (1, rows, depth))
            w, r = plain(dtype, (gates, k, columns)), plain(dtype, (len(places), depth, columns))
            y = np.zeros((max(gates, places[-1] + 1), rows, columns), wide_type)
            y[:gates] = np.matmul(x.astype(wide_type), w.astype(wide_type))
            y[list(places)] += np.matmul(h.astype(wide_type), r.astype(wide_type))
            y = y.astype(x.dtype)
            # Each product is rounded before they are added.
            tolerance = 4 * SUM.get(dtype, 0)
            case("gate_products", [x, w, h, r], [y], tolerance, places=places)

            def panels(m):
                count = -(-columns // 4)
                whole = np.zeros((*m.shape[:2], count * 4), m.dtype)
                whole[..., :columns] = m
                return whole.reshape(*m.shape[:2], count, 4).transpose(2, 1, 0, 3)

            case("gate_products", [x, panels(w), h, panels(r)], [y], tolerance, places=places, block=4,
                 columns=columns)


def random_cases():
    """The first known answer that the authors of Philox publish: counter and key 0."""
    case("random_bits", [],
         [np.array([0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8], np.uint32)], stream=0)


def cumprod_cases():
    for dtype in NUMBERS:
        x = (np.arange(24).reshape(2, 4, 3) % 5).astype(DTYPES[dtype])
        y = np.cumprod(x.astype(np.float64), 1)
        back = np.flip(np.cumprod(np.flip(x, 1).astype(np.float64), 1), 1)
        before = np.concatenate([np.ones((2, 1, 3)), y[:, :-1]], 1)
        case("cumprod", [x], [y.astype(x.dtype)], axis=1)
        case("cumprod", [x], [back.astype(x.dtype)], axis=-2, reverse=1)
        case("cumprod", [x], [before.astype(x.dtype)], axis=1, exclusive=1)


def bitcast_cases():
    for source, target in (("f32", "i32"), ("i32", "f32"), ("f64", "i64"), ("u16", "f16"),
                           ("f16", "i16"), ("bf16", "u16"), ("i8", "u8"), ("i64", "u64")):
        x = np.array([[0, 1, 2], [3, 100, 77]]).astype(DTYPES[source])
        case("bitcast", [x], [x.view(DTYPES[target])])
    case("bitcast", [np.array([True, False])], [np.array([1, 0], np.uint8)])


if __name__ == "__main__":
    np.seterr(all="ignore")
    for section in (binary_cases, unary_cases, cast_cases, movement_cases, index_cases, reduce_cases,
                    sort_cases, contraction_cases, window_cases, gradient_cases, random_cases,
                     bounded_cases, gate_product_cases, cumprod_cases, bitcast_cases):
        section()
