#!/usr/bin/env python3
"""Writes digits/*.idx*-ubyte: the handwritten digits that scikit-learn ships, as IDX files.

usage: make_digits.py    (needs scikit-learn; written with version 1.9.1)
"""

import pathlib
import struct

import numpy as np
from sklearn.datasets import load_digits


def write_idx(path, array):
    array = np.ascontiguousarray(array, dtype=np.uint8)
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    path.write_bytes(head + array.tobytes())


def main():
    folder = pathlib.Path(__file__).parent / "digits"
    folder.mkdir(exist_ok=True)
    digits = load_digits()
    assert digits.images.shape == (1797, 8, 8) and digits.images.max() == 16
    write_idx(folder / "digits-images-idx3-ubyte", digits.images)
    write_idx(folder / "digits-labels-idx1-ubyte", digits.target)


if __name__ == "__main__":
    main()
