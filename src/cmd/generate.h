/* One request to an engine in this process, from prompt tokens to text, for commands. */
#ifndef CMD_GENERATE_H
#define CMD_GENERATE_H

#include "engine/engine.h"

struct generate {
    const int32_t *prompt;
    const uint32_t *answer; /* of its tokens, as in struct job */
    int32_t n_prompt;
    struct sampling sampling;
    /* Text as it comes; non-zero asks for the end. May be NULL. */
    int (*text)(void *ctx, const char *p, size_t n);
    /* Polled a few times a second and at every token; non-zero asks for the end. May be NULL. */
    int (*stop)(void *ctx);
    void *ctx;
};

struct generated {
    struct buf text;
    enum finish finish; /* of the only choice */
    int cancelled;
    int32_t n_prompt;
    struct usage usage; /* n_prompt may be more than was computed */
    struct times times;
};

/* Blocks until the answer has ended. On success the caller releases ret->text. A stop asked for by
 * the callbacks is a success with `cancelled` set. */
int generate(struct engine *e, const struct generate *g, struct generated *ret, struct err *err);

#endif
