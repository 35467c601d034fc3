/* How long work for a client may go on: until the client has left, or until a deadline. Work that
 * may take long calls patience_over every few KiB of text, on whatever thread it runs. */
#ifndef BASE_PATIENCE_H
#define BASE_PATIENCE_H

#include <stdint.h>

#include "base/err.h"

struct patience {
    const _Atomic int *gone; /* not 0: the client has left; NULL: it cannot leave */
    int64_t until_us;        /* of clock_now_us; 0: no end */
};

/* 0, ERR_CANCELLED or ERR_TIMEOUT with a sentence. p may be NULL: for ever. */
int patience_over(const struct patience *p, struct err *e);

#endif
