/* A statement of a contract as somebody was given it ('gaufre contract statement --json'), to be
 * made again from rows and compared. */
#ifndef CMD_STATED_H
#define CMD_STATED_H

#include "cloud/proven.h"

struct stated {
    const char *file;
    json_t *told;
    struct settled *settled; /* what it says that it was made of */
};

/* Read it: ERR_IO, ERR_FORMAT. */
int stated_open(struct stated *ret, const char *file, struct err *e);
void stated_close(struct stated *s); /* accepts zeroed */
/* Was it settled to what the file says, in every number? ERR_FORMAT names the first that differs.
 * `whose`: what says something else, "the ledger". */
int stated_compare(const struct stated *s, const char *whose, struct err *e);

/* The tenants and places that its contract names, of all versions, each once; NULL: no memory. The
 * texts stay the statement's, but for places, which are freed with the list. */
struct stated_names {
    const char **tenants, **places;
    int n_tenants, n_places;
};
int stated_names(const struct stated *s, struct stated_names *ret, struct err *e);
void stated_names_free(struct stated_names *n); /* accepts zeroed */

#endif
