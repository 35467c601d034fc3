/* A door of the cloud room: which tranches of a contract have an acceptance on record that was
 * passed (acceptance.h). One thread; waits for the store. */
#ifndef CLOUD_ACCEPTED_H
#define CLOUD_ACCEPTED_H

#include "cloud/acceptance.h"
#include "cloud/accounts.h"

struct accepted {
    int64_t id; /* of the last such measurement; 0: there is none */
    int64_t at_s;
    char key[ACCEPTANCE_PUBLIC_TEXT]; /* who signed it */
};

/* By the names of its tranches; without what ended after as_of_s, or was recorded after known_s.
 * Signatures are checked. */
int accounts_accepted(struct accounts *a, const struct contract *c, int64_t as_of_s,
                      int64_t known_s, struct accepted ret[CONTRACT_TRANCHES_MAX], struct err *e);
/* {"measurement", "at", "public_key"}, or null. */
json_t *accepted_json(const struct accepted *x);
/* The same as "accepted" of each tranche of contracts as JSON (contract_view_json), a list. */
int accounts_accepted_views(struct accounts *a, json_t *views, int64_t as_of_s, int64_t known_s,
                            struct err *e);

#endif
