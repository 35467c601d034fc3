/* Work and memory that a call may cost, and what is left undone when its client leaves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "serve_harness.h"

static int setup(void **state)
{
    struct room *r = calloc(1, sizeof *r);

    room_init(r);
    *state = r;
    return 0;
}

static int teardown(void **state)
{
    room_done(*state);
    free(*state);
    return 0;
}

static int64_t body_bytes(struct room *r)
{
    struct net_stats st;

    net_server_stats(r->s->net, &st);
    return st.body_bytes;
}

/* Ask for the tokens of a text so long that a prep thread reads it. */
static void post_text(int fd, const char *text, size_t n)
{
    struct buf b;

    buf_init(&b, 1 << 24);
    buf_addf(&b, "{\"content\":\"%s", text);
    while (b.len < n)
        buf_add_char(&b, 'x');
    buf_add_str(&b, "\"}");
    post(fd, "/tokenize", NULL, b.data);
    buf_done(&b);
}

/* ---- readers of big requests ----------------------------------------------------------------- */

enum { N_LEAVE = 6 };

/* One thread reads a slow text; those behind it leave. */
static int hold_and_leave(struct room *r)
{
    int slow, fd[N_LEAVE];

    r->config.prep_threads = 1;
    room_start(r);
    slow = dial(r);
    post_text(slow, "SLOW", BODY_INLINE + 1);
    EVENTUALLY(r->f.n_reading == 1);
    for (int i = 0; i < N_LEAVE; i++)
        post_text(fd[i] = dial(r), "", BODY_INLINE + 1);
    EVENTUALLY(r->s->n_calls == 1 + N_LEAVE);
    for (int i = 0; i < N_LEAVE; i++)
        close(fd[i]);
    return slow;
}

static void abandoned_texts_are_not_read(void **state)
{
    struct room *r = *state;
    struct buf b;
    int slow = hold_and_leave(r), next;

    EVENTUALLY(r->s->n_calls == 1); /* at once, with their memory: nobody waits for the slow one */
    assert_true(body_bytes(r) < 2 * BODY_INLINE);
    post_text(next = dial(r), "next", BODY_INLINE + 1);
    EVENTUALLY(r->s->n_calls == 2);
    r->f.read = 1;
    buf_init(&b, 1 << 24);
    hear(next, &b, "]}");
    assert_int_equal(status_of(b.data), 200);
    buf_clear(&b);
    hear(slow, &b, "]}");
    assert_int_equal(r->f.n_reading, 2);
    close(slow);
    close(next);
    buf_done(&b);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(abandoned_texts_are_not_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
