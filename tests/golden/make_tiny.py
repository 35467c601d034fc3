#!/usr/bin/env python3
"""Tiny random-weight models: one of every family, one of every format.

    make_tiny.py DIRECTORY [NAME...]      (Python with the packages gguf and numpy)

The same bytes on every run: each tensor has a generator of its own, seeded by (model, tensor). Files that
are there already are kept (a stamp in the name of the directory's .version file says which recipe made
them). Weights are scaled so that attention is neither flat nor one-hot and logits spread by 1 to 3: then an
error in any part of the forward pass shows in the logits.
"""

import math
import os
import sys
import zlib

import gguf
import numpy as np
from gguf import GGMLQuantizationType as T

VERSION = 1
N_VOCAB = 263  # prime: the last group of output rows is never full


# ---- weights ------------------------------------------------------------------------------------

class Random:
    """splitmix64, and only arithmetic that is exact: the same numbers on any machine and numpy."""

    def __init__(self, *names):
        self.state = np.uint64(zlib.crc32("/".join(names).encode()) << 32)

    def bits(self, n):
        with np.errstate(over="ignore"):
            z = self.state + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
            self.state = z[-1]
            z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            return z ^ (z >> np.uint64(31))

    def bytes(self, *shape):
        n = int(np.prod(shape))
        return self.bits((n + 7) // 8).view(np.uint8)[:n].reshape(shape)

    def integers(self, low, high, n):
        return low + (self.bits(n) % np.uint64(high - low)).astype(np.int64)

    def normal(self, *shape):
        """Nearly: the sum of four uniform numbers of 16 bits, deviation 1, never beyond 3.5."""
        n = int(np.prod(shape))
        sums = self.bits(n).view(np.uint16).reshape(n, 4).astype(np.int64).sum(1)
        return ((sums - 131070) * (1 / 37837.2)).reshape(shape)


def f16_bytes(x):
    return np.asarray(x, np.float16)[:, None].view(np.uint8)


def random_blocks(rng, fmt, n, std):
    """n valid blocks of a format that has no quantiser in Python, weights with about that deviation."""
    def raw(k):
        return rng.bytes(n, k)

    spread = rng.integers(90, 180, n) / 128
    if fmt == T.Q4_K:  # d, dmin, 12 bytes of 6-bit scales and minima, 128 of nibbles
        d = spread * std / 260
        return np.concatenate([f16_bytes(d), f16_bytes(7.5 * d), raw(12), raw(128)], 1)
    if fmt == T.Q5_K:
        d = spread * std / 520
        return np.concatenate([f16_bytes(d), f16_bytes(15.5 * d), raw(12), raw(32), raw(128)], 1)
    if fmt == T.Q6_K:
        d = spread * std / 1366
        return np.concatenate([raw(128), raw(64), raw(16), f16_bytes(d)], 1)
    if fmt == T.MXFP4:  # one power of two, 32 values of 4 bits
        e = 126 + math.frexp(std / 2.9)[1]
        return np.concatenate([rng.integers(e - 2, e + 2, n).astype(np.uint8)[:, None], raw(16)], 1)
    raise ValueError(fmt)


def matrix(rng, fmt, shape, std):
    """The stored bytes of a matrix [..., rows, cols]."""
    if fmt in (T.Q4_K, T.Q5_K, T.Q6_K, T.MXFP4):
        block, size = gguf.GGML_QUANT_SIZES[fmt]
        assert shape[-1] % block == 0
        n = int(np.prod(shape)) // block
        return random_blocks(rng, fmt, n, std).reshape(*shape[:-1], shape[-1] // block * size)
    w = (std * rng.normal(*shape)).astype(np.float32)
    if fmt == T.F32:
        return w
    return gguf.quants.quantize(w, fmt)


# ---- vocabularies -------------------------------------------------------------------------------

TEMPLATE = ("{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>' + '\\n' }}"
            "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")


def gpt2_bytes():
    """Byte -> the printable character that stands for it in byte-level BPE."""
    keep = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table, extra = {}, 0
    for b in range(256):
        table[b] = chr(b) if b in keep else chr(256 + extra)
        extra += b not in keep
    return table


def vocab_bpe(w, pre):
    of = gpt2_bytes()
    space = of[32]
    tokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"] + [of[b] for b in range(256)]
    merges = ["h e", f"{space} t", f"{space}t he", "i n"]
    tokens += [m.replace(" ", "") for m in merges]
    types = [gguf.TokenType.CONTROL] * 3 + [gguf.TokenType.NORMAL] * (len(tokens) - 3)
    assert len(tokens) == N_VOCAB == len(set(tokens))
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre(pre)
    w.add_token_list(tokens)
    w.add_token_types(types)
    w.add_token_merges(merges)
    w.add_bos_token_id(1)
    w.add_eos_token_id(2)
    w.add_add_bos_token(False)
    w.add_chat_template(TEMPLATE)


def vocab_spm(w, gemma=False):
    special = ["<pad>", "<eos>", "<bos>", "<unk>"] if gemma else ["<unk>", "<s>", "</s>"]
    tokens = special + [f"<0x{b:02X}>" for b in range(256)] + ["\u2581", "e", "t", "\u2581t"]
    tokens = tokens[:N_VOCAB]
    types = ([gguf.TokenType.CONTROL] * len(special) + [gguf.TokenType.BYTE] * 256 +
             [gguf.TokenType.NORMAL] * (N_VOCAB - 256 - len(special)))
    types[special.index("<unk>")] = gguf.TokenType.UNKNOWN
    w.add_tokenizer_model("llama")
    w.add_tokenizer_pre("default")
    w.add_token_list(tokens)
    w.add_token_scores([0.0] * (256 + len(special)) + [-float(i) for i in range(N_VOCAB - 256 - len(special))])
    w.add_token_types(types)
    w.add_bos_token_id(special.index("<bos>" if gemma else "<s>"))
    w.add_eos_token_id(special.index("<eos>" if gemma else "</s>"))
    w.add_unk_token_id(special.index("<unk>"))
    w.add_add_bos_token(True)
    w.add_add_eos_token(False)
    w.add_add_space_prefix(not gemma)


# ---- models -------------------------------------------------------------------------------------

class Model:
    """A row of the table below. fmt: of matrices; fmt_embd: of the embedding, if it differs."""

    def __init__(self, name, arch="llama", *, embd=64, ff=96, heads=4, kv_heads=2, head_dim=None, layers=3,
                 fmt=T.Q8_0, fmt_embd=None, tied=False, vocab=("bpe", "smollm"), base=10000.0, eps=1e-5,
                 context=2048, window=0, pattern=None, scaling=None, rope_freqs=False, experts=0, used=0,
                 fmt_experts=None, split=0, tokens=100):
        self.__dict__.update(locals())
        self.head_dim = head_dim or embd // heads
        self.fmt_embd = fmt if fmt_embd is None else fmt_embd
        self.fmt_experts = fmt if fmt_experts is None else fmt_experts


FORMATS = [T.F32, T.F16, T.BF16, T.Q4_0, T.Q4_1, T.Q5_0, T.Q5_1, T.Q8_0, T.Q4_K, T.Q5_K, T.Q6_K, T.MXFP4]

MODELS = [
    # Families.
    Model("llama"),
    Model("llama3", base=500000.0, rope_freqs=True, tied=True, vocab=("bpe", "llama-bpe")),
    Model("llama-linear", scaling=("linear", 4.0, 0), vocab=("spm",)),
    Model("llama-yarn", scaling=("yarn", 4.0, 32), context=128, head_dim=64, tokens=120),
    # Sizes that no kernel likes: 72 columns, one KV head, heads wider than embd / heads, 100 hidden.
    Model("llama-odd", embd=72, ff=100, heads=3, kv_heads=1, head_dim=48, fmt=T.F32),
    Model("mistral", embd=96, ff=160, heads=2, kv_heads=1, head_dim=64, base=1e6, vocab=("spm",), fmt=T.Q4_0),
    Model("qwen2", "qwen2", embd=128, base=1e6, eps=1e-6, tied=True, vocab=("bpe", "qwen2")),
    Model("qwen3", "qwen3", heads=6, kv_heads=2, head_dim=32, base=1e6, eps=1e-6, vocab=("bpe", "qwen2")),
    Model("qwen3moe", "qwen3moe", heads=4, kv_heads=1, head_dim=32, base=1e6, eps=1e-6, experts=7, used=3,
          vocab=("bpe", "qwen2")),
    Model("gemma3", "gemma3", kv_heads=1, head_dim=32, layers=7, base=1e6, eps=1e-6, window=16, tied=True,
          vocab=("gemma",)),
    # As the larger Gemma 3: linear scaling, which holds for the global layers only; a pattern in the file.
    Model("gemma3-scaled", "gemma3", kv_heads=2, head_dim=48, layers=4, base=1e6, eps=1e-6, window=24,
          pattern=3, scaling=("linear", 8.0, 0), tied=True, vocab=("gemma",)),
    Model("gpt-oss", "gpt-oss", heads=8, kv_heads=2, head_dim=32, layers=4, base=150000.0, window=20,
          scaling=("yarn", 8.0, 64), context=512, experts=6, used=2, fmt_experts=T.MXFP4,
          vocab=("bpe", "gpt-4o"), tokens=160),
    Model("split", split=13, vocab=("spm",), tokens=40),
] + [
    # Formats: 256 columns, tied and untied in turn.
    Model(f"fmt-{fmt.name.lower()}", embd=256, ff=512 if fmt == T.Q6_K else 256, layers=2, fmt=fmt,
          tied=i % 2 == 1, tokens=40) for i, fmt in enumerate(FORMATS)
]


def tensors(m):
    """name, format, bytes of every tensor, in the order of the file."""
    def mat(name, rows, cols, gain=1.0, fmt=None, stack=()):
        fmt = m.fmt if fmt is None else fmt
        return name, fmt, matrix(Random(m.name, name), fmt, (*stack, rows, cols), gain / np.sqrt(cols))

    def vec(name, n, mean, std, stack=()):
        return name, T.F32, (mean + std * Random(m.name, name).normal(*stack, n)).astype(np.float32)

    q, kv = m.heads * m.head_dim, m.kv_heads * m.head_dim
    gemma, oss, qwen3 = m.arch == "gemma3", m.arch == "gpt-oss", m.arch in ("qwen3", "qwen3moe")
    qk_norm = qwen3 or gemma
    yield mat("token_embd.weight", N_VOCAB, m.embd, 2.0, m.fmt_embd)
    if m.rope_freqs:  # Llama 3.x: long wavelengths are slowed down
        ramp = np.clip((np.arange(m.head_dim // 2) - 2) / 3, 0, 1)
        yield "rope_freqs.weight", T.F32, (1 + 7 * ramp).astype(np.float32)
    for i in range(m.layers):
        b = f"blk.{i}."
        yield vec(b + "attn_norm.weight", m.embd, 1, 0.2)
        yield mat(b + "attn_q.weight", q, m.embd, 1.0 if qk_norm else 1.6)
        yield mat(b + "attn_k.weight", kv, m.embd, 1.0 if qk_norm else 1.6)
        yield mat(b + "attn_v.weight", kv, m.embd, 1.5)
        yield mat(b + "attn_output.weight", m.embd, q, 1.5)
        if m.arch == "qwen2" or oss:
            yield vec(b + "attn_q.bias", q, 0, 0.7)
            yield vec(b + "attn_k.bias", kv, 0, 0.7)
            yield vec(b + "attn_v.bias", kv, 0, 0.3)
        if oss:
            yield vec(b + "attn_output.bias", m.embd, 0, 0.3)
            yield vec(b + "attn_sinks.weight", m.heads, 1.5, 1.0)
        if qk_norm:
            yield vec(b + "attn_q_norm.weight", m.head_dim, 1.3, 0.3)
            yield vec(b + "attn_k_norm.weight", m.head_dim, 1.3, 0.3)
        if gemma or oss:
            yield vec(b + "post_attention_norm.weight", m.embd, 1, 0.2)
        if not oss:
            yield vec(b + "ffn_norm.weight", m.embd, 1, 0.2)
        if m.experts:
            stack, fmt = (m.experts,), m.fmt_experts
            yield mat(b + "ffn_gate_inp.weight", m.experts, m.embd, 2.0, T.F32)
            yield mat(b + "ffn_gate_exps.weight", m.ff, m.embd, 1.5, fmt, stack)
            yield mat(b + "ffn_up_exps.weight", m.ff, m.embd, 1.5, fmt, stack)
            yield mat(b + "ffn_down_exps.weight", m.embd, m.ff, 1.5, fmt, stack)
            if oss:  # gate and up reach beyond the clamp of 7 now and then
                yield vec(b + "ffn_gate_inp.bias", m.experts, 0, 0.5)
                yield vec(b + "ffn_gate_exps.bias", m.ff, 0, 3.0, stack)
                yield vec(b + "ffn_up_exps.bias", m.ff, 0, 3.0, stack)
                yield vec(b + "ffn_down_exps.bias", m.embd, 0, 0.3, stack)
        else:
            yield mat(b + "ffn_gate.weight", m.ff, m.embd, 1.5)
            yield mat(b + "ffn_up.weight", m.ff, m.embd, 1.5)
            yield mat(b + "ffn_down.weight", m.embd, m.ff, 1.5)
        if gemma:
            yield vec(b + "post_ffw_norm.weight", m.embd, 1, 0.2)
    yield vec("output_norm.weight", m.embd, 1, 0.2)
    if not m.tied:
        yield mat("output.weight", N_VOCAB, m.embd, 2.0, m.fmt_embd)


def write(m, path):
    w = gguf.GGUFWriter(path, m.arch, split_max_tensors=m.split)
    w.add_name(f"tiny {m.name}")
    w.add_license("apache-2.0")
    w.add_context_length(m.context)
    w.add_embedding_length(m.embd)
    w.add_block_count(m.layers)
    w.add_feed_forward_length(m.ff)
    w.add_head_count(m.heads)
    w.add_head_count_kv(m.kv_heads)
    w.add_layer_norm_rms_eps(m.eps)
    w.add_rope_freq_base(m.base)
    if m.head_dim != m.embd // m.heads:
        w.add_key_length(m.head_dim)
        w.add_value_length(m.head_dim)
        if m.arch == "llama":
            w.add_rope_dimension_count(m.head_dim)
    if m.window:
        w.add_sliding_window(m.window)
    if m.pattern:
        w.add_uint32(f"{m.arch}.attention.sliding_window_pattern", m.pattern)
    if m.scaling:
        kind, factor, original = m.scaling
        w.add_rope_scaling_type(gguf.RopeScalingType(kind))
        w.add_rope_scaling_factor(factor)
        if original:
            w.add_rope_scaling_orig_ctx_len(original)
    if m.experts:
        w.add_expert_count(m.experts)
        w.add_expert_used_count(m.used)
        w.add_expert_feed_forward_length(m.ff)
    kind, *pre = m.vocab
    if kind == "bpe":
        vocab_bpe(w, *pre)
    else:
        vocab_spm(w, kind == "gemma")
    for name, fmt, data in tensors(m):
        w.add_tensor(name, np.ascontiguousarray(data), raw_dtype=fmt)
    w.write_header_to_file(path)
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def file_of(directory, m):
    """The file to open: of a split model the first."""
    if m.split:
        return f"{directory}/{m.name}-00001-of-00003.gguf"
    return f"{directory}/{m.name}.gguf"


def prompt(m):
    """The token ids that the model's golden is computed on: fixed, any id of the vocabulary."""
    return Random(m.name, "prompt").integers(0, N_VOCAB, m.tokens)


def main():
    directory, names = sys.argv[1], sys.argv[2:]
    os.makedirs(directory, exist_ok=True)
    stamp = f"{directory}/.version"
    fresh = os.path.exists(stamp) and open(stamp).read() == str(VERSION)
    for m in MODELS:
        if names and m.name not in names:
            continue
        if not (fresh and os.path.exists(file_of(directory, m))):
            from pathlib import Path
            write(m, Path(f"{directory}/{m.name}.gguf"))
    open(stamp, "w").write(str(VERSION))


if __name__ == "__main__":
    main()
