/* A list of tokens, and which of them are of answers (job/phase.h). */
#ifndef JOB_TOKENS_H
#define JOB_TOKENS_H

#include <stdint.h>
#include <stdlib.h>

struct tokens {
    int32_t *id;      /* [n], malloc'd */
    uint32_t *answer; /* malloc'd, a bit each, 1 where it is of an answer; NULL: none is */
    int32_t n;
};

static inline void tokens_done(struct tokens *t)
{
    free(t->id);
    free(t->answer);
    *t = (struct tokens){0};
}

#endif
