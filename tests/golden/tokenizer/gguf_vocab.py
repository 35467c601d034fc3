"""Vocabularies in GGUF: read their metadata, and make one from tiktoken ranks."""
import struct

SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9


def read(path):
    """The key-value part as a dict; arrays of numbers as tuples, strings as str."""
    with open(path, "rb") as f:
        data = f.read(64 << 20) if path.endswith(".gguf") else b""
    magic, version, _, n = struct.unpack_from("<4sIQQ", data)
    assert magic == b"GGUF" and version in (2, 3)
    at = 24

    def string():
        nonlocal at
        (k,) = struct.unpack_from("<Q", data, at)
        at += 8 + k
        return data[at - k : at].decode("utf-8")

    def value(kind):
        nonlocal at
        if kind == STRING:
            return string()
        if kind == ARRAY:
            item, k = struct.unpack_from("<IQ", data, at)
            at += 12
            if item in (STRING, ARRAY):
                return [value(item) for _ in range(k)]
            out = struct.unpack_from(f"<{k}{SCALARS[item]}", data, at)
            at += k * struct.calcsize("<" + SCALARS[item])
            return out
        (out,) = struct.unpack_from("<" + SCALARS[kind], data, at)
        at += struct.calcsize("<" + SCALARS[kind])
        return out

    keys = {}
    for _ in range(n):
        key = string()
        (kind,) = struct.unpack_from("<I", data, at)
        at += 4
        keys[key] = value(kind)
    return keys


def write(path, keys):
    """Strings, lists of strings, lists of ints (as i32), ints (as u32)."""

    def string(s):
        b = s.encode("utf-8")
        return struct.pack("<Q", len(b)) + b

    out = [struct.pack("<4sIQQ", b"GGUF", 3, 0, len(keys))]
    for key, v in keys.items():
        out.append(string(key))
        if isinstance(v, str):
            out.append(struct.pack("<I", STRING) + string(v))
        elif isinstance(v, int):
            out.append(struct.pack("<II", 4, v))
        elif v and isinstance(v[0], int):
            out.append(struct.pack(f"<IIQ{len(v)}i", ARRAY, 5, len(v), *v))
        else:
            out.append(struct.pack("<IIQ", ARRAY, STRING, len(v)) + b"".join(map(string, v)))
    with open(path, "wb") as f:
        f.write(b"".join(out))


def byte_chars():
    """GPT-2's printable spelling of the 256 bytes."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    table, other = {}, 256
    for b in range(256):
        table[b] = chr(b if b in plain else other)
        other += b not in plain
    return table


def from_ranks(path, ranks, n_special, pre):
    """ranks: bytes -> rank. Ids: n_special control tokens, then the ranks in order."""
    chars = byte_chars()
    spell = lambda b: "".join(chars[x] for x in b)
    tokens = [f"<SPECIAL_{i}>" for i in range(n_special)]
    merges = []
    for token, _ in sorted(ranks.items(), key=lambda kv: kv[1]):
        tokens.append(spell(token))
        # Whatever two tokens make a token may merge; its rank is the result's.
        pairs = [(token[:i], token[i:]) for i in range(1, len(token))]
        pairs = [p for p in pairs if p[0] in ranks and p[1] in ranks]
        pairs.sort(key=lambda p: (ranks[p[0]], ranks[p[1]]))
        merges += [spell(a) + " " + spell(b) for a, b in pairs]
    write(path, {
        "general.architecture": "llama",
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": pre,
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [3] * n_special + [1] * len(ranks),
        "tokenizer.ggml.merges": merges,
    })
