/* Stop strings across token borders: text that could still become a stop string is held back.
 * One per choice; the engine thread. */
#ifndef TEXT_STOP_H
#define TEXT_STOP_H

#include <stddef.h>

#include "base/buf.h"
#include "job/sampling.h"

#define STOP_TOKENS_MAX 512 /* tokens that are remembered; older ones count as shown */

/* Bytes held back at most: one less than the longest stop string. */
struct stop {
    char held[SAMPLING_STOP_LEN];
    size_t n_held;
    /* For each of the last tokens none of whose text is shown yet: where its text begins in `held`.
     */
    uint8_t begin[STOP_TOKENS_MAX];
    int32_t n_tokens;
};

/* Append the text of one token: n bytes. `unfinished`: the token also has the first bytes of a
 * character that later tokens complete. The text that may be shown now is appended to `out`.
 * Returns 1 when a stop string was completed (out then ends right before it; the rest and the last
 * n_tokens tokens are dropped), 0 otherwise, ERR_* from the buffer. With `armed` 0 nothing is
 * matched or held back. */
int stop_push(struct stop *s, const struct sampling *p, int armed, const char *text, size_t n,
              int unfinished, struct buf *out);
/* The end of the answer: what is held was not a stop string. */
int stop_finish(struct stop *s, struct buf *out);

#endif
