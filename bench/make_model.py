#!/usr/bin/env python3
"""Random-weight models with the shapes of real ones, to measure speed where the real file cannot be fetched.

  make_model.py --list
  make_model.py NAME --vocab SMOLLM2.gguf --out DIRECTORY [--quantize LLAMA-QUANTIZE]

NAME is SHAPE-FORMAT, such as llama3.2-1b-q4_0; prints the path of the file, which is made when it is not there. The
same bytes on every run with the same numpy. Weights are normal numbers that keep activations near 1; the text such a model
makes means nothing, and speculation by lookup has nothing to find. Vocabulary and chat template are those of the file
given, with unused tokens up to the real size. Dense shapes are written as F16 and made smaller by the peer's
llama-quantize; the mixture's experts are written as MXFP4 blocks at once. Needs the packages gguf and numpy.
"""
import argparse
import math
import os
import subprocess
import sys
import zlib

import gguf
import numpy as np
from gguf import GGMLQuantizationType as T


class Shape:
    def __init__(self, arch, vocab, embd, ff, layers, heads, kv_heads, head_dim, base, eps, context, experts=0, used=0,
                 window=0, formats=("q4_0", "q4_k_m", "q8_0")):
        self.__dict__.update(locals())


SHAPES = {
    "llama3.2-1b": Shape("llama", 128256, 2048, 8192, 16, 32, 8, 64, 500000.0, 1e-5, 131072),
    "qwen3-1.7b": Shape("qwen3", 151936, 2048, 6144, 28, 16, 8, 128, 1e6, 1e-6, 40960),
    # gpt-oss-20b with a quarter of its 24 layers, and about a quarter of its vocabulary, so that the output weighs as
    # much in a token's time as it does there.
    "gpt-oss-mini": Shape("gpt-oss", 49152, 2880, 2880, 6, 64, 8, 64, 150000.0, 1e-5, 131072, experts=32, used=4,
                          window=128, formats=("mxfp4",)),
}


def random_for(*names):
    return np.random.Generator(np.random.SFC64(zlib.crc32("/".join(names).encode())))


def normal(rng, shape, std, mean=0.0):
    w = rng.standard_normal(shape, dtype=np.float32)
    w *= std
    return w + np.float32(mean) if mean else w


def mxfp4(rng, shape, std):
    """Blocks of 32: an exponent near the deviation wanted, and 16 bytes of any nibbles."""
    blocks = int(np.prod(shape)) // 32
    out = np.frombuffer(rng.bytes(blocks * 17), np.uint8).reshape(blocks, 17).copy()
    out[:, 0] = 126 + math.frexp(std / 2.9)[1] - (out[:, 0] & 1)
    return out.reshape(*shape[:-1], shape[-1] // 32 * 17)


def stored(rng, fmt, shape, std):
    if fmt == T.MXFP4:
        return mxfp4(rng, shape, std)
    w = normal(rng, shape, std)
    if fmt == T.F16:
        return w.astype(np.float16)
    return w if fmt == T.F32 else gguf.quants.quantize(w, fmt)


def tensors(s, name):
    """(name, format, shape, function that makes the stored bytes) in the order of the file."""
    q, kv = s.heads * s.head_dim, s.kv_heads * s.head_dim
    oss, mixed = s.arch == "gpt-oss", T.Q8_0 if s.arch == "gpt-oss" else T.F16

    def mat(tensor, *shape, fmt=mixed, gain=1.0):
        return tensor, fmt, shape, lambda: stored(random_for(name, tensor), fmt, shape, gain / math.sqrt(shape[-1]))

    def vec(tensor, *shape, mean=0.0, std=0.05):
        return tensor, T.F32, shape, lambda: normal(random_for(name, tensor), shape, std, mean)

    yield mat("token_embd.weight", s.vocab, s.embd, gain=2.0)
    if name == "llama3.2-1b":  # long wavelengths are slowed down, up to 32 times
        yield "rope_freqs.weight", T.F32, (32,), lambda: np.clip(np.arange(32) - 14, 1, 32).astype(np.float32)
    for i in range(s.layers):
        b = f"blk.{i}."
        yield vec(b + "attn_norm.weight", s.embd, mean=1)
        yield mat(b + "attn_q.weight", q, s.embd)
        yield mat(b + "attn_k.weight", kv, s.embd)
        yield mat(b + "attn_v.weight", kv, s.embd)
        yield mat(b + "attn_output.weight", s.embd, q)
        if s.arch == "qwen3":
            yield vec(b + "attn_q_norm.weight", s.head_dim, mean=1)
            yield vec(b + "attn_k_norm.weight", s.head_dim, mean=1)
        if not s.experts:
            yield vec(b + "ffn_norm.weight", s.embd, mean=1)
            yield mat(b + "ffn_gate.weight", s.ff, s.embd)
            yield mat(b + "ffn_up.weight", s.ff, s.embd)
            yield mat(b + "ffn_down.weight", s.embd, s.ff)
            continue
        for part, n in (("q", q), ("k", kv), ("v", kv), ("output", s.embd)):
            yield vec(b + f"attn_{part}.bias", n)
        yield vec(b + "attn_sinks.weight", s.heads, std=1)
        yield vec(b + "post_attention_norm.weight", s.embd, mean=1)
        yield mat(b + "ffn_gate_inp.weight", s.experts, s.embd, fmt=T.F32)
        yield vec(b + "ffn_gate_inp.bias", s.experts)
        for part, rows, cols in (("gate", s.ff, s.embd), ("up", s.ff, s.embd), ("down", s.embd, s.ff)):
            yield mat(b + f"ffn_{part}_exps.weight", s.experts, rows, cols, fmt=T.MXFP4)
            yield vec(b + f"ffn_{part}_exps.bias", s.experts, rows)
    yield vec("output_norm.weight", s.embd, mean=1)
    if oss:
        yield mat("output.weight", s.vocab, s.embd)


def copy_vocab(w, path, n):
    """Tokens, types and merges of another file, its template, and unused tokens up to n."""
    fields = gguf.GGUFReader(path).fields

    def get(name):
        field = fields.get("tokenizer." + name)
        return field.contents() if field is not None else None

    tokens, types = get("ggml.tokens"), get("ggml.token_type")
    if get("ggml.model") != "gpt2" or len(tokens) > n:
        sys.exit(f"make_model: {path} has no byte-level BPE vocabulary of at most {n} tokens")
    more = n - len(tokens)
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre(get("ggml.pre"))
    w.add_token_list(tokens + [f"<|unused_{i}|>" for i in range(more)])
    w.add_token_types(list(types) + [gguf.TokenType.UNUSED] * more)
    w.add_token_merges(get("ggml.merges"))
    w.add_bos_token_id(get("ggml.bos_token_id"))
    w.add_eos_token_id(get("ggml.eos_token_id"))
    w.add_add_bos_token(False)
    if get("chat_template"):
        w.add_chat_template(get("chat_template"))


def write(name, vocab, path):
    s = SHAPES[name]
    w = gguf.GGUFWriter(path, s.arch)
    w.add_name(f"random {name}")
    w.add_file_type(gguf.LlamaFileType.MOSTLY_F16 if not s.experts else 38)  # 38: the peers' MXFP4_MOE
    w.add_context_length(s.context)
    w.add_embedding_length(s.embd)
    w.add_block_count(s.layers)
    w.add_feed_forward_length(s.ff)
    w.add_head_count(s.heads)
    w.add_head_count_kv(s.kv_heads)
    w.add_layer_norm_rms_eps(s.eps)
    w.add_rope_freq_base(s.base)
    w.add_key_length(s.head_dim)
    w.add_value_length(s.head_dim)
    if s.arch == "llama":
        w.add_rope_dimension_count(s.head_dim)
    if s.window:
        w.add_sliding_window(s.window)
    if s.experts:
        w.add_expert_count(s.experts)
        w.add_expert_used_count(s.used)
        w.add_expert_feed_forward_length(s.ff)
        w.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        w.add_rope_scaling_factor(32.0)
        w.add_rope_scaling_orig_ctx_len(4096)
    copy_vocab(w, vocab, s.vocab)
    todo = list(tensors(s, name))
    for tensor, fmt, shape, _ in todo:
        block, size = gguf.GGML_QUANT_SIZES[fmt]
        stored_shape = (*shape[:-1], shape[-1] // block * size) if fmt not in (T.F32, T.F16) else shape
        dtype = {T.F32: np.float32, T.F16: np.float16}.get(fmt, np.uint8)
        w.add_tensor_info(tensor, stored_shape, np.dtype(dtype), int(np.prod(shape)) // block * size,
                          None if fmt in (T.F32, T.F16) else fmt)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_ti_data_to_file()
    for i, (_, _, _, make) in enumerate(todo):
        w.write_tensor_data(make())
        if sys.stderr.isatty():
            print(f"\r{name}: tensor {i + 1} of {len(todo)}", end="", file=sys.stderr)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    w.close()


def main():
    names = [f"{shape}-{fmt}" for shape, s in SHAPES.items() for fmt in s.formats]
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("name", nargs="?", choices=names, metavar="NAME")
    p.add_argument("--list", action="store_true", help="the names there are")
    p.add_argument("--vocab", help="GGUF file whose vocabulary is taken")
    p.add_argument("--out", help="folder of the models")
    p.add_argument("--quantize", help="the peer's llama-quantize (its libraries in LD_LIBRARY_PATH)")
    p.add_argument("--keep", action="store_true", help="keep the F16 file that the others are made of")
    a = p.parse_args()
    if a.list:
        print("\n".join(names))
        return
    if not (a.name and a.vocab and a.out):
        p.error("NAME, --vocab and --out")
    path = f"{a.out}/{a.name}.gguf"
    if not os.path.exists(path):
        os.makedirs(a.out, exist_ok=True)
        shape, fmt = a.name.rsplit("-", 1)
        source = f"{a.out}/{shape}-f16.gguf" if fmt != "mxfp4" else path
        if not os.path.exists(source):
            print(f"make_model: writing {source}", file=sys.stderr)
            write(shape, a.vocab, source + ".new")
            os.rename(source + ".new", source)
        if source != path:
            if not a.quantize:
                p.error(f"{a.name} needs --quantize")
            print(f"make_model: quantising {path}", file=sys.stderr)
            subprocess.run([a.quantize, source, path + ".new", fmt.upper(), str(os.cpu_count())], check=True,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            os.rename(path + ".new", path)
            if not a.keep:
                os.unlink(source)
    print(path)


if __name__ == "__main__":
    main()
