/* Inside of the vocabulary, shared by vocab.c, vocab_encode.c, bpe.c and spm.c only. */
#ifndef TEXT_VOCAB_INT_H
#define TEXT_VOCAB_INT_H

#include <stddef.h>
#include <stdint.h>

#include "base/map.h"
#include "base/patience.h"
#include "text/pretok.h"
#include "text/special.h"
#include "text/vocab.h"

enum vocab_kind { VOCAB_BPE, VOCAB_SPM };

enum { VOCAB_F_CONTROL = 1, VOCAB_F_EOG = 2 };

/* What two neighbours merge into: the smaller `rank` first, at equal ranks the one further left. */
struct vocab_pair {
    uint32_t rank; /* VOCAB_NO_PAIR: they do not merge */
    int32_t id;
};
#define VOCAB_NO_PAIR UINT32_MAX

struct vocab {
    enum vocab_kind kind;
    int32_t n;
    uint8_t *type; /* enum vocab_type, after the corrections of vocab.c */
    uint8_t *flags;
    uint32_t *piece_off; /* n + 1 offsets into pieces */
    char *pieces;
    struct map by_text; /* the file's spelling -> id, all tokens */
    struct map by_word; /* bytes -> id, tokens that plain text may become (BPE: decoded bytes; SPM:
                           with U+2581) */
    int32_t byte_id[256]; /* token of a single byte, or -1 */
    int32_t bos, eos, unk;
    int add_bos, add_eos;
    struct special special;
    size_t piece_len_max; /* bytes of the longest piece */
    size_t word_len_max;  /* bytes of the longest key of by_word */

    /* BPE */
    struct pretok *pretok;
    unsigned pretok_flags;
    struct bpe_slot *merges;
    size_t merges_cap; /* power of two */
    uint64_t seed;

    /* SPM */
    int add_space_prefix;
    uint32_t *rank;  /* of each token by score, 0 is the best; equal scores share a rank */
    uint64_t *joins; /* bit per hash of two neighbouring characters found in some token */
};

/* A growing list of ids with its limit. */
struct vocab_out {
    int32_t *id;
    size_t n, cap, max;
};
int vocab_out_reserve(struct vocab_out *o, size_t extra); /* 0, ERR_LIMIT or ERR_NOMEM */
static inline int vocab_out_add(struct vocab_out *o, int32_t id)
{
    if (o->n == o->cap) {
        int rc = vocab_out_reserve(o, 1);
        if (rc)
            return rc;
    }
    o->id[o->n++] = id;
    return 0;
}

/* Scratch of one call for words too long for the stack; zeroed at first but for the patience. */
struct vocab_scratch {
    const struct patience *patience;
    struct merge_node *node;
    size_t node_cap;
    struct merge_item *heap;
};
void vocab_scratch_done(struct vocab_scratch *s);

/* GPT-2's spelling of bytes as printable characters. A token's bytes into out (at least n
 * bytes of room); 0 when it has a character that stands for no byte. */
int bpe_decode_text(const char *text, size_t n, char *out, size_t *ret_n);
int bpe_open(struct vocab *v, const struct vocab_source *s, struct err *e); /* byte_id, merges */
void bpe_close(struct vocab *v);
/* Tokens of one word (a piece of the pretokenizer, or a malformed stretch). */
int bpe_word(const struct vocab *v, const char *p, size_t n, struct vocab_scratch *scratch,
             struct vocab_out *out);

#define SPM_JOINS_BITS  22
#define SPM_JOINS_BYTES ((1u << SPM_JOINS_BITS) / 8)
/* The byte that a token such as "<0x0A>" stands for, or -1. */
int spm_byte_of_text(const struct vocab_str *t);
int spm_open(struct vocab *v, const struct vocab_source *s, struct err *e); /* rank, joins */
void spm_close(struct vocab *v);
/* Length of the first stretch of text (escaped: U+2581 for blanks) that no token can reach beyond:
 * tokens of the stretch do not depend on what follows. */
size_t spm_word_len(const struct vocab *v, const char *p, size_t n);
int spm_word(const struct vocab *v, const char *p, size_t n, struct vocab_scratch *scratch,
             struct vocab_out *out);

#endif
