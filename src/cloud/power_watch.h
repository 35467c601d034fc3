/* A door of the cloud room: what power the sites have, written down. Each site of the configuration
 * whose watts are said is looked at, and once a minute what was seen is appended to the ledger
 * (books/power_log.h), for each site and for each region as the sum of its sites. Time in which
 * nobody looked for ten seconds is written by nobody.
 *
 * One thread at a time, which waits for the databases of accounts and of the ledger. Limits:
 * SITES_MAX sites; pieces that the ledger does not take are kept, the last POWER_TOGETHER. */
#ifndef CLOUD_POWER_WATCH_H
#define CLOUD_POWER_WATCH_H

#include "cloud/cloud.h"

struct power_watch;

/* Of a cloud with this ledger; both outlive it. key: signs the log of power; NULL: it has no heads.
 * `pace`: of the wall clock (base/clock.h); where it is pretended, a piece is of an hour and not of
 * a minute. ERR_NOMEM. */
int power_watch_open(struct power_watch **ret, struct cloud *c, const char *ledger,
                     const struct tree_key *key, int64_t pace, struct err *e);
/* Look at all sites: they have been as they are now since the last look. wall_us: of the wall
 * clock, by which rows are kept. */
void power_watch_look(struct power_watch *w, int64_t now_us, int64_t wall_us);
/* Look once more, and write what was seen. Accepts NULL. */
void power_watch_close(struct power_watch *w, int64_t wall_us);

#endif
