/* Detokenizer: tokens of one growing text -> whole UTF-8, token by token.
 *
 * State per choice, a few bytes, the caller's memory; nothing to release. One thread at a time.
 * Emits only whole, valid UTF-8: an unfinished sequence is held back until later tokens finish it;
 * each malformed sequence becomes one U+FFFD, and so does an unfinished rest at the end. */
#ifndef TEXT_DETOK_H
#define TEXT_DETOK_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "text/vocab.h"

struct detok {
    const struct vocab *vocab;
    unsigned char held[4]; /* a good but unfinished sequence */
    uint8_t n_held;
    uint8_t strip; /* the next piece begins the text: drop its first space */
};

/* begins_text: the tokens are a whole text (detokenize), so SentencePiece's leading space goes; 0
 * for tokens that continue a prompt. */
void detok_init(struct detok *d, const struct vocab *v, int begins_text);

/* Append what the token completes (maybe nothing) to `out`. Control tokens: their text when
 * `special`, else nothing. ERR_ARG: id out of range; ERR_NOMEM, ERR_LIMIT from the buffer. */
int detok_push(struct detok *d, int32_t id, int special, struct buf *out);
/* The end: U+FFFD for an unfinished rest. The state is then as after detok_init(..., 0). */
int detok_finish(struct detok *d, struct buf *out);

#endif
