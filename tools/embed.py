#!/usr/bin/env python3
"""Turn a file into a C array: embed.py SYMBOL INPUT OUTPUT.

Defines `const unsigned char SYMBOL[]` (a NUL follows the bytes) and `const size_t SYMBOL_len`.
"""
import sys


def main():
    symbol, source, target = sys.argv[1:]
    with open(source, "rb") as f:
        data = f.read()
    lines = ["/* Made from a data file by tools/embed.py. */", "#include <stddef.h>", "",
             f"extern const unsigned char {symbol}[];", f"extern const size_t {symbol}_len;",
             f"const unsigned char {symbol}[] = {{"]
    for i in range(0, len(data) + 1, 16):
        row = (data + b"\0")[i:i + 16]
        lines.append("    " + ", ".join(str(b) for b in row) + ",")
    lines += ["};", f"const size_t {symbol}_len = {len(data)};", ""]
    with open(target, "w", encoding="ascii") as f:
        f.write("\n".join(lines))


main()
