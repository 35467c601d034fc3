#include "cmd/load_request.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/rand.h"
#include "net/fetch.h"

#define URL_MAX    4096
#define BODY_MAX   ((size_t)16 << 20)
#define SAID_MAX   ((size_t)16 << 10)
#define ANSWER_MAX ((int64_t)1 << 30)
#define CONNECT_MS 10000
#define SILENCE_MS 300000
#define UJ_MOST    1e15
#define MILLE      1000

static const char *const words[] = {
    "time",    "year",    "people",   "way",    "day",    "man",     "thing",   "woman",
    "life",    "child",   "world",    "school", "state",  "family",  "student", "group",
    "country", "problem", "hand",     "part",   "place",  "case",    "week",    "company",
    "system",  "program", "question", "work",   "number", "night",   "point",   "home",
    "water",   "room",    "mother",   "area",   "money",  "story",   "fact",    "month",
    "lot",     "right",   "study",    "book",   "eye",    "job",     "word",    "business",
    "issue",   "side",    "kind",     "head",   "house",  "service", "friend",  "father",
    "power",   "hour",    "game",     "line",   "end",    "member",  "law",     "car"};
_Static_assert(ARRAY_LEN(words) == 64, "six bits choose one");

/* ---- asking ---------------------------------------------------------------------------------- */

static void put_words(struct buf *b, uint64_t seed, uint64_t nth, int64_t n)
{
    uint32_t v[4];

    for (int64_t i = 0; i < n; i++) {
        if (i % 4 == 0)
            rand_philox(seed, (uint64_t)i, nth, v);
        buf_add_char(b, ' ');
        buf_add_str(b, words[v[i % 4] & 63]);
    }
}

static int put_body(struct buf *b, const struct load_ask *a)
{
    buf_add_str(b, "{\"model\":");
    json_put_str(b, a->model);
    buf_add_str(b, ",\"messages\":[{\"role\":\"user\",\"content\":\"");
    put_words(b, a->seed, 0, a->shared_words);
    put_words(b, a->seed, a->nth + 1, a->words - a->shared_words);
    buf_addf(
        b,
        "\"}],\"max_tokens\":%lld,\"stream\":true,\"stream_options\":{\"include_usage\":true}%s}",
        (long long)a->output, a->no_ignore_eos ? "" : ",\"ignore_eos\":true");
    return b->failed ? ERR_NOMEM : 0;
}

/* ---- the answer ------------------------------------------------------------------------------ */

struct stream {
    struct load_answer *ret;
    atomic_int *is_over, *stop;
    int64_t sent_us;
    struct buf line;
    int has_usage;
    struct err *e;
};

static int64_t count(const json_t *o, const char *key)
{
    int64_t n = json_integer_value(json_object_get(o, key));

    return n < 0 ? 0 : n > LOAD_TOKENS_MAX ? LOAD_TOKENS_MAX : n;
}

/* As answers of gaufre tell it (docs/api.md). */
static void read_energy(const json_t *o, struct energy *ret)
{
    double joules = json_number_value(json_object_get(o, "joules"));
    double share = json_number_value(json_object_get(o, "uncertainty"));
    const char *boundary = json_string_value(json_object_get(o, "boundary"));
    const char *method = json_string_value(json_object_get(o, "method"));
    int b = boundary ? energy_boundary_find(boundary) : -1;
    int m = method ? energy_method_find(method) : -1;

    if (m <= 0 || b < 0 || !(joules >= 0 && joules * 1e6 < UJ_MOST))
        return;
    *ret = (struct energy){.uj = (int64_t)(joules * 1e6 + 0.5),
                           .boundary = (enum energy_boundary)b,
                           .method = (enum energy_method)m,
                           .uncertainty_permille =
                               share >= 0 && share <= 1 ? (int32_t)lrint(share * MILLE) : MILLE};
}

static int has_text(const json_t *delta)
{
    static const char *const keys[] = {"content", "reasoning_content", "reasoning"};

    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        if (json_string_length(json_object_get(delta, keys[i])))
            return 1;
    }
    return 0;
}

static int read_event(struct stream *s, const json_t *o)
{
    const json_t *usage = json_object_get(o, "usage"), *error = json_object_get(o, "error");
    const json_t *choice = json_array_get(json_object_get(o, "choices"), 0);
    const char *print = json_string_value(json_object_get(o, "system_fingerprint"));
    struct load_answer *a = s->ret;

    if (error) {
        const char *why = json_string_value(json_object_get(error, "message"));
        return err_set(s->e, ERR_SUPPLIER, "the answer broke off: %.300s",
                       why ? why : "no reason was given");
    }
    if (has_text(json_object_get(choice, "delta"))) {
        a->last_us = clock_now_us() - s->sent_us;
        a->first_us = a->parts ? a->first_us : a->last_us;
        a->parts++;
        a->parts_in += !s->is_over || !atomic_load(s->is_over);
    }
    if (print)
        snprintf(a->print, sizeof a->print, "%s", print);
    if (!json_is_object(usage))
        return 0;
    s->has_usage = 1;
    a->input_tokens = count(usage, "prompt_tokens");
    a->output_tokens = count(usage, "completion_tokens");
    a->cached_tokens = count(json_object_get(usage, "prompt_tokens_details"), "cached_tokens");
    read_energy(json_object_get(usage, "energy"), &a->energy);
    return 0;
}

static int read_line(struct stream *s)
{
    const char *p = s->line.data;
    size_t n = s->line.len;
    json_t *o = NULL;
    int r;

    if (n && p[n - 1] == '\r')
        n--;
    if (n < 5 || memcmp(p, "data:", 5) != 0)
        return 0;
    p += 5;
    n -= 5;
    while (n && *p == ' ')
        p++, n--;
    if (n == 6 && !memcmp(p, "[DONE]", 6))
        return 0;
    r = json_parse(&o, p, n, 0, s->e);
    if (!r)
        r = read_event(s, o);
    else
        err_prefix(s->e, "an event of the answer");
    json_decref(o);
    return r;
}

static int take(void *ctx, const char *p, size_t n)
{
    struct stream *s = ctx;

    while (n) {
        const char *end = memchr(p, '\n', n);
        size_t k = end ? (size_t)(end - p) : n;
        if (buf_add(&s->line, p, k))
            return err_set(s->e, ERR_TOO_LARGE, "an event of the answer is too long");
        if (end) {
            int r = read_line(s);
            s->line.len = 0;
            if (r)
                return r;
        }
        p += k + (end != NULL);
        n -= k + (end != NULL);
    }
    return 0;
}

static int is_stopped(void *ctx, int64_t bytes, int64_t total)
{
    const struct stream *s = ctx;

    return s->stop && atomic_load(s->stop);
}

/* What the server gave as a reason goes behind what the status alone says. */
static void add_reason(const struct buf *said, struct err *e)
{
    json_t *j = NULL;
    const char *text = NULL;

    if (said->len && !json_parse(&j, said->data, said->len, 0, NULL))
        text = json_string_value(json_object_get(json_object_get(j, "error"), "message"));
    if (text)
        err_set(e, e->code, "the server says: %.400s", text);
    json_decref(j);
}

static int check(const struct load_answer *a, const struct stream *s, struct err *e)
{
    if (!s->has_usage)
        return err_set(e, ERR_RESET, "the answer ended without telling its tokens");
    if (!a->output_tokens || !a->parts)
        return err_set(e, ERR_FORMAT, "the answer has no tokens that can be seen");
    return 0;
}

int load_request(const struct load_server *server, const struct load_ask *a, atomic_int *is_over,
                 atomic_int *stop, struct load_answer *ret, struct err *e)
{
    const char *headers[3] = {"Content-Type: application/json", server->header, NULL};
    struct stream s = {.ret = ret, .is_over = is_over, .stop = stop, .e = e};
    struct buf url, body, said;
    struct fetch_options o;
    struct fetch_result got = {0};
    int r;

    *ret = (struct load_answer){0};
    buf_init(&url, URL_MAX);
    buf_init(&body, BODY_MAX);
    buf_init(&said, SAID_MAX);
    buf_init(&s.line, LOAD_EVENT_MAX);
    buf_addf(&url, "%s/chat/completions", server->url);
    r = put_body(&body, a);
    if (r || url.failed)
        r = err_set(e, ERR_ARG, "the URL or the prompt is too long");
    if (!r) {
        fetch_options_init(&o, url.data);
        o.method = "POST";
        o.send = body.data;
        o.headers = headers;
        o.take = take;
        o.refusal = &said;
        o.size_max = ANSWER_MAX;
        o.ca_file = server->ca;
        o.connect_timeout_ms = CONNECT_MS;
        o.stall_timeout_ms = SILENCE_MS;
        o.progress = is_stopped;
        o.ctx = &s;
        s.sent_us = clock_now_us();
        r = fetch_get(&o, &got, e);
        ret->status = got.status;
        if (r && got.status)
            add_reason(&said, e);
    }
    if (!r)
        r = check(ret, &s, e);
    buf_done(&url);
    buf_done(&body);
    buf_done(&said);
    buf_done(&s.line);
    return r;
}
