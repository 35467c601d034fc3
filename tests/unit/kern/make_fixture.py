#!/usr/bin/env python3
"""Writes fmt_fixture.h: GGUF blocks of every quantised format and their dequantised values, as the
gguf package (PyPI `gguf`, 0.17 or later) reads them. Run as

    python3 make_fixture.py > fmt_fixture.h
"""
import numpy as np
from gguf import GGMLQuantizationType as T
from gguf import GGML_QUANT_SIZES
from gguf.quants import dequantize

FORMATS = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K", "MXFP4"]
# where a block's f16 scales lie
HALVES = {"Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q4_K": [0, 2],
          "Q5_K": [0, 2], "Q6_K": [208], "MXFP4": []}
# normal, subnormal, the largest, negative, zero
SCALES = [0x2e66, 0x0001, 0x03ff, 0x7bff, 0xae66, 0x0000, 0x1234, 0x8400]


def rows(name, rng):
    block, size = GGML_QUANT_SIZES[T[name]]
    n = 256 // block
    raw = rng.integers(0, 256, (n, size), dtype=np.uint8)
    for i in range(n):
        for j, at in enumerate(HALVES[name]):
            s = SCALES[(i + 3 * j + len(name)) % len(SCALES)] if n > 1 else SCALES[6 * j]
            raw[i, at:at + 2] = np.frombuffer(np.uint16(s).tobytes(), np.uint8)
        if name == "MXFP4":
            raw[i, 0] = [0, 1, 2, 127, 120, 130, 200, 250][i % 8]
    return raw.reshape(1, -1)


def dump(ctype, name, values, fmt, per):
    print(f"static const {ctype} {name}[{len(values)}] = {{")
    for i in range(0, len(values), per):
        print("    " + " ".join(fmt % v + "," for v in values[i:i + per]))
    print("};")


rng = np.random.default_rng(20260922)
print("/* Made by make_fixture.py; do not edit. One row of 256 weights a format: the file's bytes,")
print(" * and the bits of the floats that the gguf package dequantises them to. */")
print("/* clang-format off */")
for f in FORMATS:
    raw = rows(f, rng)
    out = dequantize(raw, T[f]).astype(np.float32).reshape(-1)
    dump("uint8_t", f"src_{f.lower()}", raw.reshape(-1).tolist(), "%d", 24)
    dump("uint32_t", f"out_{f.lower()}", out.view(np.uint32).tolist(), "0x%08x", 8)
print("#define FIXTURES(X) \\")
print(" \\\n".join(f"    X(KERN_{f}, src_{f.lower()}, out_{f.lower()})" for f in FORMATS))
print("/* clang-format on */")
