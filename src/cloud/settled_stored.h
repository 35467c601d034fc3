/* A door of the cloud room: what a statement (settled.h) is made of, where the contract is in the
 * store of accounts: its period by the contract's days, and the versions that hold in it. One
 * thread, which waits for the database. */
#ifndef CLOUD_SETTLED_STORED_H
#define CLOUD_SETTLED_STORED_H

#include "cloud/accounts.h"
#include "cloud/settled.h"

/* A month "2027-03", or days "2027-03-01" from one on and before the other; NULL: not said. Nothing
 * said: the month that it is. */
struct settled_wish {
    const char *month, *from, *until;
};
/* Set s->from_s, until_s, known_s and made_s, of which the last is now, or known_s where that is
 * earlier. What has not ended by then ends then: 1, else 0. ERR_ARG with the parameter's name: no
 * such day, not begun, or longer than SETTLED_DAYS_MAX. */
int settled_period(struct settled *s, const struct settled_wish *w, const struct zone *z,
                   int64_t now_s, int64_t known_s, struct err *e);
/* Add the versions that were recorded by s->known_s and hold before the end of the period, with
 * what was measured by then of their tranches with that version of the engine (NULL: with any).
 * ERR_NOTFOUND. */
int settled_add_stored(struct settled *s, struct accounts *a, const char *name, const char *engine,
                       struct err *e);

#endif
