#include "serve/environment.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/put.h"
#include "policy/pue.h"
#include "serve/sensor_ask.h"
#include "serve/server.h"

#define TICK_US INT64_C(250000)

/* One sensor. */
struct probe {
    const struct serve_sensor *sensor;
    struct envelope_sensor heard;
    struct envelope_range range; /* the file's, or what it tells itself */
    enum envelope_cause cause;
    const char *quality; /* as it was logged */
    int32_t ppm;
    int is_asked; /* its first answer came, or failed */
    char why[200];
};

struct place {
    const struct serve_site *site;
    struct probe probe[SITE_SENSORS_MAX];
    struct envelope_gate gate;
    struct pue_meter pue;
    char fell[200]; /* why the factor is what it is */
    struct site_environment told;
};

struct poller {
    struct environment *env;
    struct place *place;
    struct probe *probe;
    pthread_t thread;
};

struct environment {
    struct server *s;
    pthread_mutex_t lock; /* of places and probes; rank: before the cloud's */
    pthread_cond_t wake;
    struct place *place;
    int n_places;
    struct poller *poller;
    int n_pollers;
    pthread_t ticker;
    int has_ticker;
    _Atomic int stop;
};

/* ---- what is told ---------------------------------------------------------------------------- */

static const char *quality_of(const struct probe *p, int64_t now_us)
{
    if (p->heard.is_refused)
        return "refused";
    if (!p->heard.is_heard)
        return "not heard";
    return now_us - p->heard.at_us <= p->sensor->max_age * 1000 ? "good" : "stale";
}

static void put_value(char out[64], int64_t v, const struct envelope_kind *k)
{
    char text[PUT_MAX];

    put_decimal(v, 3, text);
    if (k->is_switch)
        snprintf(out, 64, "%s", v ? "yes" : "no");
    else
        snprintf(out, 64, "%s %s", text, k->unit);
}

/* A sentence: which sensor, what it says, and what is allowed. */
static void put_cause(const struct probe *p, char out[200])
{
    const struct envelope_kind *k = envelope_kind((enum envelope_quantity)p->sensor->quantity);
    char value[64] = "", limit[64] = "", allowed[64] = "";
    const struct envelope_range *r = &p->range;
    int is_low = p->cause == ENVELOPE_LOW;

    put_value(value, p->heard.value, k);
    if (p->cause == ENVELOPE_CHANGE) {
        put_value(value, envelope_change(&p->heard, p->sensor->rate_window * 1000), k);
        put_value(limit, r->rate, k);
        snprintf(out, 200, "%s: %s changes by %.30s an hour, well is %.30s", p->sensor->name,
                 k->name, value, limit);
    } else if (k->is_switch && p->cause == ENVELOPE_HIGH) {
        snprintf(out, 200, "%s: %s", p->sensor->name, k->name);
    } else if (is_low || p->cause == ENVELOPE_HIGH) {
        put_value(limit, is_low ? r->low : r->high, k);
        put_value(allowed, is_low ? r->low_allowed : r->high_allowed, k);
        snprintf(out, 200, "%s: %s is %.30s, well is %.30s, allowed %.30s", p->sensor->name,
                 k->name, value, limit, allowed);
    } else {
        snprintf(out, 200, "%s: %s is %s%s%.110s", p->sensor->name, k->name,
                 envelope_cause_name(p->cause), *p->why ? ": " : "", p->why);
    }
}

/* What others wrote, as it can stand in JSON, a log and a terminal. */
static void put_plain(char *to, size_t cap, const char *from)
{
    put_text(to, cap, from);
    for (; *to; to++) {
        if (*to < ' ' || *to > '~')
            *to = '?';
    }
}

static void put_source(const struct place *w, const struct serve_sensor *s, char out[160])
{
    if (s->i_from[0] >= 0)
        snprintf(out, 160, "computed of %s and %s", w->site->sensors[s->i_from[0]].name,
                 w->site->sensors[s->i_from[1]].name);
    else if (s->url)
        snprintf(out, 160, "%.*s", (int)strcspn(s->url, "?"), s->url);
    else
        put_plain(out, 160, s->file ? s->file : s->command.v[0]);
}

static void put_row(const struct place *w, const struct probe *p, int64_t now_us,
                    struct site_reading *ret)
{
    const struct envelope_kind *k = envelope_kind((enum envelope_quantity)p->sensor->quantity);

    *ret = (struct site_reading){
        .quantity = k->name,
        .unit = k->unit,
        .quality = quality_of(p, now_us),
        .has_value = p->heard.is_heard,
        .value = p->heard.value,
        .at_us = p->heard.at_us,
        .change = envelope_change(&p->heard, p->sensor->rate_window * 1000),
        .factor_ppm = p->ppm,
        .limit = {p->range.low_allowed, p->range.low, p->range.high, p->range.high_allowed},
        .rate = p->range.rate};
    put_text(ret->name, sizeof ret->name, p->sensor->name);
    put_source(w, p->sensor, ret->source);
    put_text(ret->why, sizeof ret->why, p->why);
}

/* ---- judging, with the lock held ------------------------------------------------------------- */

static int is_computed(const struct probe *p)
{
    return p->sensor->i_from[0] >= 0;
}

/* A value, or the refusal of it. */
static void take(struct probe *p, int64_t value, int64_t at_us)
{
    const struct envelope_kind *k = envelope_kind((enum envelope_quantity)p->sensor->quantity);
    int64_t before = p->heard.value;
    char text[64], last[64];

    if (!p->heard.is_refused || at_us >= p->heard.at_us)
        *p->why = 0;
    put_value(text, value, k);
    put_value(last, before, k);
    switch (envelope_take(&p->heard, (enum envelope_quantity)p->sensor->quantity, value, at_us,
                          p->sensor->rate_window * 1000)) {
    case ENVELOPE_IMPOSSIBLE:
        snprintf(p->why, sizeof p->why, "%s cannot be", text);
        break;
    case ENVELOPE_JUMPED:
        snprintf(p->why, sizeof p->why, "from %s to %s is further than it can jump", last, text);
        break;
    case ENVELOPE_PAST: /* nothing new, as a file that nobody has written since */
    case ENVELOPE_TAKEN:
        break;
    }
}

static void compute(struct place *w, struct probe *p)
{
    const struct probe *t = &w->probe[p->sensor->i_from[0]], *h = &w->probe[p->sensor->i_from[1]];
    int64_t at_us = t->heard.at_us < h->heard.at_us ? t->heard.at_us : h->heard.at_us;

    p->is_asked = t->is_asked && h->is_asked;
    if (t->heard.is_refused || h->heard.is_refused) {
        envelope_refuse(&p->heard);
        snprintf(p->why, sizeof p->why, "%s is refused",
                 t->heard.is_refused ? t->sensor->name : h->sensor->name);
    } else if (t->heard.is_heard && h->heard.is_heard) {
        take(p, envelope_dew_point(t->heard.value, h->heard.value), at_us);
    }
}

static void log_quality(const struct place *w, struct probe *p, int64_t now_us)
{
    const char *now = quality_of(p, now_us);
    int is_good = !strcmp(now, "good");

    if (now == p->quality)
        return;
    if (p->quality ? strcmp(now, p->quality) != 0 : !is_good && p->is_asked)
        LOG_EVENT(is_good ? LOG_INFO : LOG_WARN, "site sensor", LOG_STR("site", w->site->name),
                  LOG_STR("sensor", p->sensor->name), LOG_STR("quality", now),
                  LOG_STR("why", p->why));
    if (p->is_asked)
        p->quality = now;
}

/* Does it count? What has no limits is only shown. */
static int counts(const struct place *w, const struct probe *p)
{
    if (w->gate.is_settled && !p->is_asked)
        return 0; /* it has just been configured */
    return envelope_range_limits(&p->range) || p->sensor->kind == SERVE_SENSOR_REDFISH;
}

/* Its first sensor of a quantity; NULL: it has none that is well. */
static const struct probe *meter_of(const struct place *w, enum envelope_quantity q, int64_t now_us)
{
    for (int i = 0; i < w->site->n_sensors; i++) {
        if (w->probe[i].sensor->quantity == (int)q)
            return strcmp(quality_of(&w->probe[i], now_us), "good") ? NULL : &w->probe[i];
    }
    return NULL;
}

/* What the two meters of energy say of the PUE. */
static void look_at_pue(struct environment *env, struct place *w, int64_t now_us)
{
    const struct probe *it = meter_of(w, ENVELOPE_IT_ENERGY, now_us);
    const struct probe *facility = meter_of(w, ENVELOPE_FACILITY_ENERGY, now_us);
    int64_t window_us = w->site->pue_window * 1000, at_us;

    if (it && facility) {
        at_us = it->heard.at_us > facility->heard.at_us ? it->heard.at_us : facility->heard.at_us;
        pue_take(&w->pue, at_us, it->heard.at_us - facility->heard.at_us, it->heard.value,
                 facility->heard.value, window_us);
    }
    cloud_tell_site_pue(env->s->cloud, w->site->name, pue_permille(&w->pue, now_us, window_us));
}

static void judge(struct environment *env, struct place *w)
{
    int64_t now_us = clock_now_us();
    struct site_environment *told = &w->told;
    const struct probe *worst = NULL;
    int32_t lowest = DERATE_ALL;
    int all_heard = 1, n = w->site->n_sensors;

    for (int i = 0; i < n; i++) {
        struct probe *p = &w->probe[i];
        const struct envelope_look l = {&p->range, p->sensor->rate_window * 1000,
                                        p->sensor->max_age * 1000};
        if (is_computed(p))
            compute(w, p);
        p->ppm = envelope_judge(&p->heard, &l, &w->site->rules, now_us, &p->cause);
        if (!counts(w, p)) {
            p->ppm = DERATE_ALL;
        } else {
            all_heard &= p->heard.is_heard;
            if (p->ppm < lowest) {
                lowest = p->ppm;
                worst = p;
            }
        }
        put_row(w, p, now_us, &told->row[i]);
        log_quality(w, p, now_us);
    }
    told->n = n;
    told->factor_ppm = envelope_gate_step(&w->gate, &w->site->rules, now_us, lowest, all_heard);
    if (told->factor_ppm == lowest - lowest % ENVELOPE_GRAIN_PPM) {
        *w->fell = 0;
        if (worst)
            put_cause(worst, w->fell);
        put_text(told->cause, sizeof told->cause, w->fell);
    } else {
        snprintf(told->cause, sizeof told->cause, "waits to rise after %.170s", w->fell);
    }
    cloud_tell_site_environment(env->s->cloud, w->site->name, told);
    look_at_pue(env, w, now_us);
}

/* ---- reading --------------------------------------------------------------------------------- */

static int is_over(void *ctx)
{
    const struct environment *env = ctx;

    return atomic_load(&env->stop);
}

/* Limits of the file hold; where it has none on a side, those that the sensor tells. 0: together
 * they make no sense. */
static int use_limits(struct probe *p, const struct envelope_range *told)
{
    const struct envelope_range *own = &p->sensor->range;
    struct envelope_range r = *own;

    if (own->low_allowed == ENVELOPE_NONE) {
        r.low = told->low;
        r.low_allowed = told->low_allowed;
    }
    if (own->high_allowed == ENVELOPE_NONE) {
        r.high = told->high;
        r.high_allowed = told->high_allowed;
    }
    envelope_range_fill((enum envelope_quantity)p->sensor->quantity, &r);
    if (envelope_range_fault((enum envelope_quantity)p->sensor->quantity, &r))
        return 0;
    p->range = r;
    return 1;
}

/* Without the lock, but to note what was said. */
static void read_once(struct poller *o)
{
    const struct sensor_ask ask = {o->probe->sensor, is_over, o->env};
    int64_t at_us = clock_now_us(), age_us;
    struct sensor_reading v;
    struct err e = {0};
    int r = sensor_ask(&ask, &v, &age_us, &e);

    pthread_mutex_lock(&o->env->lock);
    if (!r && !use_limits(o->probe, &v.told))
        r = err_set(&e, ERR_FORMAT,
                    "its thresholds and the configured limits contradict each other");
    if (r == ERR_FORMAT)
        envelope_refuse(&o->probe->heard);
    if (r) {
        put_plain(o->probe->why, sizeof o->probe->why, e.text);
    } else {
        take(o->probe, v.value, at_us > age_us ? at_us - age_us : 0);
    }
    if (r != ERR_CANCELLED) {
        o->probe->is_asked = 1;
        judge(o->env, o->place);
    }
    pthread_mutex_unlock(&o->env->lock);
}

/* With the lock held: until then, or until it is to stop. */
static void wait_until(struct environment *env, int64_t until_us)
{
    const struct timespec t = {until_us / 1000000, until_us % 1000000 * 1000};
    int r = 0;

    while (!atomic_load(&env->stop) && !r)
        r = pthread_cond_timedwait(&env->wake, &env->lock, &t);
}

static void *poller_main(void *arg)
{
    struct poller *o = arg;
    int64_t next_us = clock_now_us();

    pthread_setname_np(pthread_self(), "sensor");
    while (!is_over(o->env)) {
        read_once(o);
        next_us += o->probe->sensor->every * 1000;
        if (next_us < clock_now_us())
            next_us = clock_now_us(); /* it was slow: what was missed is not made up for */
        pthread_mutex_lock(&o->env->lock);
        wait_until(o->env, next_us);
        pthread_mutex_unlock(&o->env->lock);
    }
    return NULL;
}

static void *ticker_main(void *arg)
{
    struct environment *env = arg;

    pthread_setname_np(pthread_self(), "environment");
    pthread_mutex_lock(&env->lock);
    while (!is_over(env)) {
        for (int i = 0; i < env->n_places; i++)
            judge(env, &env->place[i]);
        wait_until(env, clock_now_us() + TICK_US);
    }
    pthread_mutex_unlock(&env->lock);
    return NULL;
}

/* ---- places ---------------------------------------------------------------------------------- */

/* What was heard before goes on. */
static void inherit(struct place *w, const struct place *old)
{
    w->gate = old->gate;
    w->pue = old->pue;
    memcpy(w->fell, old->fell, sizeof w->fell);
    for (int i = 0; i < w->site->n_sensors; i++) {
        struct probe *p = &w->probe[i];
        for (int k = 0; k < old->site->n_sensors; k++) {
            const struct probe *o = &old->probe[k];
            if (strcmp(o->sensor->name, p->sensor->name) ||
                o->sensor->quantity != p->sensor->quantity)
                continue;
            p->heard = o->heard;
            p->is_asked = o->is_asked;
            p->quality = o->quality;
            memcpy(p->why, o->why, sizeof p->why);
            if (o->sensor->rate_window != p->sensor->rate_window)
                memset(p->heard.slot, 0, sizeof p->heard.slot);
            if (p->sensor->kind == SERVE_SENSOR_REDFISH && !use_limits(p, &o->range))
                p->range = p->sensor->range;
        }
    }
}

/* The places of a configuration: all that have sensors. */
static int make_places(const struct serve_config *c, const struct environment *old,
                       struct environment *env)
{
    env->place = calloc(SITES_MAX, sizeof *env->place);
    env->poller = calloc(SERVE_SENSORS_MAX, sizeof *env->poller);
    if (!env->place || !env->poller)
        return ERR_NOMEM;
    for (int i = 0; i < c->n_sites; i++) {
        struct place *w = &env->place[env->n_places];
        if (!c->sites[i].n_sensors)
            continue;
        w->site = &c->sites[i];
        env->n_places++;
        for (int k = 0; k < w->site->n_sensors; k++) {
            w->probe[k].sensor = &w->site->sensors[k];
            w->probe[k].range = w->site->sensors[k].range;
        }
        for (int k = 0; old && k < old->n_places; k++) {
            if (!strcmp(old->place[k].site->name, w->site->name))
                inherit(w, &old->place[k]);
        }
    }
    return 0;
}

static int start_threads(struct environment *env)
{
    for (int i = 0; i < env->n_places; i++) {
        struct place *w = &env->place[i];
        for (int k = 0; k < w->site->n_sensors; k++) {
            struct poller *o = &env->poller[env->n_pollers];
            *o = (struct poller){.env = env, .place = w, .probe = &w->probe[k]};
            if (is_computed(o->probe))
                continue;
            if (pthread_create(&o->thread, NULL, poller_main, o))
                return ERR_NOMEM;
            env->n_pollers++;
        }
    }
    env->has_ticker = !pthread_create(&env->ticker, NULL, ticker_main, env);
    return env->has_ticker ? 0 : ERR_NOMEM;
}

static void stop_threads(struct environment *env)
{
    pthread_mutex_lock(&env->lock);
    atomic_store(&env->stop, 1);
    pthread_cond_broadcast(&env->wake);
    pthread_mutex_unlock(&env->lock);
    for (int i = 0; i < env->n_pollers; i++)
        pthread_join(env->poller[i].thread, NULL);
    if (env->has_ticker)
        pthread_join(env->ticker, NULL);
    env->n_pollers = env->has_ticker = 0;
}

static void environment_free(struct environment *env)
{
    if (!env)
        return;
    stop_threads(env);
    pthread_mutex_destroy(&env->lock);
    pthread_cond_destroy(&env->wake);
    free(env->place);
    free(env->poller);
    free(env);
}

/* NULL and 0 where the configuration has no sensors. */
static int make(struct server *s, const struct environment *old, struct environment **ret)
{
    struct environment *env;
    pthread_condattr_t a;
    int n = 0, r;

    *ret = NULL;
    for (int i = 0; i < s->config->n_sites; i++)
        n += s->config->sites[i].n_sensors;
    if (!n)
        return 0;
    env = calloc(1, sizeof *env);
    if (!env)
        return ERR_NOMEM;
    env->s = s;
    pthread_mutex_init(&env->lock, NULL);
    pthread_condattr_init(&a);
    pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
    pthread_cond_init(&env->wake, &a);
    pthread_condattr_destroy(&a);
    r = make_places(s->config, old, env);
    if (!r)
        r = start_threads(env);
    if (r)
        environment_free(env);
    else
        *ret = env;
    return r;
}

/* ---- start, swap, stop ----------------------------------------------------------------------- */

int environment_start(struct server *s, struct err *e)
{
    s->environment = NULL;
    return environment_swap(s, e);
}

int environment_swap(struct server *s, struct err *e)
{
    struct environment *old = s->environment;
    int r;

    if (old)
        stop_threads(old);
    r = make(s, old, &s->environment);
    environment_free(old);
    return r ? err_set(e, ERR_NOMEM, "no memory or no thread for the sensors of sites") : 0;
}

void environment_stop(struct server *s)
{
    environment_free(s->environment);
    s->environment = NULL;
}
