/* Whose turn it is, wherever tenants wait for the same thing. Pure.
 *
 * A higher tier goes first. Within a tier tenants take turns, and a tenant's own come in order of
 * arrival, those before that were begun and put back. */
#ifndef POLICY_ROTA_H
#define POLICY_ROTA_H

#include <stdint.h>

#define ROTA_TIERS 4 /* 0..2: as asked for */
#define ROTA_OWED  3 /* passed over for too long (policy/sched) */

/* Whose turn was last in each tier. Zeroed: nobody's. */
struct rota {
    int32_t last[ROTA_TIERS];
};

struct rota_one {
    int tier;
    int32_t nth; /* so many of its tenant's in its tier go before it; 0 will do where only the first
                    of all is looked for */
    int resumed;
    int32_t tenant; /* >= 0 */
    uint64_t order; /* of arrival */
};

/* Does a go before b? A total order where orders differ. With nth it is the order in which all
 * would go if nobody came or left. */
int rota_before(const struct rota *r, const struct rota_one *a, const struct rota_one *b);
/* This one began. */
void rota_took(struct rota *r, const struct rota_one *a);

/* May a tenant that has n_own places take one of `max`, of which n_all are taken? Everybody may
 * have as many as are left free by all, so that there are always some for who comes late; a tenant
 * that is alone may have them all. */
int rota_may_take(int64_t n_own, int64_t n_all, int64_t max, int is_alone);

#endif
