/* Offers of suppliers that fail: who is left alone and for how long, who is tried in their place,
 * and how often at all. The clock is the test's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <string.h>

#include "base/check.h"
#include "cloud/cloud.h"

#define S INT64_C(1000000)

static void ready(const struct supplier *s, struct load *ret)
{
    *ret = (struct load){.state = SUPPLIER_READY, .capacity = 100};
}

static const struct supplier_ops ops = {.load = ready};
static struct supplier far[3] = {
    {.ops = &ops, .id = "a/m"}, {.ops = &ops, .id = "b/m"}, {.ops = &ops, .id = "c/m"}};

static struct cloud *open_cloud(int n_offers)
{
    static const char *const name = "m";
    const struct cloud_config config = {.waiting_max = 100, .retry = {.percent = 20, .min = 2}};
    struct cloud *c = NULL;
    struct err e = {0};
    int m;

    assert_int_equal(cloud_open(&c, &config, &e), 0);
    assert_int_equal(cloud_add_model(c, &name, 1, &m, &e), 0);
    for (int i = 0; i < n_offers; i++)
        assert_int_equal(cloud_add_offer(c, 0, &far[i], &e), 0);
    return c;
}

static int route(struct cloud *c, int64_t now_us, struct cloud_ticket *t, struct err *e)
{
    return cloud_route(c, now_us, &(struct cloud_want){.model = "m", .tier = TIER_DEFAULT}, t, e);
}

/* One request that ends so at the offer it gets. That offer, or NULL: nobody took it. */
static const struct supplier *one(struct cloud *c, int code, int64_t first_us, int64_t retry_us,
                                  int64_t now_us)
{
    const struct supplier *s = NULL;
    struct cloud_ticket t;
    struct err e = {0};

    assert_int_equal(cloud_enter(c, now_us, &(struct cloud_caller){.key = NULL}, &t, &e), 0);
    if (!route(c, now_us, &t, &e)) {
        s = t.offer->sup;
        cloud_note_result(c, now_us, &t, code, first_us, retry_us);
    }
    cloud_leave(c, now_us, &t, 0);
    return s;
}

static int route_code(struct cloud *c, int64_t now_us, int64_t *ret_retry_us)
{
    struct cloud_ticket t;
    struct err e = {0};

    assert_int_equal(cloud_enter(c, now_us, &(struct cloud_caller){.key = NULL}, &t, &e), 0);
    route(c, now_us, &t, &e);
    *ret_retry_us = t.retry_us;
    cloud_leave(c, now_us, &t, 0);
    return e.code;
}

static void all_asked_for_less(void **state)
{
    struct cloud *c = open_cloud(2);
    int64_t retry_us;

    assert_ptr_equal(one(c, ERR_SUPPLIER_BUSY, -1, 40 * S, S), &far[0]);
    assert_ptr_equal(one(c, ERR_SUPPLIER_BUSY, -1, 20 * S, S), &far[1]);
    assert_int_equal(route_code(c, 2 * S, &retry_us), ERR_SUPPLIER_BUSY);
    assert_in_range(retry_us, 19 * S, 25 * S); /* the smaller one, and its jitter */
    cloud_close(c);

    c = open_cloud(2); /* one has failed: it is not for less work alone */
    assert_ptr_equal(one(c, ERR_SUPPLIER_BUSY, -1, 40 * S, S), &far[0]);
    for (int i = 0; i < 5; i++)
        assert_ptr_equal(one(c, ERR_RESET, -1, 0, S), &far[1]);
    assert_int_equal(route_code(c, 2 * S, &retry_us), ERR_AGAIN);
    assert_in_range(retry_us, 1, 2 * S);
    cloud_close(c);
}

/* The last one that was tried says a long time, another before it a short one. */
static void the_smallest_time(void **state)
{
    struct cloud *c = open_cloud(2);
    struct cloud_ticket t;
    struct err e = {0};

    assert_int_equal(cloud_enter(c, S, &(struct cloud_caller){.key = NULL}, &t, &e), 0);
    assert_int_equal(route(c, S, &t, &e), 0);
    assert_int_equal(cloud_come_back(c, S, &t, 5 * S), 5 * S);
    cloud_note_result(c, S, &t, ERR_SUPPLIER_BUSY, -1, 5 * S);
    cloud_turn_back(c, S, &t);
    assert_int_equal(route(c, S, &t, &e), 0);
    cloud_note_result(c, S, &t, ERR_SUPPLIER_BUSY, -1, 60 * S);
    assert_in_range(cloud_come_back(c, S, &t, 60 * S), 5 * S, 7 * S);
    assert_in_range(cloud_come_back(c, S, &t, 0), 5 * S, 7 * S); /* it has not said */
    cloud_leave(c, S, &t, 0);
    cloud_close(c);
}

/* Five streams that begin late, while another supplier's begin early. */
static void the_slow_one(void **state)
{
    struct cloud *c = open_cloud(2);
    struct cloud_offer_view v[CLOUD_OFFERS_MAX];
    int64_t now = S;
    struct err e;

    for (int i = 0; i < 20; i++) /* alone it may be as slow as it likes */
        assert_ptr_equal(one(c, 0, 9 * S, 0, now), &far[0]);
    assert_int_equal(cloud_remove_offer(c, &far[0]), 0);
    assert_ptr_equal(one(c, 0, S / 5, 0, now), &far[1]);
    assert_int_equal(cloud_add_offer(c, 0, &far[2], &e), 0);
    assert_int_equal(cloud_remove_offer(c, &far[1]), 0);
    assert_int_equal(cloud_add_offer(c, 0, &far[1], &e), 0);
    assert_ptr_equal(one(c, 0, S / 5, 0, now), &far[2]); /* the first now, and quick */
    for (int i = 0; i < 5; i++) {
        struct cloud_ticket t;
        assert_int_equal(cloud_enter(c, now, &(struct cloud_caller){.key = NULL}, &t, &e), 0);
        t.tried[t.n_tried++] = 3; /* so that it is the other's */
        assert_int_equal(route(c, now, &t, &e), 0);
        assert_ptr_equal(t.offer->sup, &far[1]);
        cloud_note_result(c, now, &t, 0, i == 2 ? -1 : 9 * S, 0); /* no stream: says nothing */
        cloud_leave(c, now, &t, 0);
    }
    assert_int_equal(cloud_view_offers(c, now, v), 2);
    assert_int_equal(v[1].state, BREAKER_CLOSED); /* four of them */
    assert_int_equal(cloud_remove_offer(c, &far[2]), 0);
    assert_int_equal(cloud_add_offer(c, 0, &far[2], &e), 0); /* the second now */
    assert_ptr_equal(one(c, 0, 9 * S, 0, now), &far[1]);     /* nobody to be compared with */
    cloud_close(c);
}

/* The same through to the end: it is left alone, and asked when there is nobody else. */
static void slow_is_better_than_none(void **state)
{
    struct cloud *c = open_cloud(2);
    struct cloud_offer_view v[CLOUD_OFFERS_MAX];
    struct cloud_ticket t;
    int64_t now = S;
    struct err e;

    assert_int_equal(cloud_enter(c, now, &(struct cloud_caller){.key = NULL}, &t, &e),
                     0); /* the second one is quick */
    t.tried[t.n_tried++] = 1;
    assert_int_equal(route(c, now, &t, &e), 0);
    cloud_note_result(c, now, &t, 0, S / 5, 0);
    cloud_leave(c, now, &t, 0);
    for (int i = 0; i < 5; i++)
        assert_ptr_equal(one(c, 0, 9 * S, 0, now), &far[0]);
    cloud_view_offers(c, now, v);
    assert_string_equal(v[0].supplier, "a/m");
    assert_int_equal(v[0].state, BREAKER_OPEN);
    assert_int_equal(v[0].why, BREAKER_SLOW);
    assert_ptr_equal(one(c, 0, S / 5, 0, now), &far[1]);
    for (int i = 0; i < 5; i++)
        assert_ptr_equal(one(c, ERR_RESET, -1, 0, now), &far[1]);
    assert_ptr_equal(one(c, 0, 9 * S, 0, now), &far[0]);
    cloud_close(c);
}

/* ---- half open --------------------------------------------------------------------------------
 */

struct rush {
    struct cloud *c;
    pthread_barrier_t begin, end;
    _Atomic int n_there;
};

static void *rush(void *arg)
{
    struct rush *r = arg;
    struct cloud_ticket t;
    struct err e;

    assert_int_equal(cloud_enter(r->c, 0, &(struct cloud_caller){.key = NULL}, &t, &e), 0);
    pthread_barrier_wait(&r->begin);
    if (!route(r->c, 100 * S, &t, &e)) {
        r->n_there++;
    } else {
        assert_int_equal(e.code, ERR_AGAIN);
    }
    pthread_barrier_wait(&r->end);
    cloud_leave(r->c, 100 * S, &t, 0);
    return NULL;
}

/* However many ask at once when its time has come: one gets there. */
static void one_probe(void **state)
{
    enum { N = 8 };
    pthread_t thread[N];

    for (int k = 0; k < 50; k++) {
        struct rush r = {.c = open_cloud(1)};
        for (int i = 0; i < 5; i++)
            assert_ptr_equal(one(r.c, ERR_RESET, -1, 0, S), &far[0]);
        pthread_barrier_init(&r.begin, NULL, N);
        pthread_barrier_init(&r.end, NULL, N);
        for (int i = 0; i < N; i++)
            pthread_create(&thread[i], NULL, rush, &r);
        for (int i = 0; i < N; i++)
            pthread_join(thread[i], NULL);
        assert_int_equal(r.n_there, 1);
        pthread_barrier_destroy(&r.begin);
        pthread_barrier_destroy(&r.end);
        cloud_close(r.c);
    }
}

static void retries(void **state)
{
    struct cloud *c = open_cloud(3);
    struct cloud_stats s;
    struct cloud_ticket t;
    struct err e = {0};
    int n = 0;

    for (int i = 0; i < 20; i++) {
        assert_int_equal(cloud_enter(c, S, &(struct cloud_caller){.key = NULL}, &t, &e), 0);
        assert_int_equal(route(c, S, &t, &e), 0);
        while (cloud_has_other(c, S, &t) && cloud_take_retry(c, S, &t)) {
            cloud_turn_back(c, S, &t);
            assert_int_equal(route(c, S, &t, &e), 0);
            n++;
        }
        cloud_leave(c, S, &t, 0);
    }
    assert_int_equal(n, 2 + 20 / 5); /* a second offer is no first try */
    cloud_stats(c, &s);
    assert_int_equal(s.retries, n);
    assert_true(s.retries_refused > 0);
    cloud_close(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_asked_for_less), cmocka_unit_test(the_smallest_time),
        cmocka_unit_test(the_slow_one),       cmocka_unit_test(slow_is_better_than_none),
        cmocka_unit_test(one_probe),          cmocka_unit_test(retries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
