/* The places at a supplier: never more than there are, and who waits goes by tiers and turns. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/err.h"
#include "base/rand.h"
#include "cloud/line.h"

enum { N = 64 };

static struct mbox box;
static struct mbox_item item[N];
static struct line_place place[N];

static int enter(struct line *l, int i, enum tier tier, int32_t tenant, int32_t n_seqs, int64_t n)
{
    place[i] = (struct line_place){.tier = tier,
                                   .tenant = tenant,
                                   .n_seqs = n_seqs,
                                   .n_tokens = n,
                                   .reader = &box,
                                   .item = &item[i]};
    return line_enter(l, &place[i]);
}

static int first(struct line *l, int i, int32_t n_seqs)
{
    place[i] = (struct line_place){.tier = TIER_DEFAULT,
                                   .tenant = 9,
                                   .n_seqs = n_seqs,
                                   .n_tokens = 10,
                                   .goes_first = 1,
                                   .reader = &box,
                                   .item = &item[i]};
    return line_enter(l, &place[i]);
}

/* Which one was told, and no other; -1: none. */
static int told(void)
{
    struct mbox_item *list = mbox_take(&box), *it = mbox_next(&list);

    assert_null(list);
    assert_true(!it || line_has(&place[it - item]));
    return it ? (int)(it - item) : -1;
}

static void expect(const struct line *l, int32_t inside, int32_t waiting)
{
    int32_t a, b;

    line_look(l, &a, &b);
    assert_int_equal(a, inside);
    assert_int_equal(b, waiting);
}

static int setup(void **state)
{
    *state = line_new(2);
    return !*state || mbox_open(&box) ? -1 : 0;
}

static int teardown(void **state)
{
    expect(*state, 0, 0);
    line_free(*state);
    mbox_close(&box);
    return 0;
}

static void by_tiers(void **state)
{
    static const enum tier tiers[] = {TIER_BATCH, TIER_FLEX, TIER_DEFAULT, TIER_PRIORITY};
    struct line *l = *state;

    assert_true(enter(l, 0, TIER_BATCH, 1, 1, 10));
    assert_true(enter(l, 1, TIER_BATCH, 1, 1, 10));
    for (int i = 0; i < 4; i++)
        assert_false(enter(l, 2 + i, tiers[i], 1, 1, 10));
    expect(l, 2, 4);
    assert_int_equal(told(), -1); /* what is there stays there */
    for (int i = 0; i < 4; i++) {
        line_leave(l, &place[i < 2 ? i : 7 - i], 1);
        assert_int_equal(told(), 5 - i);
        expect(l, 2, 3 - i);
    }
    line_leave(l, &place[3], 1);
    line_leave(l, &place[2], 1);
    line_leave(l, &place[2], 1); /* again: nothing */
}

/* One tenant's hundred long ones do not keep another's short ones waiting. */
static void by_turns(void **state)
{
    struct line *l = *state;
    int at[N], n = 0;

    assert_true(enter(l, 0, TIER_DEFAULT, 1, 2, 0));
    for (int i = 1; i < 20; i++)
        assert_false(enter(l, i, TIER_DEFAULT, 1, 2, 5 * SCHED_QUANTUM));
    for (int i = 20; i < 30; i++)
        assert_false(enter(l, i, TIER_DEFAULT, 2, 2, SCHED_QUANTUM / 4));
    for (int last = 0; last >= 0; last = told()) {
        at[last] = n++;
        line_leave(l, &place[last], 0);
    }
    assert_int_equal(n, 30);
    for (int i = 20; i < 30; i++)
        assert_true(at[i] <= i - 20 + 1 + 2); /* the first, and two of the others in between */
}

/* Answers are charged, too, when they are known: also who asks shortly pays for long ones. */
static void answers_count(void **state)
{
    struct line *l = *state;
    int n[2] = {0};

    assert_true(enter(l, 0, TIER_DEFAULT, 3, 2, 0));
    for (int i = 1; i < 40; i++)
        assert_false(enter(l, i, TIER_DEFAULT, i % 2, 2, 10));
    line_leave(l, &place[0], 0);
    for (int i = 0; i < 20; i++) {
        int k = told();
        n[k % 2]++;
        line_leave(l, &place[k], k % 2 ? 3 * SCHED_QUANTUM : 10);
    }
    assert_in_range(n[1], 1, 3);
    for (int k; (k = told()) >= 0;)
        line_leave(l, &place[k], 0);
}

/* More sequences than there are places: alone. Nobody overtakes it. */
static void large_ones(void **state)
{
    struct line *l = *state;

    assert_true(enter(l, 0, TIER_DEFAULT, 1, 1, 1));
    assert_false(enter(l, 1, TIER_DEFAULT, 2, 5, 1));
    assert_false(enter(l, 2, TIER_DEFAULT, 3, 1, 1)); /* a place is free, and not for it */
    expect(l, 1, 6);
    line_leave(l, &place[0], 1);
    assert_int_equal(told(), 1);
    expect(l, 5, 1);
    line_leave(l, &place[2], 0); /* does not want to wait */
    expect(l, 5, 0);
    line_leave(l, &place[1], 1);
    assert_int_equal(told(), -1);
}

/* Below a higher tier that never ends one goes in the end. */
static void not_for_ever(void **state)
{
    struct line *l = *state;
    int n = 0, k = 0;

    assert_true(enter(l, 0, TIER_PRIORITY, 1, 2, 1));
    assert_false(enter(l, 1, TIER_BATCH, 2, 2, 1));
    assert_false(enter(l, 2, TIER_PRIORITY, 1, 2, 1));
    assert_false(enter(l, 3, TIER_PRIORITY, 1, 2, 1));
    while (k != 1) {
        int last = k;
        line_leave(l, &place[last], 1);
        k = told();
        assert_true(k >= 0 && ++n <= SCHED_STEPS + 3);
        assert_false(enter(l, last, TIER_PRIORITY, 1, 2, 1)); /* and comes again */
    }
    assert_true(n >= SCHED_STEPS);
    for (; k >= 0; k = told())
        line_leave(l, &place[k], 1);
}

/* Who is within a contract goes before all, and before a larger one that has no room. */
static void contracts_go_first(void **state)
{
    struct line *l = *state;

    assert_true(enter(l, 0, TIER_PRIORITY, 1, 2, 10));
    assert_false(enter(l, 1, TIER_PRIORITY, 1, 2, 10));
    assert_false(first(l, 2, 1));
    assert_false(first(l, 3, 1));
    line_leave(l, &place[0], 1);
    for (struct mbox_item *list = mbox_take(&box), *it; (it = mbox_next(&list));)
        assert_true(it == &item[2] || it == &item[3]); /* both */
    expect(l, 2, 2);
    line_leave(l, &place[2], 1);
    assert_int_equal(told(), -1); /* the larger one has no room yet */
    assert_true(first(l, 4, 1));  /* and does not keep it out */
    expect(l, 2, 2);
    line_leave(l, &place[3], 1);
    line_leave(l, &place[4], 1);
    assert_int_equal(told(), 1);
    line_leave(l, &place[1], 1);
}

/* Places that are kept for contracts stay free for them; one is everybody's all the same. */
static void places_are_kept(void **state)
{
    struct line *l = line_new(4);

    (void)state;
    line_keep(l, 3, 0);
    assert_true(enter(l, 0, TIER_PRIORITY, 1, 1, 10));
    assert_false(enter(l, 1, TIER_PRIORITY, 1, 1, 10));
    assert_true(first(l, 2, 1));
    assert_true(first(l, 3, 2));
    assert_false(first(l, 4, 1));
    line_leave(l, &place[0], 1);
    assert_int_equal(told(), 4); /* it goes before, also to a place that is not kept */
    line_leave(l, &place[2], 1);
    assert_int_equal(told(), 1); /* three are there: the fourth is everybody's */
    assert_false(enter(l, 5, TIER_FLEX, 2, 1, 10));
    line_leave(l, &place[3], 1);
    assert_int_equal(told(), -1);
    expect(l, 2, 1);
    line_keep(l, 1, 0);
    assert_int_equal(told(), 5);
    line_keep(l, 100, 0); /* more than there are: as all but one */
    assert_false(enter(l, 6, TIER_FLEX, 2, 1, 10));
    assert_true(first(l, 7, 1));
    line_keep(l, 0, 0);
    assert_int_equal(told(), -1);
    line_leave(l, &place[1], 1);
    assert_int_equal(told(), 6);
    for (int i = 0; i < 8; i++)
        line_leave(l, &place[i], 1);
    expect(l, 0, 0);
    line_free(l);
}

/* A share of the places is kept, of those that may be used. */
static void a_share_is_kept(void **state)
{
    struct line *l = line_new(8);

    (void)state;
    line_keep(l, 1, 500000); /* four */
    for (int i = 0; i < 4; i++)
        assert_true(enter(l, i, TIER_DEFAULT, 1, 1, 10));
    assert_false(enter(l, 4, TIER_DEFAULT, 1, 1, 10));
    line_derate(l, 500000); /* two of four */
    for (int i = 0; i < 2; i++)
        line_leave(l, &place[i], 1);
    assert_int_equal(told(), -1);
    line_leave(l, &place[2], 1);
    assert_int_equal(told(), 4);
    for (int i = 3; i < 5; i++)
        line_leave(l, &place[i], 1);
    expect(l, 0, 0);
    line_free(l);
}

/* One that is owed a place waits for one that is not kept, and keeps no contract from its own. */
static void owed_and_kept(void **state)
{
    struct line *l = line_new(2);
    int n = 0;

    (void)state;
    line_keep(l, 1, 0);
    assert_true(enter(l, 0, TIER_PRIORITY, 1, 1, 10));
    assert_false(enter(l, 1, TIER_BATCH, 2, 1, 10));
    for (int k = 2; place[1].turn.is_owed == 0; k = k == 2 ? 0 : 2) {
        assert_false(enter(l, k, TIER_PRIORITY, 1, 1, 10));
        line_leave(l, &place[k == 2 ? 0 : 2], 1);
        if (told() == 1) { /* it was owed, and has gone */
            n = -1;
            line_leave(l, &place[k], 1);
            break;
        }
        assert_true(++n <= SCHED_STEPS + 3);
    }
    assert_int_equal(n, -1);
    /* It has the place that is everybody's; the contract's is kept. */
    assert_true(first(l, 4, 1));
    line_leave(l, &place[4], 1);
    line_leave(l, &place[1], 1);
    expect(l, 0, 0);
    line_free(l);
}

/* Thousands wait and leave without having been there: while all places are taken that looks at none
 * of the others. Nothing here measures the time: by looks at all of them the test would take
 * minutes. */
static void many_give_up(void **state)
{
    enum { MANY = 60000 };
    struct line *l = *state;
    struct line_place *p = calloc(MANY, sizeof *p);
    struct mbox_item *it = calloc(MANY, sizeof *it);

    assert_true(p && it);
    assert_true(enter(l, 0, TIER_DEFAULT, 1, 2, 1));
    for (int i = 0; i < MANY; i++) {
        p[i] = (struct line_place){
            .tier = TIER_DEFAULT, .tenant = i % 50, .n_seqs = 1, .reader = &box, .item = &it[i]};
        assert_false(line_enter(l, &p[i]));
    }
    for (int i = MANY - 1; i > 0; i--)
        line_leave(l, &p[i], 0);
    line_leave(l, &place[0], 1);
    assert_true(line_has(&p[0]));
    assert_ptr_equal(mbox_take(&box), &it[0]);
    line_leave(l, &p[0], 1);
    free(p);
    free(it);
}

/* ---- many threads ---------------------------------------------------------------------------- */

static struct line *shared;
static _Atomic int n_there;

static void *come_and_go(void *arg)
{
    uint64_t seed = (uint64_t)(uintptr_t)arg;
    struct mbox own;
    struct mbox_item it = {0};

    CHECK(!mbox_open(&own));
    for (uint64_t i = 0; i < 500; i++) {
        struct line_place p = {.tier = (enum tier)(i % TIER_AUTO),
                               .tenant = (int32_t)seed,
                               .n_seqs = 1,
                               .reader = &own,
                               .item = &it};
        uint32_t x[4];
        int waits = !line_enter(shared, &p);
        rand_philox(seed, i, 0, x);
        if (waits && x[0] % 4) { /* the others go away again */
            while (!line_has(&p)) {
                mbox_wait(&own, -1);
                mbox_clear(&own);
            }
        }
        if (line_has(&p)) {
            CHECK(atomic_fetch_add(&n_there, 1) < 2);
            atomic_fetch_sub(&n_there, 1);
        }
        line_leave(shared, &p, 1);
        mbox_clear(&own);
        for (struct mbox_item *list = mbox_take(&own); list;)
            mbox_next(&list);
        CHECK(!it.posted);
    }
    mbox_close(&own);
    return NULL;
}

static void many_threads(void **state)
{
    pthread_t t[4];

    shared = *state;
    for (uintptr_t i = 0; i < ARRAY_LEN(t); i++)
        assert_int_equal(pthread_create(&t[i], NULL, come_and_go, (void *)i), 0);
    for (size_t i = 0; i < ARRAY_LEN(t); i++)
        pthread_join(t[i], NULL);
}

/* A part of the places: what is there stays, who waits goes only within it; with none everybody who
 * waits is turned away, and nobody is let in. */
static uint32_t random_of(uint64_t seed, uint64_t i)
{
    uint32_t r[4];

    rand_philox(seed, i, 0, r);
    return r[0];
}

/* Who waits is told how many go before it, and so many do, when nobody has used more than another.
 */
static void places(void **state)
{
    static const enum tier tiers[] = {TIER_BATCH, TIER_FLEX, TIER_DEFAULT, TIER_PRIORITY};
    struct line *l = *state;
    int32_t before[N];
    int64_t now_us = 1;

    for (uint64_t seed = 1; seed < 50; seed++) {
        int32_t n = 3 + (int32_t)(random_of(seed, 0) % (N - 3));
        uint64_t seen = 0;
        for (int i = 0; i < n; i++)
            enter(l, i, i < 2 ? TIER_BATCH : tiers[random_of(seed, 2 * (uint64_t)i) % 4],
                  (int32_t)(random_of(seed, 2 * (uint64_t)i + 1) % 5), 1, 0);
        now_us += LINE_PLACED_US;
        assert_int_equal(line_before(l, &place[0], now_us), -1); /* it does not wait */
        for (int i = 2; i < n; i++) {
            before[i] = line_before(l, &place[i], now_us);
            assert_true(before[i] >= 0 && before[i] < n - 2);
            seen |= UINT64_C(1) << before[i];
        }
        assert_true(seen == (UINT64_C(1) << (n - 2)) - 1); /* each place is one's */
        line_leave(l, &place[0], 0);
        for (int at = 0; at < n - 2; at++) {
            int who = told();
            assert_int_equal(before[who], at);
            assert_int_equal(line_before(l, &place[who], now_us), -1);
            line_leave(l, &place[who], 0);
        }
        line_leave(l, &place[1], 0);
    }
}

/* A place is what it was a moment ago: nobody is looked at more often. */
static void places_now_and_then(void **state)
{
    struct line *l = *state;

    for (int i = 0; i < 4; i++)
        enter(l, i, TIER_DEFAULT, 1, 1, 0);
    assert_int_equal(line_before(l, &place[3], LINE_PLACED_US), 1);
    line_leave(l, &place[2], 0);
    assert_int_equal(line_before(l, &place[3], 2 * LINE_PLACED_US - 1), 1);
    assert_int_equal(line_before(l, &place[3], 2 * LINE_PLACED_US), 0);
    enter(l, 2, TIER_DEFAULT, 1, 1, 0);
    assert_int_equal(line_before(l, &place[2], 2 * LINE_PLACED_US), -1); /* not yet placed */
    for (int i = 3; i >= 0; i--)
        line_leave(l, &place[i], 0);
    while (told() >= 0)
        ;
}

static void derated(void **state)
{
    struct line *l = line_new(4);
    struct mbox_item *list;
    int n = 0;

    (void)state;
    for (int i = 0; i < 4; i++)
        assert_int_equal(enter(l, i, TIER_DEFAULT, i, 1, 1), 1);
    line_derate(l, 500000);
    expect(l, 4, 0);
    for (int i = 4; i < 8; i++)
        assert_int_equal(enter(l, i, TIER_DEFAULT, i, 1, 1), 0);
    line_leave(l, &place[0], 1);
    line_leave(l, &place[1], 1);
    assert_int_equal(told(), -1); /* two are there, which is all that may be */
    line_leave(l, &place[2], 1);
    assert_int_equal(told(), 4);
    expect(l, 2, 3);
    line_derate(l, 0);
    expect(l, 2, 0);
    for (list = mbox_take(&box); mbox_next(&list);)
        n++;
    assert_int_equal(n, 3);
    for (int i = 5; i < 8; i++)
        assert_true(line_is_closed(&place[i]) && !line_has(&place[i]));
    assert_int_equal(enter(l, 8, TIER_PRIORITY, 8, 1, 1), ERR_SITE_CLOSED);
    for (int i = 3; i < 8; i++) /* those that were turned away leave, too */
        line_leave(l, &place[i], 1);
    assert_int_equal(told(), -1);
    line_derate(l, 1000000);
    assert_int_equal(enter(l, 9, TIER_DEFAULT, 9, 1, 1), 1);
    line_leave(l, &place[9], 1);
    expect(l, 0, 0);
    line_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(by_tiers, setup, teardown),
        cmocka_unit_test_setup_teardown(by_turns, setup, teardown),
        cmocka_unit_test_setup_teardown(answers_count, setup, teardown),
        cmocka_unit_test_setup_teardown(large_ones, setup, teardown),
        cmocka_unit_test_setup_teardown(not_for_ever, setup, teardown),
        cmocka_unit_test_setup_teardown(many_give_up, setup, teardown),
        cmocka_unit_test_setup_teardown(contracts_go_first, setup, teardown),
        cmocka_unit_test_setup_teardown(places_are_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(a_share_is_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(owed_and_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(places, setup, teardown),
        cmocka_unit_test_setup_teardown(places_now_and_then, setup, teardown),
        cmocka_unit_test_setup_teardown(derated, setup, teardown),
        cmocka_unit_test_setup_teardown(many_threads, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
