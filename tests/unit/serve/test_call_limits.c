/* Work and memory that a call may cost, and what is left undone when its client leaves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "serve_harness.h"

#define CHAT_PATH "/v1/chat/completions"

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
    assert_true(body_bytes(r) < 6 * BODY_INLINE); /* its own, and reading it */
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

/* Work that has begun ends too when nobody waits for it any more. */
static void text_under_way_is_left(void **state)
{
    struct room *r = *state;
    int slow;

    r->config.prep_threads = 1;
    room_start(r);
    post_text(slow = dial(r), "SLOW", BODY_INLINE + 1);
    EVENTUALLY(r->f.n_reading == 1);
    close(slow);
    EVENTUALLY(r->s->n_calls == 0);
    assert_int_equal(r->f.n_read, 0);
}

/* A text that is being read when its client leaves holds no drain up. */
static void drain_waits_for_no_abandoned_text(void **state)
{
    struct room *r = *state;
    int slow = hold_and_leave(r);

    close(slow);
    room_stop(r);
    assert_int_equal(r->run_result, 0);
    assert_int_equal(r->f.n_reading, 1);
}

/* ---- memory ---------------------------------------------------------------------------------- */

/* A tenant that fills its share of the budget leaves as much to the others. */
static void tenants_share_the_budget(void **state)
{
    enum { SIZE = 330000 };
    struct room *r = *state;
    char key[2][CLOUD_KEY_TEXT_MAX], header[2][128], *a;
    struct buf b;
    struct err e;
    int held;

    for (int i = 0; i < 2; i++) {
        assert_int_equal(cloud_key_new(r->keys, i ? "b" : "a", i ? "tb" : "ta", key[i], &e), 0);
        snprintf(header[i], sizeof header[i], "x-api-key: %s\r\n", key[i]);
    }
    r->config.keys = r->keys;
    r->config.body_budget = 4 * SIZE - 2;
    room_start(r);
    buf_init(&b, 1 << 20);
    buf_addf(&b, "POST /tokenize HTTP/1.1\r\nHost: x\r\n%sContent-Length: %d\r\n\r\n", header[0],
             SIZE + 1);
    say(held = dial(r), b.data, b.len);
    buf_clear(&b);
    buf_add_str(&b, "{\"content\":\"");
    while (b.len < SIZE)
        buf_add_char(&b, 'x');
    say(held, b.data, b.len); /* and the rest stays out */
    EVENTUALLY(body_bytes(r) >= SIZE);
    a = ask(r, "/tokenize", header[0], b.data);
    assert_int_equal(status_of(a), 503);
    free(a);
    a = ask(r, "/tokenize", header[1], "{\"content\":\"x\"}");
    assert_int_equal(status_of(a), 200);
    free(a);
    close(held);
    EVENTUALLY(body_bytes(r) == 0);
    buf_done(&b);
}

/* A body of n bytes: `head`, "1,1,...1" and `tail`. */
static void fill(struct buf *b, const char *head, size_t n, const char *tail)
{
    buf_clear(b);
    buf_add_str(b, head);
    while (b->len < n)
        buf_add_str(b, "1,");
    buf_add_str(b, "1");
    buf_add_str(b, tail);
}

/* Of a request stays what it is about: not its tree, not what is ignored, and all of it counts. */
static void only_what_is_needed_stays(void **state)
{
    static const char *const tails[] = {
        "],\"model\":\"fake\",\"messages\":[{\"role\":\"user\",\"content\":\"HOLD\"}]}",
        "],\"model\":\"fake\",\"prompt\":\"HOLD\",\"stop\":[\"no\"],\"user\":\"u\"}"};
    struct room *r = *state;
    struct buf b;
    int fd[2];

    room_start(r);
    buf_init(&b, 1 << 20);
    for (int i = 0; i < 2; i++) {
        fill(&b, "{\"metadata\":[", 900000, tails[i]);
        post(fd[i] = dial(r), i ? "/v1/completions" : CHAT_PATH, NULL, b.data);
        EVENTUALLY(r->f.n_submitted == i + 1);
        assert_in_range(body_bytes(r), 1, 16384);
    }
    r->f.released = 1;
    for (int i = 0; i < 2; i++) {
        buf_clear(&b);
        hear(fd[i], &b, NULL);
        assert_int_equal(status_of(b.data), 200);
        HAS(b.data, "w0 w1");
        close(fd[i]);
    }
    EVENTUALLY(body_bytes(r) == 0);
    buf_done(&b);
}

/* What it takes to read a body is counted before it is taken. */
static void reading_is_counted(void **state)
{
    struct room *r = *state;
    struct buf b;
    char *a;

    r->config.body_budget = 40 << 20;
    room_start(r);
    buf_init(&b, 1 << 20);
    fill(&b, "{\"metadata\":[", 900000, "],\"content\":\"x\"}"); /* 86 MB of tree */
    a = ask(r, "/tokenize", NULL, b.data);
    assert_int_equal(status_of(a), 413);
    HAS(a, "too many values");
    free(a);
    fill(&b, "{\"metadata\":\"", 900000, "\",\"content\":\"x\"}"); /* prose costs what it weighs */
    a = ask(r, "/tokenize", NULL, b.data);
    assert_int_equal(status_of(a), 200);
    free(a);
    EVENTUALLY(body_bytes(r) == 0);
    buf_done(&b);
}

static int64_t answer_bytes(struct room *r)
{
    struct net_stats st;

    net_server_stats(r->s->net, &st);
    return st.answer_bytes;
}

/* An answer that is many times its request is told as it is read: what is kept is the tokens. */
static void long_answers_are_told_in_pieces(void **state)
{
    enum { N = 900000 };
    static const char piece[] = "{\"id\":120,\"piece\":\"x\"}";
    struct room *r = *state;
    struct buf b;
    char chunk[65536];
    size_t total = 0;
    ssize_t n;
    int fd;

    room_start(r);
    buf_init(&b, 1 << 20);
    buf_add_str(&b, "{\"with_pieces\":true,\"content\":\"");
    for (int i = 0; i < N; i++)
        buf_add_char(&b, 'x');
    buf_add_str(&b, "\"}");
    post(fd = dial(r), "/tokenize", NULL, b.data);
    buf_clear(&b);
    hear(fd, &b, "\r\n\r\n");
    HAS(b.data, "Transfer-Encoding: chunked");
    EVENTUALLY(answer_bytes(r) > N * 4);
    for (int i = 0; i < 50; i++) { /* nobody reads */
        assert_in_range(answer_bytes(r), N * 4, N * 4 + (1 << 20));
        clock_sleep_us(1000);
    }
    while ((n = recv(fd, chunk, sizeof chunk, 0)) > 0) {
        total += (size_t)n;
        buf_clear(&b);
        buf_add(&b, chunk, (size_t)n);
    }
    assert_true(total >= N * (sizeof piece - 1));
    HAS(b.data, "}]}\r\n0\r\n\r\n");
    close(fd);
    EVENTUALLY(answer_bytes(r) == 0 && body_bytes(r) == 0);
    buf_done(&b);
}

/* An answer that is gathered counts while it grows, and until it is read. */
static void answers_count(void **state)
{
    struct room *r = *state;
    struct buf b;
    char *a;
    int fd;

    r->config.body_budget = 1 << 20;
    room_start(r);
    a = ask(r, "/v1/completions", NULL,
            "{\"model\":\"fake\",\"prompt\":\"FLOOD\",\"max_tokens\":900}"); /* 900 KiB */
    assert_int_equal(status_of(a), 503);
    free(a);
    EVENTUALLY(answer_bytes(r) == 0);
    a = ask(r, "/v1/completions", NULL,
            "{\"model\":\"fake\",\"prompt\":\"FLOOD\",\"max_tokens\":150}");
    assert_int_equal(status_of(a), 200);
    free(a);
    EVENTUALLY(answer_bytes(r) == 0);
    post(fd = dial(r), "/v1/completions", NULL,
         "{\"model\":\"fake\",\"prompt\":\"FLOOD,HOLD\",\"max_tokens\":150}");
    EVENTUALLY(r->f.n_submitted == 3);
    assert_int_equal(answer_bytes(r), 0);
    r->f.released = 1;
    buf_init(&b, 1 << 20);
    hear(fd, &b, NULL);
    assert_int_equal(status_of(b.data), 200);
    assert_true(b.len > 150 * 1000);
    close(fd);
    buf_done(&b);
    EVENTUALLY(answer_bytes(r) == 0 && body_bytes(r) == 0);
}

/* ---- places ---------------------------------------------------------------------------------- */

/* Whatever holds all the places: how the server is can be asked. */
static void health_has_a_place(void **state)
{
    struct room *r = *state;
    int fd[2];
    char *a;

    r->config.connections = 2;
    room_start(r);
    for (int i = 0; i < 2; i++)
        post(fd[i] = dial(r), "/v1/completions", NULL, "{\"model\":\"fake\",\"prompt\":\"HOLD\"}");
    EVENTUALLY(r->f.n_submitted == 2);
    a = get(r, "GET", "/health", NULL);
    assert_int_equal(status_of(a), 200);
    free(a);
    a = get(r, "GET", "/metrics", NULL);
    assert_int_equal(status_of(a), 200);
    HAS(a, "gaufre_connections 3");
    free(a);
    a = ask(r, "/v1/completions", NULL, "{\"model\":\"fake\",\"prompt\":\"x\"}");
    assert_int_equal(status_of(a), 503);
    HAS(a, "Too many connections");
    HAS(a, "retry-after: ");
    free(a);
    a = get(r, "GET", "/", NULL);
    assert_int_equal(status_of(a), 503);
    free(a);
    r->f.released = 1;
    for (int i = 0; i < 2; i++) {
        struct buf b;
        buf_init(&b, 1 << 20);
        hear(fd[i], &b, NULL);
        assert_int_equal(status_of(b.data), 200);
        buf_done(&b);
        close(fd[i]);
    }
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(abandoned_texts_are_not_read),
        T(text_under_way_is_left),
        T(drain_waits_for_no_abandoned_text),
        T(tenants_share_the_budget),
        T(only_what_is_needed_stays),
        T(reading_is_counted),
        T(long_answers_are_told_in_pieces),
        T(answers_count),
        T(health_has_a_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
