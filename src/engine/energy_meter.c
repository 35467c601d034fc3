#include "engine/energy_meter.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "engine/rapl.h"
#include "policy/energy_flow.h"

#define QUICK_INTERVAL_US 1000000

struct energy_meter {
    pthread_mutex_t lock; /* of all below; rank: a leaf */
    struct energy label;
    struct energy_flow flow;
    int n_working; /* engines */
    uint64_t n_failures;
    struct err why; /* of the last one, until somebody asks */
    /* One of three, or NULL where readings are told: brings the flow up to now. */
    void (*read)(struct energy_meter *m, int64_t now);

    struct energy_curve curve;
    int64_t cpu_us, at_us; /* of the model's last reading */
    struct rapl rapl;
    char *rapl_root;
    int rapl_is_gone;              /* a counter cannot be read any more */
    struct energy_counter counter; /* of a meter that is told */
};

/* ---- kinds ----------------------------------------------------------------------------------- */

/* [locked] The threads that computed since the last reading, on average, and what they drew. */
static void read_model(struct energy_meter *m, int64_t now)
{
    int64_t cpu = clock_process_us(), us = now - m->at_us, busy;

    if (us <= 0)
        return;
    busy = (cpu - m->cpu_us) * 1000 / us;
    energy_flow_add(&m->flow, now, energy_curve_uw(&m->curve, busy) * us / 1000000);
    m->at_us = now;
    m->cpu_us = cpu;
}

/* [locked] */
static void fail(struct energy_meter *m, int code, const char *why)
{
    m->n_failures++;
    err_set(&m->why, code, "%s", why);
}

static const char too_much[] = "it tells more than any machine draws, or less than nothing";

/* [locked] */
static void read_rapl(struct energy_meter *m, int64_t now)
{
    int64_t uj;
    int r = rapl_read(&m->rapl, &uj);

    if (!r && energy_flow_add(&m->flow, now, uj))
        return;
    if (!r)
        fail(m, ERR_FORMAT, too_much);
    else if (r == ERR_AGAIN)
        fail(m, r, "a counter of the processor went back, or beyond its end");
    else
        fail(m, r, "a counter of the processor cannot be read");
    m->rapl_is_gone = r && r != ERR_AGAIN;
    energy_flow_skip(&m->flow, now);
}

/* [locked] Counters that went away, with a kernel module perhaps, may be there again, as other
 * files. They count from now on. */
static void find_rapl(struct energy_meter *m)
{
    struct rapl fresh;
    int64_t first;

    if (rapl_open(&fresh, m->rapl_root, &m->why))
        return;
    rapl_close(&m->rapl);
    m->rapl = fresh;
    m->rapl_is_gone = rapl_read(&m->rapl, &first) != ERR_AGAIN;
    energy_flow_skip(&m->flow, clock_now_us());
}

/* NULL: out of memory. */
static struct energy_meter *make(int64_t interval_us, const struct energy *label,
                                 void (*read)(struct energy_meter *m, int64_t now), struct err *e)
{
    struct energy_meter *m = calloc(1, sizeof *m);

    if (!m) {
        err_set(e, ERR_NOMEM, "out of memory");
        return NULL;
    }
    pthread_mutex_init(&m->lock, NULL);
    m->label = *label;
    m->label.uj = 0;
    m->read = read;
    m->at_us = clock_now_us();
    m->cpu_us = clock_process_us();
    energy_flow_open(&m->flow, interval_us, read != NULL, m->at_us);
    return m;
}

static void drop(struct energy_meter *m)
{
    rapl_close(&m->rapl);
    free(m->rapl_root);
    pthread_mutex_destroy(&m->lock);
    free(m);
}

int energy_meter_open_model(struct energy_meter **ret, const struct energy_curve *c,
                            const struct energy *label, struct err *e)
{
    struct energy_meter *m = make(QUICK_INTERVAL_US, label, read_model, e);

    CHECK(c->n > 0 && c->n <= ENERGY_CURVE_MAX);
    if (!m)
        return ERR_NOMEM;
    m->curve = *c;
    *ret = m;
    return 0;
}

int energy_meter_open_rapl(struct energy_meter **ret, const char *root, const struct energy *label,
                           struct err *e)
{
    struct energy_meter *m = make(QUICK_INTERVAL_US, label, read_rapl, e);
    int64_t first;
    int r;

    if (!m)
        return ERR_NOMEM;
    m->rapl_root = strdup(root);
    r = m->rapl_root ? rapl_open(&m->rapl, root, e) : err_set(e, ERR_NOMEM, "out of memory");
    if (!r && rapl_read(&m->rapl, &first) != ERR_AGAIN) /* from where it counts */
        r = err_set(e, ERR_IO, "the counters below %.300s can't be read", root);
    if (r)
        drop(m);
    else
        *ret = m;
    return r;
}

int energy_meter_open_told(struct energy_meter **ret, int64_t interval_us,
                           const struct energy *label, struct err *e)
{
    struct energy_meter *m;

    CHECK(interval_us > 0);
    m = make(interval_us, label, NULL, e);
    if (!m)
        return ERR_NOMEM;
    *ret = m;
    return 0;
}

/* ---- who works, pays ------------------------------------------------------------------------- */

/* [locked] */
static int64_t read_now(struct energy_meter *m)
{
    int64_t now = clock_now_us();

    if (m->read)
        m->read(m, now);
    return now;
}

void energy_meter_begin(struct energy_meter *m)
{
    pthread_mutex_lock(&m->lock);
    if (!m->n_working++)
        energy_flow_idle(&m->flow, read_now(m));
    pthread_mutex_unlock(&m->lock);
}

void energy_meter_end(struct energy_meter *m)
{
    pthread_mutex_lock(&m->lock);
    CHECK(m->n_working > 0);
    m->n_working--;
    pthread_mutex_unlock(&m->lock);
}

int64_t energy_meter_take(struct energy_meter *m, int *ret_is_late)
{
    int64_t now, uj;

    pthread_mutex_lock(&m->lock);
    now = read_now(m);
    uj = energy_flow_take(&m->flow, now);
    *ret_is_late = energy_flow_is_late(&m->flow, now);
    pthread_mutex_unlock(&m->lock);
    return uj;
}

/* ---- readings -------------------------------------------------------------------------------- */

/* [locked] What nobody works for is nobody's. */
static void pass(struct energy_meter *m, int64_t now)
{
    if (!m->n_working)
        energy_flow_idle(&m->flow, now);
}

void energy_meter_tick(struct energy_meter *m)
{
    pthread_mutex_lock(&m->lock);
    pass(m, read_now(m));
    if (m->rapl_is_gone)
        find_rapl(m);
    pthread_mutex_unlock(&m->lock);
}

void energy_meter_why(struct energy_meter *m, struct err *ret)
{
    pthread_mutex_lock(&m->lock);
    *ret = m->why;
    m->why = (struct err){0};
    pthread_mutex_unlock(&m->lock);
}

void energy_meter_tell_power(struct energy_meter *m, int64_t uw)
{
    int64_t now = clock_now_us();

    pthread_mutex_lock(&m->lock);
    pass(m, now);
    if (!energy_flow_power(&m->flow, now, uw))
        fail(m, ERR_FORMAT, too_much);
    pthread_mutex_unlock(&m->lock);
}

void energy_meter_tell_counter(struct energy_meter *m, uint64_t uj)
{
    int64_t now = clock_now_us(), more;
    int is_first;

    pthread_mutex_lock(&m->lock);
    is_first = !m->counter.has_last;
    pass(m, now);
    more = energy_counter_see(&m->counter, uj, 0);
    if (is_first)
        energy_flow_skip(&m->flow, now);
    else if (!energy_flow_add(&m->flow, now, more))
        fail(m, ERR_FORMAT, more < 0 ? "its counter went back" : too_much);
    pthread_mutex_unlock(&m->lock);
}

void energy_meter_tell_failure(struct energy_meter *m)
{
    pthread_mutex_lock(&m->lock);
    pass(m, clock_now_us());
    m->n_failures++;
    pthread_mutex_unlock(&m->lock);
}

/* ---- looking --------------------------------------------------------------------------------- */

const struct energy *energy_meter_label(const struct energy_meter *m)
{
    return &m->label;
}

void energy_meter_look(struct energy_meter *m, struct energy_look *ret)
{
    const struct energy_flow *f = &m->flow;
    int64_t now;

    pthread_mutex_lock(&m->lock);
    now = read_now(m);
    pass(m, now);
    *ret = (struct energy_look){.label = m->label,
                                .metered_uj = f->metered_uj,
                                .attributed_uj = f->attributed_uj,
                                .unattributed_uj = f->unattributed_uj,
                                .power_uw = f->power_uw,
                                .read_us = f->read_us,
                                .n_readings = f->n_readings,
                                .n_failures = m->n_failures,
                                .is_late = energy_flow_is_late(f, now)};
    pthread_mutex_unlock(&m->lock);
}

void energy_meter_close(struct energy_meter *m, struct energy_look *ret)
{
    struct energy_look l;

    if (!m)
        return;
    energy_meter_look(m, &l);
    energy_flow_close(&m->flow);
    l.metered_uj = m->flow.metered_uj;
    l.unattributed_uj = m->flow.unattributed_uj;
    LOG_EVENT(l.attributed_uj || l.n_failures ? LOG_INFO : LOG_DEBUG, "energy",
              LOG_STR("boundary", energy_boundary_name(l.label.boundary)),
              LOG_STR("method", energy_method_name(l.label.method)),
              LOG_INT("metered_uj", l.metered_uj), LOG_INT("attributed_uj", l.attributed_uj),
              LOG_INT("unattributed_uj", l.unattributed_uj), LOG_INT("failures", l.n_failures));
    if (ret)
        *ret = l;
    drop(m);
}
