/* The forms of a bill that are for others than people at a terminal: FOCUS and a page to print.
 * Both take the sums of books_bill one by one and write on stdout. */
#ifndef CMD_BILL_FORM_H
#define CMD_BILL_FORM_H

#include "books/books.h"

enum focus_version { FOCUS_1_2, FOCUS_1_4 };

/* What sums a form wants: books_bill's parts. */
#define FOCUS_PARTS                                                                                \
    (STATEMENT_PARTS | BOOKS_PART(BOOKS_BY_DAY) | BOOKS_PART(BOOKS_BY_LABELS) |                    \
     BOOKS_PART(BOOKS_BY_SUPPLIER) | BOOKS_PART(BOOKS_BY_SITE))
#define STATEMENT_PARTS                                                                            \
    (BOOKS_PART(BOOKS_BY_TENANT) | BOOKS_PART(BOOKS_BY_TEAM) | BOOKS_PART(BOOKS_BY_KEY) |          \
     BOOKS_PART(BOOKS_BY_MODEL) | BOOKS_PART(BOOKS_BY_TIER) | BOOKS_PART(BOOKS_BY_CLASS))

struct bill_form {
    const char *issuer;    /* whose bill it is */
    const char *from, *to; /* the days that were asked for, or NULL */
    enum focus_version focus;
    int64_t n_lines, n_unpriced, n_estimated, n_disputed;
    struct books_sum total; /* of the statement that is open, with its tenant and currency */
};

/* FOCUS, cost and usage: a charge for each sum. */
int focus_head(struct bill_form *f);
int focus_line(void *form, const struct books_sum *s);

/* A page of HTML with a statement for each tenant and currency; head and tail whatever comes. */
int statement_head(struct bill_form *f);
int statement_line(void *form, const struct books_sum *s);
int statement_tail(struct bill_form *f);

#endif
