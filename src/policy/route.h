/* Which of the offers of a model gets a request, and why each other one did not. Pure.
 *
 * An offer is one supplier's way to serve the model. The caller lays out a row for each, asks, and
 * when the chosen one fails before the first byte of the answer, marks it as tried and asks again.
 *
 * First filters: what an offer cannot or may not do takes it out, with the reason. Of those that
 * are left, the ones that probably have too short a context, then those that have had more than
 * their share, then those without a free place, and then the slow ones, are asked only where there
 * is no other. Among the rest the
 * model's strategy decides by a score. All numbers that it depends on are in the rows, so a
 * decision that was written down can be made again. */
#ifndef POLICY_ROUTE_H
#define POLICY_ROUTE_H

#include <stdint.h>

#define ROUTE_OFFERS_MAX 64 /* rows of one question */

enum route_health {
    ROUTE_READY,
    ROUTE_LOADING, /* will be ready later */
    ROUTE_FROZEN,  /* has work and makes no progress */
    ROUTE_FAILED   /* could not be loaded */
};

/* How offers are compared; in brackets the score, of which less is better where nothing is said. */
enum route_strategy {
    ROUTE_LEAST_BUSY, /* (sequences there, per 1,000 that it works on together) */
    ROUTE_ORDER,      /* (place in the configuration) */
    ROUTE_WEIGHTED,   /* each gets its share of the requests (its weight; the draw decides) */
    ROUTE_TTFT,       /* (microseconds to the first content, as measured, and of waiting) */
    ROUTE_PRICE,      /* (nano-units that this request costs there) */
    ROUTE_AFFINITY,   /* of those that are about as busy as the least, the same for requests that
                         begin alike (a hash; the greatest is chosen) */
    ROUTE_NEAREST,    /* (microseconds to it and of waiting; 100 ms more in another region) */
    ROUTE_STRATEGIES
};
#define ROUTE_STRATEGY_WORDS "least_busy|order|weighted|ttft|price|affinity|nearest"
const char *route_strategy_name(enum route_strategy s);
const char *route_score_unit(enum route_strategy s);

struct route_offer {
    uint32_t id;  /* stable and unique; of offers that are equal the lowest id is chosen */
    uint32_t key; /* the same at every start: route_key of its name */
    enum route_health health;
    int is_tried;       /* it has failed with this request */
    int is_slow;        /* its answers begin late just now */
    int is_capped;      /* what is beyond its capacity waits here before it is sent */
    int is_closed;      /* its site takes nothing new */
    int is_away;        /* it is not known to be in the region of who asks, which is known */
    int is_over;        /* it has had more than its share of what is spent */
    int64_t wait_us;    /* nothing may be sent there for so long; 0: now */
    uint32_t tiers;     /* the tiers that it serves: bits 1 << tier */
    uint32_t lacks;     /* features that it has not */
    uint32_t residency; /* a bit: where what is sent there stays; 0: unknown */
    int32_t context;    /* tokens of prompt and answer together; 0: unknown, any number */
    int32_t n_waiting, n_running, capacity; /* sequences */
    int32_t weight;                         /* >= 0; 0: only where nobody else is left */
    int64_t ttft_us;     /* mean time to the first content, waiting not counted; 0: not measured */
    int64_t ttft_age_us; /* since it was measured last */
    int64_t job_us;      /* mean time of a sequence; 0: not known */
    int64_t rtt_us;      /* a round trip to it, as measured; 0: not measured */
    int64_t price;       /* nano-units that this request costs there; < 0: has no price */
    int64_t price_max;   /* and may cost there at most; < 0: any price, also none */
};

struct route_request {
    enum route_strategy strategy; /* of its model */
    int tier;                     /* granted */
    uint32_t needs;               /* features */
    uint32_t residency;           /* bits of those that are allowed; 0: any */
    int64_t n_tokens;             /* of one prompt and its answer, probably; 0: not known yet */
    uint32_t draw;                /* any number: the next of a sequence that is spread evenly */
    uint32_t affinity;            /* equal for requests that begin alike */
};

/* Why an offer was not chosen: the first reason that was found; or that it was chosen. */
enum route_reason {
    ROUTE_CHOSEN,
    ROUTE_TRIED,
    ROUTE_LACKS,     /* something that the request needs */
    ROUTE_ELSEWHERE, /* the request may not go where it is */
    ROUTE_NOT_THE_TIER,
    ROUTE_SITE_CLOSED, /* its site takes nothing new */
    ROUTE_IS_LOADING,
    ROUTE_IS_FROZEN,
    ROUTE_HAS_FAILED,
    ROUTE_TOO_EARLY, /* it is left alone for wait_us */
    ROUTE_TOO_DEAR,
    ROUTE_UNPRICED,   /* there is a most that it may cost, and its price is not known */
    ROUTE_TOO_LONG,   /* could have had it, but its context is probably too short */
    ROUTE_OVER_SHARE, /* could have had it, but has had more than its share of what is spent */
    ROUTE_FULL,       /* could have had it, but all its places are taken */
    ROUTE_SLOW,       /* could have had it, but its answers begin late */
    ROUTE_OUTDONE,    /* could have had it; another has a better score */
    ROUTE_REASONS
};
const char *route_reason_name(enum route_reason r); /* one word */
const char *route_reason_text(enum route_reason r); /* for people */

struct route_verdict {
    enum route_reason why;
    int64_t score; /* -1: none, it was filtered out */
};

/* Index of the offer that gets the request; -1: there is none. n <= ROUTE_OFFERS_MAX; ret: n
 * verdicts, or NULL. */
int route_pick(const struct route_request *r, const struct route_offer *offers, int n,
               struct route_verdict *ret);

/* 1: the offer can and may take the request; 0: a filter takes it out. */
int route_may(const struct route_request *r, const struct route_offer *o);

/* The key of an offer's name. */
uint32_t route_key(const char *name);
/* The n-th draw: any n in a row are spread evenly. */
uint32_t route_draw(uint64_t n);

#endif
