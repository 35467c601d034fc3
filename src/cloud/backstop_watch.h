/* What buyers of last resort take, hour by hour: inside of the cloud room. When an hour of UTC has
 * been over for two minutes, what was left idle of each site in it goes to the contracts that take
 * it, by the versions that hold at its beginning, in the order in which they began (then by name),
 * and is appended to the ledger (books/taken_log.h). It begins behind the last hour that the ledger
 * knows to be taken; what is missing since then is made up, a day at each look.
 *
 * One thread, which waits for the databases of accounts and of the ledger. */
#ifndef CLOUD_BACKSTOP_WATCH_H
#define CLOUD_BACKSTOP_WATCH_H

#include "cloud/cloud.h"

struct backstop_watch;

struct backstop_place {
    const char *site, *region; /* NULL: it has none */
};

int backstop_watch_open(struct backstop_watch **ret, struct cloud *c, const char *ledger,
                        struct err *e);              /* ERR_NOMEM; cloud and ledger outlive it */
void backstop_watch_close(struct backstop_watch *w); /* accepts NULL */
/* Settle what can be settled now. *ret_more: there is more to do at once. */
int backstop_watch_look(struct backstop_watch *w, const struct backstop_place *places, int n,
                        int64_t now_us, int64_t wall_us, int *ret_more, struct err *e);

#endif
