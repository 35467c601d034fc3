/* A bill computed anew from entries of the log of answers: by tenant, model and currency. */
#ifndef CMD_REBUILT_H
#define CMD_REBUILT_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define REBUILT_MAX 4096 /* sums */

/* Zeroed: nothing was added. */
struct rebuilt {
    struct rebuilt_sum *sum;
    int n;
    unsigned char (*id)[16]; /* hashes of the requests' ids, to find one that is counted twice */
    size_t n_ids, cap_ids;
};

/* Add an entry, if it ended in [from_s, until_s); 0: any time. ERR_FORMAT, ERR_NOMEM, ERR_LIMIT. */
int rebuilt_add(struct rebuilt *b, const char *tenant, const void *entry, size_t n, int64_t from_s,
                int64_t until_s, struct err *e);
/* Print the sums, in order of tenant and model. ERR_FORMAT: a request was there twice. */
int rebuilt_end(struct rebuilt *b, int as_json, struct err *e);
void rebuilt_done(struct rebuilt *b); /* nothing is added again */

#endif
