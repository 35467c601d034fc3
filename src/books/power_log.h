/* What power sites had, in the ledger: the table `power`, to which rows are only added. A row is a
 * piece of time in which a site was watched (policy/power_hours.h), or a note: that in a span of
 * time power was missing for a cause that nothing measures. Each has a number and a hash of itself
 * and all rows before it, which books_audit computes anew.
 *
 * A place is a site, or a region as the sum of its sites: "region:NAME". Pieces of a place do not
 * overlap: where several servers watch one, who writes a minute first has written it. Of notes that
 * overlap the last holds. All functions: [any], also while servers write. */
#ifndef BOOKS_POWER_LOG_H
#define BOOKS_POWER_LOG_H

#include "books/books.h"
#include "books/tree_head.h"
#include "policy/power.h"
#include "policy/power_hours.h"

#define POWER_REGION     "region:"
#define POWER_PLACE_MAX  (BOOKS_NAME_MAX + 8)
#define POWER_CAUSE_MAX  16
#define POWER_REASON_MAX 256
#define POWER_TOGETHER   1024   /* rows that are written at once, at most */
#define POWER_NO_CAUSE   "none" /* a note that takes back those of before */

struct power_entry {
    int64_t seq, at_us; /* at_us: when it was recorded, of the wall clock */
    char place[POWER_PLACE_MAX];
    struct power_piece piece; /* of a note: its time only, in whole minutes */
    /* "": it is a piece; else it is a note: a word of power_cause_name, or POWER_NO_CAUSE. */
    char cause[POWER_CAUSE_MAX];
    /* Of a note, for people; of a piece the basis of its watts and the PUE, where they are known.
     */
    char reason[POWER_REASON_MAX];
    /* Random, in hex digits, so that who sees the row's hash cannot try what it says; "": a row of
     * before there was a log of power, else filled in where it is written. */
    char salt[BOOKS_HEX(BOOKS_SALT)];
};
/* "it 1300": the basis, and the PUE in thousandths; 0: it is not known. */
void power_log_basis_show(enum power_basis b, int32_t pue_permille, char out[POWER_REASON_MAX]);
/* 0; -1: the text says none. */
int power_log_basis_read(const char *text, enum power_basis *ret, int32_t *ret_pue_permille);

/* Append rows to a ledger that is there, in one transaction. A piece of a time that is written
 * already is left out; *ret_n: how many were written, seq of each that was is set, 0 of others.
 * The log of power (ledger_tree.h) grows by them, and `key` signs its head; NULL: the next that has
 * one will.
 * ERR_ARG: one cannot be; ERR_AGAIN, ERR_IO: none was written. */
int power_log_put(const char *where, struct power_entry *rows, int n, const struct tree_key *key,
                  int64_t *ret_n, struct err *e);
int power_entry_ok(const struct power_entry *r); /* could it be a row? */

enum power_rows { POWER_PIECES, POWER_NOTES };
struct power_query {
    enum power_rows what;
    const char *place;         /* NULL: all */
    int64_t from_us, until_us; /* rows that are in part within */
    int64_t upto_seq;          /* 0: all; else what was written later is left out */
};
/* One call each, in order of place, time and number. */
int power_log_each(const char *where, const struct power_query *q,
                   int (*row)(void *arg, const struct power_entry *r), void *arg, struct err *e);
/* Places that have rows, in order of name. */
int power_log_places(const char *where, int (*each)(void *arg, const char *place), void *arg,
                     struct err *e);

/* What work drew at a site in [from_us, until_us), by the rows of requests: each hour (of UTC) that
 * has any, in order. */
struct power_drawn {
    int64_t from_us; /* the hour's */
    struct power_use use;
    int64_t n_unmetered; /* answers whose energy is not known */
};
int power_log_drawn(const char *where, const char *site, int64_t from_us, int64_t until_us,
                    int (*hour)(void *arg, const struct power_drawn *d), void *arg, struct err *e);

#endif
