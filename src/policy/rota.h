/* Whose turn it is, wherever tenants wait for the same thing. Pure.
 *
 * A higher tier goes first. Within a tier tenants take turns, and a tenant's own come in order of
 * arrival, those before that were begun and put back. And nobody waits for ever: who was passed
 * over for too long goes before all tiers, one at a time, and keeps its place until it ends. */
#ifndef POLICY_ROTA_H
#define POLICY_ROTA_H

#include <stdint.h>

#define ROTA_TIERS 4 /* 0..2: as asked for */
#define ROTA_OWED  3 /* passed over for too long */
#define ROTA_STEPS 256

/* Whose turn was last in each tier. Zeroed: nobody's. */
struct rota {
    int32_t last[ROTA_TIERS];
};

struct rota_one {
    int tier; /* tier */
    int resumed;
    int32_t tenant; /* >= 0 */
    uint64_t order; /* of arrival */
};

/* Does a go before b? A total order where orders differ. */
int rota_before(const struct rota *r, const struct rota_one *a, const struct rota_one *b);
/* This one began. */
void rota_took(struct rota *r, const struct rota_one *a);

/* Is it owed a place, when nothing was done of it for `steps` while others were served? n_owed:
 * those that have one now. */
int rota_is_owed(uint64_t steps, int n_owed);

/* Who must give up what it holds, so that others can go on: of the lowest tier the tenant that
 * holds most, of its ones the newest. Index in [0, n), -1: there is none. The oldest of the highest
 * tier is never taken from before the last other. */
int rota_victim(const struct rota_one *s, int n);

/* Who must give its place to `who`, all being taken: only for a tenant that has none in that tier
 * or above, from a lower tier, or in its own from a tenant that has several. Index in [0, n), or
 * -1. */
int rota_gives_way(const struct rota_one *who, const struct rota_one *held, int n);

/* May a tenant that has n_own places take one of `max`, of which n_all are taken? Everybody may
 * have as many as are left free by all, so that there are always some for who comes late; a tenant
 * that is alone may have them all. */
int rota_may_take(int64_t n_own, int64_t n_all, int64_t max, int is_alone);

#endif
