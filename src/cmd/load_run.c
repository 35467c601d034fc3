#include "cmd/load_run.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define STACK_BYTES ((size_t)512 << 10)
#define LOOK_US     20000
#define FIRST_CAP   256

struct run {
    struct load_plan *plan;
    struct load_sums *sums;
    atomic_int is_over, stop;
    atomic_llong next;
    int64_t start_us, end_us;
    pthread_mutex_t lock; /* of what follows, and of sums */
    int n_ready;          /* threads that have ended a request */
    int code;
    struct err *e;
};

/* ---- counting -------------------------------------------------------------------------------- */

static int make_room(struct load_sums *s, struct err *e)
{
    int64_t cap = s->cap ? 2 * s->cap : FIRST_CAP, *a, *b;

    if (s->n_ttft < s->cap)
        return 0;
    if (s->cap == LOAD_SAMPLES_MAX)
        return err_set(e, ERR_LIMIT, "more than %d requests in one measurement", LOAD_SAMPLES_MAX);
    a = realloc(s->ttft_us, (size_t)cap * sizeof *a);
    if (a)
        s->ttft_us = a;
    b = realloc(s->tpot_us, (size_t)cap * sizeof *b);
    if (b)
        s->tpot_us = b;
    if (!a || !b)
        return err_set(e, ERR_NOMEM, "no memory for what was measured");
    s->cap = cap;
    return 0;
}

static int add(struct load_sums *s, const struct load_answer *a, struct err *e)
{
    struct measurement_point *p = &s->point;
    int r = make_room(s, e);

    if (r)
        return r;
    s->ttft_us[s->n_ttft++] = a->first_us;
    if (a->output_tokens > 1)
        s->tpot_us[s->n_tpot++] = (a->last_us - a->first_us) / (a->output_tokens - 1);
    p->requests++;
    p->input_tokens += a->input_tokens;
    p->cached_tokens += a->cached_tokens;
    p->output_tokens += a->output_tokens;
    p->window_tokens += (a->output_tokens * a->parts_in + a->parts / 2) / a->parts;
    energy_add(&s->energy, &a->energy);
    if (*a->print)
        memcpy(s->print, a->print, sizeof s->print);
    return 0;
}

/* The time in which what is made counts ends now, if it may. Locked. */
static void end_if_due(struct run *x, int64_t now_us)
{
    if (x->end_us || x->n_ready < x->plan->concurrency || now_us < x->start_us + x->plan->for_us)
        return;
    atomic_store(&x->is_over, 1);
    x->end_us = now_us;
}

static void give_up(struct run *x, int code, const struct err *e)
{
    if (!x->code) {
        x->code = code;
        *x->e = *e;
    }
    atomic_store(&x->stop, 1);
}

static void *work(void *arg)
{
    struct run *x = arg;
    struct load_ask ask = x->plan->ask;
    struct load_answer a;
    int is_ready = 0, r = 0;

    while (!r && !atomic_load(&x->is_over) && !atomic_load(&x->stop)) {
        struct err e = {0};
        ask.nth = (uint64_t)atomic_fetch_add(&x->next, 1);
        r = load_request(x->plan->server, &ask, &x->is_over, &x->stop, &a, &e);
        pthread_mutex_lock(&x->lock);
        if (!r)
            r = add(x->sums, &a, &e);
        if (r) {
            give_up(x, r, &e);
        } else {
            x->n_ready += !is_ready;
            is_ready = 1;
            end_if_due(x, clock_now_us());
        }
        pthread_mutex_unlock(&x->lock);
    }
    return NULL;
}

/* ---- a run ----------------------------------------------------------------------------------- */

/* As many threads as there are requests at once; what cannot begin ends the run. */
static int begin(struct run *x, pthread_t *t)
{
    struct err e = {0};
    pthread_attr_t attr;
    int n = 0;

    if (pthread_attr_init(&attr)) {
        give_up(x, err_set(&e, ERR_NOMEM, "no memory for threads"), &e);
        return 0;
    }
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    while (n < x->plan->concurrency && !pthread_create(&t[n], &attr, work, x))
        n++;
    pthread_attr_destroy(&attr);
    if (n < x->plan->concurrency) {
        pthread_mutex_lock(&x->lock);
        give_up(x, err_set(&e, ERR_LIMIT, "the system has no more than %d threads for this", n),
                &e);
        pthread_mutex_unlock(&x->lock);
    }
    return n;
}

int load_run(struct load_plan *plan, struct load_sums *sums, struct err *e)
{
    static pthread_t thread[BASKET_CONCURRENCY_MAX]; /* one run at a time */
    struct run x = {.plan = plan, .sums = sums, .lock = PTHREAD_MUTEX_INITIALIZER, .e = e};
    int n;

    atomic_store(&x.next, (long long)plan->ask.nth);
    x.start_us = clock_now_us();
    n = begin(&x, thread);
    while (!atomic_load(&x.stop) && !atomic_load(&x.is_over)) {
        clock_sleep_us(LOOK_US);
        pthread_mutex_lock(&x.lock);
        end_if_due(&x, clock_now_us());
        pthread_mutex_unlock(&x.lock);
    }
    for (int i = 0; i < n; i++)
        pthread_join(thread[i], NULL);
    pthread_mutex_destroy(&x.lock);
    plan->ask.nth = (uint64_t)atomic_load(&x.next);
    if (!x.code) {
        sums->point.window_us += x.end_us - x.start_us;
        sums->busy_us += clock_now_us() - x.start_us;
    }
    return x.code;
}

/* ---- what it comes to ------------------------------------------------------------------------ */

static int ascending(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

static void percentiles(int64_t *v, int64_t n, int64_t *p50, int64_t *p99)
{
    if (!n)
        return;
    qsort(v, (size_t)n, sizeof *v, ascending);
    *p50 = basket_percentile(v, n, 500);
    *p99 = basket_percentile(v, n, 990);
}

struct measurement_point load_point(struct load_sums *s)
{
    struct measurement_point p = s->point;

    p.energy_uj = s->energy.method ? s->energy.uj : -1;
    p.uncertainty_permille = s->energy.method ? s->energy.uncertainty_permille : 0;
    percentiles(s->ttft_us, s->n_ttft, &p.ttft_p50_us, &p.ttft_p99_us);
    percentiles(s->tpot_us, s->n_tpot, &p.tpot_p50_us, &p.tpot_p99_us);
    return p;
}

void load_sums_done(struct load_sums *s)
{
    free(s->ttft_us);
    free(s->tpot_us);
    *s = (struct load_sums){0};
}
