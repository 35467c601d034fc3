/* A hostile vocabulary and a hostile text. Input: a byte of choices, a count of extra tokens and
 * the tokens (type, length, bytes), a count of merges and the merges (length, bytes), then the
 * text.
 *
 * Whatever opens must encode without control tokens outside of trusted spans, decode to the same
 * bytes where the family can, and stream as valid UTF-8. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/utf8.h"
#include "text/detok.h"
#include "text/vocab.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { BASE = 258, EXTRA = 32, MERGES = 32 };

struct input {
    const uint8_t *p, *end;
};

static unsigned take(struct input *in)
{
    return in->p < in->end ? *in->p++ : 0;
}

static struct vocab_str take_str(struct input *in)
{
    size_t n = take(in), left = (size_t)(in->end - in->p);
    struct vocab_str s = {(const char *)in->p, n < left ? n : left};
    in->p += s.n;
    return s;
}

static char base_text[BASE][8];

static void add_base(struct vocab_str *tokens, int32_t *types, int spm)
{
    unsigned other = 256;
    for (unsigned b = 0; b < 256; b++) {
        int printable = (b > 0x20 && b < 0x7f) || (b > 0xa0 && b != 0xad);
        if (spm) {
            snprintf(base_text[b], sizeof base_text[b], "<0x%02X>", b);
            types[b] = VOCAB_BYTE;
        } else {
            memset(base_text[b], 0, sizeof base_text[b]);
            utf8_encode(printable ? b : other++, base_text[b]);
            types[b] = VOCAB_NORMAL;
        }
    }
    snprintf(base_text[256], sizeof base_text[256], "%s", spm ? "\xe2\x96\x81" : "<|e|>");
    types[256] = spm ? VOCAB_NORMAL : VOCAB_CONTROL;
    snprintf(base_text[257], sizeof base_text[257], "<unk>");
    types[257] = VOCAB_UNKNOWN;
    for (int i = 0; i < BASE; i++)
        tokens[i] = (struct vocab_str){base_text[i], strlen(base_text[i])};
}

static void check(const struct vocab *v, const char *text, size_t n, int keeps)
{
    struct vocab_span half = {n / 4, n - n / 4};
    int32_t *id;
    size_t k;
    struct buf b;
    struct err e;
    struct detok d;

    for (size_t trusted = 0; trusted < 2; trusted++) {
        if (vocab_encode(v, text, n, &half, trusted, 0, 1 << 20, NULL, &id, &k, &e))
            continue;
        buf_init(&b, 1 << 26);
        for (size_t i = 0; i < k; i++)
            CHECK(trusted || !vocab_is_control(v, id[i]));
        CHECK(vocab_decode(v, id, k, 1, &b, &e) == 0);
        CHECK(!keeps || trusted || (b.len == n && (!n || memcmp(b.data, text, n) == 0)));
        buf_clear(&b);
        detok_init(&d, v, 1);
        for (size_t i = 0; i < k; i++) {
            CHECK(detok_push(&d, id[i], 1, &b) == 0);
            CHECK(!b.len || utf8_valid(b.data, b.len, NULL));
        }
        CHECK(detok_finish(&d, &b) == 0);
        CHECK(!b.len || utf8_valid(b.data, b.len, NULL));
        buf_done(&b);
        free(id);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const char *const pres[] = {"gpt-2",        "llama-bpe",      "qwen2",       "smollm",
                                       "gpt-4o",       "tekken",         "deepseek-v3", "default",
                                       "deepseek-llm", "deepseek-coder", "falcon",      "glm4",
                                       "qwen35",       "command-r",      "starcoder",   "nonsense"};
    struct vocab_str tokens[BASE + EXTRA], merges[MERGES];
    int32_t types[BASE + EXTRA];
    float scores[BASE + EXTRA];
    struct input in = {data, data + n};
    unsigned choice = take(&in), count;
    int spm = choice & 1, keeps;
    struct vocab_source s;
    struct vocab *v;
    struct err e;

    vocab_source_init(&s);
    snprintf(s.model, sizeof s.model, "%s", spm ? "llama" : "gpt2");
    snprintf(s.pre, sizeof s.pre, "%s", pres[choice >> 1 & 15]);
    s.add_space_prefix = choice >> 5 & 1;
    s.eos = choice & 64 ? BASE : -1;
    s.unk = 257;
    s.bos = 257;
    add_base(tokens, types, spm);
    s.n_tokens = BASE;
    for (count = take(&in) % (EXTRA + 1); count; count--) {
        types[s.n_tokens] = (int32_t)(take(&in) % 8);
        tokens[s.n_tokens++] = take_str(&in);
    }
    for (size_t i = 0; i < s.n_tokens; i++)
        scores[i] = -(float)(i * 37 % 11);
    for (count = take(&in) % (MERGES + 1); count; count--)
        merges[s.n_merges++] = take_str(&in);
    s.tokens = tokens;
    s.types = types;
    s.scores = scores;
    s.merges = merges;
    s.n_types = s.n_scores = s.n_tokens;
    if (vocab_open(&v, &s, &e))
        return 0;
    keeps = spm ? !memmem(in.p, (size_t)(in.end - in.p), "\xe2\x96\x81", 3)
                : strcmp(s.pre, "qwen2") != 0 && strcmp(s.pre, "qwen35") != 0 &&
                      strcmp(s.pre, "command-r") != 0;
    check(v, (const char *)in.p, (size_t)(in.end - in.p), keeps);
    vocab_close(v);
    return 0;
}
