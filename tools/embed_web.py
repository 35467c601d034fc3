#!/usr/bin/env python3
"""The page's files as a C table: embed_web.py OUTPUT URL=FILE...

Each file is kept compressed only (gzip, the same bytes every time); the few clients that take no
gzip get it unpacked. Its tag is a hash of its content. See src/console/page.h for the table.
"""
import gzip
import hashlib
import os
import sys

TYPES = {".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8",
         ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml",
         ".json": "application/json"}


def array(name, data):
    rows = [f"static const unsigned char {name}[] = {{"]
    for i in range(0, len(data), 24):
        rows.append("    " + ",".join(str(b) for b in data[i:i + 24]) + ",")
    return rows + ["};"]


def main():
    target, *pairs = sys.argv[1:]
    lines = ["/* Made from the files of web/ by tools/embed_web.py. */", '#include "console/page.h"', ""]
    table = []
    for i, pair in enumerate(pairs):
        url, _, path = pair.partition("=")
        kind = TYPES.get(os.path.splitext(path)[1])
        if kind is None:
            sys.exit(f"embed_web: {path}: no content type is known for it")
        with open(path, "rb") as f:
            data = f.read()
        packed = gzip.compress(data, 9, mtime=0)
        tag = hashlib.sha256(data).hexdigest()[:16]
        lines += array(f"file_{i}", packed)
        table.append(f'    {{"{url}", "{kind}", "\\"{tag}\\"", "\\"{tag}-gz\\"", '
                     f"file_{i}, sizeof file_{i}, {len(data)}}},")
    lines += ["const struct page_file page_files[] = {", *table, "};",
              f"const int page_n_files = {len(pairs)};", ""]
    with open(target, "w", encoding="ascii") as f:
        f.write("\n".join(lines))


main()
