/* Pretokenizers: cut text into the pieces ("words") inside which byte-level BPE merges.
 *
 * A pretokenizer is one to six patterns, applied in turn: every pattern cuts each piece that the
 * one before it left into its matches and the gaps between them (the references call this "split,
 * isolated"). Patterns are the project's own table, chosen by the name in the model file; no
 * pattern comes from a file.
 *
 * Compiled once (PCRE2 with JIT), then read-only: any thread, match state belongs to the call.
 * Patterns are written so that a run of any kind of character takes time linear in its length. */
#ifndef TEXT_PRETOK_H
#define TEXT_PRETOK_H

#include <stddef.h>

#include "base/err.h"

struct pretok;
struct pretok_match; /* match state of one call */

enum {
    PRETOK_WHOLE_WORDS = 1, /* a word that is a token needs no merges ("ignore_merges") */
    PRETOK_NFC = 2,         /* the reference normalises text to NFC first */
    PRETOK_ADD_BOS = 4,     /* BOS is added unless the file says otherwise */
};

/* name as in tokenizer.ggml.pre, not terminated. ERR_UNSUPPORTED lists the known names. */
int pretok_open(struct pretok **ret, const char *name, size_t n, struct err *e);
void pretok_close(struct pretok *p); /* accepts NULL */
unsigned pretok_flags(const struct pretok *p);

struct pretok_match *pretok_match_new(const struct pretok *p); /* NULL: no memory */
void pretok_match_free(struct pretok_match *m);                /* accepts NULL */

/* Called for each piece in order; anything but 0 stops the walk and is returned by it. */
typedef int pretok_word(void *arg, const char *p, size_t n);
/* text must be valid UTF-8. 0, what `word` returned, ERR_LIMIT or ERR_NOMEM (matching). */
int pretok_split(const struct pretok *p, struct pretok_match *m, const char *text, size_t n,
                 pretok_word *word, void *arg);

#endif
