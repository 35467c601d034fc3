#include "policy/route.h"

#include "base/check.h"

#define SHARE       1000        /* one: all that it works on together */
#define NEAR        (SHARE / 4) /* busier by no more than this is about as busy */
#define EXPLORE_ONE 16          /* one request of so many looks how fast an offer is now ... */
#define STALE_US    INT64_C(30000000) /* ... that was not measured for so long */
#define TTFT_US_MAX INT64_C(1000000000000)
#define AWAY_US     100000 /* as far as another continent */

static const struct {
    const char *name, *unit;
} strategies[ROUTE_STRATEGIES] = {
    [ROUTE_LEAST_BUSY] = {"least_busy", "per mille busy"},
    [ROUTE_ORDER] = {"order", "place"},
    [ROUTE_WEIGHTED] = {"weighted", "weight"},
    [ROUTE_TTFT] = {"ttft", "us to first token"},
    [ROUTE_PRICE] = {"price", "nano-units"},
    [ROUTE_NEAREST] = {"nearest", "us away"},
    [ROUTE_AFFINITY] = {"affinity", "hash"},
};

const char *route_strategy_name(enum route_strategy s)
{
    return strategies[s].name;
}

const char *route_score_unit(enum route_strategy s)
{
    return strategies[s].unit;
}

static const struct {
    const char *name, *text;
} reasons[ROUTE_REASONS] = {
    [ROUTE_CHOSEN] = {"chosen", "was chosen"},
    [ROUTE_TRIED] = {"tried", "failed with this request before"},
    [ROUTE_LACKS] = {"lacks", "cannot do something that the request asks for"},
    [ROUTE_ELSEWHERE] = {"residency", "is not where the model's requests must stay"},
    [ROUTE_NOT_THE_TIER] = {"tier", "does not serve the tier"},
    [ROUTE_SITE_CLOSED] = {"site", "is at a site that takes nothing new"},
    [ROUTE_IS_LOADING] = {"loading", "is loading"},
    [ROUTE_IS_FROZEN] = {"frozen", "has work and makes no progress"},
    [ROUTE_HAS_FAILED] = {"failed", "could not be loaded"},
    [ROUTE_TOO_EARLY] = {"left_alone", "has failed and is left alone for a while"},
    [ROUTE_TOO_DEAR] = {"price_cap", "costs more than its price_cap"},
    [ROUTE_UNPRICED] = {"no_price", "has a price_cap and no price"},
    [ROUTE_TOO_LONG] = {"context", "has probably too short a context"},
    [ROUTE_OVER_SHARE] = {"max_share", "has had more than its share of what is spent"},
    [ROUTE_FULL] = {"full", "has no free place"},
    [ROUTE_SLOW] = {"slow", "begins its answers late just now"},
    [ROUTE_OUTDONE] = {"outdone", "has a worse score than the chosen one"},
};

const char *route_reason_name(enum route_reason r)
{
    return reasons[r].name;
}

const char *route_reason_text(enum route_reason r)
{
    return reasons[r].text;
}

/* ---- filters --------------------------------------------------------------------------------- */

static enum route_reason against(const struct route_request *r, const struct route_offer *o)
{
    static const enum route_reason of_health[] = {[ROUTE_READY] = ROUTE_CHOSEN,
                                                  [ROUTE_LOADING] = ROUTE_IS_LOADING,
                                                  [ROUTE_FROZEN] = ROUTE_IS_FROZEN,
                                                  [ROUTE_FAILED] = ROUTE_HAS_FAILED};
    if (o->is_tried)
        return ROUTE_TRIED;
    if (o->lacks & r->needs)
        return ROUTE_LACKS;
    if (r->residency && !(o->residency & r->residency))
        return ROUTE_ELSEWHERE;
    if (!(o->tiers >> r->tier & 1))
        return ROUTE_NOT_THE_TIER;
    if (o->is_closed)
        return ROUTE_SITE_CLOSED;
    if (o->health != ROUTE_READY)
        return of_health[o->health];
    if (o->wait_us > 0)
        return ROUTE_TOO_EARLY;
    if (o->price_max >= 0 && o->price < 0)
        return ROUTE_UNPRICED;
    if (o->price_max >= 0 && o->price > o->price_max)
        return ROUTE_TOO_DEAR;
    return ROUTE_CHOSEN;
}

int route_may(const struct route_request *r, const struct route_offer *o)
{
    return against(r, o) == ROUTE_CHOSEN;
}

/* ---- scores ---------------------------------------------------------------------------------- */

static int64_t capacity(const struct route_offer *o)
{
    return o->capacity > 0 ? o->capacity : 1;
}

static int64_t busy(const struct route_offer *o)
{
    return ((int64_t)o->n_waiting + o->n_running) * SHARE / capacity(o);
}

/* What is left is in one of these classes; only the first that is there takes part. */
static enum route_reason class_of(const struct route_request *r, const struct route_offer *o)
{
    return o->context > 0 && r->n_tokens > o->context ? ROUTE_TOO_LONG
           : o->is_over                               ? ROUTE_OVER_SHARE
           : o->is_capped && busy(o) >= SHARE         ? ROUTE_FULL
           : o->is_slow                               ? ROUTE_SLOW
                                                      : ROUTE_OUTDONE;
}

/* Rendezvous hashing: each pair of a request's beginning and an offer has a number, and the
 * greatest wins; an offer that comes or goes moves its own requests only. */
static int64_t rendezvous(uint32_t a, uint32_t b)
{
    uint64_t h = ((uint64_t)a << 32 | b) * UINT64_C(0x9e3779b97f4a7c15);

    h = (h ^ h >> 29) * UINT64_C(0xbf58476d1ce4e5b9);
    h = (h ^ h >> 32) * UINT64_C(0x94d049bb133111eb);
    return (int64_t)(h >> 32);
}

/* How long the sequences that are there keep a new one waiting. */
static int64_t queue_us(const struct route_offer *o)
{
    int64_t before = (int64_t)o->n_waiting + o->n_running - capacity(o) + 1;

    if (before <= 0 || o->job_us <= 0)
        return 0;
    return o->job_us < TTFT_US_MAX / before ? before * o->job_us / capacity(o) : TTFT_US_MAX;
}

/* One that was never measured comes behind the slowest that was: so it does not attract requests by
 * failing fast, and is not shut out either (see explore). */
static int64_t ttft_us(const struct route_offer *o, int64_t worst_us)
{
    int64_t own = o->ttft_us > 0 ? o->ttft_us : worst_us < TTFT_US_MAX ? worst_us + 1 : TTFT_US_MAX;

    return (own < TTFT_US_MAX ? own : TTFT_US_MAX) + queue_us(o);
}

/* Those that were never measured come behind the farthest that was, of their region. */
static int64_t away_us(const struct route_offer *o, int64_t farthest_us)
{
    int64_t own = o->rtt_us > 0               ? o->rtt_us
                  : farthest_us < TTFT_US_MAX ? farthest_us + 1
                                              : TTFT_US_MAX;

    return (own < TTFT_US_MAX ? own : TTFT_US_MAX) + queue_us(o) + (o->is_away ? AWAY_US : 0);
}

/* The most of what was measured at those that may have it. */
struct worst {
    int64_t ttft_us, rtt_us;
};

static int64_t score(const struct route_request *r, const struct route_offer *o,
                     const struct worst *worst)
{
    switch (r->strategy) {
    case ROUTE_ORDER:
        return o->id;
    case ROUTE_WEIGHTED:
        return o->weight > 0 ? o->weight : 0;
    case ROUTE_TTFT:
        return ttft_us(o, worst->ttft_us);
    case ROUTE_NEAREST:
        return away_us(o, worst->rtt_us);
    case ROUTE_PRICE:
        return o->price >= 0 ? o->price : INT64_MAX;
    case ROUTE_AFFINITY:
        return rendezvous(r->affinity, o->key);
    case ROUTE_LEAST_BUSY:
    case ROUTE_STRATEGIES:
        break;
    }
    return busy(o);
}

/* ---- the choice ------------------------------------------------------------------------------ */

struct field {
    const struct route_request *r;
    const struct route_offer *o;
    struct route_verdict *v; /* those that take part are ROUTE_OUTDONE so far */
    int n;
};

static int takes_part(const struct field *f, int i)
{
    return f->v[i].why == ROUTE_OUTDONE;
}

static int is_better(const struct field *f, int a, int b)
{
    const struct route_offer *x = &f->o[a], *y = &f->o[b];

    if (f->v[a].score != f->v[b].score)
        return f->v[a].score < f->v[b].score;
    return busy(x) != busy(y) ? busy(x) < busy(y) : x->id < y->id;
}

static int lowest(const struct field *f)
{
    int best = -1;

    for (int i = 0; i < f->n; i++) {
        if (takes_part(f, i) && (best < 0 || is_better(f, i, best)))
            best = i;
    }
    return best;
}

/* The offers in the order of their ids are sections of a line, each as long as its weight; the draw
 * is a place on it. */
static int weighted(const struct field *f)
{
    int64_t sum = 0, at, last = -1;
    int next = -1;

    for (int i = 0; i < f->n; i++)
        sum += takes_part(f, i) ? f->v[i].score : 0;
    if (!sum)
        return lowest(f);
    at = (int64_t)((uint64_t)f->r->draw * (uint64_t)sum >> 32);
    for (;;) {
        next = -1;
        for (int i = 0; i < f->n; i++) {
            if (takes_part(f, i) && f->o[i].id > last && (next < 0 || f->o[i].id < f->o[next].id))
                next = i;
        }
        if (at < f->v[next].score)
            return next;
        at -= f->v[next].score;
        last = f->o[next].id;
    }
}

static int affine(const struct field *f)
{
    int64_t least = INT64_MAX;
    int best = -1;

    for (int i = 0; i < f->n; i++) {
        if (takes_part(f, i) && busy(&f->o[i]) < least)
            least = busy(&f->o[i]);
    }
    for (int i = 0; i < f->n; i++) {
        if (!takes_part(f, i) || busy(&f->o[i]) > least + NEAR)
            continue;
        if (best < 0 || f->v[i].score > f->v[best].score ||
            (f->v[i].score == f->v[best].score && f->o[i].id < f->o[best].id))
            best = i;
    }
    return best;
}

/* A request now and then goes to the offer of which is known least how fast it is. -1: not this
 * one. */
static int explore(const struct field *f)
{
    int64_t oldest = 0;
    int best = -1, n_known = 0;

    for (int i = 0; i < f->n; i++) {
        const struct route_offer *o = &f->o[i];
        int64_t age = o->ttft_us > 0 ? o->ttft_age_us : INT64_MAX;
        if (!takes_part(f, i))
            continue;
        n_known += o->ttft_us > 0;
        if (age < STALE_US || queue_us(o))
            continue;
        if (best < 0 || age > oldest || (age == oldest && o->id < f->o[best].id)) {
            oldest = age;
            best = i;
        }
    }
    return n_known && f->r->draw % EXPLORE_ONE == 0 ? best : -1;
}

static int by_strategy(const struct field *f)
{
    int i = -1;

    if (f->r->strategy == ROUTE_WEIGHTED)
        return weighted(f);
    if (f->r->strategy == ROUTE_AFFINITY)
        return affine(f);
    if (f->r->strategy == ROUTE_TTFT)
        i = explore(f);
    return i >= 0 ? i : lowest(f);
}

/* Those of the first class that is there take part. */
static enum route_reason first_class(const struct route_verdict *v, int n)
{
    enum route_reason first = ROUTE_CHOSEN;

    for (int i = 0; i < n; i++) {
        if (v[i].why > first)
            first = v[i].why;
    }
    return first >= ROUTE_TOO_LONG ? first : ROUTE_CHOSEN;
}

int route_pick(const struct route_request *r, const struct route_offer *offers, int n,
               struct route_verdict *ret)
{
    struct route_verdict verdicts[ROUTE_OFFERS_MAX];
    struct field f = {.r = r, .o = offers, .v = ret ? ret : verdicts, .n = n};
    enum route_reason first;
    struct worst worst = {0};
    int i;

    CHECK(n >= 0 && n <= ROUTE_OFFERS_MAX);
    CHECK(r->tier >= 0 && r->tier < 32);
    CHECK((unsigned)r->strategy < ROUTE_STRATEGIES);
    for (i = 0; i < n; i++) {
        enum route_reason why = against(r, &offers[i]);
        f.v[i].why = why == ROUTE_CHOSEN ? class_of(r, &offers[i]) : why;
        if (why == ROUTE_CHOSEN && offers[i].ttft_us > worst.ttft_us)
            worst.ttft_us = offers[i].ttft_us;
        if (why == ROUTE_CHOSEN && offers[i].rtt_us > worst.rtt_us)
            worst.rtt_us = offers[i].rtt_us;
    }
    first = first_class(f.v, n);
    for (i = 0; i < n; i++) {
        f.v[i].score = f.v[i].why >= ROUTE_TOO_LONG ? score(r, &offers[i], &worst) : -1;
        if (f.v[i].why == first)
            f.v[i].why = ROUTE_OUTDONE;
    }
    i = first == ROUTE_CHOSEN ? -1 : by_strategy(&f);
    if (i >= 0)
        f.v[i].why = ROUTE_CHOSEN;
    return i;
}

uint32_t route_key(const char *name)
{
    uint32_t h = 2166136261u; /* FNV-1a */

    for (; *name; name++)
        h = (h ^ (unsigned char)*name) * 16777619u;
    return h;
}

uint32_t route_draw(uint64_t n)
{
    return (uint32_t)n * 2654435769u; /* the golden ratio */
}
