/* The breaker: what opens it, how few requests reach a supplier that fails, and that it always
 * closes again when the fault is over. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rand.h"
#include "policy/breaker.h"

#define S INT64_C(1000000)

static const struct breaker_limits *const usual = &breaker_usual;

static int may(const struct breaker *b, int64_t now_us)
{
    struct breaker_view v;

    breaker_look(b, usual, now_us, &v);
    return v.may_take;
}

static enum breaker_state state_at(const struct breaker *b, int64_t now_us)
{
    struct breaker_view v;

    breaker_look(b, usual, now_us, &v);
    return v.state;
}

/* One request that ends so. */
static int one(struct breaker *b, enum breaker_end end, int64_t now_us)
{
    struct breaker_note n = {.end = end, .turn = breaker_take(b, usual, now_us), .first_us = -1};

    return breaker_note(b, usual, &n, now_us);
}

static void failures_in_a_row(void **state)
{
    struct breaker b = {0};

    for (int i = 0; i < 41; i++) /* a passed one between them: not in a row, and not half */
        one(&b, i % 3 ? BREAKER_PASSED : BREAKER_FAILED, 0);
    assert_int_equal(b.state, BREAKER_CLOSED);
    for (int i = 0; i + 1 < usual->failures; i++)
        assert_int_equal(one(&b, BREAKER_FAILED, 0), 0);
    assert_int_equal(one(&b, BREAKER_NOTHING, 0), 0); /* says nothing of the supplier */
    assert_int_equal(one(&b, BREAKER_FAILED, 0), 1);
    assert_int_equal(b.why, BREAKER_FAILURES);
    assert_false(may(&b, usual->open_us - 1));
    assert_int_equal(state_at(&b, usual->open_us), BREAKER_HALF_OPEN);
}

static void share_of_failures(void **state)
{
    struct breaker b = {0};
    int i = 0;

    while (i < 100 && !one(&b, i % 2 ? BREAKER_PASSED : BREAKER_FAILED, 0))
        i++;
    assert_int_equal(i, usual->calls_min); /* the first failure from there on */
    assert_int_equal(b.why, BREAKER_RATE);

    b = (struct breaker){0};
    for (i = 0; i < 100; i++) /* the same share, but too few in any window */
        assert_int_equal(one(&b, i % 2 ? BREAKER_PASSED : BREAKER_FAILED, i * 2 * S), 0);
}

/* Complaint 23: a supplier that answers 429 gets no second request before its time. */
static void asked_for_less(void **state)
{
    struct breaker b = {0};
    struct breaker_note n = {.end = BREAKER_BUSY, .retry_us = 7 * S};
    struct breaker_view v;

    n.turn = breaker_take(&b, usual, 0);
    assert_int_equal(breaker_note(&b, usual, &n, 0), 1);
    breaker_look(&b, usual, 1, &v);
    assert_int_equal(v.may_take, 0);
    assert_int_equal(v.not_before_us, 7 * S);
    n.retry_us = 3 * S; /* another of its answers, to a request that was under way */
    assert_int_equal(breaker_note(&b, usual, &n, S), 0);
    n.retry_us = 9 * S; /* but a later time counts */
    assert_int_equal(breaker_note(&b, usual, &n, S), 1);
    assert_false(may(&b, 10 * S - 1));
    assert_true(may(&b, 10 * S));
    n.retry_us = INT64_MAX; /* no supplier closes itself for ever */
    breaker_note(&b, usual, &n, 10 * S);
    assert_true(may(&b, 10 * S + usual->ask_us_max));

    b = (struct breaker){0}; /* it does not say how long, in the answers to many requests */
    n = (struct breaker_note){.end = BREAKER_BUSY};
    for (int i = 0; i < 64; i++)
        breaker_note(&b, usual, &n, 0);
    assert_true(may(&b, usual->open_us));
}

static void probes(void **state)
{
    struct breaker b = {0};
    int64_t now = 0, span = usual->open_us;

    for (int i = 0; i < usual->failures; i++)
        one(&b, BREAKER_FAILED, now);
    for (int i = 0; i < 10; i++) { /* each probe that fails doubles the span */
        assert_false(may(&b, now + span - 1));
        now += span;
        assert_true(may(&b, now));
        one(&b, BREAKER_FAILED, now);
        assert_int_equal(b.why, BREAKER_PROBE);
        span = span * 2 < usual->open_us_max ? span * 2 : usual->open_us_max;
    }
    now += span;
    breaker_take(&b, usual, now);
    assert_false(may(&b, now)); /* one is under way */
    assert_int_equal(breaker_take(&b, usual, now), -1);
    assert_true(may(&b, now + usual->trial_us)); /* nothing was heard of it */
    now += usual->trial_us;
    one(&b, BREAKER_NOTHING, now); /* its client left: the next one is a probe again */
    assert_true(may(&b, now));
    one(&b, BREAKER_PASSED, now);
    assert_int_equal(b.state, BREAKER_HALF_OPEN);
    one(&b, BREAKER_PASSED, now);
    assert_int_equal(b.state, BREAKER_CLOSED);
    for (int i = 0; i < usual->failures; i++)
        one(&b, BREAKER_FAILED, now);
    assert_true(may(&b, now + usual->open_us)); /* spans begin anew */
}

/* What began before it opened neither closes it nor lengthens its span. */
static void late_ends(void **state)
{
    struct breaker b = {0};
    struct breaker_note pass = {.end = BREAKER_PASSED}, fail = {.end = BREAKER_FAILED};
    int64_t now = usual->open_us;

    for (int i = 0; i < usual->failures; i++)
        one(&b, BREAKER_FAILED, 0);
    for (int i = 0; i < 30; i++)
        assert_int_equal(breaker_note(&b, usual, i % 2 ? &pass : &fail, 0), 0);
    assert_int_equal(state_at(&b, now), BREAKER_HALF_OPEN);
    breaker_take(&b, usual, now);
    for (int i = 0; i < 30; i++)
        assert_int_equal(breaker_note(&b, usual, i % 2 ? &pass : &fail, now), 0);
    assert_int_equal(b.state, BREAKER_HALF_OPEN);
    assert_false(may(&b, now)); /* the probe is still under way */
}

static void slow_answers(void **state)
{
    struct breaker b = {0};
    struct breaker_note n = {.end = BREAKER_PASSED, .first_us = 20 * S, .usual_us = S};
    struct breaker_view v;

    for (int i = 1; i < 20; i++) { /* not in a row */
        n.first_us = i % usual->slow_calls ? 20 * S : S;
        assert_int_equal(breaker_note(&b, usual, &n, 0), 0);
    }
    n.usual_us = 0; /* nobody to compare with */
    for (int i = 0; i < 20; i++)
        assert_int_equal(breaker_note(&b, usual, &n, 0), 0);
    n.usual_us = 1; /* others are faster by far, but this is fast enough */
    n.first_us = usual->slow_us;
    for (int i = 0; i < 20; i++)
        assert_int_equal(breaker_note(&b, usual, &n, 0), 0);
    n.usual_us = S;
    n.first_us = 20 * S;
    for (int i = 0; i < usual->slow_calls; i++)
        breaker_note(&b, usual, &n, 0);
    breaker_look(&b, usual, 0, &v);
    assert_true(v.is_slow && !v.may_take);
    n.turn = breaker_take(&b, usual, usual->open_us);
    breaker_note(&b, usual, &n, usual->open_us); /* a slow probe */
    breaker_look(&b, usual, usual->open_us, &v);
    assert_true(v.is_slow && !v.may_take);
}

/* Samples that make no sense. */
static void odd_samples(void **state)
{
    static const int64_t odd[] = {0, -1, 1, INT64_MAX, INT64_MIN};
    struct breaker b = {0};

    for (uint32_t i = 0; i < 5 * 5 * 5; i++) {
        struct breaker_note n = {.end = BREAKER_PASSED,
                                 .turn = b.turn,
                                 .first_us = odd[i % 5],
                                 .usual_us = odd[i / 5 % 5],
                                 .retry_us = odd[i / 25],
                                 .jitter = UINT32_MAX};
        breaker_note(&b, usual, &n, 0);
        n.end = BREAKER_BUSY;
        breaker_note(&b, usual, &n, 0);
        assert_in_range(b.until_us, 0, usual->ask_us_max / 4 * 5);
        b = (struct breaker){0};
    }
}

/* Random loads and faults: while it is open nothing is let through; while half open no more than
 * the probes; and after the fault it is closed within two spans of traffic. */
static void storms(void **state)
{
    for (uint64_t round = 0; round < 300; round++) {
        struct breaker b = {0};
        int64_t now = 0, fault_until = 0, since_open = 0;
        int32_t n_there = 0, turn = 0;
        uint32_t x[4];
        rand_philox(11, round, 0, x);
        fault_until = (int64_t)(x[0] % 200) * S;
        for (uint64_t k = 1; now < fault_until + 3 * usual->open_us_max; k++) {
            struct breaker_note n = {.first_us = S / 10, .usual_us = S};
            rand_philox(11, round, k, x);
            now += x[0] % (uint32_t)(S / 2);
            if (b.state == BREAKER_OPEN && b.turn != turn) {
                turn = b.turn;
                since_open = now;
                n_there = 0;
            }
            if (!may(&b, now))
                continue;
            assert_false(b.state == BREAKER_OPEN && now < b.until_us);
            n.turn = breaker_take(&b, usual, now);
            n_there += b.state == BREAKER_HALF_OPEN;
            if (now < fault_until && b.state == BREAKER_HALF_OPEN)
                assert_true(n_there <= usual->probes && now - since_open >= usual->open_us / 2);
            n.jitter = x[1];
            n.end = now >= fault_until ? BREAKER_PASSED : x[2] % 8 ? BREAKER_FAILED : BREAKER_BUSY;
            breaker_note(&b, usual, &n, now);
        }
        assert_int_equal(b.state, BREAKER_CLOSED);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(failures_in_a_row), cmocka_unit_test(share_of_failures),
        cmocka_unit_test(asked_for_less),    cmocka_unit_test(probes),
        cmocka_unit_test(late_ends),         cmocka_unit_test(slow_answers),
        cmocka_unit_test(odd_samples),       cmocka_unit_test(storms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
