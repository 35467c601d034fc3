/* The engine's state as a stream, one request's timeline, and cancelling by name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "console/console_int.h"
#include "serve_harness.h"

#define CHAT_PATH "/v1/chat/completions"
#define EVENTS    "/v1/engine/events?interval_ms=100"
#define NAMED(id) "x-client-request-id: " id "\r\n"
#define CHAT(text, more)                                                                           \
    "{\"model\":\"fake\",\"messages\":[{\"role\":\"user\",\"content\":\"" text "\"}]" more "}"

static int setup(void **state)
{
    struct room *r = calloc(1, sizeof *r);

    room_init(r);
    r->config.io_threads = 3; /* watches go round */
    *state = r;
    return 0;
}

static int teardown(void **state)
{
    room_done(*state);
    free(*state);
    return 0;
}

static int begin(struct room *r, const char *extra, const char *body)
{
    int fd = dial(r);

    post(fd, CHAT_PATH, extra, body);
    return fd;
}

static int watch(struct room *r, const char *path, const char *extra, struct buf *all)
{
    char head[512];
    int fd = dial(r);

    snprintf(head, sizeof head, "GET %s HTTP/1.1\r\n%s%s\r\n", path, host_line(extra),
             extra ? extra : "");
    say(fd, head, strlen(head));
    buf_init(all, 1 << 24);
    hear(fd, all, "\"others\":");
    return fd;
}

/* What came after what was heard before, until `until` is in it. */
static void hear_new(int fd, struct buf *all, const char *until)
{
    buf_clear(all);
    if (all->data)
        all->data[0] = 0;
    hear(fd, all, until);
}

static void one_event_holds_all(void **state)
{
    static const char *const members[] = {"\"object\":\"engine.state\"",
                                          "\"time\":",
                                          "\"uptime_s\":",
                                          "\"version\":\"",
                                          "\"cpu_s\":",
                                          "\"memory\":{\"resident\":",
                                          "\"models\":[{\"id\":\"fake\",\"state\":\"loaded\"",
                                          "\"limit\":null",
                                          "\"pages\":{\"total\":4,\"used\":1,",
                                          "\"totals\":{\"steps\":",
                                          "\"ttft_s\":null",
                                          "\"requests\":[]",
                                          "\"others\":0}"};
    struct room *r = *state;
    struct buf all;
    json_t *tree = NULL;
    char *text, *end;
    int fd;

    room_start(r);
    fd = watch(r, EVENTS, NULL, &all);
    HAS(all.data, "HTTP/1.1 200");
    HAS(all.data, "content-type: text/event-stream; charset=utf-8");
    hear(fd, &all, "\n\n");
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++)
        HAS(all.data, members[i]);
    text = strstr(all.data, "data: {") + 6;
    end = strstr(text, "\n\n");
    assert_int_equal(json_parse(&tree, text, (size_t)(end - text), 0, NULL), 0);
    json_decref(tree);
    hear_new(fd, &all, "\"others\":"); /* and another one follows */
    close(fd);
    buf_done(&all);
    EVENTUALLY(atomic_load(&r->s->console->n_watchers) == 0);
}

static void interval_is_checked(void **state)
{
    static const char *const bad[] = {
        "99", "10001", "x", "", "1e3", "500x", "99999999999999999999"};
    struct room *r = *state;
    char path[128], *a;

    room_start(r);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        snprintf(path, sizeof path, "/v1/engine/events?interval_ms=%s", bad[i]);
        a = get(r, "GET", path, NULL);
        assert_int_equal(status_of(a), 400);
        HAS(a, "interval_ms: must be a whole number from 100 to 10000");
        free(a);
    }
    a = get(r, "HEAD", "/v1/engine/events", NULL);
    assert_int_equal(status_of(a), 200);
    free(a);
    a = get(r, "POST", "/v1/engine/events", NULL);
    assert_int_equal(status_of(a), 405);
    free(a);
}

static void rows_and_places(void **state)
{
    struct room *r = *state;
    int fd[3], w;
    struct buf all;

    room_start(r);
    fd[0] = begin(r, NAMED("first"), CHAT("HOLD", ",\"stream\":true"));
    EVENTUALLY(r->f.n_submitted == 1);
    fd[1] = begin(r, NAMED("second"), CHAT("HOLD", ""));
    EVENTUALLY(r->f.n_submitted == 2);
    fd[2] = begin(r, NAMED("third"), CHAT("HOLD", ",\"service_tier\":\"priority\""));
    EVENTUALLY(r->f.n_submitted == 3);
    w = watch(r, EVENTS, NULL, &all);
    HAS(all.data,
        "\"client_id\":\"first\",\"model\":\"fake\",\"endpoint\":\"chat\",\"stream\":true,"
        "\"state\":\"queued\",\"position\":2,\"prompt_tokens\":10,");
    HAS(all.data, "\"client_id\":\"second\",\"model\":\"fake\",\"endpoint\":\"chat\",\"stream\":"
                  "false,\"state\":\"queued\",\"position\":3,");
    HAS(all.data, "\"client_id\":\"third\",\"model\":\"fake\",\"endpoint\":\"chat\",\"stream\":"
                  "false,\"state\":\"queued\",\"position\":1,");
    assert_true(strstr(all.data, "\"third\"") < strstr(all.data, "\"second\""));
    assert_true(strstr(all.data, "\"second\"") < strstr(all.data, "\"first\""));
    r->f.released = 1;
    for (int i = 0; i < 3; i++) {
        hear_new(fd[i], &all, NULL);
        close(fd[i]);
    }
    hear_new(w, &all, "\"requests\":[{");
    while (count_of(all.data, "\"finish\":\"stop\"") < 3)
        hear_new(w, &all, "\"others\":0}");
    HAS(all.data, "\"state\":\"finished\",\"position\":null,\"prompt_tokens\":10,");
    HAS(all.data, "\"generated_tokens\":4,\"draft_tokens\":0,\"draft_accepted\":0,\"choices\":1,");
    HAS(all.data, "\"requests\":3,\"draft_tokens\":0,\"draft_accepted\":0},\"ttft_s\":{\"p50\":");
    HAS(all.data, "\"tpot_s\":{\"p50\":");
    close(w);
    buf_done(&all);
}

static void timeline_is_in_order(void **state)
{
    static const char *const order[] = {"\"accepted\"",    "\"queued\"", "\"started\"",
                                        "\"first_token\"", "\"decode\"", "\"finished\""};
    struct room *r = *state;
    const char *at;
    char *a;

    room_start(r);
    free(ask(r, CHAT_PATH, NAMED("mine/1"), CHAT("hi", "")));
    a = get(r, "GET", "/v1/engine/requests/mine%2F1", NULL);
    assert_int_equal(status_of(a), 200);
    HAS(a, "\"object\":\"engine.request\",\"timeline\":[{\"t\":0.0,\"what\":\"accepted\",\"n\":0}");
    HAS(a, "\"what\":\"finished\",\"n\":4}]}");
    at = strstr(a, "\"timeline\"");
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++) {
        at = strstr(at, order[i]);
        if (!at)
            fail_msg("no %s in its place in %s", order[i], a);
    }
    free(a);
    a = get(r, "GET", "/v1/engine/requests/nobody", NULL);
    assert_int_equal(status_of(a), 404);
    HAS(a, "No request nobody of yours");
    free(a);
}

static void cancel_of_a_stream(void **state)
{
    struct room *r = *state;
    struct buf all;
    char *a;
    int fd;

    room_start(r);
    fd = begin(r, NAMED("s"), CHAT("FLOOD", ",\"stream\":true,\"max_tokens\":1000"));
    buf_init(&all, 1 << 24);
    hear(fd, &all, "xxxx");
    a = ask(r, "/v1/engine/requests/s/cancel", NULL, "");
    assert_int_equal(status_of(a), 200);
    HAS(a, "\"object\":\"engine.request\",\"cancelled\":true}");
    free(a);
    hear(fd, &all, NULL);
    HAS(all.data, "\"code\":\"request_cancelled\"");
    HAS(all.data, "The request was cancelled.");
    HAS_NOT(all.data, "[DONE]");
    close(fd);
    EVENTUALLY(r->f.n_done == 1);
    a = ask(r, "/v1/engine/requests/s/cancel", NULL, "");
    HAS(a, "\"cancelled\":false}"); /* it was over */
    free(a);
    EVENTUALLY(atomic_load(&r->s->n_calls) == 0);
    a = get(r, "GET", "/v1/engine/requests/s", NULL);
    HAS(a, "\"finish\":\"cancelled\"");
    free(a);
    a = ask(r, "/v1/engine/requests/other/cancel", NULL, "");
    assert_int_equal(status_of(a), 404);
    free(a);
    buf_done(&all);
}

/* Its jobs may go on using tokens until they are home: only then are its counts final. */
static void not_over_before_its_jobs_are_home(void **state)
{
    struct room *r = *state;
    struct buf all;
    int fd;

    room_start(r);
    atomic_store(&r->f.keeps, 1);
    fd = begin(r, NAMED("k"), CHAT("FLOOD", ",\"stream\":true,\"max_tokens\":1000"));
    buf_init(&all, 1 << 24);
    hear(fd, &all, "xxxx");
    free(ask(r, "/v1/engine/requests/k/cancel", NULL, ""));
    hear(fd, &all, NULL);
    close(fd);
    for (int home = 0; home < 2; home++) {
        char *a = get(r, "GET", "/v1/engine/requests/k", NULL);
        HAS(a, home ? "\"finish\":\"cancelled\"" : "\"finish\":null");
        free(a);
        atomic_store(&r->f.keeps, 0);
        EVENTUALLY(atomic_load(&r->s->n_calls) == 0);
    }
    buf_done(&all);
}

static void cancel_in_the_queue(void **state)
{
    struct room *r = *state;
    struct buf all;
    char *a;
    int fd;

    room_start(r);
    fd = begin(r, NAMED("q"), CHAT("HOLD", ""));
    EVENTUALLY(r->f.n_submitted == 1);
    a = ask(r, "/v1/engine/requests/q/cancel", NULL, "");
    HAS(a, "\"cancelled\":true");
    free(a);
    buf_init(&all, 1 << 20);
    hear(fd, &all, NULL);
    assert_int_equal(status_of(all.data), 499);
    HAS(all.data, "\"code\":\"request_cancelled\"");
    close(fd);
    buf_done(&all);
    EVENTUALLY(r->f.n_done == 1 && r->f.n_waiting == 0);
}

static void cancel_while_its_body_comes(void **state)
{
    struct room *r = *state;
    const char *body = CHAT("hi", "");
    struct buf all;
    char head[256], *a;
    int fd = -1;

    room_start(r);
    fd = dial(r);
    snprintf(head, sizeof head,
             "POST " CHAT_PATH
             " HTTP/1.1\r\nHost: localhost\r\n" NAMED("b") "Connection: close\r\n"
                                                           "Content-Length: %zu\r\n\r\n",
             strlen(body));
    say(fd, head, strlen(head));
    EVENTUALLY(atomic_load(&r->s->n_calls) == 1);
    a = ask(r, "/v1/engine/requests/b/cancel", NULL, "");
    HAS(a, "\"cancelled\":true");
    free(a);
    say(fd, body, strlen(body));
    buf_init(&all, 1 << 20);
    hear(fd, &all, NULL);
    assert_int_equal(status_of(all.data), 499);
    close(fd);
    buf_done(&all);
    assert_int_equal(r->f.n_submitted, 0);
}

static void tenants_are_apart(void **state)
{
    struct room *r = *state;
    char key[2][CLOUD_KEY_TEXT_MAX], auth[2][160], *a;
    struct err e = {0};
    struct buf all;
    int fd, w;

    for (int i = 0; i < 2; i++) {
        assert_int_equal(cloud_key_new(r->keys, i ? "k1" : "k0", i ? "t1" : "t0", key[i], &e), 0);
        snprintf(auth[i], sizeof auth[i], "Authorization: Bearer %s\r\n" NAMED("same"), key[i]);
    }
    r->config.keys = r->keys;
    room_start(r);
    a = get(r, "GET", EVENTS, NULL);
    assert_int_equal(status_of(a), 401);
    free(a);
    fd = begin(r, auth[0], CHAT("HOLD", ""));
    EVENTUALLY(r->f.n_submitted == 1);
    w = watch(r, EVENTS, auth[1], &all);
    hear(w, &all, "\n\n");
    HAS(all.data, "\"requests\":[],\"others\":1}");
    a = get(r, "GET", "/v1/engine/requests/same", auth[1]);
    assert_int_equal(status_of(a), 404);
    free(a);
    a = ask(r, "/v1/engine/requests/same/cancel", auth[1], "");
    assert_int_equal(status_of(a), 404);
    free(a);
    a = get(r, "GET", "/v1/engine/requests/same", auth[0]);
    HAS(a, "\"state\":\"queued\",\"position\":1,");
    free(a);
    assert_int_equal(r->f.n_cancelled, 0);
    serve_reload(r->s); /* keys are read again: the stream ends */
    hear(w, &all, NULL);
    close(w);
    r->f.released = 1;
    hear_new(fd, &all, NULL);
    assert_int_equal(status_of(all.data), 200);
    close(fd);
    buf_done(&all);
}

static void watchers_are_bounded(void **state)
{
    struct room *r = *state;
    struct buf all[WATCHERS_MAX];
    int fd[WATCHERS_MAX];
    char *a;

    room_start(r);
    for (int i = 0; i < WATCHERS_MAX; i++)
        fd[i] = watch(r, EVENTS, NULL, &all[i]);
    a = get(r, "GET", EVENTS, NULL);
    assert_int_equal(status_of(a), 429);
    HAS(a, "Too many are watching");
    free(a);
    close(fd[0]);
    buf_done(&all[0]);
    EVENTUALLY(atomic_load(&r->s->console->n_watchers) < WATCHERS_MAX);
    fd[0] = watch(r, EVENTS, NULL, &all[0]);
    for (int i = 0; i < WATCHERS_MAX; i++) {
        close(fd[i]);
        buf_done(&all[i]);
    }
}

static void drain_ends_watchers(void **state)
{
    struct room *r = *state;
    struct buf all;
    int fd;

    r->config.drain_timeout = 60000;
    room_start(r);
    fd = watch(r, "/v1/engine/events?interval_ms=10000", NULL, &all);
    room_stop(r); /* long before the drain's deadline, or the test runs into its own */
    hear(fd, &all, NULL);
    HAS(all.data, "\r\n0\r\n\r\n"); /* ended in order */
    close(fd);
    buf_done(&all);
}

static void finished_are_bounded(void **state)
{
    struct room *r = *state;
    struct buf all;
    int w;

    r->config.io_threads = 1;
    room_start(r);
    for (int i = 0; i < ROWS_RECENT + 3; i++) {
        char name[64], *a;
        snprintf(name, sizeof name, NAMED("r%03d"), i);
        a = ask(r, CHAT_PATH, name, CHAT("hi", ",\"max_tokens\":1"));
        assert_int_equal(status_of(a), 200);
        free(a);
    }
    w = watch(r, EVENTS, NULL, &all);
    hear(w, &all, "\n\n");
    assert_int_equal(count_of(all.data, "\"finish\":\"length\""), WATCH_FINISHED_MAX);
    HAS(all.data, "\"r258\"");
    HAS_NOT(all.data, "\"r100\"");
    close(w);
    buf_done(&all);
    EVENTUALLY(atomic_load(&r->s->console->n_watchers) == 0);
    for (int i = 0; i < 5; i++) {
        char path[64], *a;
        snprintf(path, sizeof path, "/v1/engine/requests/r%03d", i);
        a = get(r, "GET", path, NULL);
        assert_int_equal(status_of(a), i < 3 ? 404 : 200);
        free(a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_event_holds_all, setup, teardown),
        cmocka_unit_test_setup_teardown(interval_is_checked, setup, teardown),
        cmocka_unit_test_setup_teardown(rows_and_places, setup, teardown),
        cmocka_unit_test_setup_teardown(timeline_is_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(cancel_of_a_stream, setup, teardown),
        cmocka_unit_test_setup_teardown(not_over_before_its_jobs_are_home, setup, teardown),
        cmocka_unit_test_setup_teardown(cancel_in_the_queue, setup, teardown),
        cmocka_unit_test_setup_teardown(cancel_while_its_body_comes, setup, teardown),
        cmocka_unit_test_setup_teardown(tenants_are_apart, setup, teardown),
        cmocka_unit_test_setup_teardown(watchers_are_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(drain_ends_watchers, setup, teardown),
        cmocka_unit_test_setup_teardown(finished_are_bounded, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
