/* Answers that are kept for retries: who is first, what others get, what goes when there is no
 * room.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cloud/replay.h"

#define HOUR INT64_C(3600000000)

static struct replays *all;
static int64_t now_us;

static int setup_with(size_t memory)
{
    struct err e;

    now_us = 5;
    return replays_new(&all, memory, HOUR, &e);
}

static int setup(void **state)
{
    return setup_with(64 << 20);
}

static int setup_small(void **state)
{
    return setup_with(4 * 8192);
}

static int teardown(void **state)
{
    replays_free(all);
    return 0;
}

static int begin(int i_tenant, const char *key, const char *body, struct replay **ret)
{
    struct replay_ask a = {.i_tenant = i_tenant, .key = key};
    struct err e = {0};

    replay_print(1, body, strlen(body), a.print);
    return replays_begin(all, now_us, &a, ret, &e);
}

static struct replay *first(int i_tenant, const char *key, const char *body)
{
    struct replay *p = NULL;

    assert_int_equal(begin(i_tenant, key, body, &p), 0);
    assert_null(replay_answer(p));
    return p;
}

static void answer(int i_tenant, const char *key, const char *body, const char *text)
{
    struct replay *p = first(i_tenant, key, body);

    replay_add(all, p, text, strlen(text));
    assert_int_equal(replay_keep(all, p, now_us, NULL, "req_1"), 1);
    replay_put(all, p);
}

static void is(int i_tenant, const char *key, const char *body, const char *text)
{
    const struct replay_answer *a;
    struct replay *p = NULL;

    assert_int_equal(begin(i_tenant, key, body, &p), 0);
    a = replay_answer(p);
    assert_non_null(a);
    assert_int_equal(a->n, strlen(text));
    assert_memory_equal(a->body, text, a->n);
    assert_string_equal(a->request_id, "req_1");
    assert_null(a->frame);
    replay_put(all, p);
}

static void the_first_answers_all(void **state)
{
    struct replay *p, *other;
    struct replays_stats st;

    p = first(0, "k", "body");
    assert_int_equal(begin(0, "k", "body", &other), ERR_KEY_IN_USE);
    assert_int_equal(begin(0, "k", "another", &other), ERR_KEY_REUSED);
    replay_add(all, p, "one ", 4);
    replay_add(all, p, "", 0);
    replay_add(all, p, "two", 3);
    replay_keep(all, p, now_us, NULL, "req_1");
    replay_put(all, p);
    is(0, "k", "body", "one two");
    is(0, "k", "body", "one two");
    assert_int_equal(begin(0, "k", "another", &other), ERR_KEY_REUSED);
    answer(0, "empty", "body", "");
    is(0, "empty", "body", "");
    replays_stats(all, &st);
    assert_int_equal(st.replayed, 3);
    assert_int_equal(st.in_use, 1);
    assert_int_equal(st.reused, 2);
}

static void endpoints_are_apart(void **state)
{
    unsigned char a[REPLAY_PRINT_BYTES], b[REPLAY_PRINT_BYTES];

    replay_print(1, "body", 4, a);
    replay_print(2, "body", 4, b);
    assert_memory_not_equal(a, b, sizeof a);
}

static void tenants_are_apart(void **state)
{
    struct replay *p;

    answer(0, "k", "body", "mine");
    p = first(1, "k", "body"); /* it is nobody's for another tenant, whatever the body */
    is(0, "k", "body", "mine");
    replay_put(all, p);
    answer(1, "k", "other", "yours");
    is(1, "k", "other", "yours");
    is(0, "k", "body", "mine");
}

static void a_failure_frees_the_key(void **state)
{
    struct replays_stats st;
    struct replay *p = first(3, "k", "body");

    replay_add(all, p, "half", 4);
    replay_put(all, p);
    replays_stats(all, &st);
    assert_int_equal(st.bytes, 0);
    answer(3, "k", "another", "well");
    is(3, "k", "another", "well");
}

static void time_passes(void **state)
{
    struct replays_stats st;

    answer(0, "a", "body", "text");
    now_us += HOUR / 2;
    answer(0, "b", "body", "text");
    now_us += HOUR / 2;
    is(0, "b", "body", "text");
    answer(0, "a", "another body", "new");
    now_us += HOUR;
    replays_expire(all, now_us);
    replays_stats(all, &st);
    assert_int_equal(st.bytes, 0);
}

static void a_long_answer_is_not_kept(void **state)
{
    char *big = calloc(1, REPLAY_ANSWER_MAX + 1);
    struct replay *p = first(0, "k", "body"), *other;
    struct replays_stats st;

    replay_add(all, p, big, REPLAY_ANSWER_MAX);
    replay_add(all, p, big, 1);
    replay_add(all, p, big, 1);
    replays_stats(all, &st);
    assert_true(st.bytes < 1000);
    assert_int_equal(replay_keep(all, p, now_us, NULL, "req_1"), 0);
    replay_put(all, p);
    assert_int_equal(begin(0, "k", "body", &other), ERR_KEY_LOST);
    assert_int_equal(begin(0, "k", "another", &other), ERR_KEY_REUSED);
    p = first(0, "k2", "body");
    replay_add(all, p, big, REPLAY_ANSWER_MAX); /* as long as it may be */
    assert_int_equal(replay_keep(all, p, now_us, NULL, "req_1"), 1);
    replay_put(all, p);
    free(big);
}

static const char *name(char *to, int i)
{
    sprintf(to, "key %d", i);
    return to;
}

/* A tenant's own oldest go first, and another's stay. */
static void the_oldest_go(void **state)
{
    struct replays_stats st;
    struct replay *p;
    char key[20];

    answer(7, "k", "body", "theirs");
    for (int i = 0; i < 200; i++) {
        answer(0, name(key, i), "body", "some text of an answer");
        replays_stats(all, &st);
        assert_true(st.bytes <= 2 * 8192);
        is(0, key, "body", "some text of an answer");
    }
    is(0, name(key, 190), "body", "some text of an answer");
    is(7, "k", "body", "theirs");
    p = first(0, "key 0", "body");
    replay_put(all, p);
    for (int i = 0; i < 200; i++) /* of many tenants, the oldest of all */
        answer(10 + i / 10, name(key, i), "body", "some text of an answer");
    p = first(7, "k", "body");
    replay_put(all, p);
    replays_stats(all, &st);
    assert_true(st.bytes <= 4 * 8192);
}

/* What somebody reads stays until it was read. */
static void a_reader_is_not_disturbed(void **state)
{
    struct replay *p;
    char key[20];

    answer(0, "k", "body", "text");
    assert_int_equal(begin(0, "k", "body", &p), 0);
    for (int i = 0; i < 200; i++)
        answer(0, name(key, i), "body", "some text of an answer");
    assert_memory_equal(replay_answer(p)->body, "text", 4);
    replay_put(all, p);
    p = first(0, "k", "body");
    replay_put(all, p);
}

/* Where all room is taken by requests under way, there is none for more. */
static void no_room(void **state)
{
    struct replay *p[200], *more;
    char key[20];
    int n = 0, r;

    while (!(r = begin(0, name(key, n), "body", &p[n])))
        n++;
    assert_int_equal(r, ERR_AGAIN);
    assert_true(n > 10 && n < 60);
    more = first(1, "k", "body");
    replay_put(all, more);
    replay_add(all, p[0], "text", 4); /* no room for an answer either */
    assert_int_equal(replay_keep(all, p[0], now_us, NULL, "req_1"), 0);
    assert_int_equal(begin(0, "key 0", "body", &more), ERR_KEY_LOST);
    for (int i = 0; i < n; i++)
        replay_put(all, p[i]);
}

static void what_is_a_key(void **state)
{
    char text[REPLAY_KEY_MAX + 2];
    struct err e;

    memset(text, 'x', sizeof text);
    text[REPLAY_KEY_MAX + 1] = 0;
    assert_int_equal(replay_check_key(text, &e), ERR_ARG);
    text[REPLAY_KEY_MAX] = 0;
    assert_int_equal(replay_check_key(text, &e), 0);
    assert_int_equal(replay_check_key("", &e), ERR_ARG);
    assert_int_equal(replay_check_key("a\tb", &e), ERR_ARG);
    assert_int_equal(replay_check_key("caf\xc3\xa9", &e), ERR_ARG);
    assert_int_equal(replay_check_key("stainless-python-retry-1 ~", &e), 0);
}

/* ---- threads ---- */

#define THREADS 8
#define ROUNDS  2000

static _Atomic int n_first;

static void *many(void *arg)
{
    struct replay *p;
    char key[20];

    for (int i = 0; i < ROUNDS; i++) {
        int r = begin(0, name(key, i), "body", &p);
        if (r == ERR_KEY_IN_USE)
            continue;
        if (r)
            abort();
        if (!replay_answer(p)) {
            atomic_fetch_add(&n_first, 1);
            replay_add(all, p, key, strlen(key));
            replay_keep(all, p, now_us, NULL, "req_1");
        } else if (memcmp(replay_answer(p)->body, key, strlen(key))) {
            abort();
        }
        replay_put(all, p);
    }
    return NULL;
}

static void one_of_many_is_first(void **state)
{
    pthread_t t[THREADS];

    n_first = 0;
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&t[i], NULL, many, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    assert_int_equal(n_first, ROUNDS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_first_answers_all, setup, teardown),
        cmocka_unit_test(endpoints_are_apart),
        cmocka_unit_test_setup_teardown(tenants_are_apart, setup, teardown),
        cmocka_unit_test_setup_teardown(a_failure_frees_the_key, setup, teardown),
        cmocka_unit_test_setup_teardown(time_passes, setup, teardown),
        cmocka_unit_test_setup_teardown(a_long_answer_is_not_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(the_oldest_go, setup_small, teardown),
        cmocka_unit_test_setup_teardown(a_reader_is_not_disturbed, setup_small, teardown),
        cmocka_unit_test_setup_teardown(no_room, setup_small, teardown),
        cmocka_unit_test(what_is_a_key),
        cmocka_unit_test_setup_teardown(one_of_many_is_first, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
