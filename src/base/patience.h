/* How long work on somebody's text goes on: until they leave, or their time is over. Work that
 * may take long looks here every few KiB, on whatever thread it runs. */
#ifndef BASE_PATIENCE_H
#define BASE_PATIENCE_H

#include <stdint.h>

#include "base/err.h"

struct patience {
    const _Atomic int *gone; /* not 0: nobody waits any more; NULL: they stay */
    int64_t until_us;        /* of clock_now_us; 0: no end */
};

/* 0, ERR_CANCELLED or ERR_TIMEOUT with a sentence. p may be NULL: for ever. */
int patience_over(const struct patience *p, struct err *e);

#endif
