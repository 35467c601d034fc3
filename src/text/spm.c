/* SentencePiece BPE: symbols are characters, merged by the score of what they merge into; a symbol
 * that is no token falls back to its bytes.
 * Source: https://github.com/google/sentencepiece/blob/master/src/bpe_model.cc (Kudo and Richardson
 * 2018). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "text/merge.h"
#include "text/vocab_int.h"

/* The character at p: its length and a number for it; a malformed byte is a character of its own.
 */
static inline size_t next_char(const char *p, size_t n, uint32_t *ret_c)
{
    int len = utf8_decode(p, n, ret_c);
    if (len > 0)
        return (size_t)len;
    *ret_c = 0x110000u + (unsigned char)*p;
    return 1;
}

static inline uint32_t join_bit(uint32_t a, uint32_t b)
{
    uint64_t h = ((uint64_t)a << 32 | b) * 0x9e3779b97f4a7c15ull;
    return (uint32_t)(h >> (64 - SPM_JOINS_BITS));
}

static void add_joins(struct vocab *v, const char *p, size_t n)
{
    uint32_t a = 0, b;
    for (size_t i = 0; i < n; a = b) {
        size_t len = next_char(p + i, n - i, &b);
        if (i) {
            uint32_t bit = join_bit(a, b);
            v->joins[bit / 64] |= 1ull << (bit % 64);
        }
        i += len;
    }
}

struct scored {
    float score;
    int32_t id;
};

static int by_score(const void *a, const void *b)
{
    const struct scored *x = a, *y = b;
    return x->score > y->score ? -1 : x->score < y->score;
}

static int rank_tokens(struct vocab *v, const struct vocab_source *s, struct err *e)
{
    size_t n = (size_t)v->n;
    struct scored *all = calloc(n, sizeof *all);
    uint32_t rank = 0;

    v->rank = calloc(n, sizeof *v->rank);
    if (!all || !v->rank) {
        free(all);
        return err_set(e, ERR_NOMEM, "out of memory for the token scores");
    }
    for (size_t i = 0; i < n; i++) {
        all[i] = (struct scored){s->scores ? s->scores[i] : 0, (int32_t)i};
        if (isnan(all[i].score)) {
            free(all);
            return err_set_param(e, ERR_FORMAT, "tokenizer.ggml.scores",
                                 "the score of token %zu is not a number", i);
        }
    }
    qsort(all, n, sizeof *all, by_score);
    for (size_t i = 0; i < n; i++) {
        if (i && all[i].score < all[i - 1].score)
            rank = (uint32_t)i;
        v->rank[all[i].id] = rank;
    }
    free(all);
    return 0;
}

int spm_byte_of_text(const struct vocab_str *t)
{
    static const char hex[] = "0123456789ABCDEFabcdef";
    const char *a, *b;
    if (t->n != 6 || memcmp(t->p, "<0x", 3) != 0 || t->p[5] != '>')
        return -1;
    a = memchr(hex, t->p[3], 22);
    b = memchr(hex, t->p[4], 22);
    if (!a || !b)
        return -1;
    return (int)((a - hex - (a - hex > 15 ? 6 : 0)) << 4 | (b - hex - (b - hex > 15 ? 6 : 0)));
}

int spm_open(struct vocab *v, const struct vocab_source *s, struct err *e)
{
    int rc, n_bytes = 0;

    for (int b = 0; b < 256; b++)
        v->byte_id[b] = -1;
    v->joins = calloc(1, SPM_JOINS_BYTES);
    if (!v->joins)
        return err_set(e, ERR_NOMEM, "out of memory for the vocabulary");
    for (int32_t i = 0; i < v->n; i++) {
        const struct vocab_str *t = &s->tokens[i];
        int b;
        if (v->type[i] == VOCAB_NORMAL)
            add_joins(v, t->p, t->n);
        if (v->type[i] != VOCAB_BYTE)
            continue;
        b = spm_byte_of_text(t);
        if (b < 0)
            return err_set_param(e, ERR_FORMAT, "tokenizer.ggml.tokens",
                                 "byte token %d is \"%.*s\", not of the form <0x0A>", (int)i,
                                 (int)(t->n < 32 ? t->n : 32), t->p);
        n_bytes += v->byte_id[b] < 0;
        v->byte_id[b] = i;
    }
    if (n_bytes < 256 && v->unk < 0)
        return err_set_param(e, ERR_FORMAT, "tokenizer.ggml.tokens",
                             "the vocabulary has %d of 256 byte tokens and no unknown token",
                             n_bytes);
    if ((rc = rank_tokens(v, s, e)))
        return rc;
    return 0;
}

void spm_close(struct vocab *v)
{
    free(v->rank);
    free(v->joins);
}

size_t spm_word_len(const struct vocab *v, const char *p, size_t n)
{
    uint32_t a, b;
    size_t i = next_char(p, n, &a);
    for (; i < n; a = b) {
        size_t len = next_char(p + i, n - i, &b);
        uint32_t bit = join_bit(a, b);
        if (!(v->joins[bit / 64] >> (bit % 64) & 1))
            break;
        i += len;
    }
    return i;
}

static inline struct vocab_pair look(const struct vocab *v, const char *word, size_t a, size_t b,
                                     size_t c, int32_t ida, int32_t idb)
{
    uint32_t id;
    if (c - a > v->word_len_max || !map_get(&v->by_word, word + a, c - a, &id))
        return (struct vocab_pair){VOCAB_NO_PAIR, -1};
    return (struct vocab_pair){v->rank[id], (int32_t)id};
}

static int emit(const struct vocab *v, const char *p, size_t n, int32_t id, struct vocab_out *out)
{
    uint32_t found;
    if (id < 0 && n <= v->word_len_max && map_get(&v->by_word, p, n, &found))
        id = (int32_t)found;
    if (id >= 0)
        return vocab_out_add(out, id);
    for (size_t i = 0; i < n; i++)
        if (v->byte_id[(unsigned char)p[i]] < 0)
            return vocab_out_add(out, v->unk); /* the character as a whole */
    for (size_t i = 0; i < n; i++) {
        int rc = vocab_out_add(out, v->byte_id[(unsigned char)p[i]]);
        if (rc)
            return rc;
    }
    return 0;
}

int spm_word(const struct vocab *v, const char *p, size_t n, struct vocab_scratch *scratch,
             struct vocab_out *out)
{
    uint32_t start[MERGE_SMALL + 1], c, prev = 0;
    int32_t id[MERGE_SMALL];
    int k = 0, rc;
    size_t i = 0;

    for (; i < n && k < MERGE_SMALL; k++) {
        start[k] = (uint32_t)i;
        id[k] = -1;
        i += next_char(p + i, n - i, &c);
    }
    if (i == n) {
        start[k] = (uint32_t)n;
        return merge_small(v, p, start, id, k, look, emit, out);
    }
    if ((rc = merge_reserve(scratch, n)))
        return rc;
    for (i = 0; i < n;) {
        size_t len = next_char(p + i, n - i, &c);
        scratch->node[i] = (struct merge_node){prev, (uint32_t)(i + len), -1, 1};
        prev = (uint32_t)i;
        i += len;
    }
    return merge_long(v, p, (uint32_t)n, scratch, look, emit, out);
}
