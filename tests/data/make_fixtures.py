#!/usr/bin/env python3
"""Writes the fixtures of tests/data: files made by NumPy, Pillow and safetensors, and pictures moved
by SciPy. usage: make_fixtures.py
(written with numpy 2.4.6, scipy 1.17.1, safetensors 0.8.0, Pillow 13.0.0; the tests need none of them)
"""

import gzip
import json
import pathlib
import struct

import numpy as np
from PIL import Image
from safetensors.numpy import save_file
from scipy import ndimage

FOLDER = pathlib.Path(__file__).parent / "fixtures"


def moved(image, degrees, zoom, right, down):
    """Turned counter-clockwise, enlarged, moved: SciPy maps output to input indices (row, column)."""
    angle = np.deg2rad(degrees)
    c, s = np.cos(angle) / zoom, np.sin(angle) / zoom
    # Counter-clockwise on a screen, where rows count downwards; SciPy wants the inverse.
    matrix = np.array([[c, s], [-s, c]])
    middle = (np.array(image.shape) - 1) / 2
    offset = middle - matrix @ (middle + [down, right])
    return ndimage.affine_transform(image, matrix, offset, order=1, mode="grid-constant", cval=0)


def transforms(rng):
    cases = []
    for shape in [(1, 1), (1, 5), (4, 4), (7, 5), (8, 8)]:
        image = rng.random(shape)
        for degrees, zoom, right, down in [(0, 1, 1, 0), (0, 1, -2, 1), (30, 1, 0, 0), (-17.5, 0.8, 1, -1),
                                           (180, 1.25, 0, 2), (90, 1, 0, 0)]:
            out = moved(image, degrees, zoom, right, down)
            cases.append({"height": shape[0], "width": shape[1], "image": image.ravel().tolist(),
                          "degrees": degrees, "zoom": zoom, "right": right, "down": down,
                          "moved": out.ravel().tolist()})
    # A quarter turn is numpy's, whatever the convention above says.
    square = rng.random((6, 6))
    cases.append({"height": 6, "width": 6, "image": square.ravel().tolist(), "degrees": 90, "zoom": 1,
                  "right": 0, "down": 0, "moved": np.rot90(square).ravel().tolist()})
    return cases


def idx(array, code, big_endian):
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape) + array.astype(big_endian).tobytes()


def main():
    FOLDER.mkdir(exist_ok=True)
    rng = np.random.default_rng(5)
    (FOLDER / "transforms.json").write_text(json.dumps(transforms(rng)) + "\n")

    small = np.arange(6).reshape(2, 3)
    np.save(FOLDER / "f32.npy", small.astype(np.float32))
    np.save(FOLDER / "fortran_i64.npy", np.asfortranarray(np.arange(24).reshape(2, 3, 4)))
    np.save(FOLDER / "scalar_f64.npy", np.float64(2.5))
    np.save(FOLDER / "big_endian.npy", small.astype(">f4"))
    images = rng.integers(0, 256, (5, 4, 4, 3), dtype=np.uint8)
    arrays = {"x_train": images[:3], "y_train": np.array([1, 0, 2], dtype=np.uint8),
              "x_test": images[3:], "y_test": np.array([2, 2], dtype=np.uint8)}
    np.savez(FOLDER / "stored.npz", **arrays)
    np.savez_compressed(FOLDER / "deflated.npz", **arrays)

    (FOLDER / "i16.idx").write_bytes(idx(np.array([[-2, 300], [4, 5]]), 0x0B, ">i2"))
    (FOLDER / "f64.idx.gz").write_bytes(gzip.compress(idx(np.array([0.5, -1e300]), 0x0E, ">f8"), mtime=0))

    save_file({"f64": np.array([1.5, -2.0]), "f32": np.array([[0.25, 3.0]], dtype=np.float32),
               "f16": np.array([1.0, -0.5, 65504.0], dtype=np.float16), "i64": np.array(-(2**62)),
               "i32": np.array([7], dtype=np.int32), "i16": np.array([-300], dtype=np.int16),
               "i8": np.array([-5, 5], dtype=np.int8), "u8": np.array([255], dtype=np.uint8),
               "bool": np.array([True, False, True]), "empty": np.zeros((0, 4), dtype=np.float32)},
              FOLDER / "numpy.safetensors", metadata={"made by": "safetensors", "quote": "\"é\""})

    picture = np.zeros((3, 2, 3), dtype=np.uint8)
    picture[0, 0] = (255, 0, 0)
    picture[2, 1] = (10, 20, 30)
    Image.fromarray(picture).save(FOLDER / "colour.png")
    Image.fromarray(np.array([[0, 128], [200, 255]], dtype=np.uint8)).save(FOLDER / "grey.png")
    Image.fromarray(np.full((4, 6, 3), (200, 100, 50), dtype=np.uint8)).save(FOLDER / "flat.jpg", quality=95)


if __name__ == "__main__":
    main()
