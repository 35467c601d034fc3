/* A buyer of last resort: it takes the power that nobody bought, at a price, up to a yearly cap of
 * energy and of money, until its contract ends. Pure.
 *
 * What is idle of a site in an hour (policy/power_hours.h) is everything that is neither held,
 * lost, used, lent nor ready for contracts. Of that each tranche of such a contract takes what its
 * watts come to at most, in the order in which the contracts began, and what the caps of the
 * contract's year leave. An hour is cut where something changes in it: a tranche begins or ends, a
 * year of a contract does, a price grows. Energy is taken in whole joules; what is left stays idle.
 */
#ifndef POLICY_BACKSTOP_H
#define POLICY_BACKSTOP_H

#include "policy/contract.h"
#include "policy/power_hours.h"

#define BACKSTOP_MINUTES 60

/* The contract's year in which that time is: from its first day or the same day of a later year. */
struct backstop_year {
    int64_t from_s, until_s;
};
void backstop_year(const struct contract *c, int64_t at_s, struct backstop_year *ret);

/* Minutes 1 to 59 of that hour at which something of the contract changes, as bits. */
uint64_t backstop_cuts(const struct contract *c, int64_t now_s, int64_t hour_s);
/* Does the tranche take power at that time, as it is known at now_s? */
int backstop_is_open(const struct contract *c, const struct tranche *t, int64_t now_s,
                     int64_t at_s);

/* What was taken in a year so far. Begin with {0}. */
struct backstop_sum {
    power_uj joules;
    contract_nano cost; /* joules times price: nano-units, times CONTRACT_MWH_J */
};
void backstop_add(struct backstop_sum *s, power_uj joules, int64_t price);
/* Joules that the caps leave, at that price; no cap: INT64_MAX. What they come to never costs more
 * than the cap of money, to the last billionth. */
int64_t backstop_room(const struct contract_backstop *b, const struct backstop_sum *s,
                      int64_t price);
/* Of so much idle energy, a tranche that may have so many joules more, and that room. */
int64_t backstop_take(power_uj idle_uj, int64_t most_j, int64_t room_j);

/* What it would pay at most from one time to another: all of its power all the time, or its caps,
 * in proportion to the part of each year. Nothing of that is firm. */
contract_nano backstop_most(const struct contract *c, int64_t now_s, int64_t from_s,
                            int64_t until_s);

#endif
