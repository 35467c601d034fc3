/* On whom the cloud depends, as a report. */
#ifndef CMD_CONCENTRATED_H
#define CMD_CONCENTRATED_H

#include "books/books.h"

#define CONCENTRATED_OWNERS_MAX 64

struct concentrated {
    int json;
    struct {
        const char *supplier, *owner;
    } owner[CONCENTRATED_OWNERS_MAX]; /* as the configuration says; others own themselves */
    int n_owners;                     /* 0: nothing is told of owners */
};
/* Of the ledger file, on stdout; path NULL: nothing is booked yet. */
int concentrated_print(const struct concentrated *c, const char *path, const struct books_where *w,
                       struct err *e);

#endif
