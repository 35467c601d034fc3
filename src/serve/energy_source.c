#include "serve/energy_source.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#include "base/check.h"
#include "base/log.h"
#include "base/sysmem.h"
#include "engine/energy_meter.h"
#include "net/fetch.h"
#include "serve/energy_settings.h"
#include "serve/energy_store.h"
#include "serve/meter_key.h"
#include "serve/meter_reply.h"

#define TICK_US    1000000 /* of meters that are read at once */
#define THREAD_UW  INT64_C(4000000) /* a model that nobody calibrated: of a thread at work, ... */
#define IDLE_UW    INT64_C(1000000) /* ... and of each that rests */

struct kind;

struct energy_source {
    const struct serve_energy *settings;
    const struct kind *kind;
    struct energy_meter *meter;
    char about[512];

    pthread_t thread;
    int has_thread;
    pthread_mutex_t lock; /* of what follows; rank: a leaf */
    pthread_cond_t stopped;
    int stop;
    struct err why; /* the last reading failed; code 0: it did not */

    /* The thread's own. */
    enum meter_field field;
    char header[METER_HEADER_MAX];
};

/* A kind of meter. */
struct kind {
    const char *name;
    int value; /* of the setting */
    struct energy label;
    int (*open)(struct energy_source *s, const struct energy *label, int n_threads, struct err *e);
    /* A reading, on the source's thread; NULL where the meter reads itself. */
    int (*read)(struct energy_source *s, struct err *e);
};

/* ---- read at once ---------------------------------------------------------------------------- */

static int open_rapl(struct energy_source *s, const struct energy *label, int n_threads,
                     struct err *e)
{
    (void)n_threads;
    snprintf(s->about, sizeof s->about, "counters of the processor below %.300s",
             s->settings->root);
    return energy_meter_open_rapl(&s->meter, s->settings->root, label, e);
}

/* The curve: as set, or calibrated on this machine, or stated. */
static int open_model(struct energy_source *s, const struct energy *label_, int n_threads,
                      struct err *e)
{
    struct energy label = *label_;
    struct energy_calibration c;
    struct energy_curve curve;
    char cpu[sizeof c.cpu];
    int r = energy_curve_of(s->settings, &curve, e);

    if (r)
        return r;
    sysmem_cpu_name(cpu, sizeof cpu);
    if (curve.n) {
        snprintf(s->about, sizeof s->about, "CPU time by the configured curve");
    } else if (s->settings->store_path && !energy_store_get(s->settings->store_path, cpu, &c)) {
        curve = c.curve;
        if (!s->settings->boundary)
            label.boundary = c.by.boundary;
        if (!s->settings->uncertainty)
            label.uncertainty_permille = c.by.uncertainty_permille + c.error_permille;
        if (label.uncertainty_permille > 1000)
            label.uncertainty_permille = 1000;
        snprintf(s->about, sizeof s->about, "CPU time by a curve calibrated against %s",
                 energy_method_name(c.by.method));
    } else {
        energy_curve_line(&curve, IDLE_UW * n_threads, THREAD_UW);
        snprintf(s->about, sizeof s->about,
                 "CPU time by a stated curve: %d W, and 4 W for each thread at work", n_threads);
    }
    return energy_meter_open_model(&s->meter, &curve, &label, e);
}

/* ---- asked over HTTP ------------------------------------------------------------------------- */

static int open_asked(struct energy_source *s, const struct energy *label, int n_threads,
                      struct err *e)
{
    int r = meter_key_header(s->settings->key, s->header, e);

    (void)n_threads;
    if (!r && (!s->settings->url || !*s->settings->url))
        r = err_set(e, ERR_NOTFOUND, "no url is configured");
    if (r)
        return r;
    snprintf(s->about, sizeof s->about, "%.300s", s->settings->url);
    s->about[strcspn(s->about, "?")] = 0; /* what follows may be secret */
    return energy_meter_open_told(&s->meter, s->settings->interval * 1000, label, e);
}

static int is_stopping(void *arg, int64_t bytes, int64_t total)
{
    struct energy_source *s = arg;
    int stop;

    (void)bytes;
    (void)total;
    pthread_mutex_lock(&s->lock);
    stop = s->stop;
    pthread_mutex_unlock(&s->lock);
    return stop;
}

static int fetch(struct energy_source *s, struct buf *body, struct err *e)
{
    const char *const headers[] = {"Accept: application/json", *s->header ? s->header : NULL, NULL};
    struct fetch_options o;
    struct fetch_result r;

    fetch_options_init(&o, s->settings->url);
    o.body = body;
    o.size_max = METER_REPLY_MAX;
    o.unsized_max = METER_REPLY_MAX;
    o.connect_timeout_ms = o.stall_timeout_ms = (int)s->settings->timeout;
    o.ca_file = s->settings->ca_file;
    o.headers = headers;
    o.progress = is_stopping;
    o.ctx = s;
    return fetch_get(&o, &r, e);
}

static int read_asked(struct energy_source *s, struct err *e)
{
    struct meter_reading v;
    struct buf body;
    int r;

    buf_init(&body, METER_REPLY_MAX);
    r = fetch(s, &body, e);
    if (!r && s->kind->value == SERVE_ENERGY_REDFISH)
        r = meter_reply_redfish(body.data ? body.data : "", body.len, &s->field, &v, e);
    else if (!r)
        r = meter_reply_feed(body.data ? body.data : "", body.len, s->settings->path,
                             (enum meter_unit)s->settings->unit, &v, e);
    buf_done(&body);
    if (r)
        energy_meter_tell_failure(s->meter);
    else if (v.is_power)
        energy_meter_tell_power(s->meter, v.value);
    else
        energy_meter_tell_counter(s->meter, (uint64_t)v.value);
    return r;
}

/* ---- kinds ----------------------------------------------------------------------------------- */

static const struct kind kinds[] = {
    {"rapl", SERVE_ENERGY_RAPL, {0, ENERGY_ACCELERATOR, ENERGY_RAPL, 50}, open_rapl, NULL},
    {"redfish", SERVE_ENERGY_REDFISH, {0, ENERGY_IT, ENERGY_REDFISH, 50}, open_asked, read_asked},
    {"feed", SERVE_ENERGY_FEED, {0, ENERGY_IT, ENERGY_FEED, 20}, open_asked, read_asked},
    {"model", SERVE_ENERGY_MODEL, {0, ENERGY_ACCELERATOR, ENERGY_MODEL, 500}, open_model, NULL},
};

int energy_source_kind(int i, const char **ret_name, int *ret_value)
{
    if (i < 0 || i >= (int)ARRAY_LEN(kinds))
        return 0;
    *ret_name = kinds[i].name;
    *ret_value = kinds[i].value;
    return 1;
}

static const struct kind *kind_of(int value)
{
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (kinds[i].value == value)
            return &kinds[i];
    }
    return NULL;
}

static int open_kind(struct energy_source *s, int value, int n_threads, struct err *e)
{
    struct energy label;

    s->kind = kind_of(value);
    CHECK(s->kind);
    label = s->kind->label;
    if (s->settings->boundary)
        label.boundary = (enum energy_boundary)(s->settings->boundary - 1);
    if (s->settings->uncertainty)
        label.uncertainty_permille = (int32_t)s->settings->uncertainty;
    return s->kind->open(s, &label, n_threads, e);
}

/* ---- the thread ------------------------------------------------------------------------------ */

/* Say once that it fails, and once that it goes again. */
static void note(struct energy_source *s, const struct err *e)
{
    int was_failing, fails = e->code && e->code != ERR_CANCELLED;

    pthread_mutex_lock(&s->lock);
    was_failing = s->why.code != 0;
    s->why = *e;
    pthread_mutex_unlock(&s->lock);
    if (fails && !was_failing)
        LOG_EVENT(LOG_WARN, "energy meter fails", LOG_STR("meter", s->kind->name),
                  LOG_STR("why", e->text));
    if (!e->code && was_failing)
        LOG_EVENT(LOG_INFO, "energy meter reads again", LOG_STR("meter", s->kind->name));
}

/* 0: stop. */
static int wait_turn(struct energy_source *s)
{
    int64_t us = s->kind->read ? s->settings->interval * 1000 : TICK_US;
    struct timespec until;
    int go_on, r = 0;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += us / 1000000;
    until.tv_nsec += us % 1000000 * 1000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    pthread_mutex_lock(&s->lock);
    while (!s->stop && !r)
        r = pthread_cond_timedwait(&s->stopped, &s->lock, &until);
    go_on = !s->stop;
    pthread_mutex_unlock(&s->lock);
    return go_on;
}

static void *source_main(void *arg)
{
    struct energy_source *s = arg;

    prctl(PR_SET_NAME, "energy", 0, 0, 0);
    do {
        struct err e = {0};
        int r = s->kind->read ? s->kind->read(s, &e) : 0;
        if (!s->kind->read)
            energy_meter_tick(s->meter);
        if (!r)
            energy_meter_why(s->meter, &e);
        note(s, &e);
    } while (wait_turn(s));
    return NULL;
}

static int start_thread(struct energy_source *s, struct err *e)
{
    pthread_condattr_t a;

    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_init(&a);
    pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
    pthread_cond_init(&s->stopped, &a);
    pthread_condattr_destroy(&a);
    if (pthread_create(&s->thread, NULL, source_main, s)) {
        pthread_cond_destroy(&s->stopped);
        pthread_mutex_destroy(&s->lock);
        return err_set(e, ERR_NOMEM, "cannot start the thread of the energy meter");
    }
    s->has_thread = 1;
    return 0;
}

/* ---- open and close -------------------------------------------------------------------------- */

int energy_source_open(struct energy_source **ret, const struct serve_energy *settings,
                       int n_threads, struct err *e)
{
    struct energy_source *s;
    struct err why = {0};
    int r;

    *ret = NULL;
    if (settings->kind == SERVE_ENERGY_OFF)
        return 0;
    s = calloc(1, sizeof *s);
    if (!s)
        return err_set(e, ERR_NOMEM, "out of memory");
    s->settings = settings;
    if (settings->kind != SERVE_ENERGY_AUTO) {
        r = open_kind(s, settings->kind, n_threads, e);
    } else if ((r = open_kind(s, SERVE_ENERGY_RAPL, n_threads, &why))) {
        r = open_kind(s, SERVE_ENERGY_MODEL, n_threads, e);
    }
    if (!r)
        r = start_thread(s, e);
    if (r) {
        energy_source_close(s);
        return r;
    }
    LOG_EVENT(LOG_INFO, "energy meter", LOG_STR("meter", s->kind->name), LOG_STR("reads", s->about),
              LOG_STR("boundary", energy_boundary_name(energy_meter_label(s->meter)->boundary)),
              LOG_INT("uncertainty_permille", energy_meter_label(s->meter)->uncertainty_permille),
              LOG_STR("not_rapl", why.text));
    *ret = s;
    return 0;
}

void energy_source_close(struct energy_source *s)
{
    if (!s)
        return;
    if (s->has_thread) {
        pthread_mutex_lock(&s->lock);
        s->stop = 1;
        pthread_cond_signal(&s->stopped);
        pthread_mutex_unlock(&s->lock);
        pthread_join(s->thread, NULL);
        pthread_cond_destroy(&s->stopped);
        pthread_mutex_destroy(&s->lock);
    }
    energy_meter_close(s->meter, NULL);
    explicit_bzero(s->header, sizeof s->header);
    free(s);
}

struct energy_meter *energy_source_meter(struct energy_source *s)
{
    return s ? s->meter : NULL;
}

const char *energy_source_about(const struct energy_source *s)
{
    return s->about;
}

void energy_source_why(struct energy_source *s, struct err *ret)
{
    pthread_mutex_lock(&s->lock);
    *ret = s->why;
    pthread_mutex_unlock(&s->lock);
}
