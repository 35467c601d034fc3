/* Routes, keys, headers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "api/api.h"
#include "base/check.h"

static void test_routes(void **state)
{
    static const struct {
        enum api_method m;
        const char *target;
        int code; /* or the route */
        const char *arg;
    } rows[] = {
        {API_GET, "/", API_ROUTE_HOME, ""},
        {API_HEAD, "/", API_ROUTE_HOME, ""},
        {API_GET, "/?x=1", API_ROUTE_HOME, ""},
        {API_POST, "/v1/chat/completions", API_ROUTE_CHAT, ""},
        {API_POST, "/v1/chat/completions/", API_ROUTE_CHAT, ""},
        {API_POST, "/v1/chat/completions?api-version=3", API_ROUTE_CHAT, ""},
        {API_POST, "/chat/completions", API_ROUTE_CHAT, ""},
        {API_POST, "/v1/v1/chat/completions", API_ROUTE_CHAT, ""},
        {API_POST, "/v1/v1/v1/completions", API_ROUTE_COMPLETION, ""},
        {API_POST, "/completions", API_ROUTE_COMPLETION, ""},
        {API_GET, "/v1/models", API_ROUTE_MODELS, ""},
        {API_GET, "/models/", API_ROUTE_MODELS, ""},
        {API_GET, "/v1/models?format=openrouter", API_ROUTE_MODELS, ""},
        {API_GET, "/v1/models/a", API_ROUTE_MODEL, "a"},
        {API_HEAD, "/v1/models/org/a.b-c", API_ROUTE_MODEL, "org/a.b-c"},
        {API_GET, "/v1/models/org%2Fa%20b/?x", API_ROUTE_MODEL, "org/a b"},
        {API_GET, "/models/v1/x", API_ROUTE_MODEL, "v1/x"},
        {API_GET, "/public/v1/models", API_ROUTE_PUBLIC_MODELS, ""},
        {API_GET, "/public/v1/models/a/b", API_ROUTE_PUBLIC_MODEL, "a/b"},
        {API_GET, "/v1/tcp_warming", API_ROUTE_WARMING, ""},
        {API_GET, "/config.schema.json", API_ROUTE_SCHEMA, ""},
        {API_POST, "/tokenize", API_ROUTE_TOKENIZE, ""},
        {API_POST, "/v1/detokenize", API_ROUTE_DETOKENIZE, ""},
        {API_POST, "/apply-template", API_ROUTE_APPLY_TEMPLATE, ""},
        {API_GET, "/health", API_ROUTE_HEALTH, ""},
        {API_GET, "/v1/health", API_ROUTE_HEALTH, ""},
        {API_GET, "/healthz", API_ROUTE_HEALTH, ""},
        {API_GET, "/ready", API_ROUTE_READY, ""},
        {API_GET, "/metrics", API_ROUTE_METRICS, ""},
        {API_OPTIONS, "/v1/anything", API_ROUTE_PREFLIGHT, ""},
        {API_GET, "/nothing", ERR_NO_ROUTE, NULL},
        {API_GET, "/v1", ERR_NO_ROUTE, NULL},
        {API_GET, "/v1/", ERR_NO_ROUTE, NULL},
        {API_GET, "/v1/metrics", ERR_NO_ROUTE, NULL},
        {API_POST, "/v1/chat/completionsx", ERR_NO_ROUTE, NULL},
        {API_GET, "//v1/models", ERR_NO_ROUTE, NULL},
        {API_GET, "", ERR_NO_ROUTE, NULL},
        {API_GET, "/v1/chat/completions", ERR_METHOD, NULL},
        {API_POST, "/v1/models", ERR_METHOD, NULL},
        {API_DELETE, "/v1/models/x", ERR_METHOD, NULL},
        {API_OTHER, "/health", ERR_METHOD, NULL},
        {API_GET, "/v1/models/%zz", ERR_SCHEMA, NULL},
        {API_GET, "/v1/models/a%00b", ERR_SCHEMA, NULL},
        {API_GET, "/v1/models/a%2", ERR_SCHEMA, NULL},
        {API_POST, "/v1/embeddings", ERR_UNSUPPORTED, NULL},
        {API_POST, "/v1/responses", ERR_UNSUPPORTED, NULL},
        {API_GET, "/v1/responses/resp_1", ERR_UNSUPPORTED, NULL},
        {API_POST, "/v1/messages", ERR_UNSUPPORTED, NULL},
        {API_POST, "/v1/files", ERR_UNSUPPORTED, NULL},
        {API_GET, "/v1/batches/b", ERR_UNSUPPORTED, NULL},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct api_route_match m;
        struct err e = {0};
        int r = api_route_find(rows[i].m, rows[i].target, strlen(rows[i].target), &m, &e);
        if (rows[i].code < 0
                ? r != rows[i].code || e.code != r
                : r || m.id != (enum api_route_id)rows[i].code || strcmp(m.arg, rows[i].arg))
            fail_msg("%s: %d, route %d, arg '%s'", rows[i].target, r, (int)m.id, m.arg);
    }
}

static void test_route_details(void **state)
{
    struct api_route_match m;
    struct err e;
    char text[64], big[700] = "/v1/models/";

    assert_int_equal(api_route_find(API_GET, "/v1/completions", 15, &m, &e), ERR_METHOD);
    api_allow_text(m.allow, text);
    assert_string_equal(text, "POST, OPTIONS");
    api_allow_text(API_GET | API_HEAD, text);
    assert_string_equal(text, "GET, HEAD, OPTIONS");
    assert_int_equal(api_route_find(API_GET, "/health", 7, &m, &e), 0);
    assert_int_equal(m.auth, API_AUTH_NONE);
    assert_int_equal(api_route_find(API_GET, "/v1/models", 10, &m, &e), 0);
    assert_int_equal(m.auth, API_AUTH_KEY);
    assert_int_equal(api_route_find(API_POST, "/v1/embeddings", 14, &m, &e), ERR_UNSUPPORTED);
    assert_string_equal(e.text, "embeddings are not supported yet by this server");
    memset(big + 11, 'x', 600);
    assert_int_equal(api_route_find(API_GET, big, strlen(big), &m, &e), ERR_SCHEMA);
    assert_int_equal(api_method_parse("POST", 4), API_POST);
    assert_int_equal(api_method_parse("POSTS", 5), API_OTHER);
    assert_int_equal(api_method_parse("get", 3), API_OTHER);
}

static void test_query(void **state)
{
    static const char target[] =
        "/v1/models?a=1&format=open%72outer&formats=no&empty=&bad=%zz&p=a+b";
    struct api_route_match m;
    struct err e;
    char v[20];

    assert_int_equal(api_route_find(API_GET, target, strlen(target), &m, &e), 0);
    assert_int_equal(api_query_get(&m, "format", v, sizeof v), 1);
    assert_string_equal(v, "openrouter");
    assert_int_equal(api_query_get(&m, "a", v, sizeof v), 1);
    assert_string_equal(v, "1");
    assert_int_equal(api_query_get(&m, "p", v, sizeof v), 1);
    assert_string_equal(v, "a b");
    assert_int_equal(api_query_get(&m, "empty", v, sizeof v), 1);
    assert_string_equal(v, "");
    assert_int_equal(api_query_get(&m, "bad", v, sizeof v), 0);
    assert_int_equal(api_query_get(&m, "form", v, sizeof v), 0);
    assert_int_equal(api_query_get(&m, "format", v, 5), 0);
}

static void test_keys(void **state)
{
    static const struct {
        const char *authorization, *x_api_key, *api_key, *want;
    } rows[] = {
        {"Bearer k", NULL, NULL, "k"}, {"bearer   k \t", NULL, NULL, "k"},
        {"Bearer k", "x", "y", "k"},   {"Basic abc", "x", NULL, "x"},
        {"Bearer", "x", NULL, "x"},    {"Bearer ", NULL, "y", "y"},
        {NULL, " x ", "y", "x"},       {NULL, "", "y", "y"},
        {NULL, NULL, NULL, NULL},      {"Bearerk", NULL, NULL, NULL},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *k;
        size_t n;
        int r = api_key_find(rows[i].authorization, rows[i].x_api_key, rows[i].api_key, &k, &n);
        assert_int_equal(r, rows[i].want != NULL);
        if (r) {
            assert_int_equal(n, strlen(rows[i].want));
            assert_memory_equal(k, rows[i].want, n);
        }
    }
}

static void test_cookies(void **state)
{
    static const struct {
        const char *cookies, *want; /* of the name s_80 */
    } rows[] = {
        {"s_80=a", "a"},           {"x=1; s_80=a; y=2", "a"},
        {"s_8080=b; s_80=a", "a"}, {"xs_80=b;s_80=a", "a"},
        {"s_80=a b", "a"},         {"s_80=a; s_80=b", "a"},
        {" ;; s_80=; s_80=b", ""}, {"s_80", NULL},
        {"s_80 =a", NULL},         {"S_80=a", NULL},
        {"x=s_80=a", NULL},        {"", NULL},
        {"s_80=a=b", "a=b"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *v;
        size_t n;
        assert_int_equal(api_cookie_find(rows[i].cookies, "s_80", &v, &n), rows[i].want != NULL);
        if (rows[i].want) {
            assert_int_equal(n, strlen(rows[i].want));
            assert_memory_equal(v, rows[i].want, n);
        }
    }
}

/* "name: value\n..." of a list. */
static const char *listed(const struct api_header *h, int n)
{
    static char out[8000];

    out[0] = 0;
    for (int i = 0; i < n; i++) {
        strcat(strcat(out, h[i].name), ": ");
        strcat(strcat(out, h[i].value), "\n");
    }
    return out;
}

static void test_headers(void **state)
{
    struct api_header h[API_RATE_HEADERS_MAX];
    struct api_rate rate = {.requests_minute = {30, 29, 360000000},
                            .requests_hour = {-1, 0, 0},
                            .requests_day = {14400, -3, 33011382000},
                            .tokens_minute = {1000, 0, 120000},
                            .tokens_hour = {-1, 0, 0},
                            .tokens_day = {-1, 0, 0}};
    struct err e;

    assert_string_equal(listed(h, api_stream_headers(api_sse_frame(NULL), h, 3)),
                        "content-type: text/event-stream; charset=utf-8\n"
                        "cache-control: no-cache\nx-accel-buffering: no\n");
    assert_string_equal(listed(h, api_common_headers("req_1", 12999, h, 3)),
                        "x-request-id: req_1\nopenai-processing-ms: 12\n"
                        "openai-version: 2020-10-01\n");
    assert_string_equal(
        listed(h, api_rate_headers(&rate, h, API_RATE_HEADERS_MAX)),
        "x-ratelimit-limit-requests: 30\nx-ratelimit-remaining-requests: 29\n"
        "x-ratelimit-reset-requests: 6m0s\n"
        "x-ratelimit-limit-tokens: 1000\nx-ratelimit-remaining-tokens: 0\n"
        "x-ratelimit-reset-tokens: 120ms\n"
        "x-ratelimit-limit-requests-minute: 30\nx-ratelimit-remaining-requests-minute: 29\n"
        "x-ratelimit-reset-requests-minute: 360.000\n"
        "x-ratelimit-limit-requests-day: 14400\nx-ratelimit-remaining-requests-day: 0\n"
        "x-ratelimit-reset-requests-day: 33011.382\n"
        "x-ratelimit-limit-tokens-minute: 1000\nx-ratelimit-remaining-tokens-minute: 0\n"
        "x-ratelimit-reset-tokens-minute: 0.120\n");
    rate = (struct api_rate){{1, 1, 1}, {1, 1, 1}, {1, 1, 1}, {1, 1, 1}, {1, 1, 1}, {1, 1, 1}};
    assert_int_equal(api_rate_headers(&rate, h, API_RATE_HEADERS_MAX), API_RATE_HEADERS_MAX);
    err_set(&e, ERR_QUEUE_FULL, "full");
    assert_string_equal(listed(h, api_retry_headers(&e, 1500000, h, 3)),
                        "retry-after-ms: 1500.000\nretry-after: 2\n");
    assert_int_equal(api_retry_headers(&e, 0, h, 3), 0);
    err_set(&e, ERR_BUDGET, "spent");
    assert_string_equal(listed(h, api_retry_headers(&e, 1, h, 3)), "x-should-retry: false\n");
    err_set(&e, ERR_NUMERIC, "nan");
    assert_string_equal(listed(h, api_retry_headers(&e, 1, h, 3)), "x-should-retry: false\n");
    err_set(&e, ERR_SCHEMA, "bad");
    assert_int_equal(api_retry_headers(&e, 1, h, 3), 0);
    assert_int_equal(api_cors_headers(0, NULL, h, 6), 0);
    assert_int_equal(api_cors_headers(0, "*", h, 6), 2);
    assert_string_equal(h[0].value, "*");
    assert_int_equal(api_cors_headers(1, "https://a.b", h, 6), 6);
    assert_string_equal(h[0].value, "https://a.b");
    assert_string_equal(h[1].name, "vary");
    assert_non_null(strstr(h[4].value, "authorization"));
}

static void test_durations(void **state)
{
    static const struct {
        int64_t us;
        const char *want;
    } rows[] = {{0, "0ms"},
                {-5, "0ms"},
                {1, "1ms"},
                {999000, "999ms"},
                {1000000, "1s"},
                {1500000, "1.500s"},
                {60000000, "1m0s"},
                {3599000000, "59m59s"},
                {3661000000, "1h1m1s"}};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct api_rate r = {{1, 1, rows[i].us}, {-1, 0, 0}, {-1, 0, 0},
                             {-1, 0, 0},         {-1, 0, 0}, {-1, 0, 0}};
        struct api_header h[API_RATE_HEADERS_MAX];
        api_rate_headers(&r, h, API_RATE_HEADERS_MAX);
        assert_string_equal(h[2].value, rows[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_routes),    cmocka_unit_test(test_route_details),
        cmocka_unit_test(test_query),     cmocka_unit_test(test_keys),
        cmocka_unit_test(test_cookies),   cmocka_unit_test(test_headers),
        cmocka_unit_test(test_durations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
