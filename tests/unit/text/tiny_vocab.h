/* Tiny vocabularies made by hand, for tests that need no model file. */
#ifndef TINY_VOCAB_H
#define TINY_VOCAB_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "text/vocab.h"

#define TINY_MAX 600

struct tiny {
    struct vocab_source s;
    struct vocab_str tokens[TINY_MAX], merges[TINY_MAX];
    int32_t types[TINY_MAX];
    float scores[TINY_MAX];
    char text[TINY_MAX][64], merge_text[TINY_MAX][64];
};

static inline int32_t tiny_add(struct tiny *t, const char *text, int type, float score)
{
    size_t i = t->s.n_tokens++;
    snprintf(t->text[i], sizeof t->text[i], "%s", text);
    t->tokens[i] = (struct vocab_str){t->text[i], strlen(t->text[i])};
    t->types[i] = type;
    t->scores[i] = score;
    t->s.n_types = t->s.n_tokens;
    if (t->s.scores)
        t->s.n_scores = t->s.n_tokens;
    return (int32_t)i;
}

/* Adds "a b" and, where it is new, the token "ab". */
static inline void tiny_merge(struct tiny *t, const char *a, const char *b)
{
    size_t i = t->s.n_merges++;
    char joined[64];
    int known = 0;
    snprintf(t->merge_text[i], sizeof t->merge_text[i], "%s %s", a, b);
    t->merges[i] = (struct vocab_str){t->merge_text[i], strlen(t->merge_text[i])};
    snprintf(joined, sizeof joined, "%s%s", a, b);
    for (size_t k = 0; k < t->s.n_tokens; k++)
        known |= strcmp(t->text[k], joined) == 0;
    if (!known)
        tiny_add(t, joined, VOCAB_NORMAL, 0);
}

static inline void tiny_init(struct tiny *t, const char *model)
{
    memset(t, 0, sizeof *t);
    vocab_source_init(&t->s);
    snprintf(t->s.model, sizeof t->s.model, "%s", model);
    t->s.tokens = t->tokens;
    t->s.types = t->types;
    t->s.merges = t->merges;
}

/* Byte-level: token i is byte i, spelled as GPT-2 does. */
static inline void tiny_bpe(struct tiny *t, const char *pre)
{
    unsigned other = 256;
    tiny_init(t, "gpt2");
    snprintf(t->s.pre, sizeof t->s.pre, "%s", pre);
    for (unsigned b = 0; b < 256; b++) {
        int printable = (b > 0x20 && b < 0x7f) || (b > 0xa0 && b != 0xad);
        char text[5] = "";
        utf8_encode(printable ? b : other++, text);
        tiny_add(t, text, VOCAB_NORMAL, 0);
    }
}

/* SentencePiece: <unk> <s> </s>, then 256 byte tokens. */
static inline void tiny_spm(struct tiny *t)
{
    tiny_init(t, "llama");
    t->s.scores = t->scores;
    tiny_add(t, "<unk>", VOCAB_UNKNOWN, 0);
    tiny_add(t, "<s>", VOCAB_CONTROL, 0);
    tiny_add(t, "</s>", VOCAB_CONTROL, 0);
    for (unsigned b = 0; b < 256; b++) {
        char text[16];
        snprintf(text, sizeof text, "<0x%02X>", b);
        tiny_add(t, text, VOCAB_BYTE, 0);
    }
}

static inline struct vocab *tiny_open(const struct tiny *t)
{
    struct vocab *v = NULL;
    struct err e = {0};
    if (vocab_open(&v, &t->s, &e))
        fprintf(stderr, "%s\n", e.text);
    return v;
}

/* Ids of a text as "1 2 3", in a static buffer. spans: all of the text trusted when `all`. */
static inline const char *tiny_ids(const struct vocab *v, const char *text, size_t n, int all,
                                   unsigned flags)
{
    static char line[4096];
    struct vocab_span span = {0, n};
    int32_t *id;
    size_t k, len = 0;
    struct err e;

    if (vocab_encode(v, text, n, &span, all ? 1 : 0, flags, 4096, NULL, &id, &k, &e)) {
        snprintf(line, sizeof line, "error %d: %.400s", e.code, e.text);
        return line;
    }
    line[0] = 0;
    for (size_t i = 0; i < k && len + 16 < sizeof line; i++)
        len += (size_t)sprintf(line + len, "%s%d", i ? " " : "", id[i]);
    free(id);
    return line;
}

#endif
