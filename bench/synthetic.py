#!/usr/bin/env python3
"""Writes synthetic graphs as Tintype's text, to see how long passes take on them.

usage: synthetic.py chain NODES | wide NODES | ladder NODES | transformer LAYERS

    bench/synthetic.py chain 100000 > chain.ir
    build/release/tintype opt chain.ir --time-passes -o /dev/null
"""

import sys


class Graph:
    """One line per node; values are the numbers of their lines."""

    def __init__(self, name, inputs):
        self.lines, self.count, self.name = [], 0, name
        self.inputs = inputs

    def node(self, op, *operands, attrs=""):
        self.lines.append(f"  %{self.count} = {op}({', '.join('%' + str(o) for o in operands)})"
                          f"{' {' + attrs + '}' if attrs else ''}  // n{self.count}")
        self.count += 1
        return self.count - 1

    def constant(self, type_, *elements):
        return self.node("constant", attrs=f"value = {type_}({', '.join(map(str, elements))})")

    def parameter(self, *dims):
        name = f"w{len(self.inputs)}"
        self.inputs.append(f"%{name}: f32[{','.join(map(str, dims))}]")
        return name

    def text(self, result):
        return "\n".join([f'graph "{self.name}"({", ".join(self.inputs)}) {{', *self.lines,
                          f'  return %{result} as "y"', "}", ""])


def chain(nodes):
    """Ops of different kinds that depend on each other, none of which goes away."""
    g = Graph("chain", ["%x: f32[N,64]", "%z: f32[64]"])
    x = "x"
    for i in range(nodes):
        kind = i % 4
        if kind == 0:
            x = g.node("Tanh", x)
        elif kind == 1:
            x = g.node("Mul", x, "z")
        elif kind == 2:
            x = g.node("Softmax", x, attrs="axis = -1") if i % 64 == 2 else g.node("Sigmoid", x)
        else:
            x = g.node("Add", x, "z")
    return g.text(x)


def wide(nodes):
    """Short branches that all begin at one value, and a tree that adds them up."""
    g = Graph("wide", ["%x: f32[N,64]"])
    stem = g.node("Tanh", "x")
    ends = []
    for i in range(max(1, nodes // 8)):
        scale = g.constant("f32[]", i + 1)
        x = g.node("Softmax", g.node("Mul", stem, scale), attrs="axis = -1")
        for op in ("Sigmoid", "Neg", "Exp"):
            x = g.node(op, x)
        ends.append(g.node("Mul", x, stem))
    while len(ends) > 1:
        pairs = zip(ends[::2], ends[1::2])
        ends = [g.node("Add", a, b) for a, b in pairs] + ends[len(ends) // 2 * 2:]
    return g.text(ends[0])


def ladder(nodes):
    """The first half runs down, the second back up and adds the value of each level."""
    g = Graph("ladder", ["%x: f32[N,64]", "%z: f32[64]"])
    x, levels = "x", []
    for i in range(max(1, nodes // 6)):
        x = g.node("Softmax", g.node("Mul", x, "z"), attrs="axis = -1") if i % 8 == 0 else \
            g.node("Tanh", g.node("Mul", x, "z"))
        levels.append(x)
        x = g.node("Sigmoid", x)
    for level in reversed(levels):
        x = g.node("Exp", g.node("Add", g.node("Neg", x), level))
    return g.text(x)


def transformer(layers, width=768, heads=12):
    """Encoder layers as PyTorch exports them, with normalisation and GELU written out."""
    g = Graph("transformer", [f"%x: f32[N,T,{width}]"])
    last = g.constant("i64[1]", -1)
    two, half, one = (g.constant("f32[]", v) for v in ("2.0", "0.5", "1.0"))
    epsilon, root = g.constant("f32[]", "1e-05"), g.constant("f32[]", "1.4142135")
    scale = g.constant("f32[]", str((width // heads) ** -0.5))
    split = g.constant("i64[4]", 0, 0, heads, width // heads)
    joined = g.constant("i64[3]", 0, 0, width)

    def linear(x, rows, columns):
        return g.node("Add", g.node("MatMul", x, g.parameter(rows, columns)), g.parameter(columns))

    def norm(x):
        d = g.node("Sub", x, g.node("ReduceMean", x, last))
        v = g.node("ReduceMean", g.node("Pow", d, two), last)
        n = g.node("Div", d, g.node("Sqrt", g.node("Add", v, epsilon)))
        return g.node("Add", g.node("Mul", n, g.parameter(width)), g.parameter(width))

    def head(x, perm):
        return g.node("Transpose", g.node("Reshape", linear(x, width, width), split), attrs=perm)

    x = "x"
    for _ in range(layers):
        n = norm(x)
        q, v = (head(n, "perm = [0, 2, 1, 3]") for _ in range(2))
        k = head(n, "perm = [0, 2, 3, 1]")
        s = g.node("Softmax", g.node("Mul", g.node("MatMul", q, k), scale), attrs="axis = -1")
        a = g.node("Transpose", g.node("MatMul", s, v), attrs="perm = [0, 2, 1, 3]")
        x = g.node("Add", x, linear(g.node("Reshape", a, joined), width, width))
        h = linear(norm(x), width, 4 * width)
        e = g.node("Add", g.node("Erf", g.node("Div", h, root)), one)
        x = g.node("Add", x, linear(g.node("Mul", g.node("Mul", h, e), half), 4 * width, width))
    return g.text(norm(x))


def main():
    kinds = {"chain": chain, "wide": wide, "ladder": ladder, "transformer": transformer}
    if len(sys.argv) != 3 or sys.argv[1] not in kinds or not sys.argv[2].isdigit():
        sys.exit(__doc__)
    sys.stdout.write(kinds[sys.argv[1]](int(sys.argv[2])))


if __name__ == "__main__":
    main()
