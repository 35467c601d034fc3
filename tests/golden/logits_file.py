"""The logits file of docs/formats.md: reader and writer."""

import json
import struct

import numpy as np

FULL, PACKED, TOP = 0, 1, 2
HEADER = struct.Struct("<8s6I4Q")
ENTRY = np.dtype([("i_token", "<u4"), ("kind", "<u4"), ("count", "<u4"), ("zero", "<u4"),
                  ("at", "<u8"), ("lse", "<f8")])
RANGE = 24.0  # nats below the row's largest logit that a packed row tells apart


def log_sum_exp(row):
    row = row.astype(np.float64)
    top = row.max()
    return top + np.log(np.exp(row - top).sum())


class Writer:
    """Rows are appended as they come; close() writes the index and the header."""

    def __init__(self, path, n_vocab, tokens, windows=None, note=None):
        self.f = open(path, "wb")
        self.n_vocab = n_vocab
        self.tokens = np.asarray(tokens, "<i4")
        self.windows = np.asarray(windows if windows is not None else [0, len(tokens)], "<u4")
        assert self.windows[0] == 0 and self.windows[-1] == len(self.tokens)
        self.note = json.dumps(note or {}, ensure_ascii=False, indent=1).encode()
        self.index = []
        self.f.write(bytes(HEADER.size))
        self.tokens_at = self._section(self.tokens.tobytes())
        self.windows_at = self._section(self.windows.tobytes())
        self.note_at = self._section(self.note)

    def _section(self, data):
        self.f.write(bytes(-self.f.tell() % 8))
        at = self.f.tell()
        self.f.write(data)
        return at

    def row(self, i_token, logits, kind=FULL, count=256):
        logits = np.asarray(logits, "<f4")
        assert logits.shape == (self.n_vocab,) and np.isfinite(logits).all()
        if kind == FULL:
            data, count = logits.tobytes(), self.n_vocab
        elif kind == PACKED:
            step = np.float32(RANGE / 65535)
            base = np.float32(logits.max() - RANGE)
            u = np.clip(np.rint((logits - base) / step), 0, 65535).astype("<u2")
            data, count = struct.pack("<ff", base, step) + u.tobytes(), self.n_vocab
        else:
            count = min(count, self.n_vocab)
            ids = np.argsort(-logits, kind="stable")[:count].astype("<i4")
            data = ids.tobytes() + logits[ids].tobytes()
        self.index.append((i_token, kind, count, 0, self._section(data), log_sum_exp(logits)))

    def close(self):
        index_at = self._section(np.array(self.index, ENTRY).tobytes())
        self.f.seek(0)
        self.f.write(HEADER.pack(b"GFLOGITS", 1, self.n_vocab, len(self.tokens), len(self.windows) - 1,
                                 len(self.index), len(self.note), self.tokens_at, self.windows_at,
                                 index_at, self.note_at))
        self.f.close()


class Reader:
    def __init__(self, path):
        self.m = m = np.memmap(path, np.uint8, "r")
        (magic, version, self.n_vocab, n_tokens, n_windows, n_rows, n_note, tokens_at, windows_at,
         index_at, note_at) = HEADER.unpack(m[:HEADER.size].tobytes())
        if magic != b"GFLOGITS" or version != 1:
            raise ValueError(f"{path}: not a logits file of version 1")
        self.tokens = m[tokens_at:tokens_at + 4 * n_tokens].view("<i4")
        self.windows = m[windows_at:windows_at + 4 * (n_windows + 1)].view("<u4")
        self.index = m[index_at:index_at + 32 * n_rows].view(ENTRY)
        self.note = json.loads(m[note_at:note_at + n_note].tobytes())

    def row(self, i):
        """Row i of the index -> (i_token, ids or None, logits, lse)."""
        e = self.index[i]
        at, n = int(e["at"]), int(e["count"])
        if e["kind"] == FULL:
            return e["i_token"], None, self.m[at:at + 4 * n].view("<f4"), e["lse"]
        if e["kind"] == PACKED:
            base, step = self.m[at:at + 8].view("<f4")
            return (e["i_token"], None,
                    base + step * self.m[at + 8:at + 8 + 2 * n].view("<u2").astype(np.float32), e["lse"])
        if e["kind"] == TOP:
            return (e["i_token"], self.m[at:at + 4 * n].view("<i4"),
                    self.m[at + 4 * n:at + 8 * n].view("<f4"), e["lse"])
        raise ValueError(f"row kind {e['kind']}")


def main():
    import sys
    for path in sys.argv[1:]:
        r = Reader(path)
        kinds = np.bincount(r.index["kind"], minlength=3)
        print(f"{path}: vocabulary {r.n_vocab}, {len(r.tokens)} tokens in {len(r.windows) - 1} windows, rows: "
              f"{kinds[0]} full, {kinds[1]} packed, {kinds[2]} top")
        print(json.dumps(r.note, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
