/* The compute team: every item exactly once, whatever the sizes; what was written is visible when
 * the run returns. The thread sanitizer runs this too. */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/rand.h"
#include "base/team_int.h"

enum { ITEMS = 5000 };

struct job {
    int32_t n;
    int workers;
    uint32_t stamp;
    uint32_t seen[ITEMS]; /* not atomic: the team must order it */
    int bad[256];         /* per worker */
};

static void mark(void *arg, int w, int32_t begin, int32_t end)
{
    struct job *j = arg;
    if (w < 0 || w >= j->workers || begin < 0 || begin >= end || end > j->n) {
        j->bad[w < 0 || w > 255 ? 0 : w]++;
        return;
    }
    for (int32_t i = begin; i < end; i++)
        j->seen[i] += j->stamp;
}

static void run_once(struct team *t, struct job *j, int32_t n, int32_t chunk, uint32_t stamp)
{
    j->n = n;
    j->workers = team_size(t);
    j->stamp = stamp;
    team_run(t, n, chunk, mark, j);
    for (int32_t i = 0; i < n; i++) {
        if (j->seen[i] != stamp)
            fail_msg("item %d of %d (chunk %d): %u times", i, n, chunk, j->seen[i] / stamp);
        j->seen[i] = 0;
    }
    for (int w = 0; w < j->workers; w++)
        assert_int_equal(j->bad[w], 0);
}

static void many_runs(int threads, int runs)
{
    static struct job j;
    struct team *t;
    struct err e;

    assert_int_equal(team_open(&t, threads, &e), 0);
    assert_int_equal(team_size(t), threads);
    memset(&j, 0, sizeof j);
    team_lock(t);
    for (int i = 0; i < runs; i++) {
        uint32_t r[4];
        rand_philox(41, (uint64_t)i, (uint64_t)threads, r);
        run_once(t, &j, (int32_t)(r[0] % (i % 10 ? 60 : ITEMS)),
                 1 + (int32_t)(r[1] % (i % 3 ? 4 : 100)), 1 + r[2] % 1000);
        if (i % 500 == 0)
            sched_yield();
    }
    team_unlock(t);
    team_close(t);
}

static void sizes(void **state)
{
    static struct job j;
    struct team *t;
    struct err e;
    (void)state;
    for (int threads = 1; threads <= 7; threads += 3) {
        assert_int_equal(team_open(&t, threads, &e), 0);
        for (int32_t n = 0; n < 40; n++) { /* fewer items than threads, none at all */
            for (int32_t chunk = 1; chunk < 12; chunk += 2)
                run_once(t, &j, n, chunk, 1);
        }
        run_once(t, &j, ITEMS, INT32_MAX, 1);
        team_close(t);
    }
}

static void one_thread(void **state)
{
    (void)state;
    many_runs(1, 2000);
}

static void as_many_as_cores(void **state)
{
    (void)state;
    many_runs(2, 8000);
}

static void more_than_cores(void **state)
{
    (void)state;
    many_runs(5, 3000);
    many_runs(19, 600);
}

/* Each run reads what the one before wrote, in another split. */
static void shift(void *arg, int w, int32_t begin, int32_t end)
{
    uint32_t(*rows)[1024] = arg;
    (void)w;
    for (int32_t i = begin; i < end; i++)
        rows[1][i] = rows[0][(i + 517) % 1024] + 1;
}

static void runs_in_a_row(void **state)
{
    static uint32_t rows[3][1024];
    struct team *t;
    struct err e;
    (void)state;
    assert_int_equal(team_open(&t, 3, &e), 0);
    memset(rows, 0, sizeof rows);
    for (int i = 0; i < 1500; i++) {
        team_run(t, 1024, 1 + i % 50, shift, rows[i % 2]);
        if (i % 2) /* rows 1 -> 2, then back */
            memcpy(rows[0], rows[2], sizeof rows[0]);
    }
    for (int i = 0; i < 1024; i++)
        assert_int_equal(rows[0][i], 1500);
    team_close(t);
}

struct caller {
    struct team *t;
    struct job j;
};

static void *call(void *arg)
{
    struct caller *c = arg;
    for (int i = 0; i < 400; i++) {
        team_lock(c->t);
        run_once(c->t, &c->j, i % 100, 1 + i % 5, 3);
        team_unlock(c->t);
    }
    return NULL;
}

/* Several engines share one team. */
static void several_callers(void **state)
{
    static struct caller c[3];
    pthread_t thread[3];
    struct team *t;
    struct err e;
    (void)state;
    assert_int_equal(team_open(&t, 3, &e), 0);
    for (int i = 0; i < 3; i++) {
        c[i].t = t;
        assert_int_equal(pthread_create(&thread[i], NULL, call, &c[i]), 0);
    }
    for (int i = 0; i < 3; i++)
        pthread_join(thread[i], NULL);
    team_close(t);
}

/* A worker that sleeps while it holds a claim looks to the team like one whose core is taken. */
struct nap {
    struct job j;
    int nap_us;
    _Atomic int done[8]; /* items by worker */
};

static void mark_and_nap(void *arg, int w, int32_t begin, int32_t end)
{
    struct nap *n = arg;
    mark(&n->j, w, begin, end);
    n->done[w] += end - begin;
    if (w && n->nap_us)
        clock_sleep_us(n->nap_us);
    for (int64_t start = clock_now_us(); !w && clock_now_us() - start < 5;)
        ; /* leave something to the others */
}

static void run_nap(struct team *t, struct nap *n)
{
    team_run(t, n->j.n, 1, mark_and_nap, n);
    for (int32_t i = 0; i < n->j.n; i++) {
        assert_int_equal(n->j.seen[i], 1);
        n->j.seen[i] = 0;
    }
}

static int helped(const struct nap *n)
{
    int items = 0;
    for (int w = 1; w < n->j.workers; w++)
        items += n->done[w];
    return items > 0;
}

/* It is left out, comes as a part-time worker, is sent away and comes again, while each item is
 * done once. Who helps at last is awaited, for long enough on any machine with cores for two. */
static void lost_cores(void **state)
{
    static struct nap n;
    struct team *t;
    struct err e;
    cpu_set_t set;
    (void)state;
    assert_int_equal(sched_getaffinity(0, sizeof set, &set), 0);
    for (int threads = 2; threads <= 5; threads += 3) {
        assert_int_equal(team_open(&t, threads, &e), 0);
        memset(&n, 0, sizeof n);
        n.j.n = 60;
        n.j.workers = threads;
        n.j.stamp = 1;
        for (int round = 0; round < 3; round++) {
            int64_t start = clock_now_us();
            n.nap_us = 1000;
            for (int i = 0; i < 400; i++)
                run_nap(t, &n);
            n.nap_us = 0;
            memset(n.done, 0, sizeof n.done);
            while (!helped(&n) && clock_now_us() - start < 60000000)
                run_nap(t, &n);
            if (CPU_COUNT(&set) > 1)
                assert_true(helped(&n));
        }
        for (int w = 0; w < threads; w++)
            assert_int_equal(n.j.bad[w], 0);
        team_close(t);
    }
}

/* Switched off, all are members whatever happens to them. */
static void all_stay(void **state)
{
    static struct nap n;
    struct team *t;
    struct err e;
    (void)state;
    assert_int_equal(team_open(&t, 3, &e), 0);
    team_set_part_time(t, 0);
    n.j.n = 60;
    n.j.workers = 3;
    n.j.stamp = 1;
    n.nap_us = 1000;
    for (int i = 0; i < 200; i++) {
        run_nap(t, &n);
        assert_int_equal(atomic_load(&t->members), 3);
    }
    team_close(t);
}

static void open_and_close(void **state)
{
    struct team *t;
    struct err e;
    (void)state;
    team_close(NULL);
    for (int i = 0; i < 60; i++) {
        assert_int_equal(team_open(&t, 1 + i % 9, &e), 0);
        team_close(t); /* while workers still start */
    }
    assert_int_equal(team_open(&t, 0, &e), 0); /* as many as the process may use */
    assert_true(team_size(t) >= 1);
    team_close(t);
    assert_int_equal(team_open(&t, -1, &e), ERR_ARG);
    assert_int_equal(team_open(&t, 100000, &e), ERR_ARG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes),
        cmocka_unit_test(one_thread),
        cmocka_unit_test(as_many_as_cores),
        cmocka_unit_test(more_than_cores),
        cmocka_unit_test(runs_in_a_row),
        cmocka_unit_test(several_callers),
        cmocka_unit_test(lost_cores),
        cmocka_unit_test(all_stay),
        cmocka_unit_test(open_and_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
