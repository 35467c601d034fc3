"""How long `gaufre verify` takes for a range and heads that it is compared with: verify.py [ENTRIES] [HEADS] [--folder DIR]

Makes a range of ENTRIES (default 100,000) of which all but their hashes is hidden, and HEADS (default 4,000) of sizes within
it in files of their own, signed by a key of the moment, and prints time and memory for all of them, and for a tenth of each.
"""
import argparse
import hashlib
import json
import os
import pathlib
import subprocess
import tempfile
import time

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

GAUFRE = os.environ.get("GAUFRE_BIN", "build/release/src/cmd/gaufre")


def cbor(v):
    """Deterministic CBOR of numbers, texts, bytes, lists and maps."""
    def head(major, n):
        for code, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
            if n < 24:
                return bytes([major << 5 | n])
            if n < 1 << 8 * size:
                return bytes([major << 5 | code]) + n.to_bytes(size, "big")
        raise ValueError(n)
    if isinstance(v, int):
        return head(0, v) if v >= 0 else head(1, -1 - v)
    if isinstance(v, dict):
        return head(5, len(v)) + b"".join(cbor(k) + cbor(x) for k, x in v.items())
    if isinstance(v, list):
        return head(4, len(v)) + b"".join(map(cbor, v))
    data = v.encode() if isinstance(v, str) else v
    return head(3 if isinstance(v, str) else 2, len(data)) + data


class Tree:
    """Of RFC 9162: the root of what was added."""

    def __init__(self):
        self.size, self.nodes = 0, []  # complete subtrees, the largest first: (entries, hash)

    def add(self, leaf):
        self.nodes.append((1, leaf))
        while len(self.nodes) > 1 and self.nodes[-1][0] == self.nodes[-2][0]:
            (n, right), (_, left) = self.nodes.pop(), self.nodes.pop()
            self.nodes.append((2 * n, hashlib.sha256(b"\1" + left + right).digest()))
        self.size += 1

    def root(self):
        root = self.nodes[-1][1]
        for _, left in reversed(self.nodes[:-1]):
            root = hashlib.sha256(b"\1" + left + root).digest()
        return root


def head_of(tree, key):
    public = key.public_key().public_bytes_raw()
    kid = hashlib.sha256(public).digest()[:8]
    protected = cbor({1: -8, 4: kid, 15: {1: f"gaufre:{kid.hex()}", 2: "answers", 6: 5, "size": tree.size}, 395: 1})
    root = tree.root()
    return {"size": tree.size, "at": 5, "root": root.hex(), "key": public.hex(),
            "signature": key.sign(cbor(["Signature1", protected, b"", root])).hex()}


def make(folder, n, n_heads):
    key, tree, lines, files = Ed25519PrivateKey.generate(), Tree(), [], []
    for i in range(n):
        leaf = hashlib.sha256(b"%d" % i).digest()
        tree.add(leaf)
        lines.append({"i": i, "leaf": leaf.hex()})
        if (i + 1) * n_heads // n > len(files):
            files.append(folder / f"{n}-{len(files)}.json")
            files[-1].write_text(json.dumps({"object": "receipts.head", "head": head_of(tree, key), "since": 0, "path": []}))
    first = {"object": "receipts", "tenant": None, "from": 0, "nodes": [], "first": None, "head": head_of(tree, key)}
    files.append(folder / f"{n}.jsonl")
    files[-1].write_text("".join(json.dumps(x, separators=(",", ":")) + "\n" for x in (first, *lines)))
    return files


def run(files):
    """Seconds, and the most memory that was seen."""
    begun, kib = time.monotonic(), 0
    p = subprocess.Popen([GAUFRE, "verify", *files], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while p.poll() is None:
        status = pathlib.Path(f"/proc/{p.pid}/status").read_text()
        kib = max([kib, *(int(x.split()[1]) for x in status.splitlines() if x.startswith("VmHWM"))])
        time.sleep(0.005)
    assert p.returncode == 0
    return time.monotonic() - begun, kib


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("entries", nargs="?", type=int, default=100_000)
    p.add_argument("heads", nargs="?", type=int, default=4_000)
    p.add_argument("--folder")
    o = p.parse_args()
    with tempfile.TemporaryDirectory(dir=o.folder) as folder:
        for n, n_heads in ((o.entries // 10, o.heads // 10), (o.entries, o.heads)):
            files = make(pathlib.Path(folder), n, n_heads)
            seconds, kib = run(files)
            print(f"{n:9,} entries, {n_heads:6,} heads: {seconds:6.2f} s, {kib / 1024:5.1f} MiB")



main()
