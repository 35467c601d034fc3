/* The tenants: each sends requests at a rate that goes by the hour, the day of the week and the
 * months, drawn by chance from the seed. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "demo/world.h"

#define BODY_MAX  ((size_t)4096)
#define TWO_PI    6.283185307179586
#define TOKENS_LO 24
#define TOKENS_HI 104

/* What a tenant sends: requests a second of real time on an ordinary day of the first month, and
 * what becomes of that until the last one. */
static const struct habit {
    int i_tenant;
    const char *region, *tier; /* tier NULL: the default */
    double rate, growth;
    double by_day, by_week; /* how much less there is at night, and on weekends */
    int is_real;            /* for the real engine */
} habits[] = {
    {0, "us-central", NULL, 3.6, 1.25, 0.5, 0.25, 0}, {1, "eu-north", NULL, 1.0, 1.6, 0.4, 0.5, 0},
    {2, "ap-east", NULL, 0.7, 1.3, 0.4, 0.2, 0},      {3, "us-east", "flex", 0.6, 1.0, 0, 0, 0},
    {4, "us-central", NULL, 1.2, 1.5, 0.6, 0.1, 0},   {4, "us-central", NULL, 0.25, 1, 0.5, 0, 1},
};

static const char *const tenants[DEMO_TENANTS] = {"answers", "labs", "harbour", "chipmaker-batch",
                                                  "visitors"};

const char *demo_tenant(int i)
{
    return tenants[i];
}

static double rate_of(const struct demo_world *w, const struct habit *h)
{
    double day = demo_day(), hour = 0.5 - 0.5 * cos(TWO_PI * day);
    int weekday = (int)(day + 1) % 7; /* the first day of the year is a Tuesday: 0 is Monday */

    return h->rate * w->demand[h->i_tenant] * (1 + (h->growth - 1) * day / DEMO_DAYS) *
           (1 - h->by_day * (1 - hour)) * (weekday >= 5 ? 1 - h->by_week : 1);
}

/* ---- a request ------------------------------------------------------------------------------- */

static void release(struct demo_visitor *v)
{
    v->r = NULL;
    buf_done(&v->body);
}

static void on_data(void *ctx, struct upstream_request *r, const char *p, size_t n)
{
    (void)ctx;
    (void)r;
    (void)p;
    (void)n;
}

static void on_head(void *ctx, struct upstream_request *r)
{
    struct demo_visitor *v = ctx;

    if (upstream_status(r) == 200 && upstream_answer_header(r, "x-gaufre-contract"))
        v->w->counts.n_within++;
}

static void on_end(void *ctx, struct upstream_request *r, const struct err *e)
{
    struct demo_visitor *v = ctx;
    struct demo_counts *n = &v->w->counts;
    int status = upstream_status(r);

    if (!e->code && status == 200) {
        n->n_answered++;
        n->n_real += v->is_real;
    } else if (!e->code && status >= 400 && status < 500) {
        n->n_refused++;
    } else {
        n->n_failed++;
    }
    release(v);
}

static struct demo_visitor *free_visitor(struct demo_world *w)
{
    for (int i = 0; i < DEMO_VISITORS_MAX; i++) {
        if (!w->visitor[i].r)
            return &w->visitor[i];
    }
    return NULL;
}

static void put_body(struct demo_visitor *v, const struct habit *h)
{
    struct demo_world *w = v->w;
    int n = TOKENS_LO + (int)(demo_draw(w) * (TOKENS_HI - TOKENS_LO));

    buf_init(&v->body, BODY_MAX);
    buf_addf(&v->body,
             "{\"model\":\"%s\",\"stream\":true,\"max_tokens\":%d,%s%s%s"
             "\"messages\":[{\"role\":\"user\",\"content\":\"Tell me of day %d, traveller %d.\"}]}",
             h->is_real ? w->setup.model : DEMO_MODEL, h->is_real ? TOKENS_LO : n,
             h->tier ? "\"service_tier\":\"" : "", h->tier ? h->tier : "", h->tier ? "\"," : "",
             (int)demo_day(), (int)(demo_draw(w) * 1000));
}

static void send_one(struct demo_world *w, const struct habit *h)
{
    struct demo_visitor *v = free_visitor(w);
    const struct upstream_header header[] = {{"Authorization", w->key[h->i_tenant]},
                                             {"Content-Type", "application/json"},
                                             {"x-gaufre-region", h->region}};
    struct upstream_handler on = {v, on_head, on_data, on_end};
    struct err none = {0};

    if (!v)
        return; /* so many are under way that nobody else comes */
    v->w = w;
    v->is_real = h->is_real;
    put_body(v, h);
    w->counts.n_sent++;
    if (v->body.failed || upstream_begin(w->server, 0,
                                         &(struct upstream_ask){.method = "POST",
                                                                .path = "/v1/chat/completions",
                                                                .header = header,
                                                                .n_header = 3,
                                                                .body = v->body.data,
                                                                .n_body = v->body.len},
                                         &on, &v->r, &none)) {
        w->counts.n_failed++;
        release(v);
    }
}

void crowd_tick(struct demo_world *w)
{
    for (size_t i = 0; i < sizeof habits / sizeof *habits; i++) {
        const struct habit *h = &habits[i];
        if (h->is_real && !w->setup.model)
            continue;
        if (demo_draw(w) < rate_of(w, h) * DEMO_TICK_MS / 1000)
            send_one(w, h);
    }
}

void crowd_free(struct demo_world *w)
{
    for (int i = 0; i < DEMO_VISITORS_MAX; i++)
        buf_done(&w->visitor[i].body);
}
