/* What the power of a site became, hour by hour (of UTC): its rows in the ledger (power_log.h), and
 * what answers drew by theirs. All functions: [any], also while servers write. */
#ifndef BOOKS_POWER_BY_HOUR_H
#define BOOKS_POWER_BY_HOUR_H

#include <jansson.h>

#include "books/power_log.h"
#include "books/taken_log.h"

#define POWER_HOURS_MAX 87840 /* ten years */

struct power_hour {
    int64_t from_us;
    struct power_sum sum;
    struct power_use use;
    int64_t n_unmetered; /* answers whose energy is not known */
};

/* The hours that are in part within, all of them; *ret is the caller's to free. ERR_ARG: more than
 * POWER_HOURS_MAX; ERR_NOMEM, ERR_IO. */
int power_hours(const char *where, const char *site, int64_t from_us, int64_t until_us,
                struct power_hour **ret, size_t *ret_n, struct err *e);
/* The same of one span of at most an hour, without what was taken in it. */
int power_span(const char *where, const char *site, int64_t from_us, int64_t until_us,
               struct power_hour *ret, struct err *e);
/* Is the place a region? Hours are of sites, as what work drew is booked by site. */
int power_is_region(const char *place);

/* The parts of its energised energy, that first, in the order in which they are shown. */
#define POWER_PARTS 8
const char *power_part_name(int i);
power_uj power_part(const struct power_parts *p, int i);
void power_parts_add(struct power_parts *to, const struct power_parts *p);

/* A new reference; NULL: no memory. Energies are microjoules, as texts. */
json_t *power_hour_json(const char *site, const struct power_hour *hour);

#endif
