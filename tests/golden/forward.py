#!/usr/bin/env python3
"""The forward pass once more, in numpy and float64, to be read: a second opinion on the goldens, and the place to
look when the engine and a golden disagree.

    forward.py MODEL.gguf GOLDEN.gflogits [N]        compares N rows (default: all)
    forward.py MODEL.gguf GOLDEN.gflogits N --dump   prints every intermediate result of row N - 1 as well

It is written by the project, so it proves nothing by itself; the goldens come from elsewhere (README.md)."""

import re
import sys

import gguf
import numpy as np

import logits_file


class File:
    def __init__(self, first):
        paths = [first]
        split = re.fullmatch(r"(.*)-00001-of-(\d{5})\.gguf", first)
        if split:
            paths += [f"{split[1]}-{i:05d}-of-{split[2]}.gguf" for i in range(2, int(split[2]) + 1)]
        readers = [gguf.GGUFReader(p) for p in paths]
        self.fields = readers[0].fields
        self.arch = self.fields["general.architecture"].contents()
        self.raw = {t.name: t for r in readers for t in r.tensors}

    def key(self, name, default=None):
        field = self.fields.get(f"{self.arch}.{name}")
        return default if field is None else field.contents()

    def tensor(self, name):
        t = self.raw.get(name)
        return None if t is None else gguf.quants.dequantize(t.data, t.tensor_type).astype(np.float64)


def rms_norm(x, w, eps):
    x = x / np.sqrt((x * x).mean(-1, keepdims=True) + eps)
    return x if w is None else x * w


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def silu(x):
    return x / (1 + np.exp(-x))


def gelu_tanh(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x ** 3)))


class Forward:
    def __init__(self, path, dump=None):
        self.f = f = File(path)
        self.dump = dump or (lambda name, x: None)
        arch = f.arch
        self.layers, self.embd = f.key("block_count"), f.key("embedding_length")
        self.heads = f.key("attention.head_count")
        self.kv_heads = f.key("attention.head_count_kv", self.heads)
        self.head_dim = f.key("attention.key_length", self.embd // self.heads)
        self.eps = f.key("attention.layer_norm_rms_epsilon")
        self.window = f.key("attention.sliding_window", 0) if arch in ("gemma3", "gpt-oss") else 0
        self.pattern = f.key("attention.sliding_window_pattern", {"gemma3": 6, "gpt-oss": 2}.get(arch, 0))
        self.base = f.key("rope.freq_base", 10000.0)
        self.freqs = f.tensor("rope_freqs.weight")
        self.adjacent = arch == "llama"
        self.embedding = f.tensor("token_embd.weight")
        output = f.tensor("output.weight")
        self.output = self.embedding if output is None else output

    def is_window(self, i):
        return bool(self.window) and i % self.pattern != self.pattern - 1

    def rope(self, x, i_layer):
        """x: [tokens, heads, head_dim]"""
        n, d = x.shape[0], self.head_dim
        base, factor, kind = self.base, self.f.key("rope.scaling.factor", 1.0), self.f.key("rope.scaling.type", "none")
        if self.f.arch == "gemma3" and self.is_window(i_layer):
            base, factor, kind = 10000.0, 1.0, "none"
        k = np.arange(d // 2)
        inv = base ** (-2.0 * k / d)
        if self.freqs is not None:
            inv = inv / self.freqs
        scale = 1.0
        if kind == "linear":
            inv = inv / factor
        elif kind == "yarn":  # Peng et al. 2023, beta_fast 32 and beta_slow 1
            original = self.f.key("rope.scaling.original_context_length")

            def dim(turns):
                return d * np.log(original / (turns * 2 * np.pi)) / (2 * np.log(base))
            low, high = max(np.floor(dim(32)), 0), min(np.ceil(dim(1)), d - 1)
            keep = 1 - np.clip((k - low) / max(0.001, high - low), 0, 1)
            inv = inv / factor * (1 - keep) + inv * keep
            scale = 1 + 0.1 * np.log(factor)
        angle = np.arange(n)[:, None] * inv
        cos, sin = scale * np.cos(angle)[:, None], scale * np.sin(angle)[:, None]
        y = np.empty_like(x)
        a, b = (slice(0, None, 2), slice(1, None, 2)) if self.adjacent else (slice(0, d // 2), slice(d // 2, None))
        y[..., a] = x[..., a] * cos - x[..., b] * sin
        y[..., b] = x[..., a] * sin + x[..., b] * cos
        return y

    def attention(self, x, i):
        t, b, n = self.f.tensor, f"blk.{i}.", len(x)

        def project(name, heads):
            y = x @ t(f"{b}attn_{name}.weight").T
            bias = t(f"{b}attn_{name}.bias")
            y = (y if bias is None else y + bias).reshape(n, heads, self.head_dim)
            norm = t(f"{b}attn_{name}_norm.weight")
            return y if norm is None else rms_norm(y, norm, self.eps)

        q = self.rope(project("q", self.heads), i)
        k = self.rope(project("k", self.kv_heads), i)
        v = project("v", self.kv_heads)
        self.dump(f"{i} q", q)
        self.dump(f"{i} k", k)
        self.dump(f"{i} v", v)
        group = self.heads // self.kv_heads
        k, v = np.repeat(k, group, 1), np.repeat(v, group, 1)
        s = np.einsum("qhd,khd->hqk", q, k) / np.sqrt(self.head_dim)
        p, j = np.arange(n)[:, None], np.arange(n)[None]
        seen = j <= p
        if self.is_window(i):
            seen &= j > p - self.window
        s = np.where(seen, s, -np.inf)
        sinks = t(f"{b}attn_sinks.weight")
        if sinks is not None:
            s = np.concatenate([s, np.broadcast_to(sinks[:, None, None], (*s.shape[:2], 1))], 2)
        a = softmax(s)[..., :n]
        out = np.einsum("hqk,khd->qhd", a, v).reshape(n, -1)
        self.dump(f"{i} heads", out)
        out = out @ t(f"{b}attn_output.weight").T
        bias = t(f"{b}attn_output.bias")
        return out if bias is None else out + bias

    def dense(self, x, i):
        t, b = self.f.tensor, f"blk.{i}.ffn_"
        act = gelu_tanh if self.f.arch == "gemma3" else silu
        return (act(x @ t(b + "gate.weight").T) * (x @ t(b + "up.weight").T)) @ t(b + "down.weight").T

    def experts(self, x, i):
        t, b, used = self.f.tensor, f"blk.{i}.ffn_", self.f.key("expert_used_count")
        oss = self.f.arch == "gpt-oss"
        route = x @ t(b + "gate_inp.weight").T
        gate, up, down = (t(f"{b}{m}_exps.weight") for m in ("gate", "up", "down"))
        if oss:
            route = route + t(b + "gate_inp.bias")
            gate_b, up_b, down_b = (t(f"{b}{m}_exps.bias") for m in ("gate", "up", "down"))
        self.dump(f"{i} router", route)
        out = np.zeros_like(x)
        for n, row in enumerate(x):
            best = np.argsort(-route[n], kind="stable")[:used]
            weight = softmax(route[n][best])  # qwen3moe: softmax of all, renormalised, is the same
            for e, w in zip(best, weight):
                g, u = gate[e] @ row, up[e] @ row
                if oss:
                    g, u = np.minimum(g + gate_b[e], 7), np.clip(u + up_b[e], -7, 7)
                    y = down[e] @ (g / (1 + np.exp(-1.702 * g)) * (u + 1)) + down_b[e]
                else:
                    y = down[e] @ (silu(g) * u)
                out[n] += w * y
        return out

    def run(self, ids):
        t, arch, eps = self.f.tensor, self.f.arch, self.eps
        x = self.embedding[ids]
        if arch == "gemma3":
            x = x * np.sqrt(self.embd)
        self.dump("embedding", x)
        for i in range(self.layers):
            b = f"blk.{i}."
            y = self.attention(rms_norm(x, t(b + "attn_norm.weight"), eps), i)
            if arch == "gemma3":
                y = rms_norm(y, t(b + "post_attention_norm.weight"), eps)
            x = x + y
            self.dump(f"{i} after attention", x)
            y = rms_norm(x, t(b + ("post_attention_norm" if arch == "gpt-oss" else "ffn_norm") + ".weight"), eps)
            y = self.experts(y, i) if self.f.key("expert_count", 0) else self.dense(y, i)
            if arch == "gemma3":
                y = rms_norm(y, t(b + "post_ffw_norm.weight"), eps)
            x = x + y
            self.dump(f"{i} after ffn", x)
        return rms_norm(x, t("output_norm.weight"), eps)


def main():
    golden = logits_file.Reader(sys.argv[2])
    n = int(sys.argv[3]) if len(sys.argv) > 3 else len(golden.tokens)

    def show(name, x):
        flat = np.asarray(x[-1]).reshape(-1)
        print(f"{name:20} {x.shape!s:16} rms {np.sqrt((flat ** 2).mean()):<10.5g} "
              f"{' '.join(f'{v:.6g}' for v in flat[:6])} ...")

    model = Forward(sys.argv[1], show if "--dump" in sys.argv else None)
    hidden = model.run(np.array(golden.tokens[:n]))
    worst, at = 0.0, 0
    for i in range(len(golden.index)):
        pos, ids, logits, _ = golden.row(i)
        if pos >= n:
            break
        weights = model.output if ids is None else model.output[ids]
        d = np.abs(weights @ hidden[pos] - logits).max()
        if d > worst:
            worst, at = d, pos
    print(f"{sys.argv[2]}: largest difference {worst:.2g} (row {at})")


if __name__ == "__main__":
    main()
