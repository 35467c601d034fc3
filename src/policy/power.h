/* The power of a site, in three ledgers that are never mixed: what is *contracted* with the grid,
 * what of it is *energised* (built, connected, and can be used), and what of that is *encumbered*
 * (held for other uses). They change at dates. Pure; watts, and unix seconds.
 *
 * All three are on one basis: of the machines (IT), or of the building (facility), which is the
 * machines' times the PUE. */
#ifndef POLICY_POWER_H
#define POLICY_POWER_H

#include <stdint.h>

#define POWER_ROWS_MAX  64
#define POWER_WATTS_MAX INT64_C(100000000000)
#define POWER_ALWAYS    INT64_MIN /* of a row that holds from the beginning of time */
#define POWER_UNKNOWN   (-1)      /* watts that are not said */

enum power_basis { POWER_IT, POWER_FACILITY };
#define POWER_BASIS_WORDS "it|facility"
const char *power_basis_name(enum power_basis b);

/* Holds from its time on, until that of the next. */
struct power_row {
    int64_t from_s;
    int64_t contracted_w, energised_w; /* POWER_UNKNOWN: not said */
    int64_t encumbered_w;
};

/* What is wrong with a ledger, and with which row: NULL, or a sentence. */
const char *power_fault(const struct power_row *r, int n, int *ret_i);
/* The row that holds at a time; NULL: none does yet. Of a ledger without a fault. */
const struct power_row *power_at(const struct power_row *r, int n, int64_t at_s);
/* Watts that can be used for serving: energised less encumbered; POWER_UNKNOWN (r may be NULL). */
int64_t power_free_w(const struct power_row *r);
/* The same watts on another basis, rounded to the nearest; POWER_UNKNOWN where the PUE is
 * (pue_permille 0) and the bases differ, or the watts are. */
int64_t power_convert(int64_t watts, enum power_basis from, enum power_basis to,
                      int32_t pue_permille);

#endif
