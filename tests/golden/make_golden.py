"""Compute the goldens: see make_golden.sh, which prepares what this needs and sets LD_LIBRARY_PATH.

For every model: dequantise all tensors to float32 (to_f32.py), evaluate the golden's token ids with the
peer's forward pass in float32, store the logits in tests/golden/data/NAME.gflogits (docs/formats.md)."""

import hashlib
import os
import subprocess
import sys
import tempfile

import numpy as np

import logits_file
import make_tiny

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = 128  # of the positions of a real model whose rows are not stored in full

# name: (texts, tokens, positions stored in full)
REAL = {
    "smollm2-135m": (["mixed.txt"], 640, [0, 1, 31, 32, 100, 255, 256, 400, 511, 512, 600, 639]),
    # The window is 512: the rows past it see less than the whole prompt in the window layers.
    "gemma3-270m": (["mixed.txt", "prose.txt"], 720, [1, 511, 512, 719]),
}


def evaluate(cache, model, windows, wanted, kv="f32"):
    """Rows of logits of the wanted positions of each window, by the peer."""
    with tempfile.TemporaryDirectory(dir=cache) as tmp:
        with open(f"{tmp}/tokens", "wb") as f:
            f.write(np.int32(len(windows)).tobytes())
            for ids, want in zip(windows, wanted):
                f.write(np.int32(len(ids)).tobytes() + np.asarray(ids, "<i4").tobytes() +
                        np.asarray(want, np.uint8).tobytes())
        subprocess.check_call([f"{cache}/peer_eval", model, f"{tmp}/tokens", f"{tmp}/out", kv, str(os.cpu_count())])
        n = sum(int(np.sum(w)) for w in wanted)
        return np.fromfile(f"{tmp}/out", "<f4").reshape(n, -1)


def tokenize(cache, model, texts):
    with tempfile.TemporaryDirectory(dir=cache) as tmp:
        with open(f"{tmp}/text", "wb") as f:
            for t in texts:
                f.write(open(f"{HERE}/text/{t}", "rb").read())
        subprocess.check_call([f"{cache}/peer_eval", "--tokenize", model, f"{tmp}/text", f"{tmp}/out"])
        return np.fromfile(f"{tmp}/out", "<i4")


def sha256(path):
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def as_f32(cache, path):
    """The file with all tensors in float32, made once for each content."""
    digest = sha256(path)
    out = f"{cache}/f32/{digest[:16]}.gguf"
    if not os.path.exists(out):
        os.makedirs(f"{cache}/f32", exist_ok=True)
        subprocess.check_call([sys.executable, f"{HERE}/to_f32.py", path, out + ".new"], stderr=subprocess.DEVNULL)
        os.rename(out + ".new", out)
    return out, digest


def golden(cache, name, path, ids, full):
    f32, digest = as_f32(cache, path)
    rows = evaluate(cache, f32, [ids], [[1] * len(ids)])
    note = {
        "model": name,
        "file": os.path.basename(path),
        "sha256": digest,
        "by": "llama.cpp of llama-cpp-python 0.3.36 on the file rewritten in float32; float32 KV, no flash "
              "attention, sums in double, no float16 tables (bench/peers.sh llama-exact)",
        "command": f"tests/golden/make_golden.sh {name}",
    }
    os.makedirs(f"{HERE}/data", exist_ok=True)
    out = logits_file.Writer(f"{HERE}/data/{name}.gflogits", rows.shape[1], ids, note=note)
    for i, row in enumerate(rows):
        out.row(i, row, *((logits_file.FULL,) if full is None or i in full else (logits_file.TOP, TOP)))
    out.close()
    print(f"{name}: {len(ids)} tokens, logits {rows.std():.2f} +- {rows.min():.1f}..{rows.max():.1f}")


def main():
    cache, names = sys.argv[1], sys.argv[2:]
    subprocess.check_call([sys.executable, f"{HERE}/make_tiny.py", f"{cache}/tiny"])
    for m in make_tiny.MODELS:
        if not names or m.name in names:
            golden(cache, m.name, make_tiny.file_of(f"{cache}/tiny", m), make_tiny.prompt(m), None)
    for name, (texts, n, full) in REAL.items():
        path = f"{os.environ.get('GOLDEN_MODELS', '.')}/{name}.gguf"
        if names and name not in names:
            continue
        if not os.path.exists(path):
            print(f"{name}: no {path} (set GOLDEN_MODELS): kept as it is", file=sys.stderr)
            continue
        golden(cache, name, path, tokenize(cache, path, texts)[:n], full)


if __name__ == "__main__":
    main()
