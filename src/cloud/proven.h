/* A door of the cloud room: the rows that a statement (settled.h) is made from, as a range of the
 * signed logs shows them (books/log_export.h). So who has no ledger can settle the period by the
 * same code, and knows of every number which entry it comes from.
 *
 * Every entry of the range is given in order. What a statement needs is kept: some 80 bytes for a
 * request, 130 for a piece of power. One thread. Limits: PROVEN_..._MAX. */
#ifndef CLOUD_PROVEN_H
#define CLOUD_PROVEN_H

#include "books/log_export.h"
#include "cloud/settled.h"

#define PROVEN_NAMES_MAX 4096  /* of tenants, tranches, currencies and places */
#define PROVEN_NOTES_MAX 65536 /* on power */

struct proven;
/* Of what this statement is made from, which outlives it. ERR_NOMEM. */
int proven_open(struct proven **ret, const struct settled *s, struct err *e);
void proven_close(struct proven *p); /* accepts NULL */

/* An entry of either log. ERR_FORMAT: a row of power of one of its places is not shown; ERR_LIMIT,
 * ERR_NOMEM. */
int proven_take(struct proven *p, const struct log_import *x, const struct log_entry *one,
                struct err *e);
/* The last entry of a log was given. ERR_FORMAT: the range is of another contract. */
int proven_end_log(struct proven *p, const struct log_import *x, struct err *e);

/* All was given: is it all that the statement needs? Its rows then. ERR_FORMAT: the ranges begin
 * too late or end too early, or a request is there twice. */
int proven_rows(struct proven *p, struct settled_rows *ret, struct err *e);
/* Requests of the contract in the period which came behind the last row that the statement counts.
 */
int64_t proven_later(const struct proven *p);

#endif
