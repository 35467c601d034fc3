/* Time zones, and the days, weeks and months of people who live in them. A zone is read from a TZif
 * file of the system's (RFC 9636): its table of changes and, for the years beyond it, the rule in
 * its last line. Days begin with the first moment of their date, so they have 23 and 25 hours where
 * the clock changes; a day that begins in a gap begins at its end.
 *
 * Times are unix seconds. A zone is read-only once loaded: any thread. NULL is UTC everywhere.
 * Limits: 64 KiB a file, 4,096 changes; no leap seconds. */
#ifndef BASE_ZONE_H
#define BASE_ZONE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define ZONE_DIR      "/usr/share/zoneinfo"
#define ZONE_NAME_MAX 64

struct zone;

/* A zone by name, from that folder: "Europe/Berlin". ERR_ARG: no name of a zone (letters, digits
 * and - + _ / , no part empty or with a dot); ERR_NOTFOUND, ERR_IO, ERR_FORMAT. */
int zone_load(struct zone **ret, const char *dir, const char *name, struct err *e);
int zone_parse(struct zone **ret, const char *name, const void *data, size_t n, struct err *e);
void zone_free(struct zone *z); /* accepts NULL */

/* Seconds east of Greenwich at t. */
int32_t zone_offset(const struct zone *z, int64_t t);

enum zone_span { ZONE_DAY, ZONE_WEEK, ZONE_MONTH }; /* weeks begin on Monday */
/* The span that t is in: from <= t < until. */
void zone_window(const struct zone *z, enum zone_span span, int64_t t, int64_t *ret_from,
                 int64_t *ret_until);

#endif
