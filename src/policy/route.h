/* Which of the offers of a model gets a request, and why each other one did not. Pure.
 *
 * An offer is one supplier's way to serve the model. The caller lays out a row for each, asks, and
 * when the chosen one fails before the first byte of the answer, marks it as tried and asks again.
 */
#ifndef POLICY_ROUTE_H
#define POLICY_ROUTE_H

#include <stdint.h>

#define ROUTE_OFFERS_MAX 64 /* rows of one question: a bit of `tried` each */

enum route_health {
    ROUTE_READY,
    ROUTE_LOADING, /* will be ready later */
    ROUTE_FROZEN,  /* has work and makes no progress */
    ROUTE_FAILED   /* could not be loaded */
};

struct route_offer {
    uint32_t id; /* stable and unique; of offers that are equal the lowest id is chosen */
    enum route_health health;
    int64_t not_before_us; /* the supplier asked for no work before this time; 0: did not ask */
    uint32_t tiers;        /* the tiers that it serves: bits 1 << tier */
    int32_t context;       /* tokens of prompt and answer together; 0: unknown, any number */
    int32_t n_waiting, n_running, capacity; /* sequences */
};

struct route_request {
    int tier;         /* granted */
    int64_t n_tokens; /* of the prompt, and of the answer at least; 0: not known yet */
};

/* Why an offer was not chosen: the first reason that was found; or that it was chosen. */
enum route_reason {
    ROUTE_CHOSEN,
    ROUTE_TRIED,
    ROUTE_IS_LOADING,
    ROUTE_IS_FROZEN,
    ROUTE_HAS_FAILED,
    ROUTE_TOO_EARLY,    /* before its not_before_us */
    ROUTE_NOT_THE_TIER, /* does not serve it */
    ROUTE_TOO_LONG,     /* for its context */
    ROUTE_BUSIER        /* could have had it; another has a greater share free */
};

/* Index of the offer that can take the request and is least busy, measured by its capacity; -1:
 * there is none. Bit i of `tried`: offers[i] has failed with this request. n <= ROUTE_OFFERS_MAX.
 * ret_why: n reasons, or NULL. */
int route_pick(const struct route_request *r, const struct route_offer *offers, int n,
               uint64_t tried, int64_t now_us, enum route_reason *ret_why);

#endif
