/* How long stored answers are kept, and how much room a tenant has: by a clock of the test's own.
 * (How they survive is proven by tests/sim/sim_stored.c and tests/e2e/test_survive.py.) */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "cloud/stored.h"

#define S      INT64_C(1000000)
#define WINDOW (60 * S)

static char folder[64];
static int64_t now; /* the wall clock, as files on the disk see it at the beginning */

static struct stored_all *open_all(size_t memory, int in_memory)
{
    const struct stored_config c = {
        .memory = memory, .window_us = WINDOW, .folder = in_memory ? NULL : folder};
    struct stored_all *a = NULL;
    struct err e = {0};

    assert_int_equal(stored_open(&a, &c, now, &e), 0);
    return a;
}

static int setup(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/test-stored-XXXXXX");
    assert_non_null(mkdtemp(folder));
    now = clock_wall_us();
    return 0;
}

static int teardown(void **state)
{
    char command[200];

    (void)state;
    snprintf(command, sizeof command, "rm -rf '%s' '%s2'", folder, folder);
    return system(command);
}

/* An answer of `body` bytes of a request; NULL: there is no room. */
static struct stored *begin(struct stored_all *a, const char *tenant, int i, size_t body)
{
    static const int32_t prompt[] = {1, 2};
    static char text[1 << 16];
    struct stored_head h = {
        .body = text, .n_body = body, .prompt = prompt, .v = {.n_prompt = 2, .n = 1, .n_run = 1}};
    struct stored *s = NULL;
    char id[STORED_ID_MAX];
    struct err e = {0};
    int r;

    snprintf(id, sizeof id, "chatcmpl-00000000-%05d", i);
    h.text[STORED_ID] = id;
    h.text[STORED_REQUEST_ID] = id;
    h.text[STORED_TENANT] = tenant;
    h.text[STORED_MODEL] = "m";
    r = stored_begin(a, &h, now, &s, &e);
    assert_true(!r || r == ERR_AGAIN);
    return r ? NULL : s;
}

static void add(struct stored *s, enum event_kind kind)
{
    static const struct usage usage = {.prompt_tokens = 2};
    static const struct times times;
    const struct event ev = {.kind = kind, .usage = &usage, .times = &times};

    stored_add(s, &ev);
}

static void publish(struct stored *s)
{
    struct err e = {0};

    assert_int_equal(stored_publish(s, now, &e), 0);
}

static void tell(struct stored *s, enum event_kind kind)
{
    add(s, kind);
    publish(s);
}

static void end(struct stored *s)
{
    add(s, EVENT_STARTED);
    add(s, EVENT_FINISH);
    add(s, EVENT_DONE);
    publish(s);
    stored_leave(s, now);
}

static int is_there(struct stored_all *a, const char *tenant, int i)
{
    struct stored *s = NULL;
    char id[STORED_ID_MAX];
    struct err e = {0};

    snprintf(id, sizeof id, "chatcmpl-00000000-%05d", i);
    if (stored_find(a, tenant, id, &s, &e)) {
        assert_int_equal(e.code, ERR_NOTFOUND);
        return 0;
    }
    stored_put(s);
    return 1;
}

static int64_t count(struct stored_all *a)
{
    struct stored_stats s;

    stored_stats(a, &s);
    return s.n;
}

/* ---- the window ------------------------------------------------------------------------------ */

static void one_that_ended_is_kept_for_the_window(void **state)
{
    for (int in_memory = 0; in_memory < 2; in_memory++) {
        struct stored_all *a = open_all(1 << 20, in_memory);
        end(begin(a, "t", 1, 10));
        now += WINDOW - 1;
        stored_expire(a, now);
        assert_true(is_there(a, "t", 1));
        now += 1;
        stored_expire(a, now);
        assert_false(is_there(a, "t", 1));
        assert_int_equal(count(a), 0);
        stored_close(a);
    }
}

/* One that runs is never too old; one that nobody can go on with is, after the window. */
static void one_that_is_unfinished_is_kept_for_the_window(void **state)
{
    struct stored_all *a = open_all(1 << 20, 0);
    struct stored *s = begin(a, "t", 1, 10);

    tell(s, EVENT_STARTED);
    now += 3 * WINDOW;
    stored_expire(a, now);
    assert_true(is_there(a, "t", 1));
    tell(s, EVENT_FINISH);
    stored_leave(s, now);
    now += WINDOW;
    stored_expire(a, now);
    assert_true(is_there(a, "t", 1));
    assert_ptr_equal(stored_take_pending(a, now), s); /* somebody tries, and cannot */
    stored_postpone(s, now + S);
    assert_null(stored_take_pending(a, now));
    stored_leave(s, now);
    assert_null(stored_take_pending(a, now));
    now += WINDOW + 1;
    stored_expire(a, now);
    assert_false(is_there(a, "t", 1));
    stored_close(a);
}

/* The window is of the answer's end, not of the last start. */
static void a_restart_begins_no_window_anew(void **state)
{
    struct stored_all *a = open_all(1 << 20, 0);

    end(begin(a, "t", 1, 10));
    stored_close(a);
    now += WINDOW / 2;
    a = open_all(1 << 20, 0);
    assert_true(is_there(a, "t", 1));
    now += WINDOW / 2 + S;
    stored_expire(a, now);
    assert_false(is_there(a, "t", 1));
    stored_close(a);
}

/* ---- room ------------------------------------------------------------------------------------ */

static void a_tenant_has_a_quarter_of_the_bytes(void **state)
{
    struct stored_all *a = open_all(1 << 20, 0);
    struct stored *held[64];
    int n = 0;

    end(begin(a, "t", 50, 16000));
    while (n < 60 && (held[n] = begin(a, "t", n, 16000)))
        n++;
    assert_in_range(n, 7, 16);          /* of 256 KiB, in buffers of up to twice as much */
    assert_false(is_there(a, "t", 50)); /* it gave way; those that are made do not */
    assert_true(is_there(a, "t", 0));
    for (int i = 0; i < 3; i++) { /* others have theirs */
        held[n] = begin(a, "other", 100 + i, 16000);
        assert_non_null(held[n++]);
    }
    for (int i = 0; i < n; i++)
        stored_leave(held[i], now);
    stored_close(a);
}

/* One that grows beyond the room is stored no more. */
static void one_that_grows_too_large_is_dropped(void **state)
{
    struct stored_all *a = open_all(1 << 18, 0);
    struct stored *s = begin(a, "t", 1, 10);
    struct err e = {0};
    char text[4000];
    struct event ev = {.kind = EVENT_TEXT, .text = text, .n_text = sizeof text};
    int n = 0, r = 0;

    memset(text, 'x', sizeof text);
    tell(s, EVENT_STARTED);
    while (!r && n < 100) {
        ev.n_generated = ++n;
        stored_add(s, &ev);
        r = stored_publish(s, now, &e);
    }
    assert_int_equal(r, ERR_AGAIN);
    assert_in_range(n, 7, 17); /* of 64 KiB */
    assert_true(stored_is_gone(s));
    stored_leave(s, now);
    assert_false(is_there(a, "t", 1));
    stored_close(a);
}

static void a_tenant_has_a_quarter_of_the_number(void **state)
{
    struct stored_all *a = open_all((size_t)1 << 30, 1);

    for (int i = 0; i < STORED_MAX / 4 + 10; i++)
        end(begin(a, "t", i, 1));
    assert_int_equal(count(a), STORED_MAX / 4);
    assert_false(is_there(a, "t", 9)); /* the oldest go */
    assert_true(is_there(a, "t", 10));
    for (int i = 0; i < STORED_MAX; i++) {
        char tenant[8];
        snprintf(tenant, sizeof tenant, "t%d", i % 8);
        end(begin(a, tenant, 10000 + i, 1));
    }
    assert_int_equal(count(a), STORED_MAX);
    stored_close(a);
}

/* ---- two processes --------------------------------------------------------------------------- */

static int is_booked(void *arg, const char *request_id, int *ret, struct err *e)
{
    (void)request_id;
    (void)e;
    *ret = *(int *)arg;
    return 0;
}

static int can_go_on(void *arg, const struct stored_head *h)
{
    (void)h;
    return *(int *)arg;
}

/* What can be gone on with here is taken over; the rest is left to others, for its time. */
static void what_cannot_go_on_is_left(void **state)
{
    struct stored_all *old = open_all(1 << 20, 0), *new = open_all(1 << 20, 0);
    int yes = 0;
    const struct stored_heir heir = {is_booked, can_go_on, &yes};
    struct stored *s = begin(old, "t", 1, 10), *other = NULL;
    struct err e = {0};

    tell(s, EVENT_STARTED);
    assert_int_equal(stored_inherit(new, &heir, now, &e), 0);
    assert_int_equal(count(new), 0); /* it has an owner */
    assert_true(is_there(new, "t", 1));
    assert_false(is_there(new, "other", 1));
    stored_leave(s, now);
    stored_close(old);
    assert_int_equal(stored_inherit(new, &heir, now, &e), 0);
    assert_int_equal(count(new), 0);
    assert_true(is_there(new, "t", 1));
    yes = 1;
    now += 10 * S;
    assert_int_equal(stored_inherit(new, &heir, now, &e), 0);
    assert_int_equal(count(new), 1);
    assert_non_null(other = stored_take_pending(new, now));
    tell(other, EVENT_FINISH);
    tell(other, EVENT_DONE);
    stored_leave(other, now);
    assert_true(is_there(new, "t", 1));
    stored_close(new);
    yes = 0;
    new = open_all(1 << 20, 0); /* in the first folder; it is in the second */
    now += WINDOW + S;
    assert_int_equal(stored_inherit(new, &heir, now, &e), 0);
    assert_false(is_there(new, "t", 1));
    stored_close(new);
}

/* Who makes it learns that it is read elsewhere. */
static void a_follower_in_another_process_counts(void **state)
{
    struct stored_all *old = open_all(1 << 20, 0), *new = open_all(1 << 20, 0);
    struct stored *s = begin(old, "t", 1, 10), *there = NULL;
    struct err e = {0};

    tell(s, EVENT_STARTED);
    assert_int_equal(stored_find(new, "t", "chatcmpl-00000000-00001", &there, &e), 0);
    now += 100 * S;
    assert_in_range(stored_alone_us(s, now), 99 * S, 101 * S);
    assert_int_equal(stored_is_elsewhere(there, now), 1);
    now += 2 * S;
    assert_in_range(stored_alone_us(s, now), 2 * S, 3 * S);
    stored_drop(there); /* and that it is deleted there */
    stored_put(there);
    stored_expire(old, now);
    assert_true(stored_is_gone(s));
    stored_leave(s, now);
    stored_close(new);
    stored_close(old);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_that_ended_is_kept_for_the_window, setup, teardown),
        cmocka_unit_test_setup_teardown(one_that_is_unfinished_is_kept_for_the_window, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_restart_begins_no_window_anew, setup, teardown),
        cmocka_unit_test_setup_teardown(a_tenant_has_a_quarter_of_the_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(one_that_grows_too_large_is_dropped, setup, teardown),
        cmocka_unit_test_setup_teardown(a_tenant_has_a_quarter_of_the_number, setup, teardown),
        cmocka_unit_test_setup_teardown(what_cannot_go_on_is_left, setup, teardown),
        cmocka_unit_test_setup_teardown(a_follower_in_another_process_counts, setup, teardown),
    };
    log_setup(LOG_OFF, 0);
    return sodium_init() < 0 || cmocka_run_group_tests(tests, NULL, NULL);
}
