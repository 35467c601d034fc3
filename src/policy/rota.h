/* Whose turn it is, wherever tenants wait for the same thing. Pure.
 *
 * A higher tier goes first. Within a tier tenants take turns, one that is in an earlier round
 * before one that is in a later (who keeps rounds counts what they use). Of one tenant's, those go
 * first that had begun and were preempted, then the others in order of arrival. */
#ifndef POLICY_ROTA_H
#define POLICY_ROTA_H

#include <stdint.h>

#define ROTA_TIERS    6 /* 0..3: by tier_rank */
#define ROTA_FIRM     2 /* lower ones fill what is idle, and give it back at once */
#define ROTA_CONTRACT 4 /* within a contract: all others give way to it at once */
#define ROTA_OWED     5 /* passed over for too long (policy/sched) */

/* Whose turn was last in each tier. Zeroed: nobody's. */
struct rota {
    int32_t last[ROTA_TIERS];
};

struct rota_one {
    int tier;
    int32_t nth; /* how many of the same tenant and tier go before it; may be 0 where only the very
                    first is looked for */
    int resumed;
    int32_t tenant; /* >= 0 */
    uint64_t order; /* of arrival */
    int64_t round;  /* of the tenant; 0 where no rounds are kept */
};

/* Does a go before b? It is a total order if no two have the same `order`. With nth filled it is
 * the order in which all would go if no other arrived or left. */
int rota_before(const struct rota *r, const struct rota_one *a, const struct rota_one *b);
/* Note that `a` began: it is the next tenant's turn. */
void rota_took(struct rota *r, const struct rota_one *a);

/* May a tenant that has n_own places take one more of `max` places, of which n_all are taken? Each
 * tenant may have as many as are still free, so that some are left for a tenant that comes later; a
 * tenant that is alone may have all. */
int rota_may_take(int64_t n_own, int64_t n_all, int64_t max, int is_alone);

#endif
