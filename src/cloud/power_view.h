/* A door of the cloud room: what the power of sites became, for those who ask the server. One
 * thread, which waits for the database. */
#ifndef CLOUD_POWER_VIEW_H
#define CLOUD_POWER_VIEW_H

#include <jansson.h>
#include <stdint.h>

#include "base/err.h"

#define POWER_VIEW_MAX   20000 /* hours of an answer, of all sites */
#define POWER_VIEW_YEARS 10

/* The hours of [from_s, until_s), at most so many years before its end, of a site (NULL: of all)
 * that the ledger knows something of. *ret: a new reference to an array, books/power_by_hour.h.
 * ERR_ARG: they are too many. */
int power_view(const char *ledger, const char *site, int64_t from_s, int64_t until_s, json_t **ret,
               struct err *e);

#endif
