"""The work of kl_peer.sh, which prepares what this needs."""

import hashlib
import json
import os
import subprocess
import sys
import tempfile

import gguf
import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
GOLDEN = f"{HERE}/../tests/golden"
sys.path.insert(0, GOLDEN)

import logits_file  # noqa: E402
import make_golden  # noqa: E402


def use_peer(cache, variant):
    os.environ["LD_LIBRARY_PATH"] = f"{cache}/peers/{variant}/bin:{cache}/peers/llama/bin"


def cut(cache, model, text, context):
    """Windows as gaufre perplexity cuts them: BOS first in each where the model wants one."""
    with tempfile.TemporaryDirectory(dir=cache) as tmp:
        subprocess.check_call([f"{cache}/peer_eval", "--tokenize", model, text, f"{tmp}/ids"])
        ids = np.fromfile(f"{tmp}/ids", "<i4")
    fields = gguf.GGUFReader(model).fields
    bos = fields.get("tokenizer.ggml.bos_token_id")
    if bos is not None and ids[0] == bos.contents() and fields["tokenizer.ggml.add_bos_token"].contents():
        bos, ids = [bos.contents()], ids[1:]
    else:
        bos = []
    step = context - len(bos)
    windows = [np.array([*bos, *ids[i:i + step]], "<i4") for i in range(0, len(ids), step)]
    return [w for w in windows if len(w) >= 2]


def rows_of(cache, model, windows, kv):
    """(window, position, logits) of every token that has a successor, a window at a time."""
    for i, ids in enumerate(windows):
        want = [1] * (len(ids) - 1) + [0]
        for pos, row in enumerate(make_golden.evaluate(cache, model, [ids], [want], kv)):
            yield i, pos, row


def reference(cache, model, windows):
    """The float32 reference as a logits file, made once for each model and text."""
    tokens = np.concatenate(windows)
    starts = np.cumsum([0] + [len(w) for w in windows])
    use_peer(cache, "llama-f32")
    f32, digest = make_golden.as_f32(cache, model)
    text = hashlib.sha256(tokens.tobytes() + starts.tobytes()).hexdigest()
    path = f"{cache}/reference/{digest[:16]}-{text[:16]}.gflogits"
    if os.path.exists(path):
        return path
    print(f"kl_peer: computing the float32 reference ({len(tokens)} tokens)", file=sys.stderr)
    os.makedirs(f"{cache}/reference", exist_ok=True)
    out = None
    for i, pos, row in rows_of(cache, f32, windows, "f32"):
        out = out or logits_file.Writer(path + ".new", len(row), tokens, starts,
                                        {"model": os.path.basename(model), "sha256": digest,
                                         "by": "llama.cpp (llama-f32)", "command": "bench/kl_peer.sh"})
        out.row(starts[i] + pos, row, logits_file.PACKED)
    out.close()
    os.rename(path + ".new", path)
    return path


def divergence(reader, rows):
    kl, same = [], 0
    for k, (_, _, q) in enumerate(rows):
        _, _, p, _ = reader.row(k)
        p = p.astype(np.float64)
        lp = p - logits_file.log_sum_exp(p)
        kl.append((np.exp(lp) * (lp - (q - logits_file.log_sum_exp(q)))).sum())
        same += int(p.argmax() == q.argmax())
    kl = np.sort(kl)
    return {"positions": len(kl), "kl_mean": kl.mean(), "kl_p99": kl[int(0.99 * (len(kl) - 1) + 0.5)],
            "kl_max": kl[-1], "top1_agreement": same / len(kl)}


def main():
    cache, model, *gaufre = sys.argv[1:]
    context = int(os.environ.get("CONTEXT", 512))
    with tempfile.TemporaryDirectory(dir=cache) as tmp:
        text = f"{tmp}/text"
        with open(text, "wb") as f:
            for part in [os.environ["TEXT"]] if "TEXT" in os.environ else [f"{GOLDEN}/text/mixed.txt",
                                                                          f"{GOLDEN}/text/prose.txt"]:
                f.write(open(part, "rb").read())
        use_peer(cache, "llama")
        windows = cut(cache, model, text, context)
        ref = reference(cache, model, windows)
        reader = logits_file.Reader(ref)
        use_peer(cache, "llama")
        peer = divergence(reader, rows_of(cache, model, windows, "f16"))
        print(json.dumps({"who": "llama.cpp", "model": os.path.basename(model), **peer}), flush=True)
        for who, cls, kv in (("gaufre", "q8", "f16"), ("gaufre, KV q8_0", "q8", "q8_0"),
                             ("gaufre, class bf16", "bf16", "f16")) if gaufre else ():
            out = subprocess.check_output([gaufre[0], "perplexity", model, "--file", text, "--context", str(context),
                                           "--class", cls, "--kv", kv, "--kl", ref, "--json"])
            ours = json.loads(out)
            print(json.dumps({"who": who, "model": os.path.basename(model),
                              **{k: ours[k] for k in peer}, "perplexity": ours["perplexity"]}), flush=True)


if __name__ == "__main__":
    main()
