/* What tenants may take from each other: nothing. Two keys, one server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "console/console_int.h"
#include "serve_harness.h"

#define CHAT(text, more)                                                                           \
    "{\"model\":\"fake\",\"messages\":[{\"role\":\"user\",\"content\":\"" text "\"}]" more "}"
#define CHAT_PATH "/v1/chat/completions"

struct two {
    struct room room;    /* first */
    char a[128], b[128]; /* header lines */
};

static int setup(void **state)
{
    struct two *t = calloc(1, sizeof *t);

    room_init(&t->room);
    *state = t;
    return 0;
}

static int teardown(void **state)
{
    room_done(*state);
    free(*state);
    return 0;
}

static void new_key(const struct room *r, const char *tenant, char line[128])
{
    char key[CLOUD_KEY_TEXT_MAX];
    struct err e = {0};

    assert_int_equal(cloud_key_new(r->keys, tenant, tenant, key, &e), 0);
    snprintf(line, 128, "x-api-key: %s\r\n", key);
}

/* The server, with the tenants a and b; `lines` more in the keys file. */
static struct room *start(struct two *t, const char *lines)
{
    struct room *r = &t->room;
    FILE *f;

    new_key(r, "a", t->a);
    new_key(r, "b", t->b);
    f = fopen(r->keys, "a");
    fputs(lines, f);
    fclose(f);
    r->config.keys = r->keys;
    room_start(r);
    return r;
}

static void expect(struct room *r, const char *path, const char *key, const char *body, int status,
                   const char *what)
{
    char *a = ask(r, path, key, body);

    if (status_of(a) != status)
        fail_msg("%s: not %d but\n%s", body, status, a);
    HAS(a, what);
    free(a);
}

static int add(void *arg, const struct books_balance *b)
{
    *(int64_t *)arg += b->n_requests;
    return 0;
}

static int64_t n_booked(const struct room *r)
{
    int64_t n = 0;
    struct err e = {0};

    return books_balances(r->ledger, add, &n, &e) ? -1 : n;
}

/* ---- tokens a minute ------------------------------------------------------------------------- */

static void unstated_maximum_is_what_is_held(void **state)
{
    struct two *t = *state;
    struct room *r = start(t, "tenant a tokens_per_minute=10\n");
    char *a;

    /* 8 of the prompt, and an answer of 4 that did not say how long it would be: it gets 2. */
    expect(r, CHAT_PATH, t->a, CHAT("hi", ""), 200, "\"total_tokens\":10");
    EVENTUALLY(n_booked(r) == 1);
    a = ask(r, CHAT_PATH, t->a, CHAT("hi", ""));
    assert_int_equal(status_of(a), 429);
    HAS(a, "token_quota_exceeded");
    HAS(a, "retry-after: ");
    HAS(a, "x-ratelimit-remaining-tokens: 0\r\n");
    free(a);
    expect(r, CHAT_PATH, t->b, CHAT("hi", ""), 200, "\"total_tokens\":12");
}

static void what_never_fits(void **state)
{
    struct two *t = *state;
    struct room *r = start(t, "tenant a tokens_per_minute=10\n");
    char *a;

    expect(r, CHAT_PATH, t->a, CHAT("hi", ",\"max_tokens\":2"), 200, "\"total_tokens\":10");
    a = ask(r, CHAT_PATH, t->a, CHAT("hi", ",\"max_tokens\":3"));
    assert_int_equal(status_of(a), 429);
    HAS(a, "token_quota_exceeded");
    HAS(a, "may use 11 tokens");
    HAS(a, "x-should-retry: false\r\n");
    HAS_NOT(a, "\r\nretry-after");
    free(a);
    expect(r, CHAT_PATH, t->a, CHAT("hello", ""), 429, "may use 12 tokens"); /* 11 and one */
    expect(
        r, CHAT_PATH, t->a, /* a prediction may be computed in vain, and is billed then */
        CHAT("hi", ",\"max_tokens\":2,\"prediction\":{\"type\":\"content\",\"content\":\"abc\"}"),
        429, "may use 13 tokens");
}

/* The reading of a text that is refused for what the client did is paid, and no other. */
static void refused_texts_are_charged(void **state)
{
    struct two *t = *state;
    struct room *r = start(t, "tenant a tokens_per_minute=1000\n");
    static char body[6000];

    snprintf(body, sizeof body, "{\"model\":\"fake\",\"prompt\":\"%05000d\",\"max_tokens\":999}",
             0);
    r->f.frozen = 1;
    expect(r, "/v1/completions", t->a, body, 503, "x-ratelimit-remaining-tokens: 1000\r\n");
    r->f.frozen = 0;
    expect(r, "/v1/completions", t->a, body, 400, "x-ratelimit-remaining-tokens: 1000\r\n");
    EVENTUALLY(r->s->n_calls == 0); /* a call pays when it ends */
    expect(r, "/detokenize", t->a, "{\"tokens\":[104]}", 200,
           "x-ratelimit-remaining-tokens: 994\r\n"); /* 5 KB are 5, and its own is held */
}

/* Complaints 9 and 10: after an answer of N tokens, streamed or not, N fewer are left. */
static void remaining_falls_by_what_was_used(void **state)
{
    struct two *t = *state;
    struct room *r = start(t, "tenant a tokens_per_day=4000 tokens_per_hour=3000\n");
    char *a;

    expect(r, CHAT_PATH, t->a, CHAT("hi", ""), 200, "x-ratelimit-remaining-tokens-day: 3988\r\n");
    EVENTUALLY(n_booked(r) == 1);
    expect(r, CHAT_PATH, t->a, CHAT("hi", ",\"max_tokens\":2"), 200,
           "x-ratelimit-remaining-tokens-hour: 2978\r\n");
    EVENTUALLY(n_booked(r) == 2);
    a = ask(r, CHAT_PATH, t->a, CHAT("hi", ",\"max_tokens\":1000,\"stream\":true"));
    HAS(a, "x-ratelimit-remaining-tokens-day: 2970\r\n"); /* what it may use is held */
    HAS(a, "x-ratelimit-limit-tokens-day: 4000\r\n");
    free(a);
    EVENTUALLY(n_booked(r) == 3);
    expect(r, CHAT_PATH, t->a, CHAT("hi", ""), 200, "x-ratelimit-remaining-tokens-day: 3954\r\n");
}

/* Complaint 5: on a budget's last tokens an answer is cut to them, and that is said, or it is
 * refused; never above. A restart changes nothing. */
static void the_last_cent(void **state)
{
    struct two *t = *state;
    struct room *r = start(t, "tenant a token_budget_per_week=30 budget_warn=50\n");
    char *a = ask(r, CHAT_PATH, t->a, CHAT("hi", ""));

    assert_int_equal(status_of(a), 200);
    HAS(a, "x-gaufre-max-tokens: 22\r\n");
    free(a);
    EVENTUALLY(n_booked(r) == 1);
    a = ask(r, CHAT_PATH, t->a, CHAT("hi", ",\"max_tokens\":11"));
    assert_int_equal(status_of(a), 402);
    HAS(a, "x-should-retry: false\r\n");
    HAS_NOT(a, "\r\nretry-after");
    HAS(a, "budget of 30 tokens a week has 18 tokens left");
    free(a);
    a = ask(r, CHAT_PATH, t->a, CHAT("hi", ",\"max_tokens\":3"));
    assert_int_equal(status_of(a), 200);
    HAS_NOT(a, "x-gaufre-max-tokens");
    HAS(a, "x-gaufre-budget-warning: 76% of 30 tokens a week\r\n");
    free(a);
    EVENTUALLY(n_booked(r) == 2);
    expect(r, CHAT_PATH, t->a, CHAT("hi", ""), 402, "has 7 tokens left");
    expect(r, CHAT_PATH, t->b, CHAT("hi", ""), 200, "\"total_tokens\":12");
    EVENTUALLY(n_booked(r) == 3);
    a = get(r, "GET", "/metrics", NULL);
    HAS(a, "gaufre_refused_total{reason=\"budget\"} 2");
    HAS(a, "gaufre_reserved_tokens 0");
    HAS(a, "gaufre_budget_tokens{state=\"settled\"} 23");
    HAS(a, "gaufre_budget_tokens{state=\"held\"} 0");
    free(a);
}

static void answers_have_a_maximum(void **state)
{
    struct two *t = *state;
    struct room *r = start(t, "tenant a max_output_tokens=3\n");

    expect(r, CHAT_PATH, t->a, CHAT("hi", ""), 200, "x-gaufre-max-tokens: 3\r\n");
    expect(r, CHAT_PATH, t->a, CHAT("hi", ""), 200, "\"completion_tokens\":3");
    expect(r, CHAT_PATH, t->a, CHAT("hi", ",\"max_tokens\":3"), 200, "\"completion_tokens\":3");
    expect(r, CHAT_PATH, t->a, CHAT("hi", ",\"max_tokens\":4"), 400,
           "4 is more than this tenant may ask for (limit 3)");
    expect(r, CHAT_PATH, t->b, CHAT("hi", ""), 200, "\"completion_tokens\":4");
}

/* Complaints 1 and 3: sixty-four requests at once and a budget for seven: seven are let in,
 * whatever the order; and when they have ended, each in its own way, nothing is held. */
static void a_burst_of_requests(void **state)
{
    enum { N = 64, FIT = 7, EACH = 14 }; /* 10 of the prompt, 4 of the answer */
    struct two *t = *state;
    struct room *r;
    char line[64], *a;
    int fd[N], n_in = 0, n_out = 0;

    snprintf(line, sizeof line, "tenant a token_budget_per_day=%d\n", FIT * EACH + EACH - 1);
    r = start(t, line);
    for (int i = 0; i < N; i++)
        post(fd[i] = dial(r), CHAT_PATH, t->a, CHAT("HOLD", ",\"max_tokens\":4,\"stream\":true"));
    EVENTUALLY(r->f.n_submitted == FIT && r->s->n_calls == FIT);
    a = get(r, "GET", "/metrics", NULL);
    HAS(a, "gaufre_budget_tokens{state=\"held\"} 98");
    HAS(a, "gaufre_budget_tokens{state=\"settled\"} 0");
    free(a);
    r->f.released = 1;
    for (int i = 0; i < N; i++) {
        struct buf got;
        buf_init(&got, 1 << 20);
        hear(fd[i], &got, NULL);
        n_in += status_of(got.data) == 200;
        n_out += status_of(got.data) == 402;
        buf_done(&got);
        close(fd[i]);
    }
    assert_int_equal(n_in, FIT);
    assert_int_equal(n_out, N - FIT);
    EVENTUALLY(r->s->n_calls == 0);
    a = get(r, "GET", "/metrics", NULL);
    HAS(a, "gaufre_budget_tokens{state=\"held\"} 0");
    HAS(a, "gaufre_budget_tokens{state=\"settled\"} 98");
    free(a);
}

static void text_tools_are_charged(void **state)
{
    struct two *t = *state;
    struct room *r = start(t, "tenant a tokens_per_minute=5 requests_per_minute=5\n");
    static char body[6000];
    char *a;

    expect(r, "/tokenize", t->a, "{\"content\":\"ab\"}", 200, "[97,98]");
    a = ask(r, "/detokenize", t->a, "{\"tokens\":[104]}");
    HAS(a, "x-ratelimit-remaining-tokens: 3\r\n"); /* the second is held */
    HAS(a, "x-ratelimit-remaining-requests: 3\r\n");
    free(a);
    /* 3 KiB of text make some 9 KiB of tokens: all of that is paid, the answer's part when done. */
    snprintf(body, sizeof body, "{\"content\":\"%02500d\"}", 0);
    expect(r, "/tokenize", t->a, body, 200, "[48,48");
    expect(r, "/apply-template", t->a, "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}",
           429, "token_quota_exceeded");
    snprintf(body, sizeof body, "{\"content\":\"%05500d\"}", 0);
    expect(r, "/tokenize", t->a, body, 429, "may use 6 tokens");
    expect(r, "/tokenize", t->b, body, 200, "[48,48");
}

/* ---- sequences ------------------------------------------------------------------------------- */

static void sequences_are_counted(void **state)
{
    static const char prompts[] = "{\"model\":\"fake\",\"n\":2,\"max_tokens\":1,\"prompt\":["
                                  "\"HOLD\",\"HOLD\",\"HOLD\",\"HOLD\",\"HOLD\"]}";
    struct two *t = *state;
    struct room *r = start(t, "tenant a concurrency=5\n");
    struct buf all;
    int fd = dial(r);

    expect(r, CHAT_PATH, t->a, CHAT("x", ",\"n\":6"), 400, "n: 6 choices are more");
    post(fd, "/v1/completions", t->a, prompts);
    EVENTUALLY(r->f.n_submitted == 2); /* of five: four sequences, a third one has no room */
    expect(r, CHAT_PATH, t->a, CHAT("x", ",\"n\":2"), 429, "queue_exceeded");
    expect(r, CHAT_PATH, t->a, CHAT("x", ""), 200, "w0 "); /* the fifth */
    expect(r, CHAT_PATH, t->b, CHAT("x", ",\"n\":6"), 200, "w0 ");
    assert_int_equal(r->f.n_submitted, 4);
    r->f.released = 1;
    buf_init(&all, 1 << 20);
    hear(fd, &all, NULL);
    assert_int_equal(status_of(all.data), 200);
    assert_int_equal(count_of(all.data, "\"finish_reason\":"), 10); /* all of them, by turns */
    buf_done(&all);
    close(fd);
}

/* The queue's limit too: eight waiting choices of one request are eight. */
static void queue_counts_sequences(void **state)
{
    struct two *t = *state;
    struct room *r = &t->room;
    int fd;

    r->config.queue = 8;
    r->f.capacity = 1;
    start(t, "");
    fd = dial(r);
    post(fd, CHAT_PATH, t->a, CHAT("HOLD", ",\"n\":9"));
    EVENTUALLY(r->f.n_submitted == 1);
    expect(r, CHAT_PATH, t->a, CHAT("x", ""), 429, "queue_exceeded");
    expect(r, CHAT_PATH, t->b, CHAT("x", ""), 200, "w0 "); /* not another's trouble */
    r->f.released = 1;
    EVENTUALLY(r->f.n_done == 2);
    expect(r, CHAT_PATH, t->a, CHAT("x", ""), 200, "w0 ");
    close(fd);
}

/* ---- tiers ----------------------------------------------------------------------------------- */

/* What is asked for without a right to it is served as what there is a right to, and said. */
static void tiers_are_rights(void **state)
{
    struct two *t = *state;
    struct room *r = start(t, "tenant a tiers=flex,default,priority\n");

    expect(r, CHAT_PATH, t->a, CHAT("x", ",\"service_tier\":\"priority\""), 200,
           "\"service_tier\":\"priority\"}");
    expect(r, CHAT_PATH, t->b, CHAT("x", ",\"service_tier\":\"priority\""), 200,
           "\"service_tier\":\"default\"}");
    expect(r, CHAT_PATH, t->b, CHAT("x", ",\"service_tier\":\"auto\""), 200,
           "\"service_tier_used\":\"default\"");
    expect(r, CHAT_PATH, t->a, CHAT("x", ",\"service_tier\":\"auto\""), 200,
           "\"service_tier_used\":\"priority\"");
    expect(r, CHAT_PATH, t->b, CHAT("x", ",\"service_tier\":\"flex\""), 200,
           "\"service_tier\":\"flex\"}");
    expect(r, CHAT_PATH, t->b, CHAT("x", ""), 200, "\"service_tier\":null}");
    expect(r, CHAT_PATH, t->b, CHAT("x", ",\"service_tier\":\"batch\""), 200,
           "\"service_tier\":\"batch\"}");
    assert_string_equal(r->f.tiers, "2112013"); /* as the supplier saw them */
}

/* ---- turns ----------------------------------------------------------------------------------- */

/* A request too big to be read on the spot: left to the prep pool. */
static int post_big(struct room *r, const char *key, const char *prompt)
{
    static char body[BODY_INLINE + 200];
    int fd = dial(r);

    snprintf(body, sizeof body, "{\"model\":\"fake\",\"max_tokens\":1,\"prompt\":\"%s\"%*s}",
             prompt, BODY_INLINE, "");
    post(fd, "/v1/completions", key, body);
    return fd;
}

static void turns_to_be_read(void **state)
{
    struct two *t = *state;
    struct room *r = &t->room;
    int fd[6];

    r->config.prep_threads = 1;
    start(t, "");
    fd[0] = post_big(r, t->a, "SLOW");
    EVENTUALLY(r->f.n_reading == 1);
    for (int i = 1; i < 5; i++) {
        fd[i] = post_big(r, t->a, "a");
        EVENTUALLY(prep_n_queued(r->s->prep) == i);
    }
    fd[5] = post_big(r, t->b, "b");
    EVENTUALLY(prep_n_queued(r->s->prep) == 5);
    r->f.read = 1;
    EVENTUALLY(r->f.n_submitted == 6);
    assert_string_equal(r->f.order, "Sbaaaa");
    for (int i = 0; i < 6; i++)
        close(fd[i]);
}

static void places_to_be_read(void **state)
{
    struct two *t = *state;
    struct room *r = &t->room;
    static int fd[PREP_QUEUE_MAX / 2];
    struct buf all;
    int first, more;

    r->config.prep_threads = 1;
    start(t, "");
    first = post_big(r, t->a, "SLOW");
    EVENTUALLY(r->f.n_reading == 1);
    for (int i = 0; i < PREP_QUEUE_MAX / 2; i++)
        fd[i] = post_big(r, t->a, "a");
    EVENTUALLY(prep_n_queued(r->s->prep) == PREP_QUEUE_MAX / 2);
    buf_init(&all, 1 << 16);
    more = post_big(r, t->a, "a");
    hear(more, &all, NULL);
    assert_int_equal(status_of(all.data), 503);
    HAS(all.data, "Too many big requests");
    buf_done(&all);
    close(more);
    more = post_big(r, t->b, "b");
    EVENTUALLY(prep_n_queued(r->s->prep) == PREP_QUEUE_MAX / 2 + 1);
    r->f.read = 1;
    close(first);
    close(more);
    for (int i = 0; i < PREP_QUEUE_MAX / 2; i++)
        close(fd[i]);
}

static int watch(struct room *r, const char *key, int want_status)
{
    struct buf all;
    int fd = dial(r);

    buf_init(&all, 1 << 20);
    buf_addf(&all, "GET /v1/engine/events HTTP/1.1\r\nHost: x\r\n%s\r\n", key);
    say(fd, all.data, all.len);
    buf_clear(&all);
    hear(fd, &all, "\r\n\r\n");
    assert_int_equal(status_of(all.data), want_status);
    buf_done(&all);
    return fd;
}

static void places_to_watch(void **state)
{
    struct two *t = *state;
    struct room *r = start(t, "");
    int fd[WATCHERS_MAX], n = 0;

    while (n < WATCHERS_MAX / 2)
        fd[n++] = watch(r, t->a, 200);
    close(watch(r, t->a, 429));
    fd[n++] = watch(r, t->b, 200);
    close(fd[--n]);
    close(fd[--n]);
    EVENTUALLY(atomic_load(&r->s->console->n_watchers) == WATCHERS_MAX / 2 - 1);
    fd[n++] = watch(r, t->a, 200); /* a place comes back */
    while (n)
        close(fd[--n]);
}

/* Where a request waits is told as it will be served. */
static void place_in_the_queue(void **state)
{
    struct two *t = *state;
    struct room *r = start(t, "");
    struct buf all;
    int fd[4], w;

    for (int i = 0; i < 4; i++) {
        fd[i] = dial(r);
        post(fd[i], CHAT_PATH, i < 3 ? t->a : t->b, CHAT("HOLD", ""));
        EVENTUALLY(r->f.n_submitted == i + 1);
    }
    w = dial(r);
    buf_init(&all, 1 << 20);
    buf_addf(&all, "GET /v1/engine/events HTTP/1.1\r\nHost: x\r\n%s\r\n", t->b);
    say(w, all.data, all.len);
    buf_clear(&all);
    hear(w, &all, "\"others\":3}");
    HAS(all.data, "\"state\":\"queued\",\"position\":2,"); /* behind the other's first one */
    buf_done(&all);
    close(w);
    r->f.released = 1;
    EVENTUALLY(r->f.n_done == 4);
    for (int i = 0; i < 4; i++)
        close(fd[i]);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T(unstated_maximum_is_what_is_held),
        T(what_never_fits),
        T(a_burst_of_requests),
        T(answers_have_a_maximum),
        T(remaining_falls_by_what_was_used),
        T(the_last_cent),
        T(refused_texts_are_charged),
        T(text_tools_are_charged),
        T(sequences_are_counted),
        T(queue_counts_sequences),
        T(tiers_are_rights),
        T(turns_to_be_read),
        T(places_to_be_read),
        T(places_to_watch),
        T(place_in_the_queue),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
