/* How much an account may still ask of a service, as the service's answers say (rate limit
 * headers). Pure.
 *
 * All requests that go there share what is known, whosever they are: who finds that nothing is left
 * does not ask, but waits for the window's end or goes elsewhere, so that limits are seldom reached
 * and never run into by many at once. What an answer says was so when its request arrived there:
 * requests that began since then are subtracted, and what earlier ones are told later is ignored.
 * When a window has ended, it is as full as it was said to be when full, or where that is not known
 * one request may ask.
 *
 * Zeroed: nothing is known, everything allowed. Time is the caller's, microseconds. */
#ifndef POLICY_ALLOWANCE_H
#define POLICY_ALLOWANCE_H

#include <stdint.h>

#include "job/limits_told.h"

#define ALLOWANCE_US_MAX (INT64_C(3600) * 1000000) /* of a window: nobody is locked out for ever   \
                                                    */

/* Where in the order of requests one is: how many had begun, and of how many tokens. */
struct allowance_mark {
    int64_t n, tokens;
};

struct allowance {
    struct allowance_window {
        int64_t limit;    /* 0: not known */
        int64_t left;     /* may be negative */
        int64_t until_us; /* its end; 0: nothing is known of it */
    } window[LIMITS_KINDS][LIMITS_SPANS];
    struct allowance_mark begun; /* all, ever */
    int64_t n_learned;           /* the latest of them of whose answer something was learned */
    int64_t tokens_usual;        /* of a request: a running mean */
};

/* 0: a request may be sent now; else not before this time. */
int64_t allowance_look(const struct allowance *a, int64_t now_us);
/* One is sent, of about so many tokens: its place. */
struct allowance_mark allowance_begin(struct allowance *a, int64_t n_tokens, int64_t now_us);
/* What its answer says. */
void allowance_learn(struct allowance *a, const struct allowance_mark *of,
                     const struct limits_told *t, int64_t now_us);

#endif
