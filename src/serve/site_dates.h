/* What changes at dates about a site, as the configuration has it: its life (policy/lifecycle.h)
 * and its power (policy/power.h). Days are of the site's zone, their first moment counts; a moment
 * is written 2026-12-01T18:00:00Z. One thread. */
#ifndef SERVE_SITE_DATES_H
#define SERVE_SITE_DATES_H

#include "serve/serve.h"

/* A list of a site that is being read. */
struct site_list_reading {
    struct serve_config *c;
    struct config_doc *d;
    struct serve_site *p;
};
/* Say what is wrong of a member where it is written, or of the whole map where it is not: always
 * ERR_FORMAT. */
int site_fault(const struct site_list_reading *r, struct config_node *map, const char *key,
               const char *why, struct err *e);

/* The lists `lifecycle` and `power` of a site, either may be NULL, into its terms, whose zone is
 * there. ERR_FORMAT with "file:line:column: what", ERR_NOMEM. */
int site_dates_read(struct serve_config *c, struct config_doc *d, struct serve_site *p,
                    struct config_node *lifecycle, struct config_node *power, struct err *e);
/* Its power where it has no dates: contracted_mw, energised_mw, encumbered_mw. ERR_ARG. */
int site_power_read(struct serve_config *c, struct serve_site *p, struct err *e);
/* Megawatts as text into watts; NULL leaves *ret. ERR_ARG with a sentence that names the key. */
int site_watts_read(const char *key, const char *text, int64_t *ret, struct err *e);

#endif
