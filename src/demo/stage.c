/* The simulated sites: suppliers that speak the API, answer with made-up words at a stated rate and
 * are slow or fail when the script says so, and the weather that their sensors tell. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "demo/world.h"

#define BODY_MAX         ((size_t)1 << 20)
#define LINE_BYTES       512
#define TOKENS_MAX       4096
#define TOKENS_EACH      4      /* in a piece of a stream: 80 tokens a second */
#define FIRST_US         120000 /* to the first piece, and a little more by chance */
#define FIRST_SPREAD_US  80000
#define SLOW_US          4000000
#define HEAT_STEP        0.35 /* degrees a tick: no jump that a sensor's reader refuses */
#define JOULES_PER_TOKEN 0.4
#define WORDS_EACH       60 /* bytes of a piece's text */
#define TWO_PI           6.283185307179586

/* Those that are energised, or will be within the year; and the year of each: the mean of its
 * temperatures, and how far they go up and down. */
static const struct place {
    const char *name, *region;
    double mean, swing;
} places[DEMO_SITES] = {{"sioux-1", "us-central", 11, 13}, {"ashburn-1", "us-east", 14, 11},
                        {"lulea-1", "eu-north", 3, 12},    {"dublin-1", "eu-west", 10, 5},
                        {"montreal-1", "ca-east", 7, 14},  {"sioux-2", "us-central", 11, 13},
                        {"sioux-3", "us-central", 11, 13}, {"ashburn-2", "us-east", 14, 11},
                        {"abilene-1", "us-south", 18, 11}, {"lulea-2", "eu-north", 3, 12},
                        {"reno-1", "us-west", 12, 11},     {"dublin-2", "eu-west", 10, 5},
                        {"osaka-1", "ap-east", 17, 11},    {"pune-1", "ap-south", 25, 4},
                        {"recife-1", "sa-east", 26, 2},    {"abilene-2", "us-south", 18, 11},
                        {"abilene-3", "us-south", 18, 11}, {"montreal-2", "ca-east", 7, 14}};

const char *demo_site_name(int i)
{
    return places[i].name;
}

int demo_site_find(const char *name)
{
    for (int i = 0; i < DEMO_SITES; i++) {
        if (!strcmp(places[i].name, name))
            return i;
    }
    return -1;
}

int demo_site_is_in(int i, const char *place)
{
    return !strcmp(places[i].name, place) || !strcmp(places[i].region, place);
}

/* ---- the weather ----------------------------------------------------------------------------- */

/* The hottest day is the 20th of July, day 231 of the year. */
static double celsius(const struct demo_world *w, int i)
{
    double day = demo_day(), season = cos(TWO_PI * (day - 231) / DEMO_DAYS);

    return places[i].mean + places[i].swing * season + sin(day / 2.3 + i) * 1.5 + w->site[i].heat;
}

static void answer_weather(const struct demo_world *w, struct net_exchange *x, int i)
{
    static const struct net_header type = {"Content-Type", "application/json"};
    char text[80];
    int n = snprintf(text, sizeof text, "{\"celsius\": %.2f, \"simulated\": true}", celsius(w, i));

    net_reply(x, 200, &type, 1, text, (size_t)n);
}

static void change_weather(struct demo_world *w)
{
    for (int i = 0; i < DEMO_SITES; i++) {
        struct demo_site *s = &w->site[i];
        double to = s->heat_wanted - s->heat;
        s->heat += to > HEAT_STEP ? HEAT_STEP : to < -HEAT_STEP ? -HEAT_STEP : to;
    }
}

/* ---- answers --------------------------------------------------------------------------------- */

static const char *const words[] = {"made", "up",    "words", "of",  "a",     "simulated",
                                    "site", "that",  "has",   "no",  "model", "and",
                                    "only", "plays", "its",   "part"};

static void put_words(const struct demo_answer *a, int n, struct buf *out)
{
    for (int i = 0; i < n; i++) {
        uint64_t k = a->id * 7 + (uint64_t)(a->n_told + i);
        buf_addf(out, "%s%s", a->n_told + i ? " " : "", words[k % (sizeof words / sizeof *words)]);
    }
}

static void put_usage(const struct demo_answer *a, struct buf *out)
{
    buf_addf(out,
             "\"usage\":{\"prompt_tokens\":%d,\"completion_tokens\":%d,\"total_tokens\":%d,"
             "\"energy\":{\"joules\":%.3f}}",
             a->n_prompt, a->n_tokens, a->n_prompt + a->n_tokens, JOULES_PER_TOKEN * a->n_tokens);
}

static void put_head(const struct demo_answer *a, const char *object, struct buf *out)
{
    buf_addf(out, "{\"id\":\"simulated-%llu\",\"object\":\"%s\",\"created\":%lld,\"model\":\"%s\",",
             (unsigned long long)a->id, object, (long long)(clock_wall_us() / 1000000), DEMO_MODEL);
}

static void release(struct demo_answer *a)
{
    net_set_user(a->x, NULL);
    a->x = NULL;
}

/* The whole answer, of one that is no stream. */
static void tell_whole(struct demo_answer *a)
{
    static const struct net_header type = {"Content-Type", "application/json"};
    struct net_exchange *x = a->x;
    struct buf b;

    buf_init(&b, BODY_MAX);
    put_head(a, "chat.completion", &b);
    buf_add_str(&b, "\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"");
    put_words(a, a->n_tokens, &b);
    buf_add_str(&b, "\"},\"finish_reason\":\"length\"}],");
    put_usage(a, &b);
    buf_add_char(&b, '}');
    release(a);
    if (b.failed)
        net_reply(x, 500, NULL, 0, "", 0);
    else
        net_reply(x, 200, &type, 1, b.data, b.len);
    buf_done(&b);
}

static void put_piece(const struct demo_answer *a, int n, struct buf *out)
{
    buf_add_str(out, "data: ");
    put_head(a, "chat.completion.chunk", out);
    buf_addf(out, "\"choices\":[{\"index\":0,\"delta\":{%s\"content\":\"",
             a->n_told ? "" : "\"role\":\"assistant\",");
    put_words(a, n, out);
    buf_addf(out, "\"},\"finish_reason\":%s}]}\n\n",
             a->n_told + n == a->n_tokens ? "\"length\"" : "null");
}

/* The next piece of a stream, and with the last one its end. */
static void tell_piece(struct demo_answer *a)
{
    static const struct net_header type = {"Content-Type", "text/event-stream"};
    int left = a->n_tokens - a->n_told, n = left < TOKENS_EACH ? left : TOKENS_EACH;
    struct net_exchange *x = a->x;
    struct buf b;
    int failed = 0;

    buf_init(&b, BODY_MAX);
    put_piece(a, n, &b);
    a->n_told += n;
    if (a->n_told == a->n_tokens) {
        buf_add_str(&b, "data: ");
        put_head(a, "chat.completion.chunk", &b);
        buf_add_str(&b, "\"choices\":[],");
        put_usage(a, &b);
        buf_add_str(&b, "}\n\ndata: [DONE]\n\n");
    }
    if (!a->has_begun)
        failed = net_stream_begin(x, 200, &type, 1);
    a->has_begun = 1;
    if (!failed)
        failed = b.failed ? b.failed : net_stream_write(x, b.data, b.len);
    if (failed || a->n_told == a->n_tokens) {
        release(a);
        if (failed)
            net_abort(x);
        else
            net_stream_end(x);
    }
    buf_done(&b);
}

void stage_tick(struct demo_world *w, int64_t now_us)
{
    change_weather(w);
    for (int i = 0; i < DEMO_ANSWERS_MAX; i++) {
        struct demo_answer *a = &w->answer[i];
        if (!a->x || now_us < a->due_us)
            continue;
        if (a->is_stream)
            tell_piece(a);
        else
            tell_whole(a);
    }
}

/* ---- requests -------------------------------------------------------------------------------- */

static void refuse(struct net_exchange *x, int status, const char *why)
{
    static const struct net_header type = {"Content-Type", "application/json"};
    char text[LINE_BYTES];
    int n =
        snprintf(text, sizeof text, "{\"error\":{\"message\":\"%s\",\"code\":\"simulated\"}}", why);

    net_reply(x, status, &type, 1, text, (size_t)n);
}

/* "/weather/NAME" and "/sites/NAME/v1/chat/completions": the site's number; -1: neither. */
static int site_of(const char *path, const char *before, const char *behind)
{
    size_t n = strlen(before), m;
    char name[32];

    if (strncmp(path, before, n) != 0)
        return -1;
    m = strcspn(path + n, "/");
    if (m >= sizeof name || strcmp(path + n + m, behind) != 0)
        return -1;
    snprintf(name, sizeof name, "%.*s", (int)m, path + n);
    return demo_site_find(name);
}

void stage_request(struct demo_world *w, struct net_exchange *x)
{
    const char *path = net_head(x)->target;
    int i = site_of(path, "/weather/", "");

    if (i >= 0) {
        answer_weather(w, x, i);
        return;
    }
    i = site_of(path, "/sites/", "/v1/chat/completions");
    if (i < 0)
        refuse(x, 404, "no such place in this world");
    else if (w->site[i].mood == DEMO_FAILING)
        refuse(x, 503, "this simulated site fails, as the script says");
    else if (net_read_body(x, BODY_MAX))
        refuse(x, 413, "the body is too large");
}

static struct demo_answer *free_answer(struct demo_world *w)
{
    for (int i = 0; i < DEMO_ANSWERS_MAX; i++) {
        if (!w->answer[i].x)
            return &w->answer[i];
    }
    return NULL;
}

static int tokens_of(const json_t *body)
{
    const json_t *v = json_object_get(body, "max_completion_tokens");
    json_int_t n = json_integer_value(v ? v : json_object_get(body, "max_tokens"));

    return n < 1 ? 64 : n > TOKENS_MAX ? TOKENS_MAX : (int)n;
}

static void begin_answer(struct demo_world *w, struct net_exchange *x, int i_site,
                         const json_t *body, size_t n_bytes)
{
    struct demo_answer *a = free_answer(w);
    int64_t wait_us = FIRST_US + (int64_t)(demo_draw(w) * FIRST_SPREAD_US);

    if (!a) {
        refuse(x, 429, "this simulated site has no place left");
        return;
    }
    *a = (struct demo_answer){.w = w,
                              .x = x,
                              .i_site = i_site,
                              .is_stream = json_is_true(json_object_get(body, "stream")),
                              .n_prompt = 1 + (int)(n_bytes / 4),
                              .n_tokens = tokens_of(body),
                              .id = ++w->n_answers};
    if (w->site[i_site].mood == DEMO_SLOW)
        wait_us += SLOW_US;
    if (!a->is_stream)
        wait_us += (int64_t)a->n_tokens * DEMO_TICK_MS * 1000 / TOKENS_EACH;
    a->due_us = clock_now_us() + wait_us;
    net_set_user(x, a);
}

void stage_body(struct demo_world *w, struct net_exchange *x, int code)
{
    int i = site_of(net_head(x)->target, "/sites/", "/v1/chat/completions");
    size_t n = 0;
    const char *text = code ? NULL : net_body(x, &n);
    json_t *body = NULL;

    if (text && json_parse(&body, text, n, 0, NULL))
        body = NULL;
    if (code)
        refuse(x, err_http_status(code), "the body did not come");
    else if (!json_is_object(body) || i < 0)
        refuse(x, 400, "the body is no request");
    else
        begin_answer(w, x, i, body, n);
    json_decref(body);
}

void stage_gone(struct net_exchange *x)
{
    struct demo_answer *a = net_user(x);

    if (a)
        a->x = NULL;
}
