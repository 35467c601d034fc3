/* A supplier's invoice, and what it says beside what we booked.
 *
 * An invoice is CSV (base/csv.h) with a head. Each line is of one request, or of what a model was
 * used for on one day; the columns, in any order:
 *
 *   request_id      our id of the request; without this column:
 *   day, model      2026-12-01 (UTC), and the model as we name it
 *   input_tokens    of prompts; may be missing or empty: not told
 *   cached_tokens   of these, found in a cache; likewise
 *   output_tokens   of answers; likewise
 *   amount          12.50; at most nine digits behind the point
 *   currency        EUR
 *
 * Other columns are passed over. [any], also while a server writes the ledger. */
#ifndef BOOKS_INVOICE_H
#define BOOKS_INVOICE_H

#include <stddef.h>

#include "books/books.h"

#define INVOICE_BYTES_MAX ((size_t)64 << 20)
#define INVOICE_NAMES_MAX 16

/* One side of a line, or the sum of several. */
struct invoice_side {
    int64_t n;                     /* requests of ours, lines of theirs; 0: it is missing */
    int64_t input, cached, output; /* -1: not told */
    int64_t amount_nano;
    char currency[4]; /* "": none; "?": several */
};

enum invoice_why {
    INVOICE_SAME,
    INVOICE_TOKENS,   /* they counted other tokens */
    INVOICE_PRICE,    /* the same tokens, another amount */
    INVOICE_UNPRICED, /* ours have no price yet */
    INVOICE_CURRENCY, /* amounts that cannot be compared */
    INVOICE_TWICE,    /* a request is billed more than once */
    INVOICE_NOT_OURS, /* we have no such request */
    INVOICE_NOT_THEIRS,
    INVOICE_WHY_N
};

struct invoice_line {
    int64_t line;             /* the first in the file that is of it; 0: none */
    char key[BOOKS_NAME_MAX]; /* the request's id, or the day */
    char model[2 * BOOKS_NAME_MAX];
    struct invoice_side ours, theirs;
    int64_t n_unpriced; /* of ours */
    enum invoice_why why;
    /* Theirs less ours, and where it comes from: what ours would grow by in proportion to the
     * tokens, and the rest. */
    int64_t more_nano, from_tokens_nano, from_price_nano;
};

struct invoice_query {
    const char *supplier; /* NAME of "NAME/MODEL" */
    /* Unix seconds; 0, 0: the days that the invoice has, or where its lines are of requests any. */
    int64_t from_s, until_s;
    /* Models as they name them, and as we do. */
    int n_names;
    struct {
        const char *theirs, *ours;
    } names[INVOICE_NAMES_MAX];
};

/* One call for each request, or day and model, that one of the two has, in order of key and model.
 * *ret_left_out: lines of days outside of the time asked for. ERR_FORMAT: "line 3: what" is wrong
 * with the invoice. */
int invoice_reconcile(const char *where, const char *text, size_t n, const struct invoice_query *q,
                      int (*row)(void *arg, const struct invoice_line *l), void *arg,
                      int64_t *ret_left_out, struct err *e);

const char *invoice_why_name(enum invoice_why why); /* "same", "tokens" ... */

#endif
