#!/usr/bin/env python3
"""to_f32.py IN.gguf OUT.gguf: the same model with every tensor dequantised (by the package gguf) to float32.
Of a split model give the first file; the result is one file."""

import re
import sys

import gguf
import numpy as np


def copy_fields(reader, writer):
    for key, field in reader.fields.items():
        if key.startswith(("GGUF.", "split.")) or key in ("general.architecture", "general.file_type"):
            continue
        value = field.contents()
        if field.types[0] == gguf.GGUFValueType.ARRAY:
            if len(value):
                writer.add_key_value(key, list(value), gguf.GGUFValueType.ARRAY, field.types[-1])
        else:
            writer.add_key_value(key, value, field.types[0])
    writer.add_file_type(0)


def main():
    first, out = sys.argv[1:]
    paths = [first]
    split = re.fullmatch(r"(.*)-00001-of-(\d{5})\.gguf", first)
    if split:
        paths += [f"{split[1]}-{i:05d}-of-{split[2]}.gguf" for i in range(2, int(split[2]) + 1)]
    readers = [gguf.GGUFReader(p) for p in paths]
    writer = gguf.GGUFWriter(out, readers[0].fields["general.architecture"].contents())
    copy_fields(readers[0], writer)
    for reader in readers:
        for t in reader.tensors:
            w = gguf.quants.dequantize(t.data, t.tensor_type)
            writer.add_tensor(t.name, np.ascontiguousarray(w, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
