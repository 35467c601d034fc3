/* Which nodes of a site are lent to other work, by worked examples. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "policy/derate.h"
#include "policy/lend_nodes.h"

#define SECOND INT64_C(1000000)
#define N      4

static const struct lend_rules rules = {1, 60 * SECOND};
static const struct lend_site idle = {0, 0, 64, DERATE_ALL, DERATE_ALL};

/* Four nodes, so many of which are lent, the first one first. */
static void lend(struct lend_node v[N], int n_lent)
{
    for (int i = 0; i < N; i++)
        v[i] = (struct lend_node){i < n_lent ? LEND_LENT : LEND_SERVING, 10 + i};
}

static struct lend_plan plan(struct lend_site s, int n_lent)
{
    struct lend_node v[N];
    struct lend_gate g = {0};

    lend(v, n_lent);
    return lend_step(&g, &rules, &s, v, N, 100 * SECOND);
}

/* Three of four are lent when nothing has come for a minute, no earlier. */
static void dwells(void **state)
{
    struct lend_node v[N];
    struct lend_gate g = {0};
    struct lend_site one = idle;
    struct lend_plan p;

    (void)state;
    lend(v, 0);
    one.n_busy = 1;
    assert_int_equal(lend_step(&g, &rules, &idle, v, N, 100 * SECOND).n_out, 0);
    p = lend_step(&g, &rules, &idle, v, N, 160 * SECOND - 1);
    assert_int_equal(p.n_out + p.n_back + p.n_wanted, 0);
    p = lend_step(&g, &rules, &idle, v, N, 160 * SECOND);
    assert_int_equal(p.n_out, 3);
    assert_int_equal(p.n_wanted, 3);
    assert_int_equal(p.cause, LEND_IDLE);
    /* A request within the minute leaves two: what was idle all the time. */
    g = (struct lend_gate){0};
    assert_int_equal(lend_step(&g, &rules, &idle, v, N, 200 * SECOND).n_out, 0);
    assert_int_equal(lend_step(&g, &rules, &one, v, N, 230 * SECOND).n_out, 0);
    assert_int_equal(lend_step(&g, &rules, &idle, v, N, 260 * SECOND).n_out, 2);
    /* All nodes at work for a moment begin it anew, and so does a clock that stepped back. */
    one.n_busy = 64;
    assert_int_equal(lend_step(&g, &rules, &idle, v, N, 300 * SECOND).n_out, 0);
    assert_int_equal(lend_step(&g, &rules, &one, v, N, 330 * SECOND).n_out, 0);
    assert_int_equal(lend_step(&g, &rules, &idle, v, N, 361 * SECOND).n_out, 0);
    assert_int_equal(lend_step(&g, &rules, &idle, v, N, 350 * SECOND).n_out, 0);
    assert_int_equal(lend_step(&g, &rules, &idle, v, N, 410 * SECOND).n_out, 3);
}

/* 16 places a node, one of which always serves. */
static void comes_back_for_work(void **state)
{
    struct lend_site s = idle;

    (void)state;
    s.n_busy = 16;
    assert_int_equal(plan(s, 3).n_back, 0); /* the node that serves has room for them */
    s.n_busy = 17;
    assert_int_equal(plan(s, 3).n_back, 1);
    assert_int_equal(plan(s, 3).n_wanted, 2);
    assert_int_equal(plan(s, 3).cause, LEND_WORK);
    s.n_busy = 33;
    assert_int_equal(plan(s, 3).n_back, 2);
    s.n_busy = 1000;
    assert_int_equal(plan(s, 3).n_back, 3);
    assert_int_equal(plan(s, 3).n_wanted, 0);
    s.n_busy = 5;
    s.n_places = 0; /* nothing is known of its places */
    assert_int_equal(plan(s, 3).n_back, 3);
}

/* Between lending and asking back lies a node: with 10 at work one is needed, one more stays. */
static void does_not_flap(void **state)
{
    struct lend_node v[N];
    struct lend_gate g = {0};
    struct lend_site s = idle;

    (void)state;
    s.n_busy = 10;
    lend(v, 0);
    lend_step(&g, &rules, &s, v, N, 100 * SECOND);
    assert_int_equal(lend_step(&g, &rules, &s, v, N, 160 * SECOND).n_out, 2);
    lend(v, 2);
    g = (struct lend_gate){0};
    for (int i = 0; i < 100; i++) { /* from 10 to 32 nothing moves */
        struct lend_plan p;
        s.n_busy = i % 2 ? 10 : 32;
        p = lend_step(&g, &rules, &s, v, N, (200 + i * 60) * SECOND);
        assert_int_equal(p.n_out + p.n_back, 0);
    }
}

static void other_reasons(void **state)
{
    struct lend_site s = idle;

    (void)state;
    s.n_kept = 20; /* of contracts: two nodes */
    assert_int_equal(plan(s, 3).n_back, 1);
    assert_int_equal(plan(s, 3).cause, LEND_CONTRACTS);
    s = idle;
    s.factor_ppm = 500000; /* two nodes' power: one to serve, one to be lent */
    assert_int_equal(plan(s, 3).n_back, 2);
    assert_int_equal(plan(s, 3).cause, LEND_FACTOR);
    s.soon_ppm = 0; /* the grid takes all of it in five minutes */
    assert_int_equal(plan(s, 1).n_back, 1);
    assert_int_equal(plan(s, 1).cause, LEND_ANNOUNCED);
    s = idle;
    s.factor_ppm = 0; /* nobody is let in */
    assert_int_equal(plan(s, 3).n_back, 3);
}

/* What returns is no more lent, and still away; what is withheld is never lent. */
static void counts_states(void **state)
{
    struct lend_node v[N] = {
        {LEND_RETURNING, 1}, {LEND_LENT, 2}, {LEND_WITHHELD, 3}, {LEND_SERVING, 4}};
    struct lend_gate g = {0};
    const struct lend_rules now = {1, 0};
    struct lend_plan p = lend_step(&g, &now, &idle, v, N, SECOND);

    (void)state;
    assert_int_equal(p.n_out, 1);
    assert_int_equal(p.n_wanted, 2);
    v[3].state = LEND_WITHHELD;
    assert_int_equal(lend_step(&g, &now, &idle, v, N, SECOND).n_out, 0);
}

static void which(void **state)
{
    struct lend_node v[N] = {
        {LEND_LENT, 30}, {LEND_LENT, 50}, {LEND_SERVING, 20}, {LEND_SERVING, 10}};

    (void)state;
    assert_int_equal(lend_next_back(v, N), 1); /* the newest lent */
    assert_int_equal(lend_next_out(v, N), 3);  /* that has served longest */
    v[1].since_us = 30;
    assert_int_equal(lend_next_back(v, N), 1);
    v[0].state = v[1].state = LEND_RETURNING;
    assert_int_equal(lend_next_back(v, N), -1);
    v[2].state = v[3].state = LEND_WITHHELD;
    assert_int_equal(lend_next_out(v, N), -1);
}

static void places(void **state)
{
    (void)state;
    assert_int_equal(lend_places_ppm(DERATE_ALL, 0, 0, 0), DERATE_ALL); /* it has no nodes */
    assert_int_equal(lend_places_ppm(DERATE_ALL, 4, 0, 1), DERATE_ALL);
    assert_int_equal(lend_places_ppm(DERATE_ALL, 4, 3, 1), 250000);
    assert_int_equal(lend_places_ppm(DERATE_ALL, 3, 1, 1), 666667);
    assert_int_equal(lend_places_ppm(500000, 4, 1, 1), 250000);
    assert_int_equal(lend_places_ppm(500000, 4, 3, 1), 250000); /* what always serves */
    assert_int_equal(lend_places_ppm(100000, 4, 3, 1), 100000);
    assert_int_equal(lend_places_ppm(DERATE_ALL, 4, 4, 1), 250000);
    assert_int_equal(lend_places_ppm(0, 4, 2, 1), 0);
}

static void names(void **state)
{
    (void)state;
    assert_string_equal(lend_state_name(LEND_RETURNING), "returning");
    assert_string_equal(lend_cause_name(LEND_ANNOUNCED), "curtailment announced");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dwells),        cmocka_unit_test(comes_back_for_work),
        cmocka_unit_test(does_not_flap), cmocka_unit_test(other_reasons),
        cmocka_unit_test(counts_states), cmocka_unit_test(which),
        cmocka_unit_test(places),        cmocka_unit_test(names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
