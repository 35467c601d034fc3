/* What buyers of last resort took, in the ledger: the table `taken`, to which rows are only added.
 * A row is the energy that a tranche of such a contract took of one site in an hour of UTC, or in a
 * part of one (policy/backstop.h). Each has a number and a hash of itself and all rows before it,
 * which books_audit computes anew. Of one tranche, site and time there is one row: where several
 * servers settle an hour, who writes it first has written it. All functions: [any], also while
 * servers write. */
#ifndef BOOKS_TAKEN_LOG_H
#define BOOKS_TAKEN_LOG_H

#include "books/books.h"
#include "policy/backstop.h"

struct taken_entry {
    int64_t seq, at_us; /* at_us: when it was recorded, of the wall clock */
    char contract[BOOKS_NAME_MAX], tranche[BOOKS_NAME_MAX], site[BOOKS_NAME_MAX], currency[4];
    int64_t from_us, until_us;
    int64_t joules, price; /* nano-units for a megawatt-hour */
};

/* A tranche that would take what is left idle of a site. */
struct taken_ask {
    struct taken_entry row; /* its joules are found */
    struct contract_backstop caps;
    struct backstop_year year;
    /* What is left of that time, of its hour, and of all its region in that (NULL: none counts). It
     * is less afterwards. */
    power_uj *part, *hour, *region;
    int64_t *most; /* joules that the tranche may have more in that time, likewise */
    int is_spent;  /* out: its year's caps leave nothing more */
};
/* Let them take in this order, in one transaction: each as much as is left and as the caps of its
 * contract's year leave, by what the ledger says was taken. Nothing is written of who takes
 * nothing. *ret_n: rows that were. On failure none was. */
int taken_log_put(const char *where, struct taken_ask *asks, int n, int64_t *ret_n, struct err *e);

struct taken_query {
    const char *contract, *site; /* NULL: any */
    int64_t from_us, until_us;   /* rows that begin within */
    int64_t upto_seq;            /* 0: all; < 0: none; else what was written later is left out */
};
/* One call each, in order of number. */
int taken_log_each(const char *where, const struct taken_query *q,
                   int (*row)(void *arg, const struct taken_entry *r), void *arg, struct err *e);
/* The number of the last row that was recorded by then, and where the last hour ends that has any;
 * 0: there is none. And when the first piece of power begins that is known; 0: none is. */
int taken_log_end(const char *where, int64_t known_s, int64_t *ret_seq, int64_t *ret_until_us,
                  int64_t *ret_first_us, struct err *e);

#endif
