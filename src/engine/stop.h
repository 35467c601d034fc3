/* Stop strings across token borders: text that could still become a stop string is held back.
 * One per choice; the engine thread. */
#ifndef ENGINE_STOP_H
#define ENGINE_STOP_H

#include <stddef.h>

#include "engine/engine.h"

#define STOP_TOKENS_MAX 512 /* of more tokens without a text the first count as shown */

/* Bytes held back at most: one less than the longest stop string. */
struct stop {
    char held[SAMPLING_STOP_LEN];
    size_t n_held;
    /* The last tokens, as many as have nothing of their text shown yet: where it begins in `held`.
     */
    uint8_t begin[STOP_TOKENS_MAX];
    int32_t n_tokens;
};

/* Append one token: n new bytes of the answer; `unfinished`: and some of a character that later
 * tokens finish. What may be shown now is appended to `out`. Returns 1 when a stop string was
 * completed (out then ends right before it, the rest is dropped, and so are the last n_tokens), 0
 * otherwise, ERR_* from the buffer. With `armed` 0 nothing is matched or held. */
int stop_push(struct stop *s, const struct sampling *p, int armed, const char *text, size_t n,
              int unfinished, struct buf *out);
/* The end of the answer: what is held was not a stop string. */
int stop_finish(struct stop *s, struct buf *out);

#endif
