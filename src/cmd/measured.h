/* Energy and carbon as commands and their machine forms show them: watt-hours and grams of CO2
 * equivalent, decimal texts. What is known of nothing is NULL, in JSON null. */
#ifndef CMD_MEASURED_H
#define CMD_MEASURED_H

#include "base/json.h"
#include "books/books.h"

#define MEASURED_TEXT_MAX 32

/* uj or ug < 0: unknown. */
const char *measured_wh(int64_t uj, char out[MEASURED_TEXT_MAX]);
const char *measured_grams(int64_t ug, char out[MEASURED_TEXT_MAX]);
/* The same with -1 where a sum has none that is known. */
struct measured {
    int64_t energy_uj, location_ug, market_ug;
    const char *boundary;                            /* NULL: of nothing */
    int64_t n_no_energy, n_no_location, n_no_market; /* requests of which it is not known */
};
struct measured measured_of(const struct books_sum *s);
/* Members "energy_wh", "energy_boundary", "carbon_location_g", "carbon_market_g" and how many
 * requests are without: added to an object. */
void measured_json(json_t *j, const struct books_sum *s);
/* The same as the end of a line of CSV, each behind a comma; s NULL: their names. */
int measured_csv(struct buf *out, const struct books_sum *s);

#endif
