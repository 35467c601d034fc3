/* Byte-level BPE: symbols are byte tokens, merged by rank inside the pretokenizer's words.
 * Source: GPT-2's encoder (https://github.com/openai/gpt-2/blob/master/src/encoder.py). */
#include <stdlib.h>
#include <string.h>

#include "base/rand.h"
#include "base/utf8.h"
#include "text/merge.h"
#include "text/vocab_int.h"

struct bpe_slot {
    uint64_t key; /* pair_key; 0 marks an empty slot */
    uint32_t rank;
    int32_t id;
};

/* GPT-2 writes the printable Latin-1 bytes as themselves and the other 68, in order, as U+0100 on.
 */
static int byte_is_printable(unsigned b)
{
    return (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b <= 0xac) || (b >= 0xae && b <= 0xff);
}

/* The byte that a character stands for, or -1. */
static int byte_of_char(uint32_t cp)
{
    if (cp < 256)
        return byte_is_printable(cp) ? (int)cp : -1;
    cp -= 256;
    if (cp <= 0x20) /* 0x00..0x20 */
        return (int)cp;
    cp -= 0x21;
    if (cp <= 0xa0 - 0x7f) /* 0x7f..0xa0 */
        return (int)(0x7f + cp);
    return cp == 0xa0 - 0x7f + 1 ? 0xad : -1;
}

static size_t char_of_byte(unsigned b, char out[4])
{
    uint32_t cp = b;
    if (b <= 0x20)
        cp = 256 + b;
    else if (b >= 0x7f && b <= 0xa0)
        cp = 256 + 0x21 + (b - 0x7f);
    else if (b == 0xad)
        cp = 256 + 0x21 + 0x22;
    return (size_t)utf8_encode(cp, out);
}

int bpe_decode_text(const char *text, size_t n, char *out, size_t *ret_n)
{
    size_t k = 0;
    for (size_t i = 0; i < n;) {
        uint32_t cp = (unsigned char)text[i];
        int len = cp < 0x80 ? 1 : utf8_decode(text + i, n - i, &cp);
        int b = len > 0 ? byte_of_char(cp) : -1;
        if (b < 0)
            return 0;
        out[k++] = (char)b;
        i += (size_t)len;
    }
    *ret_n = k;
    return 1;
}

static uint64_t pair_key(int32_t left, int32_t right)
{
    return ((uint64_t)(uint32_t)left + 1) << 32 | (uint32_t)right;
}

static size_t slot_of(const struct vocab *v, uint64_t key)
{
    uint64_t h = (key ^ v->seed) * 0x9e3779b97f4a7c15ull;
    h = (h ^ h >> 29) * 0xbf58476d1ce4e5b9ull;
    return (h ^ h >> 32) & (v->merges_cap - 1);
}

static struct vocab_pair look_ids(const struct vocab *v, int32_t a, int32_t b)
{
    uint64_t key = pair_key(a, b);
    size_t i = slot_of(v, key);

    while (v->merges[i].key != key) {
        if (!v->merges[i].key)
            return (struct vocab_pair){VOCAB_NO_PAIR, -1};
        i = (i + 1) & (v->merges_cap - 1);
    }
    return (struct vocab_pair){v->merges[i].rank, v->merges[i].id};
}

/* One merge "left right" of the file, on its way into the table. Each of the several 100,000 merges
 * needs three look-ups of texts, and their cost is cache misses; so a batch of merges goes through
 * each stage together, and the misses of a batch overlap. */
struct merge_line {
    const char *right;
    size_t left_len, right_len;
    uint32_t left_aim, right_aim;
    uint64_t key; /* 0: no pair for text */
    size_t slot;
    int32_t id;
};
#define MERGE_BATCH 16

/* 0: the line is malformed. */
static int split_merge(const struct vocab *v, const struct vocab_str *m, struct merge_line *l)
{
    const char *gap = m->n > 1 ? memchr(m->p + 1, ' ', m->n - 1) : NULL;

    if (!gap || m->n > 2 * VOCAB_TOKEN_LEN_MAX)
        return 0;
    l->right = gap + 1;
    l->left_len = (size_t)(gap - m->p);
    l->right_len = m->n - l->left_len - 1;
    l->left_aim = map_aim(&v->by_text, m->p, l->left_len);
    l->right_aim = map_aim(&v->by_text, l->right, l->right_len);
    return 1;
}

static int find_joined(const struct vocab *v, const struct vocab_str *m, const struct merge_line *l,
                       uint32_t *ret)
{
    char joined[2 * VOCAB_TOKEN_LEN_MAX];

    memcpy(joined, m->p, l->left_len);
    memcpy(joined + l->left_len, l->right, l->right_len);
    return map_get(&v->by_text, joined, l->left_len + l->right_len, ret);
}

/* Is t the text of the line without the blank between left and right? */
static int is_joined(const struct vocab_str *t, const struct vocab_str *m,
                     const struct merge_line *l)
{
    return t->n == l->left_len + l->right_len && !memcmp(t->p, m->p, l->left_len) &&
           !memcmp(t->p + l->left_len, l->right, l->right_len);
}

/* The ids of a line. *io_next: where the joined token most likely is, as vocabularies are made in
 * the order of their merges. 0: a token is not there. */
static int resolve_merge(const struct vocab *v, const struct vocab_source *s, size_t i,
                         struct merge_line *l, size_t *io_next)
{
    const struct vocab_str *m = &s->merges[i];
    uint32_t a, b, c = (uint32_t)*io_next;

    if (!map_get_aimed(&v->by_text, l->left_aim, m->p, l->left_len, &a) ||
        !map_get_aimed(&v->by_text, l->right_aim, l->right, l->right_len, &b) ||
        !((*io_next < s->n_tokens && is_joined(&s->tokens[c], m, l)) || find_joined(v, m, l, &c)))
        return 0;
    *io_next = (size_t)c + 1;
    l->id = (int32_t)c;
    l->key = pair_key((int32_t)a, (int32_t)b);
    l->slot = slot_of(v, l->key);
    __builtin_prefetch(&v->merges[l->slot]);
    /* Text never merges into (or out of) a control token. */
    if ((v->flags[a] | v->flags[b] | v->flags[c]) & VOCAB_F_CONTROL)
        l->key = 0;
    return 1;
}

static void insert_merge(struct vocab *v, const struct merge_line *l, uint32_t rank)
{
    size_t i = l->slot;

    if (!l->key)
        return;
    for (; v->merges[i].key; i = (i + 1) & (v->merges_cap - 1))
        if (v->merges[i].key == l->key)
            return; /* the pair occurs twice: the better rank stays */
    v->merges[i] = (struct bpe_slot){.key = l->key, .rank = rank, .id = l->id};
}

static int add_merges(struct vocab *v, const struct vocab_source *s, struct err *e)
{
    struct merge_line line[MERGE_BATCH];
    size_t next = 0;

    for (size_t i = 0, n; i < s->n_merges; i += n) {
        for (n = 0; n < MERGE_BATCH && i + n < s->n_merges; n++)
            if (!split_merge(v, &s->merges[i + n], &line[n]))
                break;
        if (!n)
            return err_set_param(e, ERR_FORMAT, "tokenizer.ggml.merges",
                                 "merge %zu is not two tokens with a blank between them", i);
        for (size_t k = 0; k < n; k++) {
            const struct vocab_str *m = &s->merges[i + k];
            if (!resolve_merge(v, s, i + k, &line[k], &next))
                return err_set_param(e, ERR_FORMAT, "tokenizer.ggml.merges",
                                     "merge %zu (\"%.*s\") names a token that the vocabulary lacks",
                                     i + k, (int)(m->n < 100 ? m->n : 100), m->p);
        }
        for (size_t k = 0; k < n; k++)
            insert_merge(v, &line[k], (uint32_t)(i + k));
    }
    return 0;
}

int bpe_open(struct vocab *v, const struct vocab_source *s, struct err *e)
{
    for (int32_t i = 0; i < v->n && !s->n_merges; i++)
        if (v->type[i] == VOCAB_NORMAL && v->piece_off[i + 1] - v->piece_off[i] > 1)
            return err_set_param(e, ERR_FORMAT, "tokenizer.ggml.merges",
                                 "the model file has words among its tokens but no merges");
    for (unsigned b = 0; b < 256; b++) {
        char text[4];
        uint32_t id;
        size_t n = char_of_byte(b, text);
        v->byte_id[b] = -1;
        if (map_get(&v->by_text, text, n, &id) && !(v->flags[id] & VOCAB_F_CONTROL))
            v->byte_id[b] = (int32_t)id;
    }
    v->merges_cap = 16;
    while (v->merges_cap < 2 * s->n_merges)
        v->merges_cap *= 2;
    v->merges = calloc(v->merges_cap, sizeof *v->merges);
    if (!v->merges || rand_system(&v->seed, sizeof v->seed))
        return err_set(e, ERR_NOMEM, "out of memory for %zu merges", s->n_merges);
    return add_merges(v, s, e);
}

void bpe_close(struct vocab *v)
{
    free(v->merges);
    pretok_close(v->pretok);
}

static inline struct vocab_pair look(const struct vocab *v, const char *word, size_t a, size_t b,
                                     size_t c, int32_t ida, int32_t idb)
{
    return look_ids(v, ida, idb);
}

static inline int emit(const struct vocab *v, const char *p, size_t n, int32_t id,
                       struct vocab_out *out)
{
    return vocab_out_add(out, id);
}

int bpe_word(const struct vocab *v, const char *p, size_t n, struct vocab_scratch *scratch,
             struct vocab_out *out)
{
    const unsigned char *b = (const unsigned char *)p;
    uint32_t whole, k = 0;

    if (v->pretok_flags & PRETOK_WHOLE_WORDS && n <= v->word_len_max &&
        map_get(&v->by_word, p, n, &whole))
        return vocab_out_add(out, (int32_t)whole);
    /* Bytes without a token are left out before merging, as the references do. */
    if (n <= MERGE_SMALL) {
        uint32_t start[MERGE_SMALL + 1];
        int32_t id[MERGE_SMALL];
        for (size_t i = 0; i < n; i++) {
            if (v->byte_id[b[i]] < 0)
                continue;
            start[k] = k;
            id[k++] = v->byte_id[b[i]];
        }
        start[k] = k;
        return merge_small(v, p, start, id, (int)k, look, emit, out);
    } else {
        int rc = merge_reserve(scratch, n);
        if (rc)
            return rc;
        for (size_t i = 0; i < n; i++) {
            if (v->byte_id[b[i]] < 0)
                continue;
            scratch->node[k] = (struct merge_node){k - 1, k + 1, v->byte_id[b[i]], 1};
            k++;
        }
        return merge_long(v, p, k, scratch, look, emit, out);
    }
}
