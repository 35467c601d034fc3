/* Receipts as clients read them: members of the object `usage`, and headers. What is not known is
 * left out, so that a 0 is always a 0. Pure functions.
 *
 *   "energy":{"joules":1.25,"wh":0.000347222,"boundary":"it","method":"model","uncertainty":0.3}
 *   "cost":{"amount":0.00042,"currency":"EUR"}
 *
 * Amounts are exact decimals: microjoules and nano-units of the currency. */
#ifndef API_RECEIPT_TEXT_H
#define API_RECEIPT_TEXT_H

#include "api/header_list.h"
#include "base/buf.h"
#include "job/receipt.h"

/* Members behind others: each begins with a comma. */
int api_receipt_put(struct buf *out, const struct receipt *r);
/* At most API_RECEIPT_HEADERS of them; returns how many. */
#define API_RECEIPT_HEADERS 5
int api_receipt_headers(const struct receipt *r, struct api_header *out, int max);

/* A supplier's `usage` object as its client may see it: every byte as it is, with our members at
 * its end. Its own `energy` makes way for ours, and where this cloud has a currency its `cost`
 * does, also where ours is not known: what suppliers are owed is not their tenants' to know. 0,
 * ERR_FORMAT, or the buffer's failure. */
int api_receipt_splice(const char *usage, size_t n, const struct receipt *r, struct buf *out);

/* What a supplier says of energy in a `usage` object, or in an answer's own `energy`: as this
 * server does, or in joules, Wh or kWh by the usual names. Nothing where it says nothing, or
 * nonsense. */
void api_stated_energy(const char *json, size_t n, struct energy *ret);

#endif
