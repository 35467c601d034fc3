/* Stop strings across token borders: text that could still become a stop string is held back.
 * One per choice; the engine thread. */
#ifndef ENGINE_STOP_H
#define ENGINE_STOP_H

#include <stddef.h>

#include "engine/engine.h"

/* Bytes held back at most: one less than the longest stop string. */
struct stop {
    char held[ENGINE_STOP_LEN];
    size_t n_held;
};

/* Append n new bytes of the answer. What may be shown now is appended to `out`. Returns 1 when a
 * stop string was completed (out then ends right before it, the rest is dropped), 0 otherwise,
 * ERR_* from the buffer. With `armed` 0 nothing is matched or held. */
int stop_push(struct stop *s, const struct engine_sampling *p, int armed, const char *text,
              size_t n, struct buf *out);
/* The end of the answer: what is held was not a stop string. */
int stop_finish(struct stop *s, struct buf *out);

#endif
