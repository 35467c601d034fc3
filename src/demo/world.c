#include "demo/world.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/day.h"
#include "base/rand.h"

#define DAY_US INT64_C(86400000000)

double demo_draw(struct demo_world *w)
{
    return rand_uniform(w->setup.seed, 1, w->n_drawn++);
}

static int64_t from_us(void)
{
    int64_t s = 0;

    day_read(DEMO_FROM, NULL, &s);
    return s * 1000000;
}

double demo_day(void)
{
    return (double)(clock_wall_us() - from_us()) / (double)DAY_US;
}

/* ---- the io thread --------------------------------------------------------------------------- */

static void look_at_end(struct demo_world *w)
{
    if (w->is_over || demo_day() < w->setup.n_days || !script_is_idle(w))
        return;
    w->is_over = 1;
    atomic_store(&w->is_stopped, 1);
    w->setup.over(w->setup.ctx);
}

static void on_tick(void *ctx)
{
    struct demo_world *w = ctx;

    stage_tick(w, clock_now_us());
    if (atomic_load(&w->is_going) && !atomic_load(&w->is_stopped)) {
        script_tick(w);
        crowd_tick(w);
        look_at_end(w);
    }
    net_timer_arm(w->tick, DEMO_TICK_MS);
}

static void on_request(void *ctx, struct net_exchange *x)
{
    stage_request(ctx, x);
}

static void on_body(void *ctx, struct net_exchange *x, int code)
{
    stage_body(ctx, x, code);
}

static void on_gone(void *ctx, struct net_exchange *x, int code)
{
    (void)ctx;
    (void)code;
    stage_gone(x);
}

/* Once when the thread begins; nobody posts anything else. */
static void on_mail(void *ctx, int io)
{
    struct demo_world *w = ctx;

    (void)io;
    net_timer_arm(w->tick, DEMO_TICK_MS);
}

/* ---- the door -------------------------------------------------------------------------------- */

int demo_open(struct demo_world **ret, const struct demo_setup *s, struct err *e)
{
    struct demo_world *w = calloc(1, sizeof *w);
    struct net_handler h = {.ctx = w,
                            .on_request = on_request,
                            .on_body = on_body,
                            .on_gone = on_gone,
                            .on_mail = on_mail};
    struct net_config c;
    int r;

    if (!w)
        return err_set(e, ERR_NOMEM, "out of memory");
    w->setup = *s;
    for (int i = 0; i < DEMO_TENANTS; i++)
        w->demand[i] = 1;
    net_config_default(&c);
    c.port = 0;
    r = net_server_open(&w->net, &c, &h, e);
    if (!r) {
        w->port = net_server_port(w->net);
        w->tick = net_timer_new(w->net, 0, on_tick, w);
        r = w->tick ? net_server_start(w->net, e) : err_set(e, ERR_NOMEM, "out of memory");
    }
    if (r) {
        demo_close(w, NULL);
        return r;
    }
    *ret = w;
    return 0;
}

int demo_start(struct demo_world *w, const struct demo_doors *d, struct err *e)
{
    const struct upstream_config c = {.base_url = d->url, .conns_max = DEMO_VISITORS_MAX + 8};
    int r = upstream_open(&w->server, w->net, &c, e);

    if (r)
        return r;
    snprintf(w->admin, sizeof w->admin, "Bearer %s", d->admin_key);
    for (int i = 0; i < DEMO_TENANTS; i++)
        snprintf(w->key[i], sizeof w->key[i], "Bearer %s", d->key[i]);
    clock_pretend_go();
    atomic_store(&w->is_going, 1);
    return 0;
}

void demo_stop(struct demo_world *w)
{
    atomic_store(&w->is_stopped, 1);
}

void demo_close(struct demo_world *w, struct demo_counts *ret)
{
    if (!w)
        return;
    if (w->net) {
        net_server_drain(w->net, 0);
        net_server_join(w->net);
        net_timer_free(w->tick);
    }
    upstream_close(w->server);
    net_server_close(w->net);
    crowd_free(w);
    script_free(w);
    if (ret)
        *ret = w->counts;
    free(w);
}
