/* What a client is told of its request beside the tokens: the energy, and what it owes. Both may be
 * unknown, which is not the same as 0. */
#ifndef JOB_RECEIPT_H
#define JOB_RECEIPT_H

#include <stdint.h>

#include "job/energy.h"

struct receipt {
    struct energy energy;
    int64_t charge_nano;  /* what its tenant owes; < 0: it has no price */
    const char *currency; /* of that; NULL or "": there is none, and nothing is owed */
};

#endif
