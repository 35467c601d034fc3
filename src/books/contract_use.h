/* What requests used under a contract, by rows of the ledger, for its settlement. All functions:
 * [any], also while servers write; a ledger stays open from open to close, for one thread. */
#ifndef BOOKS_CONTRACT_USE_H
#define BOOKS_CONTRACT_USE_H

#include "books/books.h"
#include "policy/power_hours.h"

struct contract_books;

int contract_books_open(struct contract_books **ret, const char *where, struct err *e);
void contract_books_close(struct contract_books *b); /* accepts NULL */
/* The numbers of the last rows that are there: what is written later can be left out by them. Of
 * rows of power, the last before the first that was recorded after known_s; INT64_MAX: the last. */
int contract_books_end(struct contract_books *b, int64_t known_s, int64_t *ret_usage,
                       int64_t *ret_power, struct err *e);

/* Rows that are alike. */
struct contract_used {
    char tranche[BOOKS_NAME_MAX], tenant[BOOKS_NAME_MAX], currency[4];
    int lent;                        /* enum books_lent */
    int64_t n_requests, n_unmetered; /* of which it is not known what they drew */
    int64_t n_charged;               /* of which were charged anything */
    int64_t prompt_tokens, completion_tokens, charge_nano;
    power_uj energy_uj; /* of a day of 107 MW: more than an int64_t holds */
    int64_t first_seq, last_seq;
};
/* Of a contract's rows with at most that number, whose requests ended in [from_us, until_us): one
 * call for each tranche, tenant, currency and whose power it was, in this order. Corrections count
 * in the time in which they were made. */
int contract_books_used(struct contract_books *b, const char *contract, int64_t from_us,
                        int64_t until_us, int64_t upto_seq,
                        int (*take)(void *arg, const struct contract_used *u), void *arg,
                        struct err *e);
/* These rows themselves, in order of number. */
int contract_books_rows(struct contract_books *b, const char *contract, int64_t from_us,
                        int64_t until_us,
                        int (*take)(void *arg, int64_t seq, const struct books_row *r), void *arg,
                        struct err *e);

#endif
