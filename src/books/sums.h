/* Sums by name: what an audit and a pruning add up of any number of accounts. One thread at a time.
 * Limit: memory, some 200 bytes a name. */
#ifndef BOOKS_SUMS_H
#define BOOKS_SUMS_H

#include "base/map.h"
#include "books/entry.h"

struct sum {
    char name[ENTRY_ACCOUNT_MAX], unit[ENTRY_UNIT_MAX];
    int64_t amount, count;
    int is_seen; /* the caller's */
};

struct sums {
    struct map index;
    struct sum *sum;
    size_t n, cap;
};

int sums_init(struct sums *s); /* 0, ERR_NOMEM, ERR_IO */
void sums_done(struct sums *s);
void sums_clear(struct sums *s);
/* The sum of that name and unit, a new one of 0 where make is set; NULL: there is none, or no
 * memory. Valid until the next one is made. */
struct sum *sums_of(struct sums *s, const char *name, const char *unit, int make);
/* Add what a row posts: 0 or ERR_NOMEM. */
int sums_post(struct sums *s, const struct books_row *r);

#endif
