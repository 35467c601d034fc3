/* Bodies and targets from clients. The first byte picks the reader:
 * c chat, C chat strictly, p completion, t tokenize, d detokenize, a apply-template, r route, j
 * JSON.
 *
 * Beyond not crashing: a refusal has a sentence and a body that is JSON; what is taken can be
 * answered, with text from the input, and every byte of the answer is JSON again. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "base/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void must(int ok)
{
    if (!ok)
        abort();
}

static void must_parse(const char *s, size_t n)
{
    json_t *j = NULL;
    struct err e;

    must(!json_parse(&j, s, n, (size_t)1 << 30, &e));
    json_decref(j);
}

static void check_refusal(int r, const struct err *e)
{
    struct buf b;

    must(r < 0 && e->code == r && e->text[0]);
    buf_init(&b, 1 << 20);
    must(api_error_body(&b, NULL, e) >= 400);
    must(!b.failed);
    must_parse(b.data, b.len);
    buf_done(&b);
}

/* A stream's frames, each a line of JSON. */
static void check_frames(const struct buf *b)
{
    const char *p = b->data, *end = b->data + b->len;

    while (p < end) {
        const char *stop = memmem(p, (size_t)(end - p), "\n\n", 2);
        must(stop && !memcmp(p, "data: ", 6));
        if (memcmp(p + 6, "[DONE]", 6))
            must_parse(p + 6, (size_t)(stop - p) - 6);
        p = stop + 2;
    }
}

static void answer(const struct api_request *q, const char *text, size_t n)
{
    struct api_reply_setup setup = {.req = q, .id = "i", .fingerprint = "f"};
    struct api_reply *r;
    struct usage u = {.prompt_tokens = 1};
    struct times t = {.total_us = 1};
    struct top top = {1, -1, text, n};
    int32_t prompts = q->n_prompts ? q->n_prompts : 1;
    struct buf b;

    if (n > 200)
        n = 200;
    n -= utf8_partial_tail(text, n);
    buf_init(&b, 64 << 20);
    must(!api_reply_new(&r, &setup));
    for (int32_t p = 0; p < prompts; p++) {
        must(!api_reply_prompt(r, p, text, n, NULL, 0));
        for (int32_t k = 0; k < q->n_run; k++) {
            struct event ev = {.kind = EVENT_TEXT,
                               .choice = p * q->n_run + k,
                               .text = text,
                               .n_text = n,
                               .n_unshown = (int32_t)(n % 3),
                               .bytes = text,
                               .n_bytes = n,
                               .logprob = -1,
                               .top = &top,
                               .n_top = 1};
            must(!api_reply_event(r, &ev, &b));
            ev.kind = EVENT_FINISH;
            must(!api_reply_event(r, &ev, &b));
        }
        must(
            !api_reply_event(r, &(struct event){.kind = EVENT_DONE, .usage = &u, .times = &t}, &b));
    }
    must(api_reply_is_done(r));
    if (q->stream) {
        check_frames(&b);
    } else {
        must(!api_reply_body(r, &b));
        must_parse(b.data, b.len);
    }
    buf_done(&b);
    api_reply_free(r);
}

static void try_request(int chat, int strict, const char *body, size_t n)
{
    struct api_options o = {.strict = strict};
    struct api_request q = {0};
    struct arena a;
    struct err e = {0};
    int32_t max;
    int r;

    arena_init(&a, 4096, 1 << 20);
    r = api_parse(api_dialects[chat ? API_CHAT : API_COMPLETION], &q, &a, body, n, NULL, &o, &e);
    if (r) {
        check_refusal(r, &e);
        must(!q.root);
    } else {
        must(q.model && q.n >= 1 && q.n_run >= q.n && q.sampling.temperature >= 0 &&
             q.sampling.temperature <= 2);
        must(chat ? json_array_size(q.messages) > 0 : q.n_prompts > 0);
        api_check_tokens(&q, 1000, &e);
        api_check_context(&q, 10, 100, 0, &max, &e);
        answer(&q, body, n);
    }
    api_request_done(&q);
    arena_done(&a);
}

static void try_tool(int which, const char *body, size_t n)
{
    struct api_tokenize t = {0};
    struct api_detokenize d = {0};
    struct api_template m = {0};
    struct arena a;
    struct err e = {0};
    int r;

    arena_init(&a, 4096, 1 << 20);
    r = which == 't'   ? api_parse_tokenize(&t, body, n, NULL, NULL, &e)
        : which == 'd' ? api_parse_detokenize(&d, &a, body, n, NULL, NULL, &e)
                       : api_parse_template(&m, body, n, NULL, NULL, &e);
    if (r)
        check_refusal(r, &e);
    api_tokenize_done(&t);
    api_template_done(&m);
    arena_done(&a);
}

static void try_route(const char *target, size_t n)
{
    struct api_route_match m;
    struct err e = {0};
    char v[64];

    for (unsigned method = API_GET; method <= API_OTHER; method <<= 1) {
        int r = api_route_find((enum api_method)method, target, n, &m, &e);
        if (r)
            check_refusal(r, &e);
        else
            must(m.query >= target ? m.query + m.n_query <= target + n : !m.n_query);
        if (!r)
            api_query_get(&m, "format", v, sizeof v);
    }
}

/* What parses is written and read back the same; any bytes become a JSON string. */
static void try_json(const char *s, size_t n)
{
    json_t *j = NULL, *again = NULL;
    struct err e = {0};
    struct buf b;
    int r = json_parse(&j, s, n, 0, &e);

    buf_init(&b, 256 << 20);
    if (r) {
        check_refusal(r, &e);
    } else {
        must(!json_put_tree(&b, j));
        must(!json_parse(&again, b.data, b.len, (size_t)1 << 30, &e));
        must(json_equal(j, again));
    }
    json_decref(j);
    json_decref(again);
    buf_clear(&b);
    json_put_text(&b, s, n);
    if (!memchr(s, 0, n)) /* NUL is written as an escape that readers refuse */
        must_parse(b.data, b.len);
    buf_done(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    const char *s = (const char *)data + 1;

    if (!n)
        return 0;
    switch (data[0]) {
    case 'c':
    case 'C':
    case 'p':
        try_request(data[0] != 'p', data[0] == 'C', s, n - 1);
        break;
    case 't':
    case 'd':
    case 'a':
        try_tool(data[0], s, n - 1);
        break;
    case 'r':
        try_route(s, n - 1);
        break;
    default:
        try_json(s, n - 1);
    }
    return 0;
}
