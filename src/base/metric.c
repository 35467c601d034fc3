#include "base/metric.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/hist.h"
#include "base/utf8.h"

#define LABEL_MAX 256 /* more than a model's id */

struct metric {
    int i_def;
    char label[METRIC_LABELS_MAX][LABEL_MAX];
    _Atomic int64_t value;
    struct hist hist;
    struct metric *next; /* of the same row, in order of making */
};

struct metric_set {
    const struct metric_def *defs;
    int n_defs, n_series, series_max;
    pthread_mutex_t lock; /* lists and n_series; counting needs none */
    struct metric **first;
    struct metric *other; /* one per row, made with the set: counts what passes the bound */
};

static void make(struct metric *m, const struct metric_def *d, int i_def, const char *const *l)
{
    m->i_def = i_def;
    for (int i = 0; i < METRIC_LABELS_MAX; i++) {
        if (d->label[i] && l[i])
            strncpy(m->label[i], l[i], LABEL_MAX - 1);
    }
    if (d->kind == METRIC_TIMES || d->kind == METRIC_SIZES)
        hist_init(&m->hist, d->bounds, d->n_bounds);
}

struct metric_set *metric_set_new(const struct metric_def *defs, int series_max)
{
    static const char *const other[METRIC_LABELS_MAX] = {"other", "other", "other"};
    struct metric_set *s = calloc(1, sizeof *s);

    if (!s)
        return NULL;
    while (defs[s->n_defs].name)
        s->n_defs++;
    s->defs = defs;
    s->series_max = series_max;
    s->first = calloc((size_t)s->n_defs, sizeof(struct metric *));
    s->other = calloc((size_t)s->n_defs, sizeof *s->other);
    if (!s->first || !s->other) {
        free(s->first);
        free(s->other);
        free(s);
        return NULL;
    }
    pthread_mutex_init(&s->lock, NULL);
    for (int i = 0; i < s->n_defs; i++)
        make(&s->other[i], &defs[i], i, other);
    return s;
}

void metric_set_free(struct metric_set *s)
{
    struct metric *m, *next;

    if (!s)
        return;
    for (int i = 0; i < s->n_defs; i++) {
        for (m = s->first[i]; m; m = next) {
            next = m->next;
            free(m);
        }
    }
    pthread_mutex_destroy(&s->lock);
    free(s->first);
    free(s->other);
    free(s);
}

static int same(const struct metric *m, const char *const *l)
{
    for (int i = 0; i < METRIC_LABELS_MAX; i++) {
        if (strncmp(m->label[i], l[i] ? l[i] : "", LABEL_MAX - 1))
            return 0;
    }
    return 1;
}

struct metric *metric_get(struct metric_set *s, int i_def, const char *l0, const char *l1,
                          const char *l2)
{
    const char *const l[METRIC_LABELS_MAX] = {l0, l1, l2};
    struct metric **at, *m;

    CHECK(i_def >= 0 && i_def < s->n_defs);
    pthread_mutex_lock(&s->lock);
    for (at = &s->first[i_def]; *at && !same(*at, l); at = &(*at)->next)
        ;
    m = *at;
    if (!m && s->n_series < s->series_max && (m = calloc(1, sizeof *m))) {
        make(m, &s->defs[i_def], i_def, l);
        *at = m;
        s->n_series++;
    }
    pthread_mutex_unlock(&s->lock);
    return m ? m : &s->other[i_def];
}

void metric_fill(struct metric_set *s, int i_def, int64_t value)
{
    pthread_mutex_lock(&s->lock);
    for (struct metric *m = s->first[i_def]; m; m = m->next)
        metric_put(m, value);
    pthread_mutex_unlock(&s->lock);
}

void metric_clear(struct metric_set *s, int i_def)
{
    metric_fill(s, i_def, 0);
}

void metric_add(struct metric *m, int64_t n)
{
    atomic_fetch_add_explicit(&m->value, n, memory_order_relaxed);
}

void metric_put(struct metric *m, int64_t value)
{
    atomic_store_explicit(&m->value, value, memory_order_relaxed);
}

void metric_observe(struct metric *m, int64_t v)
{
    hist_add(&m->hist, v);
}

static int64_t metric_value(const struct metric *m)
{
    return m->hist.n_bounds ? (int64_t)hist_count(&m->hist)
                            : atomic_load_explicit(&m->value, memory_order_relaxed);
}

/* Write a label value as UTF-8: with one malformed byte a scraper would refuse the whole page. */
static void write_value(struct buf *out, const char *s)
{
    size_t n = strlen(s);
    uint32_t cp;
    size_t k;

    for (size_t i = 0; i < n; i += k) {
        int len = utf8_decode(s + i, n - i, &cp);
        k = len > 0 ? (size_t)len : 1;
        if (s[i] == '\\' || s[i] == '"')
            buf_add_char(out, '\\');
        if (len <= 0)
            buf_add_str(out, "\xef\xbf\xbd");
        else if (s[i] == '\n')
            buf_add_str(out, "\\n");
        else
            buf_add(out, s + i, k);
    }
}

/* {a="x",b="y",le="0.1"} with the last one where le is not NULL. */
static void write_labels(struct buf *out, const struct metric_def *d, const struct metric *m,
                         const char *le)
{
    int n = 0;

    for (int i = 0; i < METRIC_LABELS_MAX && d->label[i]; i++) {
        buf_addf(out, "%s%s=\"", n++ ? "," : "{", d->label[i]);
        write_value(out, m->label[i]);
        buf_add_char(out, '"');
    }
    if (le)
        buf_addf(out, "%sle=\"%s\"", n++ ? "," : "{", le);
    if (n)
        buf_add_char(out, '}');
}

static void write_hist(struct buf *out, const struct metric_def *d, const struct metric *m)
{
    double scale = d->kind == METRIC_TIMES ? 1e-6 : 1;
    uint64_t n = 0;
    char le[32];

    for (int i = 0; i <= d->n_bounds; i++) {
        n += atomic_load_explicit(&m->hist.count[i], memory_order_relaxed);
        if (i < d->n_bounds)
            snprintf(le, sizeof le, "%g", (double)d->bounds[i] * scale);
        buf_addf(out, "%s_bucket", d->name);
        write_labels(out, d, m, i < d->n_bounds ? le : "+Inf");
        buf_addf(out, " %llu\n", (unsigned long long)n);
    }
    buf_addf(out, "%s_sum", d->name);
    write_labels(out, d, m, NULL);
    buf_addf(out, " %.9g\n",
             (double)atomic_load_explicit(&m->hist.sum, memory_order_relaxed) * scale);
    buf_addf(out, "%s_count", d->name);
    write_labels(out, d, m, NULL);
    buf_addf(out, " %llu\n", (unsigned long long)n);
}

static void write_series(struct buf *out, const struct metric_def *d, const struct metric *m)
{
    int64_t v;

    if (m->hist.n_bounds) {
        write_hist(out, d, m);
        return;
    }
    if (metric_value(m) == METRIC_NONE)
        return;
    buf_add_str(out, d->name);
    write_labels(out, d, m, NULL);
    v = atomic_load_explicit(&m->value, memory_order_relaxed);
    if (d->kind == METRIC_SUM)
        buf_addf(out, " %s%lld.%06lld\n", v < 0 ? "-" : "", (long long)(v < 0 ? -v : v) / 1000000,
                 (long long)(v < 0 ? -v : v) % 1000000);
    else if (d->kind == METRIC_SHARE)
        buf_addf(out, " %.6g\n", (double)v * 1e-6);
    else
        buf_addf(out, " %lld\n", (long long)v);
}

int metric_write(struct metric_set *s, struct buf *out)
{
    static const char *const kinds[] = {"counter", "gauge",     "gauge",
                                        "counter", "histogram", "histogram"};

    pthread_mutex_lock(&s->lock);
    for (int i = 0; i < s->n_defs; i++) {
        const struct metric_def *d = &s->defs[i];
        if (!s->first[i] && !metric_value(&s->other[i]))
            continue;
        buf_addf(out, "# HELP %s %s\n# TYPE %s %s\n", d->name, d->help, d->name, kinds[d->kind]);
        for (const struct metric *m = s->first[i]; m; m = m->next)
            write_series(out, d, m);
        if (metric_value(&s->other[i]))
            write_series(out, d, &s->other[i]);
    }
    pthread_mutex_unlock(&s->lock);
    return out->failed;
}
