/* The way of a request between two suppliers of one model: what fails before the first byte is
 * tried at the other one, and whatever happens is booked once and leaves nothing held. */
#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/check.h"
#include "serve_harness.h"

#define CHAT_PATH "/v1/chat/completions"
#define CHAT(text, more)                                                                           \
    "{\"model\":\"fake\",\"messages\":[{\"role\":\"user\",\"content\":\"" text "\"}]" more "}"
#define TOKENS 5000 /* a minute, of a tenant */

struct two {
    struct room r; /* its supplier is asked first */
    struct fake g;
    int64_t began_us;
};

static int setup(void **state)
{
    struct two *t = calloc(1, sizeof *t);

    room_init(&t->r);
    t->r.config.tokens_per_minute = TOKENS;
    t->r.config.concurrency = 2;
    fake_open(&t->g);
    t->g.s.id = "second";
    t->began_us = clock_now_us();
    *state = t;
    return 0;
}

static void start(struct two *t)
{
    struct err e;

    room_start(&t->r);
    assert_int_equal(cloud_add_offer(t->r.s->cloud, 0, &t->g.s, &e), 0);
}

static int teardown(void **state)
{
    struct two *t = *state;

    room_done(&t->r); /* checks that all concurrency was given back */
    assert_null(t->g.jobs);
    fake_close(&t->g);
    free(t);
    return 0;
}

/* What the ledger says: rows, their tokens, and who served the last of them. */
struct booked {
    int64_t n, prompt, completion;
    char supplier[64];
};

static struct booked booked(struct two *t)
{
    static const char sql[] = "SELECT count(*), sum(prompt_tokens), sum(completion_tokens),"
                              " max(supplier) FROM usage";
    struct booked b = {0};
    sqlite3_stmt *st = NULL;
    sqlite3 *db = NULL;

    room_stop(&t->r);
    EVENTUALLY(atomic_load(&t->r.s->n_calls) == 0);
    for (struct cloud_stats s = {.rows_pending = 1}; s.rows_pending || s.rows_in_journal;
         clock_sleep_us(1000))
        cloud_stats(t->r.s->cloud, &s);
    assert_int_equal(sqlite3_open(t->r.ledger, &db), 0);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &st, NULL), 0);
    assert_int_equal(sqlite3_step(st), SQLITE_ROW);
    b.n = sqlite3_column_int64(st, 0);
    b.prompt = sqlite3_column_int64(st, 1);
    b.completion = sqlite3_column_int64(st, 2);
    if (b.n)
        snprintf(b.supplier, sizeof b.supplier, "%s", (const char *)sqlite3_column_text(st, 3));
    sqlite3_finalize(st);
    sqlite3_close(db);
    return b;
}

/* So many tokens of the bucket are not there: used, or held. What it has got back since the start
 * may be missing from them. */
static void expect_taken(struct two *t, int64_t least, int64_t most)
{
    struct cloud_ticket look = {.i_tenant = -1};
    struct api_rate rate;
    struct err e;
    int64_t taken, back;

    assert_int_equal(
        cloud_enter(t->r.s->cloud, clock_now_us(), &(struct cloud_caller){.key = NULL}, &look, &e),
        0);
    assert_true(cloud_rate(t->r.s->cloud, clock_now_us(), &look, -1, &rate));
    cloud_leave(t->r.s->cloud, clock_now_us(), &look, 0);
    taken = TOKENS - rate.tokens_minute.remaining;
    back = (clock_now_us() - t->began_us) * TOKENS / 60000000 + 1;
    assert_in_range(taken, least > back ? least - back : 0, most);
}

static void refused(void **state)
{
    static const int codes[] = {ERR_DRAINING, ERR_FROZEN, ERR_LOADING, ERR_IO};
    struct two *t = *state;
    struct booked b;
    char *a;

    start(t);
    for (int i = 0; i < (int)ARRAY_LEN(codes); i++) {
        t->r.f.refuses = codes[i];
        a = ask(&t->r, CHAT_PATH, NULL, CHAT("hi", ",\"max_tokens\":3"));
        assert_int_equal(status_of(a), 200);
        HAS(a, "\"content\":\"w0 w1 w2 \"");
        HAS(a, "\"prompt_tokens\":8,\"completion_tokens\":3,\"total_tokens\":11");
        free(a);
    }
    assert_int_equal(t->r.f.n_submitted, 0);
    assert_int_equal(t->g.n_submitted, 4);
    b = booked(t);
    assert_int_equal(b.n, 4);
    assert_int_equal(b.prompt, 4 * 8);
    assert_int_equal(b.completion, 4 * 3);
    assert_string_equal(b.supplier, "second");
}

/* Jobs that begin and end without a token: their offer's work is not the client's to pay. */
static void dies_before_the_first_byte(void **state)
{
    struct two *t = *state;
    struct booked b;
    char *a;

    t->r.f.dies = ERR_INTERNAL;
    start(t);
    a = ask(&t->r, CHAT_PATH, NULL, CHAT("hi", ",\"max_tokens\":3"));
    assert_int_equal(status_of(a), 200);
    HAS(a, "\"prompt_tokens\":8,\"completion_tokens\":3,\"total_tokens\":11");
    free(a);
    a = ask(&t->r, CHAT_PATH, NULL, CHAT("hi", ",\"max_tokens\":3,\"stream\":true"));
    assert_int_equal(status_of(a), 200);
    assert_int_equal(count_of(a, "\"role\":\"assistant\""), 1); /* the opening is told once */
    HAS(a, "\"content\":\"w2 \"");
    HAS(a, "data: [DONE]");
    HAS_NOT(a, "error");
    free(a);
    assert_int_equal(t->r.f.n_submitted, 2);
    assert_int_equal(t->g.n_submitted, 2);
    expect_taken(t, 20, 22); /* and no more is held */
    b = booked(t);
    assert_int_equal(b.n, 2);
    assert_int_equal(b.prompt, 2 * 8);
    assert_string_equal(b.supplier, "second");
}

/* What the client has seen, no other supplier can go on with. */
static void dies_after_the_first_byte(void **state)
{
    struct two *t = *state;
    struct booked b;
    char *a;

    start(t);
    a = ask(&t->r, CHAT_PATH, NULL, CHAT("FAIL", ",\"stream\":true"));
    assert_int_equal(status_of(a), 200);
    HAS(a, "w0 ");
    HAS(a, "data: {\"error\"");
    HAS_NOT(a, "[DONE]");
    free(a);
    a = ask(&t->r, CHAT_PATH, NULL, CHAT("FAIL", ""));
    assert_int_equal(status_of(a), 500);
    free(a);
    assert_int_equal(t->g.n_submitted, 0);
    b = booked(t);
    assert_int_equal(b.n, 2);
    assert_string_equal(b.supplier, "fake");
}

static void both_fail(void **state)
{
    struct two *t = *state;
    struct booked b;
    char *a;

    t->r.f.refuses = ERR_LOADING;
    t->g.refuses = ERR_DRAINING;
    start(t);
    a = ask(&t->r, CHAT_PATH, NULL, CHAT("hi", ""));
    assert_int_equal(status_of(a), 503);
    HAS(a, "refused by second"); /* the last error */
    HAS(a, "retry-after: ");
    free(a);
    t->g.refuses = 0;
    t->g.dies = ERR_NUMERIC;
    a = ask(&t->r, CHAT_PATH, NULL, CHAT("hi", ""));
    assert_int_equal(status_of(a), 500);
    free(a);
    a = ask(&t->r, CHAT_PATH, NULL, CHAT("hi", ",\"stream\":true"));
    assert_int_equal(status_of(a), 200);
    HAS(a, "data: {\"error\"");
    free(a);
    expect_taken(t, 0, 16); /* prompts that were computed */
    b = booked(t);
    assert_int_equal(b.n, 2); /* who refused at the door has used nothing */
    assert_string_equal(b.supplier, "second");
}

/* The other one is frozen, or was removed: nobody is left, and the last error is the answer. */
static void nobody_is_left(void **state)
{
    struct two *t = *state;
    char *a;

    t->r.f.refuses = ERR_LOADING;
    t->g.frozen = 1;
    start(t);
    a = ask(&t->r, CHAT_PATH, NULL, CHAT("hi", ""));
    assert_int_equal(status_of(a), 503);
    HAS(a, "refused by fake");
    free(a);
    assert_int_equal(cloud_remove_offer(t->r.s->cloud, &t->r.f.s), 0);
    assert_int_equal(t->r.f.n_gone, 1);
    a = ask(&t->r, CHAT_PATH, NULL, CHAT("hi", ""));
    assert_int_equal(status_of(a), 503);
    HAS(a, "engine_frozen");
    free(a);
    t->g.frozen = 0;
}

/* A request that is at fault itself is so everywhere. */
static void its_own_fault(void **state)
{
    static const int codes[] = {ERR_CONTEXT, ERR_SCHEMA, ERR_UNSUPPORTED};
    struct two *t = *state;
    char *a;

    start(t);
    a = ask(&t->r, CHAT_PATH, NULL, CHAT("hi", ",\"max_tokens\":2000"));
    assert_int_equal(status_of(a), 400);
    HAS(a, "context_length_exceeded");
    free(a);
    for (int i = 0; i < (int)ARRAY_LEN(codes); i++) {
        t->r.f.refuses = codes[i];
        a = ask(&t->r, CHAT_PATH, NULL, CHAT("hi", ""));
        assert_int_equal(status_of(a), 400);
        free(a);
    }
    assert_int_equal(t->g.n_submitted, 0);
    expect_taken(t, 1 + ARRAY_LEN(codes), 1 + ARRAY_LEN(codes)); /* the reading of each */
}

/* An offer whose queue is full is passed over; a tenant's own limit is not asked twice. */
static void a_full_queue(void **state)
{
    struct two *t = *state;
    int held;
    char *a;

    t->r.config.queue = 1;
    t->r.config.keys = "";
    t->g.capacity = 1;
    t->r.f.capacity = 1000; /* a share so small that it is asked first */
    start(t);
    post(held = dial(&t->r), CHAT_PATH, NULL, CHAT("HOLD", ",\"stream\":true"));
    EVENTUALLY(t->r.f.n_submitted == 1);
    t->r.f.capacity = 1;
    t->g.n_running = 9;
    t->r.f.n_inside = 9;
    a = ask(&t->r, CHAT_PATH, NULL, CHAT("hi", ""));
    assert_int_equal(status_of(a), 200);
    free(a);
    assert_int_equal(t->g.n_submitted, 1);
    t->r.f.n_inside = 1;
    t->g.n_running = 0;
    close(held);
}

/* ---- leaving and cancelling, in each state --------------------------------------------------- */

/* Two prompts: the first dies, the second holds, and cancelled it does not end. */
static int in_state_back(struct two *t)
{
    int fd;

    t->r.f.dies = ERR_INTERNAL;
    t->r.f.keeps = 1;
    start(t);
    post(fd = dial(&t->r), "/v1/completions", "X-Client-Request-Id: mine\r\n",
         "{\"model\":\"fake\",\"prompt\":[\"HOLD\",\"hi\"],\"max_tokens\":2}");
    EVENTUALLY(t->r.f.n_cancelled == 1);
    clock_sleep_us(20000);
    assert_int_equal(t->g.n_submitted, 0); /* while a job of it is out, it goes nowhere */
    return fd;
}

static void back_and_on(void **state)
{
    struct two *t = *state;
    struct booked b;
    struct buf all;
    int fd = in_state_back(t);

    t->g.released = 1;
    t->r.f.keeps = 0;
    buf_init(&all, 1 << 20);
    hear(fd, &all, NULL);
    assert_int_equal(status_of(all.data), 200);
    HAS(all.data, "\"index\":1");
    assert_int_equal(t->g.n_submitted, 2);
    buf_done(&all);
    close(fd);
    b = booked(t);
    assert_int_equal(b.n, 1);
    assert_int_equal(b.completion, 4);
    assert_string_equal(b.supplier, "second");
}

static void left_on_the_way_back(void **state)
{
    struct two *t = *state;
    int fd = in_state_back(t);

    close(fd);
    clock_sleep_us(20000);
    assert_int_equal(t->r.s->n_calls, 1); /* its job is still there */
    t->r.f.keeps = 0;
    EVENTUALLY(t->r.s->n_calls == 0);
    assert_int_equal(t->g.n_submitted, 0);
}

static void cancelled_on_the_way_back(void **state)
{
    struct two *t = *state;
    struct buf all;
    int fd = in_state_back(t);
    char *a = ask(&t->r, "/v1/engine/requests/mine/cancel", NULL, "");

    assert_int_equal(status_of(a), 200);
    HAS(a, "true");
    free(a);
    buf_init(&all, 1 << 20);
    hear(fd, &all, NULL);
    assert_int_equal(status_of(all.data), 499);
    buf_done(&all);
    close(fd);
    t->r.f.keeps = 0;
    EVENTUALLY(t->r.s->n_calls == 0);
    assert_int_equal(t->g.n_submitted, 0);
}

static void post_big(int fd, const char *text, const char *more)
{
    struct buf b;

    buf_init(&b, 1 << 20);
    buf_addf(&b, "{\"model\":\"fake\",\"messages\":[{\"role\":\"user\",\"content\":\"%s", text);
    while (b.len < BODY_INLINE + 1)
        buf_add_char(&b, 'x');
    buf_addf(&b, "\"}]%s}", more);
    post(fd, CHAT_PATH, "X-Client-Request-Id: big\r\n", b.data);
    buf_done(&b);
}

/* A prep thread reads its prompt. */
static void left_while_prepared(void **state)
{
    struct two *t = *state;
    struct buf all;
    char *a;
    int fd;

    start(t);
    for (int by_name = 0; by_name < 2; by_name++) {
        post_big(fd = dial(&t->r), "SLOW", "");
        EVENTUALLY(t->r.f.n_reading == 1 + by_name);
        if (by_name) {
            a = ask(&t->r, "/v1/engine/requests/big/cancel", NULL, "");
            HAS(a, "true");
            free(a);
            buf_init(&all, 1 << 20);
            hear(fd, &all, NULL);
            assert_int_equal(status_of(all.data), 499);
            buf_done(&all);
        }
        close(fd);
        EVENTUALLY(t->r.s->n_calls == 0);
    }
    assert_int_equal(t->r.f.n_submitted + t->g.n_submitted, 0);
    expect_taken(t, 0, 0);
}

/* A stream that began at the first offer, and ends with an error before the second has begun it:
 * cancelled by name while its prompt is read there, or because there is no place in its queue. */
static void stream_ends_between_two(void **state)
{
    struct two *t = *state;
    struct buf all;
    char *a;
    int fd;

    t->r.config.queue = 1;
    t->r.config.tokens_per_minute = 0;
    t->r.f.facts.context = t->g.facts.context = 1 << 20;
    t->r.f.dies = ERR_INTERNAL;
    t->r.f.read = 1;
    start(t);
    post_big(fd = dial(&t->r), "SLOW", ",\"stream\":true");
    EVENTUALLY(t->g.n_reading == 1);
    a = ask(&t->r, "/v1/engine/requests/big/cancel", NULL, "");
    HAS(a, "true");
    free(a);
    buf_init(&all, 1 << 20);
    hear(fd, &all, NULL);
    assert_int_equal(status_of(all.data), 200);
    HAS(all.data, "data: {\"error\"");
    buf_done(&all);
    close(fd);
    t->g.n_inside = 9;
    t->g.capacity = 1;
    a = ask(&t->r, CHAT_PATH, NULL, CHAT("hi", ",\"stream\":true"));
    assert_int_equal(status_of(a), 200);
    HAS(a, "data: {\"error\"");
    HAS(a, "high traffic");
    free(a);
    t->g.n_inside = 0;
    assert_int_equal(t->g.n_submitted, 0);
}

/* At the second offer, before its first token. */
static void left_at_the_second(void **state)
{
    struct two *t = *state;
    int fd;

    t->r.f.refuses = ERR_IO;
    start(t);
    post(fd = dial(&t->r), CHAT_PATH, NULL, CHAT("HOLD", ",\"stream\":true"));
    EVENTUALLY(t->g.n_submitted == 1);
    close(fd);
    EVENTUALLY(t->r.s->n_calls == 0);
    assert_int_equal(t->g.n_cancelled, 1);
    expect_taken(t, 0, 0);
}

/* ---- offers that come and go ----------------------------------------------------------------- */

static void removed_while_it_answers(void **state)
{
    struct two *t = *state;
    struct buf all;
    int fd;
    char *a;

    start(t);
    post(fd = dial(&t->r), CHAT_PATH, NULL, CHAT("HOLD", ",\"stream\":true"));
    EVENTUALLY(t->r.f.n_submitted == 1);
    assert_int_equal(cloud_remove_offer(t->r.s->cloud, &t->r.f.s), 0);
    a = ask(&t->r, CHAT_PATH, NULL, CHAT("hi", ""));
    assert_int_equal(status_of(a), 200);
    free(a);
    assert_int_equal(t->g.n_submitted, 1);
    assert_int_equal(t->r.f.n_gone, 0);
    t->r.f.released = 1;
    buf_init(&all, 1 << 20);
    hear(fd, &all, NULL);
    HAS(all.data, "[DONE]");
    buf_done(&all);
    close(fd);
    EVENTUALLY(t->r.f.n_gone == 1);
}

/* One model that loads keeps none of the others back. */
static void health_is_a_models(void **state)
{
    struct two *t = *state;
    struct err e;
    char *a;

    t->r.f.state = SUPPLIER_LOADING;
    t->r.other = "other";
    start(t);
    assert_int_equal(cloud_remove_offer(t->r.s->cloud, &t->g.s), 0);
    assert_int_equal(cloud_add_offer(t->r.s->cloud, 1, &t->g.s, &e), 0);
    a = ask(&t->r, CHAT_PATH, NULL, CHAT("hi", ""));
    assert_int_equal(status_of(a), 503);
    HAS(a, "model_loading");
    HAS(a, "retry-after: ");
    free(a);
    a = ask(&t->r, CHAT_PATH, NULL,
            "{\"model\":\"other\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}");
    assert_int_equal(status_of(a), 200);
    free(a);
    a = get(&t->r, "GET", "/ready", NULL);
    assert_int_equal(status_of(a), 503);
    free(a);
    assert_int_equal(cloud_remove_offer(t->r.s->cloud, &t->r.f.s), 0);
    a = get(&t->r, "GET", "/ready", NULL);
    assert_int_equal(status_of(a), 503);
    HAS(a, "Nobody offers model fake");
    free(a);
    t->r.f.state = SUPPLIER_READY;
    assert_int_equal(cloud_add_offer(t->r.s->cloud, 0, &t->r.f.s, &e), 0);
    a = get(&t->r, "GET", "/ready", NULL);
    assert_int_equal(status_of(a), 200);
    free(a);
}

/* A supplier that takes texts and messages as they are: nothing is rendered or counted here. */
static void takes_texts(void **state)
{
    struct two *t = *state;
    char *a;

    t->g.facts.reads_prompts = 0;
    t->r.f.dies = ERR_INTERNAL; /* and the way leads from one kind to the other */
    start(t);
    a = ask(&t->r, CHAT_PATH, NULL, CHAT("hi", ",\"max_tokens\":3"));
    assert_int_equal(status_of(a), 200);
    HAS(a, "\"content\":\"w0 w1 w2 \"");
    free(a);
    assert_int_equal(t->r.f.n_read, 1);
    assert_int_equal(t->g.n_reading, 0);
    assert_int_equal(t->g.order[0], 'h');
    assert_int_equal(cloud_remove_offer(t->r.s->cloud, &t->r.f.s), 0);
    a = ask(&t->r, "/v1/completions", NULL,
            "{\"model\":\"fake\",\"prompt\":[\"a\",\"b\"],\"max_tokens\":2,\"echo\":true}");
    assert_int_equal(status_of(a), 200);
    HAS(a, "\"text\":\"aw0 w1 \"");
    HAS(a, "\"text\":\"bw0 w1 \"");
    free(a);
    a = ask(&t->r, "/tokenize", NULL, "{\"content\":\"hi\"}");
    assert_int_equal(status_of(a), 400);
    free(a);
    assert_int_equal(t->g.n_reading, 0);
}

/* Who answered: the first letter of its id. */
static char served_by(struct two *t, const char *body)
{
    char *a = ask(&t->r, CHAT_PATH, NULL, body), *p = strstr(a, "x-gaufre-supplier: "), c;

    assert_int_equal(status_of(a), 200);
    assert_non_null(p);
    c = p[strlen("x-gaufre-supplier: ")];
    free(a);
    return c;
}

#define TALK(system, user, more)                                                                   \
    "{\"model\":\"fake\",\"max_tokens\":1,\"messages\":[{\"role\":\"system\",\"content\":"         \
    "\"" system "\"},{\"role\":\"user\",\"content\":\"" user "\"}" more "]"

/* A conversation stays with the supplier that has its beginning, as do requests with one
 * prompt_cache_key; others are spread. */
static void stays_together(void **state)
{
    static const struct cloud_rule rule = {.strategy = ROUTE_AFFINITY};
    static const struct cloud_rules rules = {&rule, 1};
    struct two *t = *state;
    char body[400], first, c;
    int n_other = 0, n_key = 0;

    t->r.config.tokens_per_minute = t->r.config.concurrency = 0;
    start(t);
    cloud_set_rules(t->r.s->cloud, &rules);
    for (int i = 0; i < 16; i++) {
        snprintf(body, sizeof body, TALK("you are %d", "hi", "") "}", i);
        first = served_by(t, body);
        n_other += first != served_by(t, TALK("you are 0", "hi", "") "}");
        snprintf(body, sizeof body,
                 TALK("you are %d", "hi",
                      ",{\"role\":\"assistant\",\"content\":\"ho\"},{\"role\":\"user\","
                      "\"content\":\"and\"}") "}",
                 i);
        assert_int_equal(served_by(t, body), first);
        snprintf(body, sizeof body, TALK("you are %d", "hi", "") ",\"prompt_cache_key\":\"k\"}", i);
        c = served_by(t, body);
        n_key += c == served_by(t, TALK("x", "y", "") ",\"prompt_cache_key\":\"k\"}");
    }
    assert_in_range(n_other, 1, 15);
    assert_int_equal(n_key, 16);
}

/* What waits for too long is refused before its answer begins, a stream too; or another offer gets
 * it. */
static void too_old(void **state)
{
    struct two *t = *state;
    char *a;

    t->r.config.queue_age = 300;
    t->r.config.tokens_per_minute = t->r.config.concurrency = 0;
    start(t);
    t->g.frozen = 1;
    for (int i = 0; i < 2; i++) {
        a = ask(&t->r, CHAT_PATH, NULL, i ? CHAT("HOLD", ",\"stream\":true") : CHAT("HOLD", ""));
        assert_int_equal(status_of(a), 429);
        HAS(a, "queue_exceeded");
        HAS(a, "retry-after-ms: ");
        HAS(a, "this request waited for");
        free(a);
        a = ask(&t->r, CHAT_PATH, NULL, i ? CHAT("hi", ",\"stream\":true") : CHAT("hi", ""));
        assert_int_equal(status_of(a), 200); /* the others are answered */
        HAS(a, "w2 ");
        free(a);
    }
    t->g.frozen = 0;
    t->r.f.n_running = t->r.f.n_inside = 0; /* asked first, and it holds */
    t->g.released = 1;
    a = ask(&t->r, CHAT_PATH, NULL, CHAT("HOLD", ",\"stream\":true"));
    assert_int_equal(status_of(a), 200);
    HAS(a, "x-gaufre-supplier: second");
    HAS(a, "[DONE]");
    free(a);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(refused),
        T(dies_before_the_first_byte),
        T(dies_after_the_first_byte),
        T(both_fail),
        T(nobody_is_left),
        T(its_own_fault),
        T(a_full_queue),
        T(back_and_on),
        T(left_on_the_way_back),
        T(cancelled_on_the_way_back),
        T(left_while_prepared),
        T(stream_ends_between_two),
        T(left_at_the_second),
        T(removed_while_it_answers),
        T(health_is_a_models),
        T(takes_texts),
        T(stays_together),
        T(too_old),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
