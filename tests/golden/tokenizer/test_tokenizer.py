"""Tokens equal to those of the reference tokenizers (TAP on stdout).

    test_tokenizer.py VOCAB_IDS VOCABS [MODELS]

VOCAB_IDS: the program of vocab_ids.c; VOCABS: what fetch_vocabs.sh printed; MODELS: a folder with
smollm2-135m.gguf and gemma3-270m.gguf. Run by run.sh.

References: the expected ids that came with the vocabularies; Hugging Face tokenizers (byte-level BPE) and SentencePiece,
set up from the same GGUF data; tiktoken for o200k and Tekken, from the ranks and the pattern of their owners."""
import base64
import json
import os
import re
import struct
import subprocess
import sys

import corpus
import gguf_vocab

SEPARATOR = "\n__ggml_vocab_test__\n"
CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
# What each model's tokenizer.json says of its pretokenizer: patterns, GPT-2's own regex after them?
DIGIT = ["digits"]
HF = {
    "gpt-2": ([], True, False),
    "smollm": (DIGIT, True, False),
    "starcoder": (DIGIT, True, False),
    "refact": (DIGIT, True, False),
    "command-r": (DIGIT, True, True),
    "llama-bpe": ([CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|" + REST], False, False),
    "qwen2": ([CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|" + REST], False, True),
    "qwen35": ([CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*"
                r"|\s*[\r\n]+|\s+(?!\S)|\s+"], False, True),
    "deepseek-v3": ([r"\p{N}{1,3}", "[一-龥\u3040-ゟ゠-ヿ]+",
                     r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"""
                     r"""| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"""], False, False),
    "deepseek-coder": (["[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-\ud7ff]+", "digits"], False, False),
}


class Tap:
    n = failed = 0

    def result(self, name, bad, detail=""):
        self.n += 1
        self.failed += bool(bad)
        print(f"{'not ok' if bad else 'ok'} {self.n} - {name}{detail}", flush=True)

    def skip(self, name, why):
        self.n += 1
        print(f"ok {self.n} - {name} # SKIP {why}", flush=True)


def ids_of(program, model, texts, pre=None, trust=False):
    """(decodes to itself, ids) of each text, or None for an unsupported vocabulary."""
    blob = b"".join(struct.pack("<I", len(t)) + t for t in texts)
    args = ["--trust"] * trust + [model] + [pre] * bool(pre)
    run = subprocess.run([program, *args], input=blob, capture_output=True)
    if run.returncode == 77:
        return None
    assert run.returncode == 0, run.stderr.decode()
    rows = [list(map(int, line.split())) for line in run.stdout.splitlines()]
    assert len(rows) == len(texts)
    return [(row[0], row[1:]) for row in rows]


def compare(tap, name, program, model, texts, want, pre=None, round_trip=True, trust=False):
    got = ids_of(program, model, [t.encode("utf-8") for t in texts], pre, trust)
    bad = [i for i, (row, w) in enumerate(zip(got, want)) if row[1] != w]
    lost = [i for i, row in enumerate(got) if round_trip and not row[0]]
    for i in (bad + lost)[:5]:
        print(f"# {texts[i][:80]!r}: want {want[i][:20]} got {got[i][1][:20]} back {got[i][0]}")
    tap.result(name, bad or lost, f": {len(texts)} texts, {len(bad)} differ, {len(lost)} do not come back")


def bytes_come_back(tap, name, program, model, pre=None, but=()):
    """but: bytes that the family cannot keep."""
    texts = [t for t in corpus.random_bytes() if not any(x in t for x in but)]
    lost = [t for t, row in zip(texts, ids_of(program, model, texts, pre)) if not row[0]]
    for t in lost[:5]:
        print(f"# {t!r}")
    tap.result(name, lost, f": {len(texts)} texts of random bytes, {len(lost)} do not come back")


def expected_files(tap, program, vocabs):
    import unicodedata

    names = sorted(n for n in os.listdir(vocabs) if re.fullmatch(r"ggml-vocab-.*\.gguf", n))
    for name in names:
        path = os.path.join(vocabs, name)
        if not os.path.exists(path + ".inp"):
            continue
        # newline="": the texts have line ends of their own
        texts = open(path + ".inp", encoding="utf-8", newline="").read().split(SEPARATOR)[:-1]
        want = [list(map(int, l.split())) for l in open(path + ".out", encoding="utf-8").read().split("\n")]
        if ids_of(program, path, []) is None:
            tap.skip(name, "of a family that is not supported")
            continue
        pre = gguf_vocab.read(path).get("tokenizer.ggml.pre")
        pairs = list(zip(texts, want))
        if HF.get(pre, ([], 0, False))[2]:
            # These expected ids come from a tokenizer without the model's NFC; the comparison with the real
            # reference below has such texts.
            pairs = [p for p in pairs if unicodedata.is_normalized("NFC", p[0])]
        compare(tap, name, program, path, *map(list, zip(*pairs)))


def hf_tokenizer(keys, pre):
    from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers

    patterns, gpt2_regex, nfc = HF[pre]
    tokens = keys["tokenizer.ggml.tokens"]
    merges = [(m[: m.index(" ", 1)], m[m.index(" ", 1) + 1 :]) for m in keys["tokenizer.ggml.merges"]]
    bpe = models.BPE(vocab={t: i for i, t in enumerate(tokens)}, merges=merges, ignore_merges=pre == "llama-bpe")
    tok = Tokenizer(bpe)
    steps = [pre_tokenizers.Digits(individual_digits=True) if p == "digits"
             else pre_tokenizers.Split(Regex(p), "isolated") for p in patterns]
    steps.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=gpt2_regex))
    tok.pre_tokenizer = pre_tokenizers.Sequence(steps)
    if nfc:
        tok.normalizer = normalizers.NFC()
    added = [t for t, kind in zip(tokens, keys["tokenizer.ggml.token_type"]) if kind == 4
             and not re.fullmatch(r"<\|.*>|<.*\|>|\[PAD\d+\]", t)]
    tok.add_tokens([AddedToken(t, normalized=False) for t in added])
    return tok


def against_hf(tap, program, path, pre, name):
    from tokenizers import AddedToken

    keys = gguf_vocab.read(path)
    tok = hf_tokenizer(keys, pre)
    texts = corpus.TEXTS + corpus.random_texts()
    want = [tok.encode(t, add_special_tokens=False).ids for t in texts]
    # Nothing can bring back bytes for which there is no token.
    kinds = dict(zip(keys["tokenizer.ggml.tokens"], keys["tokenizer.ggml.token_type"]))
    lacks = [bytes([b]) for b, char in gguf_vocab.byte_chars().items() if kinds.get(char) != 1]
    whole = not HF[pre][2] and not any(b < b"\x80" for b in lacks)
    compare(tap, f"{name} against tokenizers", program, path, texts, want, pre, round_trip=whole)
    if not HF[pre][2]:
        bytes_come_back(tap, name, program, path, pre, lacks)
    # Text of the template: control tokens too.
    specials = [t for t, kind in kinds.items() if kind in (3, 4) and not t.startswith("[PAD")]
    tok.add_special_tokens([AddedToken(t, normalized=False) for t in specials])
    texts = corpus.with_specials(specials)
    want = [tok.encode(t, add_special_tokens=False).ids for t in texts]
    compare(tap, f"{name} against tokenizers, trusted", program, path, texts, want, pre, whole, trust=True)


def against_sentencepiece(tap, program, path, name):
    import sentencepiece as spm
    from sentencepiece import sentencepiece_model_pb2 as pb

    keys = gguf_vocab.read(path)
    model = pb.ModelProto()
    for text, score, kind in zip(keys["tokenizer.ggml.tokens"], keys["tokenizer.ggml.scores"],
                                 keys["tokenizer.ggml.token_type"]):
        if kind == 4: # the GGUF file has these as they stand in text
            text = text.replace(" ", "\u2581")
        if kind == 2 or text == "<unk>": # SentencePiece knows one; converters fill up tables with more
            kind = 2 if text == "<unk>" else 5
        model.pieces.add(piece=text, score=score, type=kind)
    model.trainer_spec.model_type = pb.TrainerSpec.BPE
    model.trainer_spec.byte_fallback = True
    model.trainer_spec.vocab_size = len(model.pieces)
    model.trainer_spec.unk_id = keys.get("tokenizer.ggml.unknown_token_id", 0)
    model.normalizer_spec.name = "identity"
    model.normalizer_spec.add_dummy_prefix = keys.get("tokenizer.ggml.add_space_prefix", True)
    model.normalizer_spec.remove_extra_whitespaces = False
    reference = spm.SentencePieceProcessor(model_proto=model.SerializeToString())
    # U+2581 reads as a blank here and there; a NUL ends texts in one of the two.
    texts = [t for t in corpus.TEXTS + corpus.random_texts() if "\u2581" not in t]
    compare(tap, f"{name} against sentencepiece", program, path, texts, [reference.encode(t) for t in texts])
    bytes_come_back(tap, name, program, path, but=["\u2581".encode()])


def against_tiktoken(tap, program, path, name, ranks, pattern, n_special, pre):
    import tiktoken

    if not os.path.exists(path):
        gguf_vocab.from_ranks(path + ".part", ranks, n_special, pre)
        os.rename(path + ".part", path)
    reference = tiktoken.Encoding(name, pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
    texts = corpus.TEXTS + corpus.random_texts()
    # Every token of the vocabulary that is text, on its own.
    texts += [b.decode("utf-8") for b in ranks if is_utf8(b)]
    want = [[i + n_special for i in reference.encode_ordinary(t)] for t in texts]
    compare(tap, f"{name} against tiktoken", program, path, texts, want)
    bytes_come_back(tap, name, program, path)


def is_utf8(b):
    try:
        b.decode("utf-8")
        return True
    except UnicodeDecodeError:
        return False


def tekken(tap, program, vocabs):
    source = os.path.join(vocabs, "tekken.json")
    if not os.path.exists(source):
        tap.skip("tekken", "tekken.json was not fetched")
        return
    data = json.load(open(source, encoding="utf-8"))
    config = data["config"]
    n_special = config["default_num_special_tokens"]
    n = config["default_vocab_size"] - n_special
    ranks = {base64.b64decode(t["token_bytes"]): t["rank"] for t in data["vocab"][:n]}
    against_tiktoken(tap, program, os.path.join(vocabs, "made-tekken.gguf"), "tekken", ranks, config["pattern"],
                     n_special, "tekken")


def o200k(tap, program, vocabs):
    source = os.path.join(vocabs, "o200k_base.js")
    if not os.path.exists(source):
        tap.skip("o200k", "o200k_base.js was not fetched")
        return
    text = open(source, encoding="utf-8").read()
    field = lambda key: json.loads(re.search(r'"?' + key + r'"?:\s*("(?:[^"\\]|\\.)*")', text).group(1))
    ranks = {}
    for line in field("bpe_ranks").split("\n"):
        parts = line.split(" ")
        if len(parts) < 3:
            continue
        for i, token in enumerate(parts[2:]): # "! FIRST-RANK TOKEN..."
            ranks[base64.b64decode(token)] = int(parts[1]) + i
    against_tiktoken(tap, program, os.path.join(vocabs, "made-o200k.gguf"), "o200k", ranks, field("pat_str"), 0, "gpt-4o")


def main():
    program, vocabs = sys.argv[1:3]
    models = sys.argv[3] if len(sys.argv) > 3 else ""
    tap = Tap()
    expected_files(tap, program, vocabs)
    have = lambda p: p if os.path.exists(p) else None
    try:
        import sentencepiece, tiktoken, tokenizers
    except ImportError as why:
        tap.skip("reference tokenizers", str(why))
    else:
        for name, pre in [("gpt-2", "gpt-2"), ("starcoder", "starcoder"), ("llama-bpe", "llama-bpe"), ("qwen2", "qwen2"),
                          ("qwen35", "qwen35"), ("command-r", "command-r"), ("deepseek-coder", "deepseek-coder"),
                          ("deepseek-llm", "deepseek-v3")]:
            path = os.path.join(vocabs, f"ggml-vocab-{name}.gguf")
            if have(path):
                against_hf(tap, program, path, pre, f"{name}" + (f" as {pre}" if pre != name else ""))
            else:
                tap.skip(name, "was not fetched")
        for name, against in [("smollm2-135m", "hf"), ("gemma3-270m", "spm")]:
            path = os.path.join(models, name + ".gguf")
            if not have(path):
                tap.skip(name, "the model is not here (GOLDEN_MODELS)")
            elif against == "hf":
                against_hf(tap, program, path, "smollm", name)
            else:
                against_sentencepiece(tap, program, path, name)
        for name in ["llama-spm", "phi-3"]:
            path = os.path.join(vocabs, f"ggml-vocab-{name}.gguf")
            if have(path):
                against_sentencepiece(tap, program, path, name)
            else:
                tap.skip(name, "was not fetched")
        tekken(tap, program, vocabs)
        o200k(tap, program, vocabs)
    print(f"1..{tap.n}")
    return tap.failed != 0


if __name__ == "__main__":
    sys.exit(main())
