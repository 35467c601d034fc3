/* A door of the cloud room: how much CO2e a kilowatt-hour causes, hour by hour, and what an amount
 * of energy causes by it.
 *
 * Two ways to count, never mixed: location-based, by the grid where the site is; and market-based,
 * by what its contracts say. Either may be unknown for an hour, and unknown is never 0.
 *
 * Hours come from CSV or JSON, which are foreign bytes. CSV has a head of columns:
 *   time,location,market      hours of the calendar: 2026-12-01T13:00Z, or with +01:00
 *   hour,location,market      a day that repeats: 0 to 23, by the clock of the site
 * `market` may be missing, and a field may be empty: unknown. JSON is a list of objects with these
 * members, or an object with one list in it; `time` may be called datetime, `location`
 * carbonIntensity, and null is unknown. Numbers are grams for a kilowatt-hour, from 0 to 10,000.
 * An hour begins at a full hour of its own offset, and is there once. Rows come in any order.
 *
 * Pure functions; what was parsed is read-only. Limits: 4 MiB of text, CARBON_HOURS_MAX rows. */
#ifndef CLOUD_CARBON_H
#define CLOUD_CARBON_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/zone.h"

#define CARBON_BYTES_MAX ((size_t)4 << 20)
#define CARBON_HOURS_MAX 20000    /* two years and a quarter */
#define CARBON_MG_MAX    10000000 /* for a kilowatt-hour */
#define CARBON_UNKNOWN   (-1)

enum carbon_basis { CARBON_LOCATION, CARBON_MARKET, CARBON_BASES };

struct carbon_hours;
/* `name` is what sentences call the text. ERR_FORMAT, ERR_LIMIT, ERR_NOMEM with a sentence. */
int carbon_parse(struct carbon_hours **ret, const char *name, const char *text, size_t n,
                 struct err *e);
void carbon_free(struct carbon_hours *h); /* accepts NULL */
int carbon_n_hours(const struct carbon_hours *h);

/* Milligrams for a kilowatt-hour in the hour of that time (unix seconds), or CARBON_UNKNOWN. The
 * zone is that of a day that repeats; NULL: UTC. `h` may be NULL. */
int64_t carbon_mg_per_kwh(const struct carbon_hours *h, enum carbon_basis b, const struct zone *z,
                          int64_t at_s);

/* Energy of the facility where IT takes so much; its PUE in thousandths. < 0: beyond 63 bits. */
int64_t carbon_facility_uj(int64_t it_uj, int32_t pue_permille);
/* Micrograms that so many microjoules cause at that intensity, rounded to the nearest;
 * CARBON_UNKNOWN where the intensity is, or beyond 63 bits. */
int64_t carbon_ug(int64_t energy_uj, int64_t mg_per_kwh);

#endif
