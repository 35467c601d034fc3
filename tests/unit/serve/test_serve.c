/* What the server answers, over loopback, with a scripted supplier. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "serve_harness.h"

#define CHAT(text, more)                                                                           \
    "{\"model\":\"fake\",\"messages\":[{\"role\":\"user\",\"content\":\"" text "\"}]" more "}"
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

static void chat(void **state)
{
    struct room *r = *state;
    char *a;

    room_start(r);
    a = ask(r, CHAT_PATH, NULL, CHAT("hi", ",\"max_tokens\":3"));
    assert_int_equal(status_of(a), 200);
    HAS(a, "\"content\":\"w0 w1 w2 \"");
    HAS(a, "\"finish_reason\":\"length\"");
    HAS(a, "\"prompt_tokens\":8,\"completion_tokens\":3,\"total_tokens\":11");
    HAS(a, "\"cached_tokens\":1");
    HAS(a, "\"model\":\"fake\"");
    HAS(a, "\"system_fingerprint\":\"fp_fake\"");
    HAS(a, "content-type: application/json\r\n");
    HAS(a, "x-request-id: req_");
    HAS(a, "openai-processing-ms: ");
    HAS_NOT(a, "access-control-"); /* no page but its own, without keys */
    HAS_NOT(a, "\nx-ratelimit");   /* none configured */
    free(a);
    a = ask(r, "/chat/completions/", NULL, CHAT("hi", ",\"max_tokens\":null,\"what\":1"));
    assert_int_equal(status_of(a), 200);
    HAS(a, "\"content\":\"w0 w1 w2 w3 \"");
    HAS(a, "\"finish_reason\":\"stop\"");
    free(a);
    a = ask(r, CHAT_PATH, NULL,
            "{\"model\":\"other-name\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}");
    assert_int_equal(status_of(a), 200);
    HAS(a, "\"model\":\"other-name\""); /* as asked for */
    free(a);
}

static void drawn(struct room *r, const char *more, double temperature, double top_p, int top_k)
{
    char body[512], *a;
    struct preset s;

    snprintf(body, sizeof body, CHAT("hi", "%s"), more);
    a = ask(r, CHAT_PATH, NULL, body);
    assert_int_equal(status_of(a), 200);
    free(a);
    pthread_mutex_lock(&r->f.lock);
    s = r->f.drawn_with;
    pthread_mutex_unlock(&r->f.lock);
    if ((float)s.temperature != (float)temperature || (float)s.top_p != (float)top_p ||
        s.top_k != top_k)
        fail_msg("%s: drawn with %g, %g, %d", more, s.temperature, s.top_p, s.top_k);
}

/* The API's defaults, whatever is recommended. */
static void drawn_by_the_api(void **state)
{
    struct room *r = *state;
    char *a;

    r->f.facts.sampling = (struct preset){.temperature = 0.6, .top_p = 0.9, .top_k = 20};
    room_start(r);
    drawn(r, "", 1, 1, 0);
    drawn(r, ",\"temperature\":0.3", 0.3, 1, 0);
    a = get(r, "GET", "/v1/models", NULL);
    HAS(a, "\"recommended_sampling\":{\"temperature\":0.6,\"top_p\":0.9,\"top_k\":20,"
           "\"min_p\":0},\"default_sampling\":\"api\"");
    free(a);
}

/* As recommended, but for what a request says itself. */
static void drawn_by_the_model(void **state)
{
    struct room *r = *state;
    char *a;

    r->f.facts.sampling = (struct preset){.temperature = 0.6, .top_p = 0.9, .top_k = 20};
    r->f.facts.default_sampling = 1;
    room_start(r);
    drawn(r, "", 0.6, 0.9, 20);
    drawn(r, ",\"temperature\":null", 0.6, 0.9, 20);
    drawn(r, ",\"temperature\":1,\"top_k\":0", 1, 0.9, 0);
    drawn(r, ",\"top_p\":1", 0.6, 1, 20);
    drawn(r, ",\"temperature\":0", 0, 1, 0);
    drawn(r, ",\"top_p\":0", 0, 1, 0); /* greedy, too */
    a = get(r, "GET", "/v1/models", NULL);
    HAS(a, "\"default_sampling\":\"model\"");
    free(a);
}

static void stream(void **state)
{
    struct room *r = *state;
    const char *role, *first, *done;
    char *a;

    room_start(r);
    a = ask(r, CHAT_PATH, NULL, CHAT("hi", ",\"stream\":true"));
    assert_int_equal(status_of(a), 200);
    HAS(a, "content-type: text/event-stream; charset=utf-8");
    HAS(a, "cache-control: no-cache");
    role = strstr(a, "\"role\":\"assistant\"");
    first = strstr(a, "\"delta\":{\"content\":\"w0 \"}");
    done = strstr(a, "data: [DONE]\n\n");
    assert_true(role && first && done && role < first && first < done);
    assert_int_equal(count_of(a, "\"role\""), 1);
    assert_int_equal(count_of(a, "\"finish_reason\":\"stop\""), 1);
    assert_int_equal(count_of(a, "\"usage\""), 1);
    free(a);

    a = ask(r, CHAT_PATH, NULL,
            CHAT("hi", ",\"stream\":true,\"n\":2,\"stream_options\":{\"include_usage\":true}"));
    assert_int_equal(count_of(a, "\"role\":\"assistant\""), 2);
    assert_int_equal(count_of(a, "\"index\":1,\"delta\":{\"content\":\"w3 \"}"), 1);
    assert_int_equal(count_of(a, "\"finish_reason\":\"stop\""), 2);
    HAS(a, "\"choices\":[],\"usage\":{\"prompt_tokens\":8,\"completion_tokens\":8");
    free(a);

    /* A client that shows a frame only when more bytes follow it. */
    a = ask(r, CHAT_PATH, "User-Agent: Cerebras/JS 1.0\r\n", CHAT("hi", ",\"stream\":true"));
    HAS(a, "data: [DONE]\n\n\n");
    free(a);
}

static void role_comes_before_the_prompt_is_computed(void **state)
{
    struct room *r = *state;
    struct buf all;
    int fd;

    r->config.heartbeat = 100;
    room_start(r);
    buf_init(&all, 1 << 20);
    fd = dial(r);
    post(fd, CHAT_PATH, NULL, CHAT("HOLD", ",\"stream\":true"));
    hear(fd, &all, "\"role\":\"assistant\"");
    HAS_NOT(all.data, "w0");
    hear(fd, &all, ": ping\n\n"); /* silence is filled */
    r->f.released = 1;
    hear(fd, &all, "[DONE]");
    close(fd);
    buf_done(&all);
}

static void completions(void **state)
{
    struct room *r = *state;
    char *a;

    room_start(r);
    a = ask(r, "/v1/completions", NULL,
            "{\"model\":\"fake\",\"prompt\":[\"ab\",\"c\",[100,101,102]],\"n\":2,\"max_tokens\":1,"
            "\"echo\":true}");
    assert_int_equal(status_of(a), 200);
    HAS(a, "\"index\":0,\"text\":\"abw0 \"");
    HAS(a, "\"index\":3,\"text\":\"cw0 \"");
    HAS(a, "\"index\":5,\"text\":\"defw0 \"");
    /* BOS is added to texts, not to tokens: 3 + 2 + 3 */
    HAS(a, "\"prompt_tokens\":8,\"completion_tokens\":6");
    free(a);
    a = ask(r, "/v1/completions", NULL, "{\"model\":\"fake\",\"prompt\":\"a\",\"max_tokens\":0}");
    assert_int_equal(status_of(a), 200);
    HAS(a, "\"text\":\"\"");
    HAS(a, "\"completion_tokens\":0");
    free(a);
}

/* More prompts than go to the supplier together. */
static void many_prompts(void **state)
{
    struct room *r = *state;
    struct buf b;
    char *a, want[64];

    room_start(r);
    buf_init(&b, 1 << 16);
    buf_add_str(&b, "{\"model\":\"fake\",\"max_tokens\":1,\"stream\":true,\"prompt\":[");
    for (int i = 0; i < 100; i++)
        buf_addf(&b, "%s\"p%d\"", i ? "," : "", i);
    buf_add_str(&b, "]}");
    a = ask(r, "/v1/completions", NULL, b.data);
    assert_int_equal(status_of(a), 200);
    assert_int_equal(count_of(a, "\"finish_reason\":\"length\""), 100);
    for (int i = 0; i < 100; i++) {
        snprintf(want, sizeof want, "\"index\":%d,\"text\":\"w0 \"", i);
        HAS(a, want);
    }
    HAS(a, "data: [DONE]\n\n");
    assert_int_equal(r->f.n_submitted, 100);
    free(a);
    buf_done(&b);
}

static void errors(void **state)
{
    static const struct {
        const char *path, *body;
        int status;
        const char *says;
    } cases[] = {
        {CHAT_PATH, "{", 400, "wrong_api_format"},
        {CHAT_PATH, "", 400, "wrong_api_format"},
        {CHAT_PATH, "{\"model\":\"fake\"}", 400, "messages"},
        {CHAT_PATH, CHAT("\xff\xfe", ""), 400, "wrong_api_format"},
        {CHAT_PATH, CHAT("x", ",\"model\":\"fake\""), 400, "duplicate"},
        {CHAT_PATH, CHAT("x", ",\"temperature\":3"), 400, "temperature"},
        {CHAT_PATH, CHAT("x", ",\"logit_bias\":{\"999\":1}"), 400, "logit_bias"},
        {CHAT_PATH, CHAT("x", ",\"max_tokens\":2000"), 400, "context_length_exceeded"},
        {CHAT_PATH, CHAT("FAIL0", ""), 500, "numeric_error"},
        {CHAT_PATH, CHAT("FAIL0", ",\"stream\":true"), 200, "\"status_code\":500"},
        {CHAT_PATH, CHAT("x", ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}]"),
         400, "unsupported_feature"},
        {"/v1/embeddings", "{}", 400, "unsupported_feature"},
        {"/v1/nothing", "{}", 404, "unknown_url"},
        {"/v1/models", "{}", 405, "allow: GET, HEAD"},
        {CHAT_PATH, "{\"model\":\"nobody\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}",
         404, "model_not_found"},
    };
    struct room *r = *state;
    char *a;

    room_start(r);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        a = ask(r, cases[i].path, NULL, cases[i].body);
        if (status_of(a) != cases[i].status)
            fail_msg("case %zu: %s", i, a);
        HAS(a, cases[i].says);
        HAS(a, "x-request-id");
        free(a);
    }
    a = ask(r, CHAT_PATH, NULL, CHAT("FAIL", ",\"stream\":true"));
    HAS(a, "w0");
    HAS(a, "data: {\"error\":{\"message\":");
    HAS_NOT(a, "[DONE]");
    free(a);
    /* And the server goes on. */
    a = ask(r, CHAT_PATH, NULL, CHAT("x", ""));
    assert_int_equal(status_of(a), 200);
    free(a);
}

static void sizes(void **state)
{
    struct room *r = *state;
    struct buf b;
    char *a;
    int fd;

    r->f.facts.context = 1 << 20;
    room_start(r);
    /* Refused by its head: nothing of the body is read. */
    buf_init(&b, 1 << 20);
    fd = dial(r);
    buf_add_str(&b, "POST " CHAT_PATH " HTTP/1.1\r\nHost: localhost\r\n"
                    "Content-Length: 1048577\r\n\r\n");
    say(fd, b.data, b.len);
    buf_clear(&b);
    hear(fd, &b, "request_too_large");
    assert_int_equal(status_of(b.data), 413);
    close(fd);
    buf_done(&b);
    /* A body that is read on a prep thread. */
    buf_init(&b, 1 << 21);
    buf_add_str(&b, "{\"model\":\"fake\",\"messages\":[{\"role\":\"user\",\"content\":\"");
    for (int i = 0; i < 100000; i++)
        buf_add_char(&b, 'y');
    buf_add_str(&b, "\"}]}");
    a = ask(r, CHAT_PATH, NULL, b.data);
    assert_int_equal(status_of(a), 200);
    HAS(a, "\"prompt_tokens\":100006");
    free(a);
    buf_done(&b);
}

static void text_tools(void **state)
{
    struct room *r = *state;
    char *a;

    room_start(r);
    a = ask(r, "/tokenize", NULL, "{\"content\":\"ab\"}");
    HAS(a, "{\"tokens\":[97,98]}");
    free(a);
    a = ask(r, "/tokenize", NULL, "{\"content\":\"ab\",\"add_special\":true}");
    HAS(a, "{\"tokens\":[256,97,98]}");
    free(a);
    a = ask(r, "/detokenize", NULL, "{\"tokens\":[104,105]}");
    HAS(a, "{\"content\":\"hi\"}");
    free(a);
    a = ask(r, "/detokenize", NULL, "{\"tokens\":[257]}");
    assert_int_equal(status_of(a), 400);
    free(a);
    a = ask(r, "/apply-template", NULL, "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}");
    HAS(a, "{\"prompt\":\"user:x;\"}");
    free(a);
}

/* A reason or none: both routes say the same sentence. */
static void no_chat_template(void **state)
{
    static const char *const whys[] = {NULL, "", "Its template is a riddle."};
    struct room *r = *state;

    r->f.facts.chat = 0;
    room_start(r);
    for (int i = 0; i < 6; i++) {
        char *a;
        r->f.facts.no_chat_why = whys[i / 2];
        a = ask(r, i % 2 ? CHAT_PATH : "/apply-template", NULL, CHAT("x", ""));
        assert_int_equal(status_of(a), 400);
        HAS(a, i / 2 < 2 ? "This model has no chat template." : whys[2]);
        free(a);
    }
}

static void operations(void **state)
{
    struct room *r = *state;
    char *a;

    r->config.cors_origin = (struct config_strs){1, {"*"}};
    room_start(r);
    a = get(r, "GET", "/v1/models", NULL);
    HAS(a, "access-control-allow-origin: *\r\n");
    HAS(a, "\"id\":\"fake\"");
    HAS(a, "\"status\":{\"value\":\"loaded\"}");
    free(a);
    a = get(r, "GET", "/v1/models/other-name", NULL);
    HAS(a, "\"id\":\"other-name\"");
    free(a);
    a = get(r, "GET", "/v1/models/x%2Fy", NULL);
    assert_int_equal(status_of(a), 404);
    HAS(a, "x/y");
    free(a);
    a = get(r, "HEAD", "/v1/models", NULL);
    assert_int_equal(status_of(a), 200);
    HAS_NOT(a, "\"id\"");
    free(a);
    a = get(r, "OPTIONS", "/v1/chat/completions", NULL);
    assert_int_equal(status_of(a), 204);
    HAS(a, "access-control-allow-headers: authorization");
    free(a);
    a = get(r, "GET", "/v1/tcp_warming", NULL);
    HAS(a, "{}");
    free(a);
    free(ask(r, CHAT_PATH, NULL, CHAT("x", "")));
    a = get(r, "GET", "/metrics", NULL);
    HAS(a, "content-type: text/plain; version=0.0.4");
    HAS(a, "gaufre_requests_total{model_name=\"fake\",status=\"200\"} 1\n");
    HAS(a, "vllm:generation_tokens_total{model_name=\"fake\"} 4\n");
    HAS(a, "vllm:request_success_total{model_name=\"fake\",finished_reason=\"stop\"} 1\n");
    HAS(a, "vllm:kv_cache_usage_perc{model_name=\"fake\"} 0.25\n");
    HAS(a, "vllm:time_to_first_token_seconds_count{model_name=\"fake\"} 1\n");
    free(a);
}

/* A page of elsewhere, and one under a name that was made to lead here: nothing is run, nothing is
 * read, whatever is asked for and however simple the request. */
static void foreign_pages(void **state)
{
    static const char *const from[] = {
        "Origin: https://evil.example\r\n",
        "Origin: null\r\n",
        "Sec-Fetch-Site: cross-site\r\n",
        "Origin: http://127.0.0.1:1\r\nSec-Fetch-Site: same-site\r\n",
        "Host: evil.example\r\n",
        "Host: evil.example:8080\r\nOrigin: http://evil.example:8080\r\n",
        "Origin: http://localhost\r\nOrigin: https://evil.example\r\n",
    };
    static const char *const paths[] = {"/",          "/v1/models",       "/v1/engine/events",
                                        "/metrics",   "/health",          "/v1/engine/requests/x",
                                        "/nothing/?", "/public/v1/models"};
    struct room *r = *state;
    char extra[200], *a;

    room_start(r);
    for (size_t i = 0; i < sizeof from / sizeof from[0]; i++) {
        int status = i == 6 ? 400 : 403;
        snprintf(extra, sizeof extra, "%sContent-Type: text/plain\r\n", from[i]);
        a = ask(r, CHAT_PATH, extra, CHAT("hi", ""));
        assert_int_equal(status_of(a), status);
        HAS_NOT(a, "access-control-");
        free(a);
        a = ask(r, "/v1/engine/requests/x/cancel", extra, "");
        assert_int_equal(status_of(a), status);
        free(a);
        a = get(r, "OPTIONS", CHAT_PATH, from[i]);
        assert_int_equal(status_of(a), status);
        free(a);
        for (size_t k = 0; k < sizeof paths / sizeof paths[0]; k++) {
            a = get(r, "GET", paths[k], from[i]);
            if (status_of(a) != status)
                fail_msg("%s of '%s':\n%s", paths[k], from[i], a);
            free(a);
        }
    }
    assert_int_equal(r->f.n_submitted, 0);
    a = get(r, "GET", "/metrics", NULL); /* not even counted as the API's */
    HAS_NOT(a, "gaufre_requests_total{");
    free(a);
    a = ask(r, CHAT_PATH, from[0], CHAT("hi", ""));
    HAS(a, "--cors-origin 'https://evil.example' (setting cors_origin)");
    free(a);
    /* The page's own requests. */
    a = ask(r, CHAT_PATH, "Origin: http://localhost\r\nSec-Fetch-Site: same-origin\r\n",
            CHAT("hi", ""));
    assert_int_equal(status_of(a), 200);
    free(a);
    a = get(r, "GET", "/", "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\n");
    assert_int_equal(status_of(a), 200);
    free(a);
}

static void pages_that_may_call(void **state)
{
    static const char good[] = "Origin: http://localhost:3000\r\nSec-Fetch-Site: same-site\r\n";
    struct room *r = *state;
    char *a;

    r->config.cors_origin = (struct config_strs){2, {"https://a.b", "http://localhost:3000"}};
    room_start(r);
    a = get(r, "OPTIONS", CHAT_PATH, good);
    assert_int_equal(status_of(a), 204);
    HAS(a, "access-control-allow-origin: http://localhost:3000\r\n");
    HAS(a, "vary: origin\r\n");
    free(a);
    a = ask(r, CHAT_PATH, good, CHAT("hi", ",\"stream\":true"));
    assert_int_equal(status_of(a), 200);
    HAS(a, "access-control-allow-origin: http://localhost:3000\r\n");
    free(a);
    a = ask(r, CHAT_PATH, good, "{");
    assert_int_equal(status_of(a), 400); /* errors can be read as well */
    HAS(a, "access-control-allow-origin: http://localhost:3000\r\n");
    free(a);
    a = ask(r, CHAT_PATH, "Origin: http://localhost:3001\r\nContent-Type: text/plain\r\n",
            CHAT("hi", ""));
    assert_int_equal(status_of(a), 403);
    HAS_NOT(a, "access-control-");
    free(a);
    assert_int_equal(r->f.n_submitted, 1);
}

static void health(void **state)
{
    static const char *const paths[] = {"/health", "/healthz", "/v1/health", "/ready"};
    struct room *r = *state;
    char *a;

    r->f.state = SUPPLIER_LOADING;
    room_start(r);
    a = get(r, "GET", "/health", NULL);
    assert_int_equal(status_of(a), 503);
    HAS(a, "model_loading");
    HAS(a, "retry-after: ");
    free(a);
    a = get(r, "GET", "/v1/models", NULL);
    HAS(a, "\"status\":{\"value\":\"loading\"}");
    free(a);
    a = ask(r, CHAT_PATH, NULL, CHAT("x", ""));
    assert_int_equal(status_of(a), 503);
    HAS(a, "model_loading");
    HAS(a, "retry-after-ms: ");
    free(a);
    r->f.state = SUPPLIER_READY;
    for (int i = 0; i < 4; i++) {
        a = get(r, "GET", paths[i], NULL);
        assert_int_equal(status_of(a), 200);
        HAS(a, "{\"status\":\"ok\"");
        free(a);
    }
    r->f.frozen = 1;
    a = get(r, "GET", "/health", NULL);
    assert_int_equal(status_of(a), 503);
    HAS(a, "engine_frozen");
    free(a);
    r->f.frozen = 0;
}

static int keep(void *arg, const struct books_balance *b)
{
    *(struct books_balance *)arg = *b;
    return 0;
}

static void usage_is_booked(void **state)
{
    struct books_balance b = {0};
    struct room *r = *state;
    struct err e = {0};
    char *a;

    room_start(r);
    for (int i = 0; i < 5; i++) {
        a = ask(r, CHAT_PATH, NULL, CHAT("hi", ",\"max_tokens\":3"));
        HAS(a, "\"prompt_tokens\":8,\"completion_tokens\":3");
        free(a);
    }
    free(ask(r, CHAT_PATH, NULL, "{"));              /* costs nothing */
    free(ask(r, CHAT_PATH, NULL, CHAT("FAIL", ""))); /* one token was made */
    EVENTUALLY(books_balances(r->ledger, keep, &b, &e) == 0 && b.n_requests == 6);
    assert_string_equal(b.tenant, "default");
    assert_int_equal(b.prompt_tokens, 5 * 8 + 10);
    assert_int_equal(b.completion_tokens, 5 * 3 + 1);
    assert_int_equal(b.cached_tokens, 6);
}

static void keys(void **state)
{
    struct room *r = *state;
    char key[CLOUD_KEY_TEXT_MAX], header[256];
    struct err e = {0};
    struct buf b;
    FILE *f;
    char *a;
    int fd;

    assert_int_equal(cloud_key_new(r->keys, "k1", "acme", key, &e), 0);
    f = fopen(r->keys, "a");
    fputs("tenant acme requests_per_minute=3 tokens_per_minute=100000\n", f);
    fclose(f);
    r->config.keys = r->keys;
    r->config.metrics = SERVE_METRICS_KEY;
    room_start(r);
    /* Refused by its head, before the body. */
    buf_init(&b, 1 << 16);
    fd = dial(r);
    buf_add_str(&b, "POST " CHAT_PATH " HTTP/1.1\r\nHost: localhost\r\n"
                    "Content-Length: 1000\r\n\r\n");
    say(fd, b.data, b.len);
    buf_clear(&b);
    hear(fd, &b, "wrong_api_key");
    assert_int_equal(status_of(b.data), 401);
    close(fd);
    buf_done(&b);
    a = ask(r, CHAT_PATH, "Authorization: Bearer wrong\r\n", CHAT("x", ""));
    assert_int_equal(status_of(a), 401);
    free(a);
    a = get(r, "GET", "/v1/models", NULL);
    assert_int_equal(status_of(a), 401);
    free(a);
    a = get(r, "GET", "/metrics", NULL);
    assert_int_equal(status_of(a), 401);
    free(a);
    a = get(r, "GET", "/health", NULL); /* no key needed */
    assert_int_equal(status_of(a), 200);
    free(a);

    snprintf(header, sizeof header, "x-api-key: %s\r\n", key);
    a = get(r, "GET", "/metrics", header);
    assert_int_equal(status_of(a), 200);
    free(a);
    for (int i = 2; i >= 0; i--) {
        char want[64];
        a = ask(r, CHAT_PATH, header, CHAT("x", ""));
        assert_int_equal(status_of(a), 200);
        snprintf(want, sizeof want, "x-ratelimit-remaining-requests: %d\r\n", i);
        HAS(a, "x-ratelimit-limit-requests: 3\r\n");
        HAS(a, want);
        HAS(a, "x-ratelimit-limit-tokens: 100000\r\n");
        free(a);
    }
    a = ask(r, CHAT_PATH, header, CHAT("x", ""));
    assert_int_equal(status_of(a), 429);
    HAS(a, "request_quota_exceeded");
    HAS(a, "retry-after: ");
    HAS(a, "retry-after-ms: ");
    HAS(a, "x-ratelimit-remaining-requests: 0\r\n");
    free(a);
}

static void queue_full(void **state)
{
    struct room *r = *state;
    int fd[3], n_read;
    char *a;

    r->config.queue = 2;
    r->f.capacity = 1;
    room_start(r);
    for (int i = 0; i < 3; i++) {
        fd[i] = dial(r);
        post(fd[i], CHAT_PATH, NULL, CHAT("HOLD", ""));
        EVENTUALLY(r->f.n_submitted == i + 1);
    }
    n_read = r->f.n_read;
    a = ask(r, CHAT_PATH, NULL, CHAT("x", ",\"stream\":true"));
    assert_int_equal(status_of(a), 429); /* a real status, also for a stream */
    HAS(a, "queue_exceeded");
    HAS(a, "retry-after: ");
    free(a);
    assert_int_equal(r->f.n_read, n_read); /* its text is not worked on for that */
    r->f.released = 1;
    for (int i = 0; i < 3; i++) {
        struct buf b;
        buf_init(&b, 1 << 16);
        hear(fd[i], &b, NULL);
        assert_int_equal(status_of(b.data), 200);
        buf_done(&b);
        close(fd[i]);
    }
    a = ask(r, CHAT_PATH, NULL, CHAT("x", ""));
    assert_int_equal(status_of(a), 200);
    free(a);
}

static void clients_leave(void **state)
{
    static const char half[] =
        "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{";
    struct room *r = *state;
    struct buf b;
    int fd;

    room_start(r);
    /* Waiting, no stream. */
    fd = dial(r);
    post(fd, CHAT_PATH, NULL, CHAT("HOLD", ""));
    EVENTUALLY(r->f.n_submitted == 1);
    close(fd);
    EVENTUALLY(r->f.n_cancelled == 1 && r->f.n_done == 1);
    /* In the middle of a stream. */
    buf_init(&b, 1 << 20);
    fd = dial(r);
    post(fd, CHAT_PATH, NULL, CHAT("FLOOD", ",\"stream\":true,\"max_tokens\":900"));
    hear(fd, &b, "xxx");
    close(fd);
    EVENTUALLY(r->f.n_cancelled == 2 && r->f.n_done == 2);
    buf_done(&b);
    /* Before the body is whole. */
    fd = dial(r);
    say(fd, half, strlen(half));
    EVENTUALLY(atomic_load(&r->s->n_calls) == 1);
    close(fd);
    EVENTUALLY(atomic_load(&r->s->n_calls) == 0);
    assert_int_equal(r->f.n_submitted, 2);
}

/* Who leaves the queue owes nothing: not in the books, not in the metrics, not in its bucket. */
static void left_the_queue(void **state)
{
    struct books_balance b = {0};
    struct room *r = *state;
    struct err e = {0};
    struct buf got;
    char *a;
    int fd;

    r->config.tokens_per_minute = 1000;
    room_start(r);
    for (int i = 0; i < 3; i++) {
        fd = dial(r);
        post(fd, CHAT_PATH, NULL, CHAT("HOLD", ",\"max_tokens\":900"));
        EVENTUALLY(r->f.n_submitted == i + 1);
        close(fd);
        EVENTUALLY(books_balances(r->ledger, keep, &b, &e) == 0 && b.n_requests == i + 1);
        assert_int_equal(b.prompt_tokens + b.cached_tokens + b.completion_tokens, 0);
    }
    a = get(r, "GET", "/metrics", NULL);
    HAS(a, "vllm:prompt_tokens_total{model_name=\"fake\"} 0");
    HAS(a, "vllm:prefix_cache_hits_total{model_name=\"fake\"} 0");
    free(a);
    /* One that runs and leaves owes what was made of it, to the console as to the books. */
    fd = dial(r);
    post(fd, CHAT_PATH, "X-Client-Request-Id: left\r\n",
         CHAT("FLOOD", ",\"stream\":true,\"max_tokens\":900"));
    buf_init(&got, 1 << 20);
    hear(fd, &got, "xxx");
    buf_done(&got);
    close(fd);
    EVENTUALLY(books_balances(r->ledger, keep, &b, &e) == 0 && b.n_requests == 4);
    assert_int_equal(b.prompt_tokens, 11);
    assert_int_equal(b.cached_tokens, 1);
    a = get(r, "GET", "/v1/engine/requests/left", NULL);
    HAS(a, "\"prefilled_tokens\":11");
    HAS(a, "\"cached_tokens\":1");
    free(a);
}

/* A flood that its client does not read. */
static int start_flood(struct room *r)
{
    int small = 4096, fd;

    room_start(r);
    fd = dial(r);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    r->f.facts.context = 1 << 20;
    post(fd, CHAT_PATH, NULL, CHAT("FLOOD", ",\"stream\":true,\"max_tokens\":1000000"));
    return fd;
}

static void unread_answers_pause(void **state)
{
    struct room *r = *state;
    int fd;

    r->config.stall_timeout = 3600000;
    fd = start_flood(r);
    EVENTUALLY(r->f.paused); /* its ring is full: it is not buffered for ever */
    assert_int_equal(r->f.n_cancelled, 0);
    close(fd);
    EVENTUALLY(r->f.n_cancelled == 1);
    EVENTUALLY(atomic_load(&r->s->n_calls) == 0);
}

static void reader_stalls(void **state)
{
    struct room *r = *state;
    int fd;

    r->config.stall_timeout = 300;
    fd = start_flood(r);
    EVENTUALLY(r->f.n_cancelled == 1); /* cut */
    EVENTUALLY(atomic_load(&r->s->n_calls) == 0);
    close(fd);
}

/* What was accepted is answered, what comes later is not begun. */
static void drain(void **state)
{
    struct room *r = *state;
    int fd[20];
    struct buf b[20];

    room_start(r);
    for (int i = 0; i < 20; i++) {
        buf_init(&b[i], 1 << 20);
        fd[i] = dial(r);
        post(fd[i], CHAT_PATH, NULL, i & 1 ? CHAT("HOLD", ",\"stream\":true") : CHAT("HOLD", ""));
    }
    EVENTUALLY(r->f.n_submitted == 20);
    serve_drain(r->s);
    EVENTUALLY(atomic_load(&r->s->draining));
    r->f.released = 1;
    for (int i = 0; i < 20; i++) {
        hear(fd[i], &b[i], NULL);
        assert_int_equal(status_of(b[i].data), 200);
        HAS(b[i].data, i & 1 ? "data: [DONE]" : "\"content\":\"w0 w1 w2 w3 \"");
        buf_done(&b[i]);
        close(fd[i]);
    }
    pthread_join(r->runner, NULL);
    r->running = 0;
    assert_int_equal(r->run_result, 0);
}

/* Every endpoint that is found has a function that answers it, one that reads its body, or one that
 * administers. */
static void test_endpoint_rows(void **state)
{
    for (int i = 0; i < API_ROUTE_N; i++) {
        const struct endpoint *p = endpoint_row((enum api_route_id)i);
        if (!!p->answer + (p->parse && p->prepare) + !!p->administer != (i != API_ROUTE_UNBUILT))
            fail_msg("endpoint %d has %s", i, p->answer ? "two ways" : "no way to be answered");
    }
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(chat),
        T(stream),
        T(role_comes_before_the_prompt_is_computed),
        T(completions),
        T(many_prompts),
        T(errors),
        T(sizes),
        T(text_tools),
        T(no_chat_template),
        T(operations),
        T(health),
        T(usage_is_booked),
        T(keys),
        T(queue_full),
        T(clients_leave),
        T(left_the_queue),
        T(unread_answers_pause),
        T(reader_stalls),
        T(drain),
        T(foreign_pages),
        T(pages_that_may_call),
        T(drawn_by_the_api),
        T(drawn_by_the_model),
        cmocka_unit_test(test_endpoint_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
