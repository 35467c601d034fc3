#include "policy/breaker.h"

#include "base/check.h"

const struct breaker_limits breaker_usual = {
    .failures = 5,
    .percent = 50,
    .calls_min = 20,
    .window_us = 30 * INT64_C(1000000),
    .open_us = 2 * INT64_C(1000000),
    .open_us_max = 60 * INT64_C(1000000),
    .ask_us_max = 600 * INT64_C(1000000),
    .probes = 1,
    .passes = 2,
    .trial_us = 30 * INT64_C(1000000),
    .slow_times = 5,
    .slow_us = 2 * INT64_C(1000000),
    .slow_calls = 5,
};

const char *breaker_why_name(enum breaker_why why)
{
    static const char *const names[BREAKER_WHYS] = {"",        "failures", "error_rate", "asked",
                                                    "refused", "probe",    "slow"};

    return names[why];
}

const char *breaker_state_name(enum breaker_state state)
{
    static const char *const names[] = {"closed", "open", "half_open"};

    return names[state];
}

/* ---- the window ------------------------------------------------------------------------------ */

static int64_t bucket_nth(const struct breaker_limits *l, int64_t now_us)
{
    return now_us / (l->window_us / BREAKER_BUCKETS);
}

static void count(struct breaker *b, const struct breaker_limits *l, int failed, int64_t now_us)
{
    int64_t nth = bucket_nth(l, now_us);
    int i = (int)((uint64_t)nth % BREAKER_BUCKETS);

    if (b->bucket[i].nth != nth) {
        b->bucket[i].nth = nth;
        b->bucket[i].n = b->bucket[i].n_failed = 0;
    }
    if (b->bucket[i].n == INT32_MAX)
        return;
    b->bucket[i].n++;
    b->bucket[i].n_failed += failed;
}

static int64_t sum(const struct breaker *b, const struct breaker_limits *l, int64_t now_us,
                   int64_t *ret_failed)
{
    int64_t nth = bucket_nth(l, now_us), n = 0;

    *ret_failed = 0;
    for (int i = 0; i < BREAKER_BUCKETS; i++) {
        if (b->bucket[i].nth > nth || b->bucket[i].nth <= nth - BREAKER_BUCKETS)
            continue;
        n += b->bucket[i].n;
        *ret_failed += b->bucket[i].n_failed;
    }
    return n;
}

/* ---- its states ------------------------------------------------------------------------------ */

static void go(struct breaker *b, enum breaker_state to)
{
    b->state = to;
    b->turn = b->turn == INT32_MAX ? 0 : b->turn + 1;
    b->n_failed = b->n_slow = b->n_taken = b->n_ended = b->n_passed = 0;
}

/* Open for span_us, and a little longer. */
static void open(struct breaker *b, enum breaker_why why, int64_t span_us, uint32_t jitter,
                 int64_t now_us)
{
    b->until_us = now_us + span_us + span_us / 4 * (int64_t)(jitter >> 16) / 65536;
    b->why = why;
    go(b, BREAKER_OPEN);
}

/* Open for the next span. */
static int reopen(struct breaker *b, const struct breaker_limits *l, enum breaker_why why,
                  uint32_t jitter, int64_t now_us)
{
    int64_t span = b->span_us ? b->span_us * 2 : l->open_us;

    b->span_us = span < l->open_us_max ? span : l->open_us_max;
    open(b, why, b->span_us, jitter, now_us);
    return 1;
}

/* Are the probes that are under way given up? */
static int probes_are_lost(const struct breaker *b, const struct breaker_limits *l, int64_t now_us)
{
    return now_us - b->taken_us >= l->trial_us;
}

void breaker_look(const struct breaker *b, const struct breaker_limits *l, int64_t now_us,
                  struct breaker_view *ret)
{
    enum breaker_state state =
        b->state == BREAKER_OPEN && now_us >= b->until_us ? BREAKER_HALF_OPEN : b->state;

    *ret = (struct breaker_view){.state = state,
                                 .may_take = 1,
                                 .is_slow = state != BREAKER_CLOSED && b->why == BREAKER_SLOW};
    if (state == BREAKER_OPEN) {
        ret->may_take = 0;
        ret->not_before_us = b->until_us;
    } else if (b->state == BREAKER_HALF_OPEN && b->n_taken - b->n_ended >= l->probes &&
               !probes_are_lost(b, l, now_us)) {
        ret->may_take = 0;
        ret->not_before_us = b->taken_us + l->trial_us;
    }
}

int32_t breaker_take(struct breaker *b, const struct breaker_limits *l, int64_t now_us)
{
    struct breaker_view v;

    breaker_look(b, l, now_us, &v);
    if (v.state != BREAKER_HALF_OPEN || !v.may_take)
        return v.may_take ? b->turn : -1;
    if (b->state == BREAKER_OPEN)
        go(b, BREAKER_HALF_OPEN);
    if (probes_are_lost(b, l, now_us))
        b->n_taken = b->n_ended = 0;
    b->n_taken++;
    b->taken_us = now_us;
    return b->turn;
}

static int is_slow(const struct breaker_limits *l, const struct breaker_note *n)
{
    return n->usual_us > 0 && n->first_us > l->slow_us && n->first_us / l->slow_times > n->usual_us;
}

/* Content came, while closed: is it one of too many slow answers? */
static int note_passed(struct breaker *b, const struct breaker_limits *l,
                       const struct breaker_note *n, int64_t now_us)
{
    b->n_failed = 0;
    if (n->first_us >= 0)
        b->n_slow = is_slow(l, n) ? b->n_slow + 1 : 0;
    if (b->n_slow < l->slow_calls)
        return 0;
    return reopen(b, l, BREAKER_SLOW, n->jitter, now_us);
}

static int note_failed(struct breaker *b, const struct breaker_limits *l,
                       const struct breaker_note *n, int64_t now_us)
{
    int64_t n_failed, n_all = sum(b, l, now_us, &n_failed);
    enum breaker_why why = ++b->n_failed >= l->failures                    ? BREAKER_FAILURES
                           : n_all < l->calls_min                          ? BREAKER_NEVER
                           : n_failed * 100 >= n_all * (int64_t)l->percent ? BREAKER_RATE
                                                                           : BREAKER_NEVER;

    return why == BREAKER_NEVER ? 0 : reopen(b, l, why, n->jitter, now_us);
}

/* A probe has ended, or brought content. */
static int note_probe(struct breaker *b, const struct breaker_limits *l,
                      const struct breaker_note *n, int64_t now_us)
{
    if (b->n_ended < b->n_taken)
        b->n_ended++;
    if (n->end == BREAKER_NOTHING)
        return 0;
    if (n->end == BREAKER_FAILED)
        return reopen(b, l, BREAKER_PROBE, n->jitter, now_us);
    if (is_slow(l, n))
        return reopen(b, l, BREAKER_SLOW, n->jitter, now_us);
    if (++b->n_passed < l->passes)
        return 0;
    go(b, BREAKER_CLOSED);
    b->span_us = 0;
    for (int i = 0; i < BREAKER_BUCKETS; i++) /* what was before says nothing of what is now */
        b->bucket[i].n = b->bucket[i].n_failed = 0;
    return 1;
}

/* It asked for less work, or for another key. What several requests hear of one refusal counts
 * once; a wish is followed in any case. */
static int note_refused(struct breaker *b, const struct breaker_limits *l,
                        const struct breaker_note *n, int64_t now_us)
{
    int64_t ask = n->retry_us < l->ask_us_max ? n->retry_us : l->ask_us_max;

    if (n->end == BREAKER_BUSY && ask > 0) {
        if (b->state == BREAKER_OPEN && now_us + ask <= b->until_us)
            return 0;
        open(b, BREAKER_ASKED, ask, n->jitter, now_us);
        return 1;
    }
    if (n->turn != b->turn || b->state == BREAKER_OPEN)
        return 0;
    return reopen(b, l, n->end == BREAKER_BUSY ? BREAKER_ASKED : BREAKER_REFUSED, n->jitter,
                  now_us);
}

int breaker_note(struct breaker *b, const struct breaker_limits *l, const struct breaker_note *n,
                 int64_t now_us)
{
    CHECK(l->window_us >= BREAKER_BUCKETS && l->open_us > 0 && l->slow_times > 0);
    if (n->end == BREAKER_PASSED || n->end == BREAKER_FAILED)
        count(b, l, n->end == BREAKER_FAILED, now_us);
    if (n->end == BREAKER_BUSY || n->end == BREAKER_KEYLESS)
        return note_refused(b, l, n, now_us);
    if (n->turn != b->turn || b->state == BREAKER_OPEN)
        return 0;
    if (b->state == BREAKER_HALF_OPEN)
        return note_probe(b, l, n, now_us);
    return n->end == BREAKER_PASSED   ? note_passed(b, l, n, now_us)
           : n->end == BREAKER_FAILED ? note_failed(b, l, n, now_us)
                                      : 0;
}
