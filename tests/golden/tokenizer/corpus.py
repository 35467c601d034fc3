"""Texts for the tokenizer test: scripts, emoji, code, blanks, numbers, marks; then random mixtures of
all of it. Deterministic. Code points assigned since Unicode 14 stay out: see vocab.h, known limit."""
import random
import unicodedata

TEXTS = [
    "", " ", "  ", "   ", "\n", "\r\n", "\n\n\n", "\t\t x", " \n \n", "x \n", "a\n b", "\u00a0x", "\u3000x", "\u180ex",
    "\x00", "a\x00b", "a\x04b\x13\x14c", "th\x06e th\x04e", "\u200b\ufeff", "\u2028\u2029\x85\x1c",
    "Hello, world! It's fine; we'll SEE, WE'LL, I'D, they'Re 'tis 'S \u017f 'ſ \u212a",
    "The quick brown fox jumps over the lazy dog.", "don't can't won't o'clock rock'n'roll ''' 's",
    "Zażółć gęślą jaźń", "Příliš žluťoučký kůň", "Größe, Füße, ẞ", "naïve façade œuvre", "İstanbul ığdır",
    "Съешь же ещё этих мягких французских булок", "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία", "Ὦ ξεῖν’, ἀγγέλλειν",
    "שלום עולם, נִקּוּד", "مرحبا بالعالم، كَيْفَ ١٢٣٤", "سلام دنیا ۱۲۳", "नमस्ते दुनिया क्षत्रिय १२३", "வணக்கம் உலகம்", "สวัสดีชาวโลก ๑๒๓",
    "ជំរាបសួរ​ពិភពលោក", "မင်္ဂလာပါ", "გამარჯობა მსოფლიო", "Ողջույն աշխարհ", "ሰላም ልዑል", "你好，世界！我们在2024年见面。", "こんにちは世界。カタカナ・ひらがな", "안녕하세요 세계 12.5%",
    "ᏣᎳᎩ ꮳꮃꭹ", "𐐀𐐨 𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𝟙𝟚𝟛 Ⅻ ½ ² ㊿ 〇", "é e\u0301 ñ n\u0303 Å \u212b ạ̈ \u1e69 s\u0323\u0307 각 \u1100\u1161\u11a8 が か\u3099",
    "👩‍🚀👨‍👩‍👧‍👦🏳️‍🌈🇫🇷👍🏽 ❤️ 🦙.cpp 🫠", "∀x∈ℝ: ⌈x⌉ = −⌊−x⌋ ≤ ∑ √2 ± €£¥ ©®™ «»„“”‚‘’ – — …",
    "0 1 12 123 1234 12345 1234567890 3.14159 1,000,000 0x1F 1e-10 v1.2.3", "2024-01-31T23:59:59Z 10:30 50% $9.99 #1",
    "int main(void)\r\n{\r\n\treturn x->y[i++] != 0 ? a : b; /* c */ // d\r\n}\r\n",
    "def f(x):\n    if x:\n        return {'a': [1, 2]}\n\n\n    pass\n", "<div class=\"a\">&nbsp;</div>\n<!-- x -->",
    "https://example.org/a?b=c&d=%20#e user@example.org C:\\dir\\file.txt ~/x", "SELECT * FROM t WHERE a >= 'b';--",
    "snake_case camelCase PascalCase SCREAMING_CASE kebab-case XMLHttpRequest iOS eBay", "!!!??? ... --- *** ___ ==> <=> || && :: ;;",
    "a" * 300, "A" * 300, " " * 300 + "x", "\n" * 100, "\t" * 50, "-" * 200, "=" * 77 + "\n", "ab " * 100, "字" * 100, "é" * 60, "1" * 50,
    "<|im_start|>user\nhi<|im_end|>", "<s>[INST] a [/INST]</s>", "<0x0A><unk><pad>", "▁a ▁▁b", "Ġa Ċ",
    " leading", "trailing ", "tab\tsep", "mixed \t \n \r\n  end", "…\n\n…", "。\n", "!\n\n?", "/\n/\r\n", "a/b\n/c",
]


def random_texts(n=400, seed=1):
    rnd = random.Random(seed)
    chars = [c for c in map(chr, [*range(0x20, 0x3000), *range(0xA000, 0xD7A4), *range(0xF900, 0x11800),
                                  *range(0x1D000, 0x1FB00)]) if unicodedata.category(c) not in ("Cn", "Cs", "Co")]
    words = [w for t in TEXTS for w in t.split(" ") if w]
    kinds = [
        lambda: rnd.choice(words),
        lambda: rnd.choice([" ", "  ", "\n", "\r\n", "\t", " \n", "   ", "\u00a0", "\u3000"]) * rnd.randint(1, 4),
        lambda: "".join(rnd.choices(chars, k=rnd.randint(1, 4))),
        lambda: "".join(rnd.choices("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", k=rnd.randint(1, 12))),
        lambda: str(rnd.randrange(10 ** rnd.randint(1, 9))),
        lambda: "".join(rnd.choices("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", k=rnd.randint(1, 5))),
        lambda: chr(rnd.randrange(0x4E00, 0x9FA6)) * rnd.randint(1, 2) + rnd.choice("，。、あ한"),
        lambda: " ",
    ]
    return ["".join(rnd.choice(kinds)() for _ in range(rnd.randint(1, 60))) for _ in range(n)]


def with_specials(specials, n=300, seed=3):
    """Texts with special tokens whole, cut, side by side and inside words."""
    rnd = random.Random(seed)
    cut = lambda s: s[: rnd.randint(1, len(s))]
    parts = [
        lambda: rnd.choice(specials), lambda: cut(rnd.choice(specials)), lambda: rnd.choice(TEXTS[30:]),
        lambda: rnd.choice(["user", "\n", "assistant\n", " ", "a", "<", "|>", "e\u0301", ""]),
    ]
    return ["".join(rnd.choice(parts)() for _ in range(rnd.randint(1, 12))) for _ in range(n)]


def random_bytes(n=200, seed=2):
    rnd = random.Random(seed)
    out = []
    for _ in range(n):
        b = bytearray(rnd.choice(TEXTS).encode("utf-8"))
        for _ in range(rnd.randint(0, 8)):
            b.insert(rnd.randint(0, len(b)), rnd.randrange(256))
        out.append(bytes(b) if rnd.random() < 0.7 else rnd.randbytes(rnd.randint(1, 200)))
    return out
