#!/usr/bin/env python3
"""Writes data/operators/NAME: operators with many settings, with inputs and what ONNX Runtime makes of
them, in the form of the ONNX suite. Run it with the Python of the peers (tools/setup/peers.sh); last run
with ONNX Runtime 1.32. A model has one node per setting, each with an output of its own. Extents of
the inputs are symbols unless a setting needs to know them.
"""
import itertools
import pathlib
import shutil

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

HERE = pathlib.Path(__file__).parent / "data" / "operators"
OPSET = 21
RNG = np.random.default_rng(11)


class Model:
    """Nodes on shared inputs; `dims` names the extents of each input, numbers are fixed."""

    def __init__(self, name, opset=OPSET):
        self.name, self.opset = name, opset
        self.nodes, self.outputs, self.inputs, self.values, self.weights = [], [], [], [], []

    def input(self, value, dims=None):
        name = f"x{len(self.inputs)}"
        kind = helper.np_dtype_to_tensor_dtype(value.dtype)
        self.inputs.append(helper.make_tensor_value_info(name, kind, dims or value.shape))
        self.values.append(value)
        return name

    def constant(self, value):
        name = f"c{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def node(self, op, operands, results=1, **attributes):
        names = [f"y{len(self.outputs) + i}" for i in range(results)]
        self.outputs += names
        self.nodes.append(helper.make_node(op, operands, names, name=f"{op}_{names[0]}", **attributes))

    def model(self, outputs):
        graph = helper.make_graph(self.nodes, self.name, self.inputs, outputs, self.weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)],
                                 ir_version=10)

    def write(self):
        model = self.model([helper.make_empty_tensor_value_info(n) for n in self.outputs])
        session = onnxruntime.InferenceSession(model.SerializeToString(),
                                               providers=["CPUExecutionProvider"])
        results = [np.asarray(r) for r in
                   session.run(None, {i.name: v for i, v in zip(self.inputs, self.values)})]
        model = self.model([helper.make_tensor_value_info(
            n, helper.np_dtype_to_tensor_dtype(r.dtype), [None] * r.ndim)
            for n, r in zip(self.outputs, results)])
        onnx.checker.check_model(model)
        folder = HERE / self.name
        shutil.rmtree(folder, ignore_errors=True)
        data = folder / "test_data_set_0"
        data.mkdir(parents=True)
        onnx.save(model, folder / "model.onnx")
        for kind, names, values in (("input", [i.name for i in self.inputs], self.values),
                                    ("output", self.outputs, results)):
            for i, (n, v) in enumerate(zip(names, values)):
                onnx.save_tensor(numpy_helper.from_array(v, n), data / f"{kind}_{i}.pb")


def uniform(*shape, dtype=np.float32):
    return RNG.uniform(-1, 1, shape).astype(dtype)


# ---- Resize -----------------------------------------------------------------------------------
# ONNX Runtime rounds extents before it places corners; ONNX's reference keeps the fraction.
FRACTIONS_DIFFER = ("align_corners", "half_pixel_symmetric")
PLACES = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "half_pixel_symmetric")


def resize_nearest():
    m = Model("resize_nearest")
    x = m.input(uniform(2, 3, 5, 7), ["N", 3, "H", "W"])
    roundings = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
    for places, rounding in itertools.product(PLACES, roundings):
        for scales in ([1, 1, 2, 3], [1, 1, 0.6, 1.7]):
            if places in FRACTIONS_DIFFER and scales[2] != 2:
                continue
            m.node("Resize", [x, "", m.constant(np.float32(scales))], mode="nearest",
                   coordinate_transformation_mode=places, nearest_mode=rounding)
    m.node("Resize", [x, "", "", m.constant(np.int64([4, 9]))], axes=[3, 2], mode="nearest")
    m.node("Resize", [x, "", "", m.constant(np.int64([9, 8]))], axes=[2, 3], mode="nearest",
           keep_aspect_ratio_policy="not_larger")
    m.node("Resize", [x, "", "", m.constant(np.int64([9, 8]))], axes=[2, 3], mode="nearest",
           keep_aspect_ratio_policy="not_smaller")
    m.write()


def resize_linear():
    m = Model("resize_linear")
    x = m.input(uniform(2, 3, 5, 7), ["N", 3, "H", "W"])
    for places in PLACES[:4]:
        for scales in ([1, 1, 2, 3], [1, 1, 0.6, 1.5], [1, 1, 1, 4]):
            if places not in FRACTIONS_DIFFER or scales[2] != 0.6:
                m.node("Resize", [x, "", m.constant(np.float32(scales))], mode="linear",
                       coordinate_transformation_mode=places)
        m.node("Resize", [x, "", "", m.constant(np.int64([2, 3, 1, 13]))], mode="linear",
               coordinate_transformation_mode=places)
    line = m.input(uniform(2, 3, 6), ["N", 3, "L"])
    m.node("Resize", [line, "", m.constant(np.float32([1, 1, 2.5]))], mode="linear")
    volume = m.input(uniform(1, 2, 3, 4, 2), ["M", 2, "D", "E", "F"])
    m.node("Resize", [volume, "", m.constant(np.float32([1, 1, 2, 0.5, 3]))], mode="linear")
    wide = m.input(uniform(1, 4, 5, 3), ["M", "P", "Q", 3])
    m.node("Resize", [wide, "", m.constant(np.float32([1, 2, 1.4, 1]))], mode="linear")
    m.write()


def resize_cubic():
    m = Model("resize_cubic")
    x = m.input(uniform(1, 2, 6, 5), ["N", 2, "H", "W"])
    for places in PLACES[:4]:
        for scales, a in (([1, 1, 2, 1.8], -0.75), ([1, 1, 0.5, 2.2], -0.5)):
            m.node("Resize", [x, "", m.constant(np.float32(scales))], mode="cubic", cubic_coeff_a=a,
                   coordinate_transformation_mode=places)
        m.node("Resize", [x, "", m.constant(np.float32([1, 1, 2, 0.6]))], mode="cubic",
               coordinate_transformation_mode=places, exclude_outside=1)
    m.write()


def resize_crop():
    m = Model("resize_crop")
    x = m.input(uniform(1, 2, 6, 5), ["N", 2, "H", "W"])
    roi = m.input(np.float32([0, 0, 0.2, -0.3, 1, 1, 0.9, 1.2]))
    for mode in ("linear", "nearest"):
        m.node("Resize", [x, roi, "", m.constant(np.int64([1, 2, 7, 3]))], mode=mode,
               coordinate_transformation_mode="tf_crop_and_resize", extrapolation_value=2.5)
    m.write()


def upsample():
    m = Model("upsample", opset=9)
    x = m.input(uniform(1, 2, 3, 4), ["N", 2, "H", "W"])
    for mode, scales in itertools.product(("nearest", "linear"), ([1, 1, 2, 3], [1, 1, 1.5, 2.5])):
        m.node("Upsample", [x, m.constant(np.float32(scales))], mode=mode)
    m.write()
    m = Model("resize_10", opset=10)
    x = m.input(uniform(1, 2, 6, 5), ["N", 2, "H", "W"])
    for mode, scales in itertools.product(("nearest", "linear"), ([1, 1, 0.6, 0.5], [1, 1, 2, 1.3])):
        m.node("Resize", [x, m.constant(np.float32(scales))], mode=mode)
    m.write()


# ---- places in images -------------------------------------------------------------------------
def grid_sample():
    m = Model("grid_sample", opset=20)
    for value, dims, places in ((uniform(2, 3, 5, 4), ["N", 3, "H", "W"], (3, 5)),
                                (uniform(2, 2, 3, 4, 2), ["N", 2, "D", "E", "F"], (2, 3, 2))):
        axes = len(places)
        x = m.input(value, dims)
        grid = m.input((1.6 * uniform(2, *places, axes)),
                       ["N", *(f"P{axes}{i}" for i in range(axes)), axes])
        for mode, padding, corners in itertools.product(
                ("linear", "nearest", "cubic"), ("zeros", "border", "reflection"), (0, 1)):
            if mode != "cubic" or axes == 2:
                m.node("GridSample", [x, grid], mode=mode, padding_mode=padding,
                       align_corners=corners)
    m.write()


def roi_align():
    m = Model("roi_align", opset=16)
    x = m.input(uniform(2, 3, 8, 9), ["N", 3, "H", "W"])
    corners = RNG.uniform(-2, 8, (5, 2))
    rois = m.input(np.concatenate([corners, corners + RNG.uniform(0.2, 6, (5, 2))], 1)
                   .astype(np.float32), ["R", 4])
    which = m.input(np.int64([0, 1, 1, 0, 1]), ["R"])
    for places, scale in itertools.product(("half_pixel", "output_half_pixel"), (1.0, 0.5)):
        m.node("RoiAlign", [x, rois, which], mode="avg", output_height=3, output_width=2,
               sampling_ratio=2, spatial_scale=scale, coordinate_transformation_mode=places)
    m.node("RoiAlign", [x, rois, which], mode="avg", output_height=2, output_width=4,
           sampling_ratio=3, spatial_scale=0.7)
    m.write()


# ---- small integers ---------------------------------------------------------------------------
def quantize():
    m = Model("quantize")
    x = m.input((20 * uniform(3, 6, 4)), ["N", 6, "L"])
    for kind, zero in ((np.uint8, 120), (np.int8, -5), (np.uint16, 30000), (np.int16, 12)):
        operands = [x, m.constant(np.float32(0.13)), m.constant(kind(zero))]
        m.node("QuantizeLinear", operands)
        axis_zero = RNG.integers(0, 20, 6).astype(kind)
        scales = m.constant(RNG.uniform(0.05, 0.3, 6).astype(np.float32))
        m.node("QuantizeLinear", [x, scales, m.constant(axis_zero)], axis=1)
        q = m.input(RNG.integers(np.iinfo(kind).min, np.iinfo(kind).max, (3, 6, 4)).astype(kind),
                    ["N", 6, "L"])
        m.node("DequantizeLinear", [q, *operands[1:]])
        m.node("DequantizeLinear", [q, scales, m.constant(axis_zero)], axis=-2)
        blocks = m.constant(RNG.uniform(0.05, 0.3, (3, 2, 4)).astype(np.float32))
        fixed = m.input(RNG.integers(0, 100, (3, 6, 4)).astype(kind))
        m.node("DequantizeLinear", [fixed, blocks], axis=1, block_size=3)
    m.node("QuantizeLinear", [x, m.constant(np.float32(0.4))])
    wide = m.input(RNG.integers(-10**6, 10**6, (2, 3)).astype(np.int32))
    m.node("DequantizeLinear", [wide, m.constant(np.float32(0.01))])
    m.node("DynamicQuantizeLinear", [x], results=3)
    m.write()


def integer_products():
    m = Model("integer_products", opset=10)
    for left, right in ((np.uint8, np.int8), (np.uint8, np.uint8), (np.int8, np.int8)):
        draw = lambda kind, *shape: RNG.integers(np.iinfo(kind).min, np.iinfo(kind).max + 1,
                                                 shape).astype(kind)
        a = m.input(draw(left, 3, 70), ["M", 70])
        b = m.constant(draw(right, 70, 33))
        m.node("MatMulInteger", [a, b, m.constant(left(7)), m.constant(right(3))])
        m.node("MatMulInteger", [a, b])
        m.node("MatMulInteger", [a, b, m.constant(left(7)), m.constant(draw(right, 33))])
        scales = [m.constant(np.float32(s)) for s in (0.02, 0.03, 2.1)]
        m.node("QLinearMatMul", [a, scales[0], m.constant(left(9)), b, scales[1],
                                 m.constant(right(2)), scales[2], m.constant(left(100))])
        x = m.input(draw(left, 2, 4, 7, 6), ["N", 4, "H", "W"])
        w = m.constant(draw(right, 6, 4, 3, 3))
        attributes = {"pads": [1, 1, 1, 1], "strides": [2, 1]}
        if left == np.uint8:
            m.node("ConvInteger", [x, w, m.constant(left(7)), m.constant(right(3))], **attributes)
        w_scales = m.constant(RNG.uniform(0.01, 0.05, 6).astype(np.float32))
        bias = m.constant(RNG.integers(-3000, 3000, 6).astype(np.int32))
        for zero, scale in ((m.constant(right(0)), w_scales), (m.constant(right(0)), scales[1])):
            m.node("QLinearConv", [x, scales[0], m.constant(left(11)), w, scale, zero, scales[2],
                                   m.constant(left(90)), bias], **attributes)
        grouped = m.constant(draw(right, 4, 1, 3, 3))
        m.node("QLinearConv", [x, scales[0], m.constant(left(11)), grouped, scales[1],
                               m.constant(right(0)), scales[2], m.constant(left(90))], group=4)
    m.write()


# ---- the rest ---------------------------------------------------------------------------------
def einsum():
    m = Model("einsum")
    a, b = m.input(uniform(3, 4, 5), ["I", "J", "K"]), m.input(uniform(3, 5, 2), ["I", "K", "L"])
    c, d = m.input(uniform(4, 4), ["J", "J"]), m.input(uniform(5), ["K"])
    for equation, operands in (("ijk,ikl->ijl", [a, b]), ("ijk,ikl->lj", [a, b]), ("ijk->kji", [a]),
                               ("ijk,ikl,k->il", [a, b, d]), ("ii", [c]), ("ii->i", [c]),
                               ("ijk,jj->ik", [a, c]), ("...k,k->...", [a, d]),
                               ("...ij->...ji", [a]), ("i,j->ij", [d, d]), ("ijk,ijk->", [a, a]),
                               ("ijk,ijk->ij", [a, a]), ("ij, jk", [c, c]),
                               ("...ij,...jk->...ik", [a, b]), ("bij,bjk,kl->bl", [a, b, m.constant(
                                   uniform(2, 3))])):
        m.node("Einsum", operands, equation=equation)
    m.write()


def sequences():
    m = Model("sequences")
    x = m.input(uniform(5, 3, 2), ["T", "N", 2])
    lengths = m.input(np.int64([5, 1, 3]), ["N"])
    m.node("ReverseSequence", [x, lengths], time_axis=0, batch_axis=1)
    y = m.input(uniform(3, 5), ["N", "T"])
    m.node("ReverseSequence", [y, lengths], time_axis=1, batch_axis=0)
    index = m.input(np.int64([[0, 3, -1], [7, -4, -5]]), ["P", 3])
    for axis in (-1, 0, 1):
        m.node("OneHot", [index, m.constant(np.int64(4)), m.constant(np.float32([-1, 2]))], axis=axis)
    m.node("OneHot", [index, m.constant(np.int64([3])), m.constant(np.int64([0, 1]))])
    m.write()


def spectra():
    m = Model("spectra", opset=20)
    real, both = m.input(uniform(2, 12, 1), ["N", "T", 1]), m.input(uniform(2, 7, 2), ["N", "S", 2])
    half = m.input(uniform(2, 5, 2), ["N", "K", 2])
    for operands, attributes in (([real], {}), ([real], {"onesided": 1}), ([both], {}),
                                 ([both], {"inverse": 1}),
                                 ([real, m.constant(np.int64(16))], {"onesided": 1}),
                                 ([both, m.constant(np.int64(5))], {})):
        m.node("DFT", operands, **attributes)
    image = m.input(uniform(1, 3, 4, 2), ["M", "A", "B", 2])
    m.node("DFT", [image, "", m.constant(np.int64(1))])
    signal = m.input(uniform(2, 40, 1), ["N", "U", 1])
    step, length = m.constant(np.int64(6)), m.constant(np.int64(16))
    window = m.constant(np.hanning(16).astype(np.float32))
    m.node("STFT", [signal, step, window, length])
    m.node("STFT", [signal, step, window, length], onesided=0)
    m.write()


def unpool():
    m = Model("unpool")
    x = m.input(uniform(2, 3, 2, 3), ["N", 3, 2, 3])
    flat = np.stack([RNG.permutation(24)[:6] for _ in range(6)]).reshape(2, 3, 2, 3)
    index = m.input((flat + 24 * np.arange(6).reshape(2, 3, 1, 1)).astype(np.int64), ["N", 3, 2, 3])
    m.node("MaxUnpool", [x, index], kernel_shape=[2, 2], strides=[2, 2])
    columns = m.input(uniform(2, 12, 16), ["N", 12, 16])
    m.node("Col2Im", [columns, m.constant(np.int64([5, 6])), m.constant(np.int64([2, 3]))])
    small = m.input(uniform(2, 12, 9), ["N", 12, 9])
    m.node("Col2Im", [small, m.constant(np.int64([5, 6])), m.constant(np.int64([2, 3]))],
           strides=[2, 3], pads=[0, 1, 1, 2], dilations=[1, 1])
    m.write()


for write in (resize_nearest, resize_linear, resize_cubic, resize_crop, upsample, grid_sample, roi_align,
              quantize, integer_products, einsum, sequences, spectra, unpool):
    write()
