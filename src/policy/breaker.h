/* The breaker of one offer: whether requests are sent to a supplier that fails. Pure.
 *
 * closed     requests go there. Failures in a row, a high share of failures in the last window, or
 *            a supplier that asks for less work open it.
 * open       nothing goes there until a time. Each time that it opens again the span doubles, up to
 *            a limit; jitter keeps several servers from coming back together.
 * half open  a few probes are let through. When enough of them bring content it is closed; the
 *            first that fails opens it again.
 *
 * What counts as success is the first content of an answer, never its head. A supplier whose first
 * content comes far later than the others' is marked as slow by the same means, but a slow one is
 * better than none: the caller may still send requests there (breaker_view.is_slow).
 *
 * A request is taken, and its end is noted with the turn it was taken in: what began before the
 * breaker changed says nothing about how things are since. Time is the caller's, microseconds. */
#ifndef POLICY_BREAKER_H
#define POLICY_BREAKER_H

#include <stdint.h>

#define BREAKER_BUCKETS 8 /* of the window; it slides by one of them */

struct breaker_limits {
    int32_t failures;    /* in a row, that open it */
    int32_t percent;     /* share of failures in the window that opens it ... */
    int32_t calls_min;   /* ... once so many ended there */
    int64_t window_us;   /* >= BREAKER_BUCKETS */
    int64_t open_us;     /* the first span; > 0 */
    int64_t open_us_max; /* of spans; a supplier's own wish may be longer, up to ask_us_max */
    int64_t ask_us_max;
    int32_t probes;     /* under way together while half open */
    int32_t passes;     /* probes with content, in a row, that close it */
    int64_t trial_us;   /* a probe of which nothing was heard for so long is given up */
    int32_t slow_times; /* slow: later than so many times what is usual ... */
    int64_t slow_us;    /* ... and than this ... */
    int32_t slow_calls; /* ... so many times in a row */
};
extern const struct breaker_limits breaker_usual;

enum breaker_state { BREAKER_CLOSED, BREAKER_OPEN, BREAKER_HALF_OPEN };

/* Why it opened last. */
enum breaker_why {
    BREAKER_NEVER,
    BREAKER_FAILURES, /* in a row */
    BREAKER_RATE,     /* their share */
    BREAKER_ASKED,    /* the supplier asked for less work */
    BREAKER_REFUSED,  /* it refuses this server's key */
    BREAKER_PROBE,    /* a probe failed */
    BREAKER_SLOW,
    BREAKER_WHYS
};
const char *breaker_why_name(enum breaker_why why);
const char *breaker_state_name(enum breaker_state state);

/* Zeroed: closed. */
struct breaker {
    enum breaker_state state;
    enum breaker_why why;
    int32_t turn; /* of the state: counts its changes */
    int32_t n_failed, n_slow;
    struct {
        int64_t nth; /* of the buckets since time 0 */
        int32_t n, n_failed;
    } bucket[BREAKER_BUCKETS];
    int64_t until_us;                   /* open */
    int64_t span_us;                    /* the last span; 0: the first one comes */
    int32_t n_taken, n_ended, n_passed; /* half open: probes */
    int64_t taken_us;                   /* of the last probe */
};

enum breaker_end {
    BREAKER_PASSED,  /* its first content came */
    BREAKER_FAILED,  /* by the supplier's fault, before or after its first content */
    BREAKER_BUSY,    /* the supplier asked for less work */
    BREAKER_KEYLESS, /* it refused the key */
    BREAKER_NOTHING  /* ended without saying anything of the supplier: cancelled, a wrong request */
};

struct breaker_note {
    enum breaker_end end;
    int32_t turn;     /* of breaker_take */
    int64_t first_us; /* PASSED: time to the first content; < 0: not known */
    int64_t usual_us; /* PASSED: what is usual, of its own and of its peers; <= 0: no peers */
    int64_t retry_us; /* BUSY: how long it asked for; <= 0: it did not say */
    uint32_t jitter;  /* any number: its share of UINT32_MAX lengthens a span by up to a fourth */
};

struct breaker_view {
    enum breaker_state state;
    int may_take;          /* a request may be sent now */
    int is_slow;           /* it is not closed, because of slowness only */
    int64_t not_before_us; /* may_take is 0: the earliest time at which that may change */
};
void breaker_look(const struct breaker *b, const struct breaker_limits *l, int64_t now_us,
                  struct breaker_view *ret);
/* A request is sent there. Returns the turn that belongs to it. It may also be called where
 * may_take is 0, if there is nobody else: then it is not a probe. */
int32_t breaker_take(struct breaker *b, const struct breaker_limits *l, int64_t now_us);
/* A request's first content came, or it ended. A request that fails after its first content is
 * noted twice. Returns 1 when the state has changed. */
int breaker_note(struct breaker *b, const struct breaker_limits *l, const struct breaker_note *n,
                 int64_t now_us);

#endif
